package inventory

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/tracing"
)

// flight is a question that is being asked of HSS, on behalf of everyone who
// needs its answer.
type flight[A any] struct {
	urgency *urgency
	// ctx ends with the inventory, or once HSS need not be asked any more.
	ctx     context.Context //nolint:containedctx // that of a goroutine, for all who wait for it
	cancel  context.CancelFunc
	waiting int // callers
	// span is the one that the question is asked below, if it is traced.
	span   trace.SpanContext
	done   chan struct{} // closed when answer and err are there
	answer A
	err    error
}

// flights are the questions under way, one for each key.
type flights[K comparable, A any] struct {
	mu  sync.Mutex
	all map[K]*flight[A]
}

// join returns the flight for a key, and whether it is new, so that the caller
// must see to it that it ends. An urgent caller makes it urgent. Each caller must
// leave it.
func (f *flights[K, A]) join(ctx, base context.Context, k K, l level) (_ *flight[A], isNew bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if under, ok := f.all[k]; ok {
		under.waiting++
		if l == forAdmission {
			under.urgency.raise(policy.NamespaceOf(ctx))
		}
		return under, false
	}
	begun := &flight[A]{urgency: newUrgency(l), span: trace.SpanContextFromContext(ctx), done: make(chan struct{}), waiting: 1}
	begun.urgency.namespace = policy.NamespaceOf(ctx)
	begun.ctx, begun.cancel = context.WithCancel(tracing.Join(base, ctx)) //nolint:gosec // end calls it
	if f.all == nil {
		f.all = map[K]*flight[A]{}
	}
	f.all[k] = begun
	return begun, true
}

// leave ends a caller's wait. What no admission waits for any more ends, unless
// HSS is being asked.
func (f *flights[K, A]) leave(k K, under *flight[A]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if under.waiting--; under.waiting == 0 && under.urgency.unsent() {
		f.end(k, under)
	}
}

// end has whoever comes later begin another flight. The caller holds the lock.
func (f *flights[K, A]) end(k K, under *flight[A]) {
	under.cancel()
	if f.all[k] == under {
		delete(f.all, k)
	}
}

// land ends a flight.
func (f *flights[K, A]) land(k K, under *flight[A], a A, err error) {
	f.mu.Lock()
	f.end(k, under)
	f.mu.Unlock()
	under.answer, under.err = a, err
	close(under.done)
}

// await waits until the flight has landed, impatient ends or ctx does. It
// reports whether the flight has landed.
func (f *flight[A]) await(ctx context.Context, impatient <-chan time.Time) bool {
	select {
	case <-f.done:
		return true
	case <-impatient:
	case <-ctx.Done():
	}
	select {
	case <-f.done: // both came at once
		return true
	default:
		return false
	}
}
