package inventory

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/policy"
)

// lane is a queue for calls to HSS. Each namespace whose admissions need HSS has one of its own, so that none waits for
// all that another one needs.
type lane string

const (
	background lane = "background"
	warmUp     lane = "warm-up"
	admissions lane = "admissions"
)

const (
	// maxConcurrent bounds a project's calls at one time.
	maxConcurrent = 16
	// backgroundPercent is the background's share of them.
	backgroundPercent = 30
	// burstSeconds is for how many seconds' calls a project that was idle may call at once.
	burstSeconds = 2
	// maxWaiting bounds the look-ups that wait in one lane.
	maxWaiting = 500
	// lookupTimeout bounds one look-up, with all pages and attempts, unless requestTimeout is longer.
	lookupTimeout = 30 * time.Second
	// maxPause bounds how long HSS can ask hssgate to wait.
	maxPause = 10 * time.Minute
)

func admissionLane(ctx context.Context) lane {
	if namespace := policy.NamespaceOf(ctx); namespace != "" {
		return lane("namespace " + namespace)
	}
	return admissions
}

// project is an HSS project with the limits that its calls keep.
type project struct {
	inventory         *Inventory
	name, region      string
	enterpriseProject string
	client            Lister
	timeout           time.Duration // of one look-up
	scanOnDemand      config.ScanOnDemand
	registries        []*registry
	// images and lists are the parts of HSS's API that list images and the vulnerabilities of one.
	images, lists *endpoint
	// slots bound the calls at one time, of which there are max.
	slots *semaphore.Weighted
	max   int64

	mu sync.Mutex
	// lanes are those in which calls wait or are under way.
	lanes map[lane]*openLane

	underWay, waiting atomic.Int64
	// paused is set while HSS has asked hssgate to wait, refused while HSS refuses the credentials.
	paused  atomic.Pointer[pause]
	refused atomic.Bool
	// syncer is nil unless the project is synchronised.
	syncer   *syncer
	coverage atomic.Pointer[coverage]
}

// openLane bounds the calls of a lane at one time. places counts them, and those that wait.
type openLane struct {
	slots  *semaphore.Weighted
	places int
}

// pause is why HSS is not called before a time.
type pause struct {
	err   error
	until time.Time
}

// reason returns why HSS is not called at a time; nil: it may be. The pause is optional.
func (p *pause) reason(now time.Time) error {
	if p == nil || !now.Before(p.until) {
		return nil
	}
	return p.err
}

func (i *Inventory) newProject(c *config.Project, client Lister, o *Options) (*project, error) {
	if client == nil {
		return nil, fmt.Errorf("project %q has no client", c.Name)
	}
	p := &project{
		inventory: i, name: c.Name, region: c.Region, enterpriseProject: c.EnterpriseProjectID, client: client,
		timeout: o.LookupTimeout, scanOnDemand: c.ScanOnDemand, max: int64(o.MaxConcurrent), lanes: map[lane]*openLane{},
	}
	if p.timeout == 0 {
		p.timeout = max(lookupTimeout, time.Duration(c.RequestTimeout))
	}
	p.slots = semaphore.NewWeighted(p.max)
	p.images = newEndpoint(p, p.name, func(to gobreaker.State) { i.observer.Breaker(p.name, BreakerState(to.String())) })
	p.lists = newEndpoint(p, p.name+" (vulnerabilities)", func(gobreaker.State) {})
	if _, ok := client.(scanClient); c.ScanOnDemand.Enabled && !ok {
		return nil, fmt.Errorf("project %q scans on demand, and its client %T cannot request scans", c.Name, client)
	}
	if c.SyncInterval == 0 {
		return p, nil
	}
	return p, p.synchronise(c)
}

// width returns how many calls of a lane may be under way at one time.
func (p *project) width(l lane) int64 {
	switch l {
	case background:
		return max(1, p.max*backgroundPercent/100)
	case admissions:
		return p.max
	default:
		return p.max - p.max/4
	}
}

// place is the place of a call in a lane. Close waits for the calls that have one.
type place struct {
	project *project
	lane    lane
	slots   *semaphore.Weighted
	hasSlot bool
}

// enqueue takes a place in a lane, which the caller must leave.
func (p *project) enqueue(l lane) (*place, error) {
	if err := p.refusal(); err != nil {
		return nil, err
	}
	if !p.inventory.begin() {
		return nil, errClosed()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	open := p.lanes[l]
	if open == nil {
		open = &openLane{slots: semaphore.NewWeighted(p.width(l))}
		p.lanes[l] = open
	}
	if open.places >= maxWaiting {
		p.inventory.underWay.Done()
		return nil, failuref(notCalled, "HSS is not called, since %d look-ups already wait for it (%s)", open.places, l)
	}
	open.places++
	return &place{project: p, lane: l, slots: open.slots}, nil
}

// isFull reports whether a call in a lane would have to wait.
func (p *project) isFull(l lane) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	open := p.lanes[l]
	return open != nil && int64(open.places) >= p.width(l)
}

// await waits for a slot of the lane until ctx ends. It reports whether there is one.
func (s *place) await(ctx context.Context) bool {
	s.hasSlot = s.project.await(ctx, s.slots)
	return s.hasSlot
}

