package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/policy"
)

// lane is a queue for calls to HSS. Each namespace whose admissions need HSS has one of its own, so that none waits for all that another one needs.
type lane string

const (
	background lane = "background"
	warmUp     lane = "warm-up"
	admissions lane = "admissions"
)

const (
	// maxConcurrent bounds a project's calls at one time, and backgroundPercent is the background's share of them.
	maxConcurrent     = 16
	backgroundPercent = 30
	// burstSeconds is for how many seconds' calls a project that was idle may call at once.
	burstSeconds = 2
	// maxWaiting bounds the callers that wait in one lane.
	maxWaiting = 10_000
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

// hssClient is what HSS offers and a file does not; *hss.Client implements it.
type hssClient interface {
	List(ctx context.Context, r hss.ListRequest) (*hss.ListResponse, error)
	ProjectID(ctx context.Context) (string, error)
	StartScan(ctx context.Context, r hss.ScanRequest) error
	SyncRegistries(ctx context.Context, r hss.SyncRequest) error
	Registries(ctx context.Context, r hss.RegistryRequest) iter.Seq2[hss.Registry, error]
	ScanStatistics(ctx context.Context, r hss.ScanStatisticsRequest) (hss.ScanStatistics, error)
}

// project is an HSS project with the limits that its calls keep.
type project struct {
	config.Project

	inventory  *Inventory
	client     Lister
	hss        hssClient     // nil if client is none
	cves       cveLister     // nil if client is none
	indexer    indexer       // nil if client is none
	timeout    time.Duration // of one look-up
	registries []*registry
	// images is the part of HSS's API that lists images, and lists are those that list details of one.
	images *endpoint
	lists  map[policy.Detail]*endpoint
	// advisories is the part that lists vulnerabilities whatever the image.
	advisories *endpoint
	// slots hold the calls that are under way.
	slots   chan struct{}
	waiting atomic.Int64

	mu    sync.Mutex
	lanes map[lane]*openLane

	// paused is set while HSS has asked hssgate to wait.
	paused atomic.Pointer[pause]
	// syncer is nil unless the project is synchronised.
	syncer   *syncer
	coverage atomic.Pointer[coverage]
	counts   scanCounter
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

func (i *Inventory) newProject(c *config.Project, client Lister, o *Options) (*project, error) {
	p := &project{
		Project: *c, inventory: i, client: client, slots: make(chan struct{}, cmp.Or(o.MaxConcurrent, maxConcurrent)), lanes: map[lane]*openLane{},
		timeout: cmp.Or(o.LookupTimeout, max(lookupTimeout, c.RequestTimeout)),
	}
	p.images = newEndpoint(p, p.Name)
	p.lists = map[policy.Detail]*endpoint{
		policy.DetailVulnerabilities: newEndpoint(p, p.Name+" (vulnerabilities)"), policy.DetailSecrets: newEndpoint(p, p.Name+" (secrets)"),
		policy.DetailMaliciousFiles: newEndpoint(p, p.Name+" (malicious files)"),
	}
	p.advisories = newEndpoint(p, p.Name+" (CVEs)")
	p.hss, _ = client.(hssClient)
	p.cves, _ = client.(cveLister)
	p.indexer, _ = client.(indexer)
	switch {
	case client == nil:
		return nil, fmt.Errorf("project %q has no client", p.Name)
	case p.hss == nil && (p.SyncInterval > 0 || p.ScanOnDemand.Enabled):
		return nil, fmt.Errorf("project %q is to be synchronised or scanned on demand, and its client %T offers neither", p.Name, client)
	case p.SyncInterval > 0:
		p.syncer = &syncer{project: p}
	}
	return p, nil
}

// width returns how many calls of a lane may be under way at one time.
func (p *project) width(l lane) int {
	switch most := cap(p.slots); l {
	case background:
		return max(1, most*backgroundPercent/100)
	case admissions:
		return most
	default:
		return most - most/4
	}
}

// take waits for a slot of a lane until ctx or the wait ends. It returns what frees the slot, or nil if there was none in time.
func (p *project) take(ctx context.Context, l lane, done <-chan struct{}) (free func(), err error) {
	p.mu.Lock()
	open := p.lanes[l]
	if open == nil {
		open = &openLane{slots: make(chan struct{}, p.width(l))}
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
func (p *project) wait(ctx context.Context, slots chan struct{}, done <-chan struct{}) bool {
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
	case <-p.inventory.base.Done():
	}
	return false
}

// refusal returns why HSS must not be called now, or nil.
func (p *project) refusal() error {
	return cmp.Or(p.paused.Load().reason(p.inventory.clock.Now()), p.images.refusal())
}

// call lets f call HSS once a slot is free, and returns when that was; zero: f was not called. What goes wrong counts for the breaker of the
// endpoint; nil: for none, as it says nothing of other calls. Close waits for the call.
func (p *project) call(ctx context.Context, e *endpoint, f func(ctx context.Context) error) (at time.Time, err error) {
	if !p.inventory.begin() {
		return at, errClosed()
	}
	defer p.inventory.underWay.Done()
	if !p.wait(ctx, p.slots, nil) {
		return at, errClosed()
	}
	defer func() { <-p.slots }()
	if err = p.refusal(); err != nil {
		return at, err
	}
	err = e.execute(func() error {
		at = p.inventory.clock.Now()
		return p.send(ctx, e, f)
	})
	return at, err
}

// callIn is call in a lane.
func (p *project) callIn(ctx context.Context, l lane, e *endpoint, f func(ctx context.Context) error) (at time.Time, err error) {
	free, err := p.take(ctx, l, nil)
	if free == nil {
		return at, cmp.Or(err, errClosed())
	}
	defer free()
	return p.call(ctx, e, f)
}

// send calls f within the time of a look-up, and notes what follows from its end for the next ones. An answer that ends
// without an error because its time was up is not whole.
func (p *project) send(ctx context.Context, e *endpoint, f func(ctx context.Context) error) error {
	a := attemptOf(ctx)
	a.reach(called)
	limited, cancel := context.WithTimeout(context.WithValue(ctx, endpointKey{}, e), p.timeout)
	defer cancel()
	err := guarded(limited, f)
	ended := limited.Err()
	answered, ok := errors.AsType[*hss.Error](err)
	switch {
	case p.inventory.base.Err() != nil && (err != nil || ended != nil):
		return errClosed()
	case ended != nil && (err == nil || errors.Is(err, ended)):
		return cmp.Or(ctx.Err(), p.late(a, p.timeout))
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

// phase is how far a look-up has come.
type phase int

const (
	queued  phase = iota // other calls come first
	called               // it has a slot
	limited              // requestsPerSecond allows no more calls
	sent                 // its first request was sent
)

// attempt is how far a look-up has come, for those who wait for it.
type attempt struct {
	mu    sync.Mutex
	phase phase
	sent  time.Time
	// last is what HSS answered last to a request that is sent again, or how its answer broke off.
	last error
}

// reach notes a phase, unless it is one of a later request.
func (a *attempt) reach(p phase) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p > a.phase {
		a.phase, a.sent = p, time.Now()
	}
}

// noteRetry keeps what HSS answered to a request that may be sent again, if it answered.
func (a *attempt) noteRetry(err error) {
	if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.last = err
	}
}

// late returns why there is no answer for a caller who has waited for a time. If HSS had less than half of it, other calls are why.
func (p *project) late(a *attempt, waited time.Duration) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.phase == queued, a.phase == sent && a.last == nil && time.Since(a.sent) < waited/2:
		return failuref(notCalled, "HSS was not called in time (%s), since other calls came first: at most %d are made at one time", rounded(waited), cap(p.slots))
	case a.phase == limited:
		return failuref(notSent, "HSS was not called in time (%s), since requestsPerSecond allows no more calls", rounded(waited))
	case a.last != nil:
		err := failuref(down, "%s; no other answer came in %s", reasonOf(p.inventory.language, a.last), rounded(waited))
		err.last = a.last
		return err
	default:
		return failuref(down, "HSS did not answer in time (%s)", rounded(waited))
	}
}

type (
	attemptKey  struct{}
	endpointKey struct{}
)

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
		a.reach(limited)
		if limiter.Wait(ctx) != nil {
			return failuref(notSent, "HSS was not called in time, since requestsPerSecond allows no more calls")
		}
		a.reach(sent)
		return nil
	}
}
