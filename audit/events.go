package audit

import (
	"context"
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"
)

// Bounds of what is written as Events.
const (
	// maxEvents bounds the Events that stand at one time, maxEventsOfOne those
	// that are written for one namespace in one audit.
	maxEvents      = 10000
	maxEventsOfOne = 50
	// eventsPerSecond bounds how fast they are written.
	eventsPerSecond = 20
	// refreshEvents is when one is written again that has not changed: an hour
	// after the last time, the API server forgets it.
	refreshEvents = 40 * time.Minute
)

type eventKey struct {
	namespace string
	owner     types.UID
	policy    string
}

// written is an Event that stands.
type written struct {
	owner   owner
	text    string
	at      time.Time
	current bool
}

// events remembers the Events that stand. The zero value is ready for use.
type events struct {
	mu      sync.Mutex
	now     time.Time
	stand   map[eventKey]*written
	kept    map[string]bool
	limiter *rate.Limiter
}

// begin begins an audit.
func (e *events) begin(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now, e.kept = now, map[string]bool{}
	if e.stand == nil {
		e.stand = map[eventKey]*written{}
	}
	for _, w := range e.stand {
		w.current = false
	}
	if e.limiter == nil {
		e.limiter = rate.NewLimiter(eventsPerSecond, maxEventsOfOne)
	}
}

// keep says that nothing is known of a namespace this time.
func (e *events) keep(namespace string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept[namespace] = true
}

// see notes that a group violates its policy, and tells whether to write that
// now and whether that is new.
func (e *events) see(key eventKey, g *group, mayWrite bool) (write, isNew bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	w, ok := e.stand[key]
	text := g.reason(e.now) + ": " + g.message()
	if ok {
		w.current = true
		if w.text == text && e.now.Sub(w.at) < refreshEvents || !mayWrite {
			return false, false
		}
		w.text, w.at = text, e.now
		return true, false
	}
	if !mayWrite || len(e.stand) >= maxEvents {
		return false, false
	}
	e.stand[key] = &written{owner: g.owner, text: text, at: e.now, current: true}
	return true, true
}

// hold leaves an Event as it is, since it isn't known whether its violation
// still is.
func (e *events) hold(key eventKey) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w, ok := e.stand[key]; ok {
		w.current = true
	}
}

func (e *events) forget(key eventKey) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.stand, key)
}

// resolved returns the Events that stand for what was not seen again.
func (e *events) resolved() map[eventKey]owner {
	e.mu.Lock()
	defer e.mu.Unlock()
	gone := map[eventKey]owner{}
	for key, w := range maps.All(e.stand) {
		if !w.current && !e.kept[key.namespace] {
			gone[key] = w.owner
		}
	}
	return gone
}

// pace waits until one more Event may be written.
func (a *Auditor) pace(ctx context.Context) error { return a.events.limiter.Wait(ctx) }
