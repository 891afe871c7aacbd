package inventory

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
)

// errClosed is what asking after Close gives.
var errClosed = errors.New("hssgate is shutting down")

// failure is why HSS could not be asked, and until when it isn't asked again.
type failure struct {
	err   error
	until time.Time
}

// answersWithin is the time after its last answer for which HSS counts as
// answering: a queue also fills while HSS hangs.
const answersWithin = 5 * time.Second

// maxPause bounds how long HSS can make us wait.
const maxPause = 10 * time.Minute

// remember keeps a failure for a while, unless HSS was not even asked. Refused
// credentials are the client's to judge: it stops asking by itself, and
// notices when they change.
func (i *Inventory) remember(k key, err error) {
	var busy *busyError
	var open *openError
	if i.base.Err() != nil || errors.As(err, &busy) || errors.As(err, &open) {
		return
	}
	i.failures.Set(k.clone(), &failure{err: err, until: i.clock.Now().Add(time.Duration(i.cfg.ErrorFor))})
}

// recentFailure returns the failure that forbids to ask for a key now.
func (i *Inventory) recentFailure(k key) error {
	now := i.clock.Now()
	if err := k.registry.project.pause(now); err != nil {
		return err
	}
	if f, ok := i.failures.GetIfPresent(k); ok && now.Before(f.until) {
		return f.err
	}
	return nil
}

// timeoutError says that HSS took too long.
type timeoutError struct{ waited time.Duration }

func (e *timeoutError) Error() string {
	return fmt.Sprintf("HSS did not answer in time (%s)", e.waited.Round(100*time.Millisecond))
}

// lastError is what HSS answered last when the time ended, or how its answer
// broke off.
type lastError struct {
	err    error
	waited time.Duration
}

func (e *lastError) Error() string {
	return fmt.Sprintf("%s; no other answer came in %s", reasonOf(e.err), e.waited.Round(100*time.Millisecond))
}

func (e *lastError) Unwrap() error { return e.err }

// unavailable returns the facts of an image of which HSS's result is missing.
func (i *Inventory) unavailable(ref *image.Reference, p *project, err error) policy.Facts {
	now := i.clock.Now()
	return policy.Facts{Image: imageOf(ref), State: policy.StateUnavailable, Cause: p.classify(err, now), Reason: describe(err), AsOf: now}
}

// classify returns whose trouble an error is.
func (p *project) classify(err error, now time.Time) policy.Cause {
	var open *openError
	var busy *busyError
	var unsent *unsentError
	var timeout *timeoutError
	var rows *rowsError
	var row *hss.RowError
	var incomplete *hss.IncompleteListError
	var answered *hss.Error
	switch {
	case errors.Is(err, errClosed):
		return policy.CauseOverload
	case errors.As(err, &open):
		return p.classify(open.last, now)
	case errors.As(err, &busy) && now.Sub(time.Unix(0, p.lastSuccess.Load())) < answersWithin, errors.As(err, &unsent):
		return policy.CauseOverload
	case busy != nil, errors.As(err, &timeout), errors.As(err, &rows), errors.As(err, &row), errors.As(err, &incomplete), hss.Temporary(err),
		errors.As(err, &answered) && judgeAnswer(answered) == healthBad:
		return policy.CauseOutage
	}
	return policy.CauseConfiguration // credentials, permission, project, endpoint, or a defect
}

// describe tells in one line why HSS could not be asked, short enough for what
// the webhook says.
func describe(err error) string {
	const most = 400
	text := whole(err)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// whole does, too, however long that is: for people who ask for all of it.
func whole(err error) string { return strings.Join(strings.Fields(reasonOf(err)), " ") }

// reasonOf picks the error in the chain that says most to whoever reads it:
// what HSS itself said comes first.
func reasonOf(err error) string {
	var refused *hss.RefusedError
	var answered *hss.Error
	var timeout *timeoutError
	var open *openError
	var busy *busyError
	var rows *rowsError
	var incomplete *hss.IncompleteListError
	var none *hss.NoCredentialsError
	var project *hss.ProjectError
	var unsent *unsentError
	var last *lastError
	switch {
	case errors.As(err, &last):
		return last.Error()
	case errors.As(err, &rows):
		return rows.Error()
	case errors.As(err, &incomplete):
		return incomplete.Error()
	case errors.As(err, &open):
		return open.Error()
	case errors.As(err, &busy):
		return busy.Error()
	case errors.As(err, &project):
		return project.Error()
	case errors.As(err, &refused):
		return refused.Error()
	case errors.As(err, &answered):
		return answered.Error()
	case errors.As(err, &unsent):
		return unsent.Error()
	case errors.As(err, &timeout):
		return timeout.Error()
	case errors.As(err, &none):
		return "HSS could not be asked: " + none.Error() // what was to be asked doesn't matter
	case errors.Is(err, errClosed):
		return errClosed.Error()
	default:
		return "HSS could not be asked: " + withoutQuery(err)
	}
}

// withoutQuery drops the long query of the URL that an error may name, to
// leave room for what went wrong.
func withoutQuery(err error) string {
	var failed *url.Error
	if !errors.As(err, &failed) {
		return err.Error()
	}
	short, _, _ := strings.Cut(failed.URL, "?")
	return strings.ReplaceAll(err.Error(), failed.URL, short)
}
