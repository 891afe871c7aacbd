package inventory

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"go.opentelemetry.io/otel/trace"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/tracing"
)

// answer is what is known of one key: the last result, and why the last look-up failed. It does not change once it is
// cached.
type answer[V any] struct {
	value V
	// asOf is when HSS was called for it, zero if there is no result, or if the value is known to be outdated; stored is
	// when it was kept.
	asOf, stored time.Time
	// failed is why the last look-up failed, and until when HSS is not called again.
	failed *pause
}

func (a *answer[V]) isKnown() bool { return a != nil && !a.asOf.IsZero() }

// lastFailure returns why the last look-up failed, or nil.
func (a *answer[V]) lastFailure() error {
	if a == nil || a.failed == nil {
		return nil
	}
	return a.failed.err
}

// failure returns why HSS must not be called again yet, or nil.
func (a *answer[V]) failure(now time.Time) error {
	if a == nil {
		return nil
	}
	return a.failed.reason(now)
}

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
	bytes       func(V) int
	// query calls HSS. The answer that is known, if any, is passed to it.
	query func(ctx context.Context, k K, known *answer[V]) (V, error)
	// replaced is called with each answer that another takes the place of; optional.
	replaced func(was, becomes *answer[V])
	// forbiddenFor is how long HSS is not called again for a key after it denied permission.
	forbiddenFor time.Duration

	mu sync.Mutex
	// lookups are those that wait for a slot or are under way.
	lookups map[K]*lookup[V]
}

// lookup is one look-up, for all callers that need its key.
type lookup[V any] struct {
	attempt
	callers int
	// lanes are those in which it waits for a slot; the first slot begins it.
	lanes []lane
	begun bool
	// waiting ends when it needs no slot any more, and has the trace of its first caller.
	waiting context.Context //nolint:containedctx // it outlives its callers
	cancel  context.CancelFunc
	// done is closed when answer or err is set.
	done   chan struct{}
	answer *answer[V]
	err    error
}

const (
	// entryBytes is about what an answer takes besides its value: the key, the cache's entry and the answer itself.
	entryBytes = 368
	// emptyBytes bounds the answers that hold nothing.
	emptyBytes = 4 << 20
)

func newCache[K lookupKey, V any](
	i *Inventory, maxBytes uint64, bytes func(V) int, query func(context.Context, K, *answer[V]) (V, error),
) *cache[K, V] {
	bounded := func(maxBytes uint64) *otter.Cache[K, *answer[V]] {
		return otter.Must(&otter.Options[K, *answer[V]]{MaximumWeight: maxBytes, Weigher: func(_ K, a *answer[V]) uint32 {
			return uint32(min(entryBytes+bytes(a.value), math.MaxUint32)) //nolint:gosec // bounded just here
		}})
	}
	return &cache[K, V]{
		inventory: i, full: bounded(maxBytes), empty: bounded(emptyBytes), bytes: bytes, query: query, forbiddenFor: i.errorFor,
		lookups: map[K]*lookup[V]{},
	}
}

// get returns what is known of a key, or nil.
func (c *cache[K, V]) get(k K) *answer[V] {
	a, ok := c.full.GetIfPresent(k)
	if !ok {
		a, _ = c.empty.GetIfPresent(k)
	}
	return a
}

// set caches an answer.
func (c *cache[K, V]) set(k K, a *answer[V]) {
	c.note(c.get(k), a)
	if c.bytes(a.value) > 0 {
		c.full.Set(k, a)
		c.empty.Invalidate(k)
		return
	}
	c.empty.Set(k, a)
	c.full.Invalidate(k)
}

// note reports that an answer takes the place of one that was known.
func (c *cache[K, V]) note(was, becomes *answer[V]) {
	if c.replaced != nil && was.isKnown() && becomes.failed == nil {
		c.replaced(was, becomes)
	}
}

// replace caches an answer that has a value in the place of another, unless that is not there any more.
func (c *cache[K, V]) replace(k K, was, becomes *answer[V]) {
	c.full.Compute(k, func(is *answer[V], found bool) (*answer[V], otter.ComputeOp) {
		if !found {
			is, _ = c.empty.GetIfPresent(k)
		}
		if is != was {
			return is, otter.CancelOp
		}
		return becomes, otter.WriteOp
	})
	if c.get(k) == becomes {
		c.empty.Invalidate(k)
		c.note(was, becomes)
	}
}

// size returns about how many answers are cached.
func (c *cache[K, V]) size() int { return c.full.EstimatedSize() + c.empty.EstimatedSize() }

