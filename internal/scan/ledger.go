package scan

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// ledger remembers what this replica requested, while HSS's list may not show it
// yet, and counts what it cost.
type ledger struct {
	mu    sync.Mutex
	held  map[string]heldRequest
	asked map[string][]time.Time
}

// heldRequest is a request that is not repeated until a time.
type heldRequest struct {
	result result
	until  time.Time
}

// claim takes the right to make a request; ok is false if it is held, with the
// result that it had.
func (l *ledger) claim(key string, now time.Time) (before result, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.held, func(_ string, one heldRequest) bool { return !now.Before(one.until) })
	if one, held := l.held[key]; held {
		if before = one.result; before.outcome != Needless {
			before.outcome = Held
		}
		return before, false
	}
	l.held[key] = heldRequest{result{Held, "its scan is being requested; " + tryAgain, againAfterSync}, now.Add(hold)}
	return result{}, true
}

// hold keeps a claimed request from being repeated until a time.
func (l *ledger) hold(key string, r result, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[key] = heldRequest{r, until}
}

// take counts a scan of a project, if fewer than perHour were counted in the last
// hour; until is when the next one is free.
func (l *ledger) take(project string, perHour int, now time.Time) (until time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked := slices.DeleteFunc(l.asked[project], func(at time.Time) bool { return now.Sub(at) >= time.Hour })
	if len(asked) >= perHour {
		l.asked[project] = asked
		return asked[0].Add(time.Hour), false
	}
	l.asked[project] = append(asked, now)
	return time.Time{}, true
}

// giveBack uncounts a scan that cost nothing.
func (l *ledger) giveBack(project string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.asked[project], at); i >= 0 {
		l.asked[project] = slices.Delete(l.asked[project], i, i+1)
	}
}
