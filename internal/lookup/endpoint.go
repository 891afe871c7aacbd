package lookup

import (
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"
)

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
)

// Endpoint is a part of HSS's API, and how well it is.
type Endpoint struct {
	project *Project
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

// NewEndpoint returns another part of HSS's API, with a breaker of its own.
func (p *Project) NewEndpoint(part string) *Endpoint {
	name := p.Name
	if part != "" {
		name += " (" + part + ")"
	}
	return &Endpoint{project: p, name: name, probes: rate.NewLimiter(rate.Every(probeEvery), 1), breaker: gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Interval: breakWindow, BucketPeriod: breakWindow / 12, Timeout: openFor,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= breakAfter || c.Requests >= breakCalls && c.TotalFailures*100 >= c.Requests*breakPercent
		},
		IsSuccessful: func(err error) bool { return kindOf(err) <= badRows },
		IsExcluded:   func(err error) bool { return errors.Is(err, gobreaker.ErrOpenState) || kindOf(err) > other },
	})}
}

// closed reports whether HSS is well as far as the breaker knows. The endpoint is optional.
func (e *Endpoint) closed() bool { return e == nil || e.breaker.State() == gobreaker.StateClosed }

// execute calls f unless the breaker is open, and keeps how HSS answered. One call at a time, every probeEvery, tries whether HSS is well again. The
// endpoint is optional.
func (e *Endpoint) execute(f func() error) error {
	if e == nil {
		return f()
	}
	_, err := e.breaker.Execute(func() (struct{}, error) {
		if !e.closed() && !e.probes.Allow() {
			return struct{}{}, gobreaker.ErrOpenState
		}
		begun := e.project.group.Clock.Now()
		err := f()
		now := e.project.group.Clock.Now()
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
func (e *Endpoint) refusal() error {
	if s := e.breaker.State(); s == gobreaker.StateOpen || s == gobreaker.StateHalfOpen && e.probes.Tokens() < 1 {
		return e.open()
	}
	return nil
}

// IsTripped reports whether an error says that the breaker let no call through.
func IsTripped(err error) bool {
	own, ok := errors.AsType[*failure](err)
	return ok && own.kind == tripped
}

// open returns why HSS is not called while the breaker is not closed.
func (e *Endpoint) open() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := failuref(tripped, "HSS project %q failed repeatedly, so it is only tried every %s; the last failure: %s",
		e.name, probeEvery, Describe(e.project.group.Language, e.trouble))
	err.last = e.trouble
	return err
}

// answered returns when HSS last answered; zero: never.
func (e *Endpoint) answered() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lastSuccess
}

// waitedInVain notes that an admission with a known result waited for HSS and had no answer.
func (e *Endpoint) waitedInVain(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.vain, e.trouble = e.project.group.Clock.Now(), err
}

// unwell returns why HSS is not likely to answer within a time, or nil: its breaker is not closed, its last answer took
// longer, or an admission has waited in vain since.
func (e *Endpoint) unwell(wait time.Duration) error {
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
