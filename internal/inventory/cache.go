package inventory

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"go.opentelemetry.io/otel/trace"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/tracing"
)

// answer is what is known of one key: the last result, and why the last look-up failed. It does not change once it is cached.
type answer[V any] struct {
	value V
	// asOf is when HSS was called for it, zero if there is no result, or if the value is known to be outdated; stored is when it was kept.
	asOf, stored time.Time
	// failed is why the last look-up failed, and until when HSS is not called again.
	failed *pause
}

func (a *answer[V]) isKnown() bool { return !a.asOf.IsZero() }

// lookupKey is a key of a cache.
type lookupKey interface {
	comparable
	// endpoint is the part of HSS's API that the look-up needs.
	endpoint() *endpoint
}

// cache holds the answers to one kind of look-up, and runs one look-up for a key at a time.
type cache[K lookupKey, V any] struct {
	inventory *Inventory
	// full holds answers with a value. Those that hold nothing, as HSS has nothing or failed, are in empty, so that no
	// flood of made-up names evicts a known image.
	full, empty *otter.Cache[K, *answer[V]]
	none        answer[V] // of keys that were never looked up
	bytes       func(V) int
	// query calls HSS. The value that is known, if any, is passed to it.
	query func(ctx context.Context, k K, known V) (V, error)
	// asked is called with the end of each query; optional.
	asked func(ctx context.Context, project string, took time.Duration, err error)
	// replaced is called with each answer that another takes the place of, if HSS did not fail; optional.
	replaced func(was, becomes *answer[V])
	// forbiddenFor is how long HSS is not called again for a key after it denied permission.
	forbiddenFor time.Duration

	mu sync.Mutex // of changes of all of them
	// changes counts the answers that were kept.
	changes atomic.Uint64
	// lookups are those that callers wait for or that are under way.
	lookups map[K]*lookup[V]
}

// lookup is one look-up, for all callers that need its key. The first of them that gets a slot begins it.
type lookup[V any] struct {
	attempt
	callers int
	begun   bool
	span    trace.SpanContext // of the caller that began it
	// started is closed when it begins, done when answer or err is set.
	started, done chan struct{}
	answer        *answer[V]
	err           error
}

// partialError says that a part of what HSS has is missing or cannot be read. The rest admits nothing, and can still show
// that an image violates a policy.
type partialError[V any] struct {
	err   error
	value V
}

func (e *partialError[V]) Error() string { return e.err.Error() }
func (e *partialError[V]) Unwrap() error { return e.err }

const (
	// entryBytes is about what an answer takes besides its value: the key, the cache's entry and the answer itself.
	entryBytes = 368
	// emptyBytes bounds the answers that hold nothing.
	emptyBytes = 4 << 20
)

func newCache[K lookupKey, V any](
	i *Inventory, maxBytes uint64, bytes func(V) int, query func(context.Context, K, V) (V, error),
	asked func(context.Context, string, time.Duration, error),
) *cache[K, V] {
	bounded := func(maxBytes uint64) *otter.Cache[K, *answer[V]] {
		return otter.Must(&otter.Options[K, *answer[V]]{MaximumWeight: maxBytes, Weigher: func(_ K, a *answer[V]) uint32 {
			return uint32(min(entryBytes+bytes(a.value), math.MaxUint32)) //nolint:gosec // bounded just here
		}})
	}
	return &cache[K, V]{
		inventory: i, full: bounded(maxBytes), empty: bounded(emptyBytes), bytes: bytes, query: query, asked: asked,
		forbiddenFor: forbiddenFor, lookups: map[K]*lookup[V]{},
	}
}

// get returns what is known of a key.
func (c *cache[K, V]) get(k K) *answer[V] {
	if a, ok := c.full.GetIfPresent(k); ok {
		return a
	}
	if a, ok := c.empty.GetIfPresent(k); ok {
		return a
	}
	return &c.none
}