// obtain returns a new answer from HSS, or why there is none. If the caller can fall back on the answer a, an admission
// waits only while HSS is well, and not long.
func (c *cache[K, V]) obtain(ctx context.Context, k K, a *answer[V], l lane, fallback bool) (*answer[V], error) {
	if err := a.failure(c.inventory.clock.Now()); err != nil {
		return nil, err
	}
	if !fallback || l == background || l == warmUp {
		return c.fetch(ctx, k, a, l)
	}
	wait := time.Duration(c.inventory.cfg.WaitWhenStale)
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

// fetch looks a key up at HSS, and waits for it until ctx ends. A look-up that has begun goes on then; one that waits for
// its slot ends with the last caller.
func (c *cache[K, V]) fetch(ctx context.Context, k K, seen *answer[V], l lane) (*answer[V], error) {
	begun := c.inventory.clock.Now()
	if ctx.Err() != nil {
		return nil, failuref(notCalled, "HSS was not called, since the time was up")
	}
	u, err := c.join(ctx, k, seen, l)
	if err != nil {
		return nil, err
	}
	select {
	case <-u.done:
		return u.answer, u.err
	case <-ctx.Done():
		c.leave(k, u)
		return nil, k.endpoint().project.late(&u.attempt, c.inventory.clock.Since(begun))
	}
}

// join returns the look-up of a key, and begins one if there is none. It waits for a slot in the lanes of all callers.
// If another has ended since the caller saw an answer, it is that one.
func (c *cache[K, V]) join(ctx context.Context, k K, seen *answer[V], l lane) (*lookup[V], error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.lookups[k]
	if u == nil {
		u = &lookup[V]{done: make(chan struct{})}
		if now := c.get(k); now != seen && (now.isKnown() || now.lastFailure() != nil) {
			if u.err = now.lastFailure(); u.err == nil {
				u.answer = now
			}
			close(u.done)
			return u, nil
		}
	}
	if !u.begun && !slices.Contains(u.lanes, l) {
		place, err := k.endpoint().project.enqueue(l)
		if err != nil {
			return nil, err
		}
		if u.waiting == nil {
			u.waiting, u.cancel = context.WithCancel(tracing.Join(c.inventory.base, ctx)) //nolint:gosec // run and leave call it
		}
		u.lanes = append(u.lanes, l)
		go func() {
			defer place.leave()
			place.await(u.waiting)
			c.run(k, u)
		}()
	}
	tracing.Link(ctx, trace.SpanContextFromContext(u.waiting)) //nolint:contextcheck // another caller's
	c.lookups[k] = u
	u.callers++
	return u, nil
}

// leave ends the wait of a look-up for its slot if no other caller needs it.
func (c *cache[K, V]) leave(k K, u *lookup[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u.callers--; u.callers == 0 && !u.begun {
		u.cancel()
		delete(c.lookups, k)
	}
}

// refresh looks a key up in the background, unless that is under way, the background has no slot or HSS must not be
// called now.
func (c *cache[K, V]) refresh(k K, a *answer[V]) {
	if a.failure(c.inventory.clock.Now()) == nil && !k.endpoint().project.isFull(background) {
		_, _ = c.join(c.inventory.base, k, a, background) // it is needed whoever waits for it
	}
}

// run runs a look-up that has a slot, unless nobody needs it any more, or another slot began it.
func (c *cache[K, V]) run(k K, u *lookup[V]) {
	c.mu.Lock()
	begins := !u.begun && c.lookups[k] == u
	u.begun = u.begun || begins
	c.mu.Unlock()
	if !begins {
		return
	}
	u.cancel() // it needs no other slot
	u.answer, u.err = c.load(withAttempt(tracing.Join(c.inventory.base, u.waiting), &u.attempt), k)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.lookups, k)
	close(u.done)
}

// load looks a key up. A failure is cached with the last result, for a while, if HSS was called.
func (c *cache[K, V]) load(ctx context.Context, k K) (_ *answer[V], err error) {
	defer recovered(&err)
	known := c.get(k)
	value, err := c.query(ctx, k, known)
	switch now := c.inventory.clock.Now(); {
	case c.inventory.base.Err() != nil:
		return nil, errClosed()
	case err == nil:
		a := &answer[V]{value: value, asOf: attemptOf(ctx).calledAt(), stored: now}
		c.set(k, a)
		return a, nil
	case !attemptOf(ctx).calledAt().IsZero():
		failed := &answer[V]{}
		if known != nil {
			*failed = *known
		}
		failed.failed = &pause{err, now.Add(c.retryAfter(err))}
		c.set(k, failed)
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
