package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

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

// errClosed returns the failure after Close.
func errClosed() error { return failuref(notSent, "hssgate is shutting down") }

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

// answersWithin is the time after its last answer for which HSS counts as answering: a queue also fills while HSS hangs.
const answersWithin = 5 * time.Second

// classify returns whose fault an error is.
func (p *project) classify(err error) policy.Cause {
	switch k := kindOf(err); {
	case k == notSent, k == notCalled && p.inventory.clock.Since(p.images.answered()) < answersWithin:
		return policy.CauseOverload
	case k == notCalled, k == tripped, k == badRows, k == down, hss.Temporary(err):
		return policy.CauseOutage
	}
	return policy.CauseConfiguration // credentials, permission, project, endpoint, or a defect
}

// describe returns in one line why there is no answer from HSS, short enough for the webhook's answers. What HSS itself or the network answered is
// in no other language.
func describe(l language.Language, err error) string {
	const most = 400
	text := whole(l, err)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// whole does the same at any length.
func whole(l language.Language, err error) string {
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

// When a breaker opens, and for how long.
const (
	// breakAfter is how many calls in a row must fail, or breakPercent of at least breakCalls within breakWindow.
	breakAfter   = 5
	breakPercent = 50
	breakCalls   = 20
	breakWindow  = 3 * time.Minute
	// Until HSS is well again, a call tries it every probeEvery, and the breaker is open for openFor after each.
	probeEvery = 10 * time.Second
	openFor    = time.Second
	// triedEvery is how often an admission that waits for the breaker tries to call HSS.
	triedEvery = 500 * time.Millisecond
)

// endpoint is a part of HSS's API, and how well it is.
type endpoint struct {
	project *project
	name    string
	breaker *gobreaker.CircuitBreaker[struct{}]
	// probes limits the calls while the breaker is not closed.
	probes *rate.Limiter

	mu sync.Mutex
	// lastSuccess is when HSS last answered, lastTook how long that took, and vain when an admission with a known result last waited in vain.
	lastSuccess, vain time.Time
	lastTook          time.Duration
	// trouble is what went wrong last.
	trouble error
}

func newEndpoint(p *project, name string) *endpoint {
	return &endpoint{project: p, name: name, probes: rate.NewLimiter(rate.Every(probeEvery), 1), breaker: gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Interval: breakWindow, BucketPeriod: breakWindow / 12, Timeout: openFor,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= breakAfter || c.Requests >= breakCalls && c.TotalFailures*100 >= c.Requests*breakPercent
		},
		IsSuccessful: func(err error) bool { return kindOf(err) <= badRows },
		IsExcluded:   func(err error) bool { return errors.Is(err, gobreaker.ErrOpenState) || kindOf(err) > other },
	})}
}

// closed reports whether HSS is well as far as the breaker knows. The endpoint is optional.
func (e *endpoint) closed() bool { return e == nil || e.breaker.State() == gobreaker.StateClosed }

// execute calls f unless the breaker is open, and keeps how HSS answered. One call at a time, every probeEvery, tries whether HSS is well again. The
// endpoint is optional.
func (e *endpoint) execute(f func() error) error {
	if e == nil {
		return f()
	}
	_, err := e.breaker.Execute(func() (struct{}, error) {
		if !e.closed() && !e.probes.Allow() {
			return struct{}{}, gobreaker.ErrOpenState
		}
		begun := e.project.inventory.clock.Now()
		err := f()
		now := e.project.inventory.clock.Now()
		e.mu.Lock()
		defer e.mu.Unlock()
		switch {
		case err == nil:
			e.lastSuccess, e.lastTook = now, now.Sub(begun)
		case kindOf(err) == down, kindOf(err) == other:
			e.trouble = err
		}
		return struct{}{}, err
	})
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return e.open()
	}
	return err
}

// refusal returns why the breaker lets no call through, not even one that tries HSS, or nil.
func (e *endpoint) refusal() error {
	if s := e.breaker.State(); s == gobreaker.StateOpen || s == gobreaker.StateHalfOpen && e.probes.Tokens() < 1 {
		return e.open()
	}
	return nil
}

// isTripped reports whether an error says that the breaker let no call through.
func isTripped(err error) bool {
	own, ok := errors.AsType[*failure](err)
	return ok && own.kind == tripped
}

// open returns why HSS is not called while the breaker is not closed.
func (e *endpoint) open() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := failuref(tripped, "HSS project %q failed repeatedly, so it is only tried every %s; the last failure: %s",
		e.name, probeEvery, describe(e.project.inventory.language, e.trouble))
	err.last = e.trouble
	return err
}

// answered returns when HSS last answered; zero: never.
func (e *endpoint) answered() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lastSuccess
}

// waitedInVain notes that an admission with a known result waited for HSS and had no answer.
func (e *endpoint) waitedInVain(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.vain, e.trouble = e.project.inventory.clock.Now(), err
}

// unwell returns why HSS is not likely to answer within a time, or nil: its breaker is not closed, its last answer took
// longer, or an admission has waited in vain since.
func (e *endpoint) unwell(wait time.Duration) error {
	if !e.closed() {
		return e.open()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.vain.After(e.lastSuccess):
		return e.trouble
	case e.lastTook >= wait:
		return failuref(down, "HSS is slow (its last answer took %s) and is called in the background", rounded(e.lastTook))
	}
	return nil
}
