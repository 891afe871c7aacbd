package inventory

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/policy"
)

// kind says why there is no answer from HSS.
type kind int

const (
	// other means anything else, such as an untrusted certificate or a defect.
	other kind = iota
	// notCalled means that other calls come first.
	notCalled
	// notSent means that the call did not reach HSS for a reason of hssgate's own.
	notSent
	// slow means that HSS is not waited for, since its last answer took long.
	slow
	// breakerOpen means that HSS is not called because it failed repeatedly.
	breakerOpen
	// timedOut means that HSS took too long.
	timedOut
	// badRows means that HSS, being well, sent rows that cannot be true, or not all of them.
	badRows
	// panicked means a panic that was recovered.
	panicked
	// closed means that hssgate is shutting down.
	closed
	// misconfigured means that the credentials, the project or the request is wrong.
	misconfigured
	// rejected means that HSS, being well, answered with an error.
	rejected
	// serverError means that HSS answered that it is not well.
	serverError
	// unreachable means that no answer came.
	unreachable
	// canceled means that the caller needs no answer any more.
	canceled
)

// failure is why there is no answer from HSS, as far as HSS itself does not say.
type failure struct {
	kind   kind
	reason string
	// last is what HSS answered, or why it did not, the last time; optional.
	last error
}

func (f *failure) Error() string { return f.reason }

func (f *failure) Unwrap() error { return f.last }

func failuref(k kind, format string, args ...any) *failure {
	return &failure{kind: k, reason: fmt.Sprintf(format, args...)}
}

// isFailure reports whether an error is a failure of one of some kinds.
func isFailure(err error, kinds ...kind) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && slices.Contains(kinds, f.kind)
}

// errClosed returns the failure after Close.
func errClosed() error { return failuref(closed, "hssgate is shutting down") }

// timeoutAfter returns the failure after a wait. last is what HSS answered meanwhile to a request that is sent again, or
// how its answer broke off; optional.
func timeoutAfter(waited time.Duration, last error) error {
	if last != nil {
		return &failure{timedOut, fmt.Sprintf("%s; no other answer came in %s", reasonOf(last), rounded(waited)), last}
	}
	return failuref(timedOut, "HSS did not answer in time (%s)", rounded(waited))
}

// recovered turns a panic into an error: trouble with one image must not end the process.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = failuref(panicked, "internal error while calling HSS: panic: %v", r)
	}
}

func rounded(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

// kindOf returns the kind of any error but nil. What HSS answered the last time decides if the failure has it.
func kindOf(err error) kind {
	var (
		own        *failure
		refusal    *hss.RefusedError
		answered   *hss.Error
		row        *hss.RowError
		incomplete *hss.IncompleteListError
		invalid    *hss.InvalidRequestError
		project    *hss.ProjectError
	)
	switch {
	case errors.As(err, &own) && own.last != nil:
		return kindOf(own.last)
	case own != nil:
		return own.kind
	case errors.As(err, &row), errors.As(err, &incomplete):
		return badRows
	case errors.As(err, &refusal), errors.As(err, &invalid),
		errors.As(err, &project) && project.Err == nil: // IAM answers that the account has no such project
		return misconfigured
	case errors.Is(err, context.Canceled):
		return canceled
	case errors.As(err, &answered):
		return kindOfAnswer(answered)
	case hss.Temporary(err):
		return unreachable
	default:
		return other
	}
}

func kindOfAnswer(e *hss.Error) kind {
	switch {
	case e.Unauthenticated():
		return misconfigured
	case e.StatusCode == http.StatusTooManyRequests, e.StatusCode >= http.StatusInternalServerError,
		e.StatusCode < http.StatusBadRequest && e.Code == "": // an answer that makes no sense
		return serverError
	default:
		return rejected
	}
}

// health is what the end of a call says of HSS as a whole.
type health int

const (
	unknownHealth health = iota // HSS was not called
	healthy
	unhealthy
)

// healthOf returns what an error says of HSS. HSS is healthy if it answers, even if it refuses: what is wrong with one
// request must not keep others from being sent.
func healthOf(err error) health {
	if err == nil {
		return healthy
	}
	switch kindOf(err) {
	case badRows, rejected:
		return healthy
	case serverError, unreachable, timedOut, other:
		return unhealthy
	default:
		return unknownHealth
	}
}

// isOwnLimit reports whether HSS was not called at all, so that nothing is to be remembered.
func isOwnLimit(err error) bool { return isFailure(err, breakerOpen, notCalled, closed) }

// isTemporary reports whether a call may succeed a little later by itself.
func isTemporary(err error) bool { return kindOf(err) == timedOut || hss.Temporary(err) }

// answersWithin is the time after its last answer for which HSS counts as answering: a queue also fills while HSS hangs.
const answersWithin = 5 * time.Second

// classify returns whose fault an error is.
func (p *project) classify(err error) policy.Cause {
	switch k := kindOf(err); {
	case k == closed, k == notSent, k == notCalled && p.inventory.clock.Since(p.images.answered()) < answersWithin:
		return policy.CauseOverload
	case k == notCalled, k == slow, k == badRows, k == timedOut, k == serverError, k == unreachable, hss.Temporary(err):
		return policy.CauseOutage
	}
	return policy.CauseConfiguration // credentials, permission, project, endpoint, or a defect
}

// describe returns in one line why there is no answer from HSS, short enough for the webhook's answers.
func describe(err error) string {
	const most = 400
	text := whole(err)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// whole does the same at any length.
func whole(err error) string { return strings.Join(strings.Fields(reasonOf(err)), " ") }

// reasonOf picks the error in the chain that explains most. What HSS itself answered comes before that a further attempt
// was not sent.
func reasonOf(err error) string {
	var own *failure
	var incomplete *hss.IncompleteListError
	var project *hss.ProjectError
	var refused *hss.RefusedError
	var answered *hss.Error
	var none *hss.NoCredentialsError
	switch {
	case errors.As(err, &own) && own.kind != notSent && own.kind != panicked:
		return own.reason
	case errors.As(err, &incomplete):
		return incomplete.Error()
	case errors.As(err, &project):
		return project.Error()
	case errors.As(err, &refused):
		return refused.Error()
	case errors.As(err, &answered):
		return answered.Error()
	case own != nil && own.kind == notSent:
		return own.reason
	case errors.As(err, &none):
		return "HSS could not be called: " + none.Error() // the request does not matter
	default:
		return "HSS could not be called: " + withoutQuery(err)
	}
}

// withoutQuery drops the query of the URL that an error may name, to leave room for what went wrong.
func withoutQuery(err error) string {
	failed, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err.Error()
	}
	short, _, _ := strings.Cut(failed.URL, "?")
	return strings.ReplaceAll(err.Error(), failed.URL, short)
}

// BreakerState says whether a project's HSS is called.
type BreakerState string

// The states.
const (
	// BreakerClosed means that HSS is called.
	BreakerClosed BreakerState = "closed"
	// BreakerOpen means that HSS failed repeatedly and is not called for a while.
	BreakerOpen BreakerState = "open"
	// BreakerHalfOpen means that one call is trying whether HSS is well again.
	BreakerHalfOpen BreakerState = "half-open"
)

// When a breaker opens, and for how long.
const (
	// breakAfter is how many calls in a row must fail, or breakPercent of at least breakCalls within breakWindow.
	breakAfter   = 5
	breakPercent = 50
	breakCalls   = 20
	breakWindow  = time.Minute
	// openFor is how long HSS is not called.
	openFor = 5 * time.Second
)

// endpoint is a part of HSS's API, and how well it is.
type endpoint struct {
	project *project
	name    string
	breaker *gobreaker.CircuitBreaker[struct{}]

	mu sync.Mutex
	// lastSuccess is when HSS last answered, lastTook how long that took, and vain when an admission with a known result
	// last waited in vain.
	lastSuccess, vain time.Time
	lastTook          time.Duration
	// trouble is what went wrong last.
	trouble error
}

// newEndpoint returns an endpoint. changed is called when its breaker changes its state.
func newEndpoint(p *project, name string, changed func(to gobreaker.State)) *endpoint {
	return &endpoint{project: p, name: name, breaker: gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Interval: breakWindow, Timeout: openFor,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= breakAfter || c.Requests >= breakCalls && c.TotalFailures*100 >= c.Requests*breakPercent
		},
		IsSuccessful:  func(err error) bool { return healthOf(err) != unhealthy },
		IsExcluded:    func(err error) bool { return healthOf(err) == unknownHealth },
		OnStateChange: func(_ string, _, to gobreaker.State) { changed(to) },
	})}
}

