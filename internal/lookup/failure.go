package lookup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy"
)

// kind is how a call to HSS ended, as far as others depend on it. Up to badRows HSS is well: what is wrong with one request must not keep others
// from being sent. Past other it says nothing of HSS.
type kind int

const (
	// well means that HSS answered, if only with an error.
	well kind = iota
	// badRows means that HSS, being well, sent rows that cannot be true, or not all of them.
	badRows
	// down means that no answer came, not in time, or one that says that HSS is not well.
	down
	// other means anything else, such as an untrusted certificate or a defect.
	other
	// notCalled means that other calls come first.
	notCalled
	// tripped means that the breaker is not closed.
	tripped
	// notSent means that the call did not reach HSS for a reason of hssgate's own.
	notSent
	// misconfigured means that the credentials, the project or the request is wrong.
	misconfigured
)

// failure is why there is no answer from HSS, as far as HSS itself does not say.
type failure struct {
	kind kind
	// format and args are the reason.
	format string
	args   []any
	// last is what HSS answered, or why it did not, the last time; optional.
	last error
}

func (f *failure) Error() string { return fmt.Sprintf(f.format, f.args...) }

func (f *failure) Unwrap() error { return f.last }

func failuref(k kind, format string, args ...any) *failure {
	return &failure{kind: k, format: format, args: args}
}

// BadRowsf returns a failure that says that HSS, being well, sent rows that cannot be true, or not all of them.
func BadRowsf(format string, args ...any) error { return failuref(badRows, format, args...) }

// errClosed returns the failure after Close.
func errClosed() error { return failuref(notSent, "hssgate is shutting down") }

// errTimeUp returns the failure of a call for which there was no time left.
func errTimeUp() error { return failuref(notCalled, "HSS was not called, since the time was up") }

// recovered turns a panic into an error: trouble with one image must not end the process.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = failuref(misconfigured, "internal error while calling HSS: panic: %v", r)
	}
}

func rounded(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

// textOf returns the text of the first error of a type in the chain; empty: there is none.
func textOf[E error](err error) string {
	if e, ok := errors.AsType[E](err); ok {
		return e.Error()
	}
	return ""
}

// kindOf returns the kind of an error. What HSS answered the last time decides if the failure has it.
func kindOf(err error) kind {
	own, isOwn := errors.AsType[*failure](err)
	answer, isAnswer := errors.AsType[*hss.Error](err)
	project, isProject := errors.AsType[*hss.ProjectError](err)
	switch {
	case err == nil:
		return well
	case isOwn && own.last != nil:
		return kindOf(own.last)
	case isOwn:
		return own.kind
	case textOf[*hss.IncompleteListError](err) != "":
		return badRows
	case textOf[*hss.RefusedError](err) != "", textOf[*hss.InvalidRequestError](err) != "", errors.Is(err, context.Canceled),
		isProject && project.Err == nil, // IAM answers that the account has no such project
		isAnswer && answer.Unauthenticated():
		return misconfigured
	case isAnswer && (answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode >= http.StatusInternalServerError),
		isAnswer && answer.StatusCode < http.StatusBadRequest && answer.Code == "", // an answer that makes no sense
		!isAnswer && hss.Temporary(err):
		return down
	case isAnswer:
		return well
	default:
		return other
	}
}

// Temporary reports whether the same call may succeed a little later without anyone changing anything: no complete answer
// came, or HSS was overloaded.
func Temporary(err error) bool { return kindOf(err) == down || hss.Temporary(err) }

// LastAnswer returns what HSS answered the last time, or why it did not, if a failure has it; otherwise the error itself.
func LastAnswer(err error) error {
	if own, ok := errors.AsType[*failure](err); ok && own.last != nil {
		return own.last
	}
	return err
}

// answersWithin is the time after its last answer for which HSS counts as answering: a queue also fills while HSS hangs.
const answersWithin = 5 * time.Second

// Classify returns whose fault an error is.
func (p *Project) Classify(err error) policy.Cause {
	switch k := kindOf(err); {
	case k == notSent, k == notCalled && p.group.Clock.Since(p.Images.answered()) < answersWithin:
		return policy.CauseOverload
	case k == notCalled, k == tripped, k == badRows, k == down, hss.Temporary(err):
		return policy.CauseOutage
	}
	return policy.CauseConfiguration // credentials, permission, project, endpoint, or a defect
}

// Describe returns in one line why there is no answer from HSS, short enough for the webhook's answers. What HSS itself or the network answered is
// in no other language.
func Describe(l language.Language, err error) string {
	const most = 400
	text := Reason(l, err)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// Reason does the same at any length.
func Reason(l language.Language, err error) string {
	return strings.Join(strings.Fields(reasonOf(l, err)), " ")
}

// reasonOf picks the error in the chain that explains most. What HSS itself answered comes before that a further attempt was not sent.
func reasonOf(l language.Language, err error) string {
	own, isOwn := errors.AsType[*failure](err)
	said := cmp.Or(textOf[*hss.IncompleteListError](err), textOf[*hss.ProjectError](err), textOf[*hss.RefusedError](err), textOf[*hss.Error](err))
	switch none := textOf[*hss.NoCredentialsError](err); {
	case isOwn && (own.kind != notSent || said == ""):
		return l.Sprintf(own.format, own.args...)
	case said != "":
		return said
	case none != "":
		return l.Sprintf("HSS could not be called: %s", none) // the request does not matter
	default:
		return l.Sprintf("HSS could not be called: %s", err)
	}
}
