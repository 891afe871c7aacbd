// Package lookup calls HSS for look-ups: within the limits of each project, once for all who need the same, and with the
// answers kept in memory.
//
// The calls to a project pass its circuit breaker, one concurrency limit and one rate limit. The admissions of one
// namespace get at most three quarters of the concurrent calls, the background (refreshes, audits, synchronisation) less.
package lookup

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy"
)

// Lane is a queue for calls to HSS. Each namespace whose admissions need HSS has one of its own, so that none waits for all that another one needs.
type Lane string

// The lanes besides those of namespaces.
const (
	Background Lane = "background"
	WarmUp     Lane = "warm-up"
	Admissions Lane = "admissions"
)

const (
	// MaxConcurrent bounds a project's calls at one time, unless it is configured otherwise.
	MaxConcurrent = 16
	// backgroundPercent is the background's share of them.
	backgroundPercent = 30
	// maxWaiting bounds the callers that wait in one lane.
	maxWaiting = 10_000
	// maxPause bounds how long HSS can ask hssgate to wait.
	maxPause = 10 * time.Minute
)

// AdmissionLane returns the lane of the admission that a context belongs to.
func AdmissionLane(ctx context.Context) Lane {
	if namespace := policy.NamespaceOf(ctx); namespace != "" {
		return Lane("namespace " + namespace)
	}
	return Admissions
}

// Settings are those of all projects.
type Settings struct {
	// Clock is for times; those that bound a wait are real.
	Clock clock.Clock
	// Language is that of errors which hssgate makes.
	Language language.Language
	// WaitWhenStale is how long an admission that can fall back on an answer waits for a new one.
	WaitWhenStale time.Duration
	// ErrorFor is how long HSS is not called again for a key after a failure.
	ErrorFor time.Duration
}

// Group is what the look-ups of several projects have in common: their settings and their end.
type Group struct {
	Settings

	base     context.Context //nolint:containedctx // the lifetime of look-ups, which outlive the requests that start them
	cancel   context.CancelFunc
	mu       sync.Mutex // of the end of base
	underWay sync.WaitGroup
}

// NewGroup returns a group whose look-ups may begin until Close.
func NewGroup(s Settings) *Group {
	g := &Group{Settings: s}
	g.base, g.cancel = context.WithCancel(context.Background())
	return g
}

// Context ends with Close.
func (g *Group) Context() context.Context { return g.base }

// Begin registers what Close has to wait for, until end is called. It fails after Close.
func (g *Group) Begin() (end func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.base.Err() != nil {
		return nil, errClosed()
	}
	g.underWay.Add(1)
	return g.underWay.Done, nil
}

// Close cancels the calls under way and waits for them. What is cached can still be read.
func (g *Group) Close() {
	g.mu.Lock()
	g.cancel()
	g.mu.Unlock()
	g.underWay.Wait()
}

// Project is an HSS project with the limits that its calls keep.
type Project struct {
	// Name is the configured one.
	Name string
	// Images is the part of HSS's API that lists images. No other part is called while its breaker is open.
	Images *Endpoint

	group   *Group
	timeout time.Duration // of one look-up
	// slots hold the calls that are under way.
	slots   chan struct{}
	waiting atomic.Int64

	mu    sync.Mutex
	lanes map[Lane]*openLane

	// paused is set while HSS has asked hssgate to wait.
	paused atomic.Pointer[pause]
}

// openLane is a lane that is in use. users counts those who wait for one of its slots or have one.
type openLane struct {
	slots chan struct{}
	users int
}

// pause is why HSS is not called before a time.
type pause struct {
	err   error
	until time.Time
}

// reason returns why HSS is not called at a time, of which the zero one is in every pause; nil: it may be. The pause is optional.
func (p *pause) reason(now time.Time) error {
	if p == nil || !now.Before(p.until) {
		return nil
	}
	return p.err
}

// NewProject returns a project with so many calls at one time, each of which ends after the timeout.
func (g *Group) NewProject(name string, maxConcurrent int, timeout time.Duration) *Project {
	p := &Project{Name: name, group: g, timeout: timeout, slots: make(chan struct{}, maxConcurrent), lanes: map[Lane]*openLane{}}
	p.Images = p.NewEndpoint("")
	return p
}

// Stats are the state of a project at one moment.
type Stats struct {
	// Name is the project's.
	Name string
	// Breaker is the state of the circuit breaker.
	Breaker gobreaker.State
	// UnderWay is how many calls are under way, Waiting how many wait for a slot.
	UnderWay, Waiting int
	// LastSuccess is when HSS last answered; zero: never.
	LastSuccess time.Time
	// PausedUntil is until when HSS asked hssgate to wait; zero: it did not.
	PausedUntil time.Time
}

