package lookup

import (
	"context"
	"errors"
	"iter"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"go.opentelemetry.io/otel/trace"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/tracing"
)

// Answer is what is known of one key: the last result, and why the last look-up failed. It does not change once it is cached.
type Answer[V any] struct {
	// Value is the result.
	Value V
	// AsOf is when HSS was called for it, zero if there is no result, or if the value is known to be outdated; Stored is when it was kept.
	AsOf, Stored time.Time
	// failed is why the last look-up failed, and until when HSS is not called again.
	failed *pause
}

// IsKnown reports whether there is a result.
func (a *Answer[V]) IsKnown() bool { return !a.AsOf.IsZero() }

// Failure returns why the last look-up failed, or nil.
func (a *Answer[V]) Failure() error { return a.failed.reason(time.Time{}) }

// Key is a key of a cache.
type Key interface {
	comparable
	// Endpoint is the part of HSS's API that the look-up needs.
	Endpoint() *Endpoint
}

// Options configure a cache.
type Options[K Key, V any] struct {
	// MaxBytes bounds the answers, and Bytes returns about how much memory a value takes; 0: it holds nothing.
	MaxBytes uint64
	Bytes    func(V) int
	// Query calls HSS. The value that is known, if any, is passed to it.
	Query func(ctx context.Context, k K, known V) (V, error)
	// Asked is called with the end of each query; optional.
	Asked func(ctx context.Context, project string, took time.Duration, err error)
	// Replaced is called with each answer that another takes the place of, if HSS did not fail; optional.
	Replaced func(was, becomes *Answer[V])
	// ForbiddenFor is how long HSS is not called again for a key after it denied permission. It defaults to 10m.
	ForbiddenFor time.Duration
}