// execute calls f unless the breaker is open, and keeps how HSS answered.
func (e *endpoint) execute(f func() error) error {
	_, err := e.breaker.Execute(func() (struct{}, error) {
		begun := e.project.inventory.clock.Now()
		err := f()
		now := e.project.inventory.clock.Now()
		e.mu.Lock()
		defer e.mu.Unlock()
		switch {
		case err == nil:
			e.lastSuccess, e.lastTook = now, now.Sub(begun)
		case healthOf(err) == unhealthy:
			e.trouble = err
		}
		return struct{}{}, err
	})
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return e.open()
	}
	return err
}

// openError returns an error unless the breaker is closed.
func (e *endpoint) openError() error {
	if e.breaker.State() == gobreaker.StateClosed {
		return nil
	}
	return e.open()
}

func (e *endpoint) open() error {
	last := e.lastTrouble()
	return &failure{breakerOpen, fmt.Sprintf("HSS project %q failed repeatedly, so it is only tried every few seconds; the last failure: %s",
		e.name, describe(last)), last}
}

func (e *endpoint) lastTrouble() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.trouble
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

// unwell returns why HSS is not likely to answer within a time, or nil: its breaker is open, its last answer took
// longer, or an admission has waited in vain since.
func (e *endpoint) unwell(wait time.Duration) error {
	if err := e.openError(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.vain.After(e.lastSuccess):
		return e.trouble
	case e.lastTook >= wait:
		return failuref(slow, "HSS is slow (its last answer took %s) and is called in the background", rounded(e.lastTook))
	}
	return nil
}

// breakerChanged reports the state of the breaker of the image list and, while it is open, has HSS tried in the
// background: no admission waits for that.
func (p *project) breakerChanged(to gobreaker.State) {
	p.inventory.observer.Breaker(p.name, BreakerState(to.String()))
	if to == gobreaker.StateOpen && p.probing.CompareAndSwap(false, true) {
		go p.probe()
	}
}

// probe lists one image now and then until the breaker is closed.
func (p *project) probe() {
	defer p.probing.Store(false)
	i := p.inventory
	if !i.begin() {
		return
	}
	defer i.underWay.Done()
	for p.images.breaker.State() != gobreaker.StateClosed {
		sleep(i.base, openFor+time.Duration(i.random()*float64(openFor)))
		if i.base.Err() != nil {
			return
		}
		_ = p.images.execute(func() error {
			err := p.send(i.base, p.images, func(ctx context.Context) error {
				_, err := p.countImages(ctx)
				return err
			})
			if !isFailure(err, notSent) && healthOf(err) == unknownHealth {
				return nil // such as refused credentials: the next look-ups say what is wrong
			}
			return err
		})
	}
}