// Stats returns the current state.
func (p *Project) Stats() Stats {
	s := Stats{
		Name: p.Name, Breaker: p.Images.breaker.State(), UnderWay: len(p.slots), Waiting: int(p.waiting.Load()), LastSuccess: p.Images.answered(),
	}
	if w := p.paused.Load(); w != nil {
		s.PausedUntil = w.until
	}
	return s
}

// Width returns how many calls of a lane may be under way at one time.
func (p *Project) Width(l Lane) int {
	switch most := cap(p.slots); l {
	case Background:
		return max(1, most*backgroundPercent/100)
	case Admissions:
		return most
	default:
		return most - most/4
	}
}

// take waits for a slot of a lane until ctx or the wait ends. It returns what frees the slot, or nil if there was none in time.
func (p *Project) take(ctx context.Context, l Lane, done <-chan struct{}) (free func(), err error) {
	p.mu.Lock()
	open := p.lanes[l]
	if open == nil {
		open = &openLane{slots: make(chan struct{}, p.Width(l))}
		p.lanes[l] = open
	}
	open.users++
	users := open.users
	p.mu.Unlock()
	leave := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if open.users--; open.users == 0 {
			delete(p.lanes, l)
		}
	}
	switch {
	case users > maxWaiting:
		err = failuref(notCalled, "HSS is not called, since %d look-ups already wait for it (%s)", maxWaiting, l)
	case p.wait(ctx, open.slots, done):
		return func() {
			<-open.slots
			leave()
		}, nil
	}
	leave()
	return nil, err
}

// wait waits for a slot until ctx or the wait ends. It reports whether it got one.
func (p *Project) wait(ctx context.Context, slots chan struct{}, done <-chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	default:
	}
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	select {
	case slots <- struct{}{}:
		return true
	case <-done:
	case <-ctx.Done():
	case <-p.group.base.Done():
	}
	return false
}

// waitEnded returns why there was no slot.
func (p *Project) waitEnded() error {
	if p.group.base.Err() != nil {
		return errClosed()
	}
	return errTimeUp()
}

// refusal returns why HSS must not be called now, or nil.
func (p *Project) refusal() error {
	return cmp.Or(p.paused.Load().reason(p.group.Clock.Now()), p.Images.refusal())
}

// call is Call for those who have a slot of a lane. Close waits for it.
func (p *Project) call(ctx context.Context, e *Endpoint, f func(ctx context.Context) error) (at time.Time, err error) {
	end, err := p.group.Begin()
	if err != nil {
		return at, err
	}
	defer end()
	if !p.wait(ctx, p.slots, nil) {
		return at, p.waitEnded()
	}
	defer func() { <-p.slots }()
	if err = p.refusal(); err != nil {
		return at, err
	}
	err = e.execute(func() error {
		at = p.group.Clock.Now()
		return p.send(ctx, e, f)
	})
	return at, err
}

// Call lets f call an endpoint in a lane, once a slot is free, and returns when that was; zero: f was not called. What goes
// wrong counts for the breaker of the endpoint; nil: for none, as it says nothing of other calls.
func (p *Project) Call(ctx context.Context, l Lane, e *Endpoint, f func(ctx context.Context) error) (at time.Time, err error) {
	free, err := p.take(ctx, l, nil)
	if free == nil {
		return at, cmp.Or(err, p.waitEnded())
	}
	defer free()
	return p.call(ctx, e, f)
}

// CallInBackground does the same in the background, until Close.
func (p *Project) CallInBackground(e *Endpoint, f func(ctx context.Context) error) (at time.Time, err error) {
	return p.Call(p.group.base, Background, e, f)
}

// send calls f within the time of a look-up, and notes what follows from its end for the next ones. An answer that ends
// without an error because its time was up is not whole.
func (p *Project) send(ctx context.Context, e *Endpoint, f func(ctx context.Context) error) error {
	a := attemptOf(ctx)
	a.reach(called)
	limited, cancel := context.WithTimeout(context.WithValue(ctx, endpointKey{}, e), p.timeout)
	defer cancel()
	err := Guarded(limited, f)
	ended := limited.Err()
	answered, ok := errors.AsType[*hss.Error](err)
	switch {
	case p.group.base.Err() != nil && (err != nil || ended != nil):
		return errClosed()
	case ended != nil && (err == nil || errors.Is(err, ended)):
		return cmp.Or(ctx.Err(), p.late(a, p.timeout))
	case e == p.Images && ok && answered.RetryAfter > 0 && !answered.Unauthenticated():
		p.paused.Store(&pause{err: err, until: p.group.Clock.Now().Add(min(answered.RetryAfter, maxPause))})
	}
	return err
}

// Guarded calls f and turns a panic into an error.
func Guarded(ctx context.Context, f func(context.Context) error) (err error) {
	defer recovered(&err)
	return f(ctx)
}