// set caches an answer. If was is given, it does so only while that is there.
func (c *cache[K, V]) set(k K, was, becomes *answer[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	is := c.get(k)
	if was != nil && was != is {
		return
	}
	into, other := c.full, c.empty
	if c.bytes(becomes.value) == 0 {
		into, other = other, into
	}
	into.Set(k, becomes)
	other.Invalidate(k)
	c.changes.Add(1)
	if c.replaced != nil && is.isKnown() && becomes.failed == nil {
		c.replaced(is, becomes)
	}
}

// obtain returns a new answer from HSS, or why there is none. If the caller can fall back on the answer a, an admission
// waits only while HSS is well, and not long.
func (c *cache[K, V]) obtain(ctx context.Context, k K, a *answer[V], l lane, fallback bool) (*answer[V], error) {
	if err := a.failed.reason(c.inventory.clock.Now()); err != nil {
		return nil, err
	}
	if !fallback || l == background {
		return c.fetch(ctx, k, a, l)
	}
	wait := c.inventory.cfg.WaitWhenStale
	if err := k.endpoint().unwell(wait); err != nil {
		c.refresh(k, a)
		return nil, err
	}
	brief, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	fresh, err := c.fetch(brief, k, a, l)
	if err != nil && brief.Err() != nil {
		k.endpoint().waitedInVain(err)
	}
	return fresh, err
}

// fetch looks a key up at HSS, and waits for it until ctx ends. Of all callers that wait, each in its lane, the first with a slot begins the look-up.
// It goes on when they have left.
func (c *cache[K, V]) fetch(ctx context.Context, k K, seen *answer[V], l lane) (*answer[V], error) {
	p, begun := k.endpoint().project, c.inventory.clock.Now()
	if ctx.Err() != nil {
		return nil, failuref(notCalled, "HSS was not called, since the time was up")
	}
	u, now, err := c.join(k, seen)
	if u == nil {
		return now, err
	}
	defer c.leave(ctx, k, u)
	switch free, err := p.take(ctx, l, u.started); {
	case err != nil:
		return nil, err
	case free != nil:
		c.begin(ctx, k, u, free)
	}
	select {
	case <-u.done:
		return u.answer, u.err
	case <-c.inventory.base.Done():
		return nil, errClosed()
	case <-ctx.Done():
		return nil, p.late(&u.attempt, c.inventory.clock.Since(begun))
	}
}

// join returns the look-up of a key. There is none if one has ended since the caller saw an answer, which it returns then, or if HSS must not be called.
func (c *cache[K, V]) join(k K, seen *answer[V]) (*lookup[V], *answer[V], error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.lookups[k]
	if u == nil {
		if now := c.get(k); now != seen && (now.isKnown() || now.failed != nil) {
			return nil, now, now.failed.reason(time.Time{})
		}
		if err := k.endpoint().project.refusal(); err != nil {
			return nil, nil, err
		}
		u = &lookup[V]{started: make(chan struct{}), done: make(chan struct{})}
		c.lookups[k] = u
	}
	u.callers++
	return u, nil, nil
}

// leave ends the wait of a caller. A look-up that has not begun ends with the last one.
func (c *cache[K, V]) leave(ctx context.Context, k K, u *lookup[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u.callers--; u.callers == 0 && !u.begun {
		delete(c.lookups, k)
	}
	tracing.Link(ctx, u.span)
}

// begin starts a look-up with the slot of a caller, and frees the slot at its end, or at once if another caller was first.
func (c *cache[K, V]) begin(ctx context.Context, k K, u *lookup[V], free func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u.begun {
		free()
		return
	}
	u.begun, u.span = true, trace.SpanContextFromContext(ctx)
	close(u.started)
	ctx = withAttempt(tracing.Join(c.inventory.base, ctx), &u.attempt)
	go func() {
		u.answer, u.err = c.load(ctx, k)
		free()
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.lookups, k)
		close(u.done)
	}()
}

// refresh looks a key up in the background, unless that is under way, the background has no slot or HSS must not be called now.
func (c *cache[K, V]) refresh(k K, a *answer[V]) {
	if a.failed.reason(c.inventory.clock.Now()) != nil {
		return
	}
	u, _, _ := c.join(k, a)
	if u == nil {
		return
	}
	ctx, noWait := c.inventory.base, make(chan struct{})
	close(noWait)
	defer c.leave(ctx, k, u)
	if free, _ := k.endpoint().project.take(ctx, background, noWait); free != nil {
		c.begin(ctx, k, u, free)
	}
}

// load looks a key up. A failure is cached with the last result, for a while, if HSS was called.
func (c *cache[K, V]) load(ctx context.Context, k K) (_ *answer[V], err error) {
	defer recovered(&err)
	e, known := k.endpoint(), c.get(k)
	var value V
	at, err := e.project.call(ctx, e, func(ctx context.Context) (err error) {
		begun := c.inventory.clock.Now()
		if c.asked != nil {
			defer func() { c.asked(ctx, e.project.Name, c.inventory.clock.Since(begun), err) }()
		}
		value, err = c.query(ctx, k, known.value)
		return err
	})
	now := c.inventory.clock.Now()
	if err == nil {
		a := &answer[V]{value: value, asOf: at, stored: now}
		c.set(k, nil, a)
		return a, nil
	}
	if c.bytes(value) > 0 {
		err = &partialError[V]{err, value}
	}
	if !at.IsZero() && c.inventory.base.Err() == nil {
		failed := *known
		failed.failed = &pause{err, now.Add(c.retryAfter(err))}
		c.set(k, nil, &failed)
	}
	return nil, err
}

// retryAfter returns how long HSS is not called again for a key.
func (c *cache[K, V]) retryAfter(err error) time.Duration {
	answer, ok := errors.AsType[*hss.Error](err)
	switch {
	case ok && answer.Forbidden():
		return c.forbiddenFor
	case ok && !answer.Unauthenticated():
		return max(c.inventory.errorFor, min(answer.RetryAfter, maxPause))
	default:
		return c.inventory.errorFor
	}
}