// leave gives the place up, and its slot if it has one.
func (s *place) leave() {
	p := s.project
	if s.hasSlot {
		s.slots.Release(1)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	open := p.lanes[s.lane]
	if open.places--; open.places == 0 {
		delete(p.lanes, s.lane)
	}
	p.inventory.underWay.Done()
}

// await takes a slot. It reports whether it got one before ctx ended.
func (p *project) await(ctx context.Context, slots *semaphore.Weighted) bool {
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	return slots.Acquire(ctx, 1) == nil
}

// refusal returns why HSS must not be called now, or nil.
func (p *project) refusal() error {
	if err := p.paused.Load().reason(p.inventory.clock.Now()); err != nil {
		return err
	}
	if p.images.breaker.State() == gobreaker.StateOpen {
		return p.images.open()
	}
	return nil
}

// call lets f call HSS once a slot is free. What goes wrong counts for the breaker of the endpoint; nil: for none, as it
// says nothing of other calls.
func (p *project) call(ctx context.Context, e *endpoint, f func(ctx context.Context) error) error {
	if !p.await(ctx, p.slots) {
		return errClosed()
	}
	defer p.slots.Release(1)
	if err := p.refusal(); err != nil {
		return err
	}
	p.underWay.Add(1)
	defer p.underWay.Add(-1)
	if e == nil {
		return p.send(ctx, e, f)
	}
	return e.execute(func() error { return p.send(ctx, e, f) })
}

// callIn is call in a lane.
func (p *project) callIn(ctx context.Context, l lane, e *endpoint, f func(ctx context.Context) error) error {
	place, err := p.enqueue(l)
	if err != nil {
		return err
	}
	defer place.leave()
	if !place.await(ctx) {
		return errClosed()
	}
	return p.call(ctx, e, f)
}

// send calls f within the time of a look-up, and notes what follows from its end for the next ones. An answer that ends
// without an error because its time was up is not whole.
func (p *project) send(ctx context.Context, e *endpoint, f func(ctx context.Context) error) error {
	at := attemptOf(ctx)
	at.note(func() { at.called = p.inventory.clock.Now() })
	limited, cancel := context.WithTimeout(withAttempt(ctx, at), p.timeout)
	defer cancel()
	err := guarded(limited, f)
	ended := limited.Err()
	_, refused := errors.AsType[*hss.RefusedError](err)
	answered, ok := errors.AsType[*hss.Error](err)
	switch {
	case p.inventory.base.Err() != nil && (err != nil || ended != nil):
		return errClosed()
	case ended != nil && (err == nil || errors.Is(err, ended)):
		if err = ctx.Err(); err == nil {
			at.note(func() { err = timeoutAfter(p.timeout, at.last) })
		}
	case refused && p.refused.CompareAndSwap(false, true):
		p.inventory.observer.Credentials(p.name, causeOf(err, ""))
	case err == nil && p.refused.CompareAndSwap(true, false):
		p.inventory.observer.Credentials(p.name, "")
	case e == p.images && ok && answered.RetryAfter > 0 && !answered.Unauthenticated():
		p.paused.Store(&pause{err: err, until: p.inventory.clock.Now().Add(min(answered.RetryAfter, maxPause))})
	}
	return err
}

// guarded calls f and turns a panic into an error.
func guarded(ctx context.Context, f func(context.Context) error) (err error) {
	defer recovered(&err)
	return f(ctx)
}

// attempt is how far a look-up has come, for those who wait for it.
type attempt struct {
	mu sync.Mutex
	// called is when it had its slot, sent when its first request was sent; zero: not yet.
	called, sent time.Time
	// limited says that a request waits for the rate limiter.
	limited bool
	// last is what HSS answered last to a request that is sent again.
	last error
}

// note reads or changes the attempt.
func (a *attempt) note(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

func (a *attempt) calledAt() (at time.Time) {
	a.note(func() { at = a.called })
	return at
}

// noteRetry keeps what HSS answered to a request that may be sent again, if it answered.
func (a *attempt) noteRetry(err error) {
	if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
		a.note(func() { a.last = err })
	}
}

// late returns why there is no answer for a caller who has waited for a time.
func (p *project) late(a *attempt, waited time.Duration) (err error) {
	a.note(func() {
		since := time.Since(a.sent)
		switch {
		case a.called.IsZero():
			err = failuref(notCalled, "HSS was not called in time (%s), since other calls came first: at most %d are made at one time", rounded(waited), p.max)
		case a.sent.IsZero() && a.limited:
			err = failuref(notSent, "HSS was not called in time (%s), since requestsPerSecond allows no more calls", rounded(waited))
		case !a.sent.IsZero() && a.last == nil && since < waited/2:
			err = failuref(notCalled, "HSS was called too late (after %s of %s), since many other calls came first", rounded(waited)-rounded(since), rounded(waited))
		default:
			err = timeoutAfter(waited, a.last)
		}
	})
	return err
}

type attemptKey struct{}

func withAttempt(ctx context.Context, a *attempt) context.Context {
	return context.WithValue(ctx, attemptKey{}, a)
}

func attemptOf(ctx context.Context) *attempt {
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		return a
	}
	return &attempt{}
}

// newBudget returns a function that waits until one more request of a project may be sent.
func newBudget(p *config.Project) func(context.Context) error {
	limiter := rate.NewLimiter(rate.Limit(p.RequestsPerSecond), max(1, int(p.RequestsPerSecond*burstSeconds)))
	return func(ctx context.Context) error {
		a := attemptOf(ctx)
		a.note(func() { a.limited = true })
		err := limiter.Wait(ctx)
		a.note(func() {
			if a.limited = false; err == nil && a.sent.IsZero() {
				a.sent = time.Now()
			}
		})
		if err != nil {
			return failuref(notSent, "HSS was not called in time, since requestsPerSecond allows no more calls")
		}
		return nil
	}
}
