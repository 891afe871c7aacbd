package hss

import (
	"context"
	"errors"
)

// notTaken is the message of an answer that does not say that a request was taken.
const notTaken = "not the empty answer that was expected"

// errNotEmpty is what an answer is refused with that should be empty.
var errNotEmpty = errors.New("the answer is neither empty nor an object")

// post sends a request that HSS answers with nothing.
func post(ctx context.Context, c *Client, e call[struct{}]) error {
	e.expected, e.decode = notTaken, decodeTaken
	_, err := send(ctx, c, e)
	return err
}

// taken is an answer to what was posted.
type taken struct{ fault string }

func (t *taken) field(name string) value {
	if name == fieldErrorCode {
		return (*text)(&t.fault)
	}
	return nil
}

// decodeTaken accepts an answer that is empty, or an object without an error:
// other endpoints of HSS answer {"error_code":0} for success.
func decodeTaken(d *decoder) (none struct{}, err error) {
	switch d.json.PeekKind() {
	case '{':
	case 'n':
		return none, d.json.SkipValue()
	default:
		if d.end() == nil {
			return none, nil
		}
		return none, errNotEmpty
	}
	var answer taken
	problems, err := d.object(&answer)
	if err == nil {
		err = d.end()
	}
	switch {
	case err != nil:
		return none, err
	case len(problems) > 0 || (answer.fault != "" && answer.fault != "0"):
		return none, errFault
	}
	return none, nil
}
