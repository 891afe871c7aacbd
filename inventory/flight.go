package inventory

import (
	"sync"

	"go.opentelemetry.io/otel/trace"
)

// flight is a question that is being asked of HSS, on behalf of everyone who
// needs its answer.
type flight struct {
	urgency *urgency
	// span is the one that the question is asked below, if it is traced.
	span   trace.SpanContext
	done   chan struct{} // closed when answer and err are there
	answer *answer
	err    error
}

// flights are the questions under way, one for each key.
type flights struct {
	mu  sync.Mutex
	all map[key]*flight
}

// join returns the flight for a key, and whether it is new, so that the caller
// must see to it that it ends. An urgent caller makes it urgent.
func (f *flights) join(k key, l level, span trace.SpanContext) (_ *flight, isNew bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if under, ok := f.all[k]; ok {
		if l == forAdmission {
			under.urgency.raise()
		}
		return under, false
	}
	begun := &flight{urgency: newUrgency(l), span: span, done: make(chan struct{})}
	if f.all == nil {
		f.all = map[key]*flight{}
	}
	f.all[k] = begun
	return begun, true
}

// land ends a flight: whoever comes later begins another.
func (f *flights) land(k key, under *flight, a *answer, err error) {
	f.mu.Lock()
	delete(f.all, k)
	f.mu.Unlock()
	under.answer, under.err = a, err
	close(under.done)
}
