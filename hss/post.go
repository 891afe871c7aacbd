package hss

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// decodeTaken accepts an answer that is empty, or an object without an error:
// other endpoints of HSS answer {"error_code":0} for success.
func decodeTaken(body []byte) (struct{}, error) {
	none := struct{}{}
	body = bytes.TrimSpace(body)
	if len(body) == 0 || string(body) == "null" {
		return none, nil
	}
	if body[0] != '{' {
		return none, errNotEmpty
	}
	var answer struct {
		Fault text `json:"error_code"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return none, fmt.Errorf("decoding the answer: %w", err)
	}
	if answer.Fault != "" && answer.Fault != "0" {
		return none, errFault
	}
	return none, nil
}
