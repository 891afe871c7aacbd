package inventory

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// flight is a question that is being asked of HSS, on behalf of everyone who
// needs its answer.
type flight[A any] struct {
	urgency *urgency
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
// must see to it that it ends. An urgent caller makes it urgent.
func (f *flights[K, A]) join(k K, l level, span trace.SpanContext) (_ *flight[A], isNew bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if under, ok := f.all[k]; ok {
		if l == forAdmission {
			under.urgency.raise()
		}
		return under, false
	}
	begun := &flight[A]{urgency: newUrgency(l), span: span, done: make(chan struct{})}
	if f.all == nil {
		f.all = map[K]*flight[A]{}
	}
	f.all[k] = begun
	return begun, true
}

// land ends a flight: whoever comes later begins another.
func (f *flights[K, A]) land(k K, under *flight[A], a A, err error) {
	f.mu.Lock()
	delete(f.all, k)
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