// Cache holds the answers to one kind of look-up, and runs one look-up for a key at a time.
type Cache[K Key, V any] struct {
	options Options[K, V]
	group   *Group
	// full holds answers with a value. Those that hold nothing, as HSS has nothing or failed, are in empty, so that no
	// flood of made-up names evicts a known image.
	full, empty *otter.Cache[K, *Answer[V]]
	none        Answer[V] // of keys that were never looked up

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
	answer        *Answer[V]
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

// PartOf returns the part of a value that an error comes with, or the zero value.
func PartOf[V any](err error) (v V) {
	if part, ok := errors.AsType[*partialError[V]](err); ok {
		return part.value
	}
	return v
}

const (
	// EntryBytes is about what an answer takes besides its value: the key, the cache's entry and the answer itself.
	EntryBytes = 368
	// emptyBytes bounds the answers that hold nothing.
	emptyBytes = 4 << 20
	// forbiddenFor is how long HSS is not called again after it denied permission.
	forbiddenFor = 10 * time.Minute
	// MaxText bounds each text of details that are cached, in bytes.
	MaxText = 256
)

// Short cuts a text, and copies it from the answer that it is part of.
func Short(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > MaxText {
		s = strings.ToValidUTF8(s[:MaxText], "")
	}
	return strings.Clone(s)
}

// NewCache returns an empty cache.
func NewCache[K Key, V any](g *Group, o Options[K, V]) *Cache[K, V] {
	bounded := func(maxBytes uint64) *otter.Cache[K, *Answer[V]] {
		return otter.Must(&otter.Options[K, *Answer[V]]{MaximumWeight: maxBytes, Weigher: func(_ K, a *Answer[V]) uint32 {
			return uint32(min(EntryBytes+o.Bytes(a.Value), math.MaxUint32)) //nolint:gosec // bounded just here
		}})
	}
	if o.ForbiddenFor == 0 {
		o.ForbiddenFor = forbiddenFor
	}
	return &Cache[K, V]{options: o, group: g, full: bounded(o.MaxBytes), empty: bounded(emptyBytes), lookups: map[K]*lookup[V]{}}
}

// All yields the answers with a value.
func (c *Cache[K, V]) All() iter.Seq2[K, *Answer[V]] { return c.full.All() }

// Changes returns a number that grows with each answer that is kept.
func (c *Cache[K, V]) Changes() uint64 { return c.changes.Load() }

// Sizes returns about how many answers have a value, how many hold nothing, and how much memory the former take.
func (c *Cache[K, V]) Sizes() (full, empty int, bytes uint64) {
	return c.full.EstimatedSize(), c.empty.EstimatedSize(), c.full.WeightedSize()
}

// Get returns what is known of a key.
func (c *Cache[K, V]) Get(k K) *Answer[V] {
	if a, ok := c.full.GetIfPresent(k); ok {
		return a
	}
	if a, ok := c.empty.GetIfPresent(k); ok {
		return a
	}
	return &c.none
}

// Set caches an answer. If was is given, it does so only while that is there.
func (c *Cache[K, V]) Set(k K, was, becomes *Answer[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	is := c.Get(k)
	if was != nil && was != is {
		return
	}
	into, other := c.full, c.empty
	if c.options.Bytes(becomes.Value) == 0 {
		into, other = other, into
	}
	into.Set(k, becomes)
	other.Invalidate(k)
	c.changes.Add(1)
	if c.options.Replaced != nil && is.IsKnown() && becomes.failed == nil {
		c.options.Replaced(is, becomes)
	}
}

// Obtain returns a new answer from HSS, or why there is none. If the caller can fall back on the answer a, an admission
// waits only while HSS is well, and not long.
func (c *Cache[K, V]) Obtain(ctx context.Context, k K, a *Answer[V], l Lane, fallback bool) (*Answer[V], error) {
	if err := a.failed.reason(c.group.Clock.Now()); err != nil {
		return nil, err
	}
	if !fallback || l == Background {
		return c.fetch(ctx, k, a, l)
	}
	wait := c.group.WaitWhenStale
	if err := k.Endpoint().unwell(wait); err != nil {
		c.Refresh(k, a)
		return nil, err
	}
	brief, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	fresh, err := c.fetch(brief, k, a, l)
	if err != nil && brief.Err() != nil {
		k.Endpoint().waitedInVain(err)
	}
	return fresh, err
}

// fetch looks a key up at HSS, and waits for it until ctx ends. Of all callers that wait, each in its lane, the first with a slot begins the look-up.
// It goes on when they have left.
func (c *Cache[K, V]) fetch(ctx context.Context, k K, seen *Answer[V], l Lane) (*Answer[V], error) {
	p, begun := k.Endpoint().project, c.group.Clock.Now()
	if ctx.Err() != nil {
		return nil, errTimeUp()
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
	case <-c.group.base.Done():
		return nil, errClosed()
	case <-ctx.Done():
		return nil, p.late(&u.attempt, c.group.Clock.Since(begun))
	}
}

// join returns the look-up of a key. There is none if one has ended since the caller saw an answer, which it returns then, or if HSS must not be called.
func (c *Cache[K, V]) join(k K, seen *Answer[V]) (*lookup[V], *Answer[V], error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.lookups[k]
	if u == nil {
		if now := c.Get(k); now != seen && (now.IsKnown() || now.failed != nil) {
			return nil, now, now.failed.reason(time.Time{})
		}
		if err := k.Endpoint().project.refusal(); err != nil {
			return nil, nil, err
		}
		u = &lookup[V]{started: make(chan struct{}), done: make(chan struct{})}
		c.lookups[k] = u
	}
	u.callers++
	return u, nil, nil
}

// leave ends the wait of a caller. A look-up that has not begun ends with the last one.
func (c *Cache[K, V]) leave(ctx context.Context, k K, u *lookup[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u.callers--; u.callers == 0 && !u.begun {
		delete(c.lookups, k)
	}
	tracing.Link(ctx, u.span)
}

// begin starts a look-up with the slot of a caller, and frees the slot at its end, or at once if another caller was first.
func (c *Cache[K, V]) begin(ctx context.Context, k K, u *lookup[V], free func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u.begun {
		free()
		return
	}
	u.begun, u.span = true, trace.SpanContextFromContext(ctx)
	close(u.started)
	ctx = withAttempt(tracing.Join(c.group.base, ctx), &u.attempt)
	go func() {
		u.answer, u.err = c.load(ctx, k)
		free()
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.lookups, k)
		close(u.done)
	}()
}

// Refresh looks a key up in the background, unless that is under way, the background has no slot or HSS must not be called now.
func (c *Cache[K, V]) Refresh(k K, a *Answer[V]) {
	if a.failed.reason(c.group.Clock.Now()) != nil {
		return
	}
	u, _, _ := c.join(k, a)
	if u == nil {
		return
	}
	ctx, noWait := c.group.base, make(chan struct{})
	close(noWait)
	defer c.leave(ctx, k, u)
	if free, _ := k.Endpoint().project.take(ctx, Background, noWait); free != nil {
		c.begin(ctx, k, u, free)
	}
}

// load looks a key up. A failure is cached with the last result, for a while, if HSS was called.
func (c *Cache[K, V]) load(ctx context.Context, k K) (_ *Answer[V], err error) {
	defer recovered(&err)
	e, known := k.Endpoint(), c.Get(k)
	var value V
	at, err := e.project.call(ctx, e, func(ctx context.Context) (err error) {
		begun := c.group.Clock.Now()
		if c.options.Asked != nil {
			defer func() { c.options.Asked(ctx, e.project.Name, c.group.Clock.Since(begun), err) }()
		}
		value, err = c.options.Query(ctx, k, known.Value)
		return err
	})
	now := c.group.Clock.Now()
	if err == nil {
		a := &Answer[V]{Value: value, AsOf: at, Stored: now}
		c.Set(k, nil, a)
		return a, nil
	}
	if c.options.Bytes(value) > 0 {
		err = &partialError[V]{err, value}
	}
	if !at.IsZero() && c.group.base.Err() == nil {
		failed := *known
		failed.failed = &pause{err, now.Add(c.retryAfter(err))}
		c.Set(k, nil, &failed)
	}
	return nil, err
}

// retryAfter returns how long HSS is not called again for a key.
func (c *Cache[K, V]) retryAfter(err error) time.Duration {
	answer, ok := errors.AsType[*hss.Error](err)
	switch {
	case ok && answer.Forbidden():
		return c.options.ForbiddenFor
	case ok && !answer.Unauthenticated():
		return max(c.group.ErrorFor, min(answer.RetryAfter, maxPause))
	default:
		return c.group.ErrorFor
	}
}

// Recent returns an answer that is at most so old, or nil. It has it refreshed in the background unless it is fresh.
func (c *Cache[K, V]) Recent(k K, fresh, most time.Duration) *Answer[V] {
	a, ok := c.full.GetIfPresent(k)
	if !ok {
		a, fresh = c.Get(k), fresh/24 // it holds nothing, and HSS may learn of it
	}
	switch age := c.group.Clock.Since(a.AsOf); {
	case !a.IsKnown() || age >= most:
		return nil
	case age >= fresh:
		c.Refresh(k, a)
	}
	return a
}

// Keep returns such an answer, or calls HSS.
func (c *Cache[K, V]) Keep(ctx context.Context, k K, fresh, most time.Duration, l Lane) (*Answer[V], error) {
	if a := c.Recent(k, fresh, most); a != nil {
		return a, nil
	}
	return c.Obtain(ctx, k, c.Get(k), l, false)
}
