package inventory

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"net/http"
	"sync"
	"time"

	"github.com/hssgate/hssgate/hss"
)

// BreakerState says whether a project's HSS is being asked.
type BreakerState string

// The states.
const (
	// BreakerClosed: HSS is asked.
	BreakerClosed BreakerState = "closed"
	// BreakerOpen: HSS failed repeatedly, and is not asked for a while.
	BreakerOpen BreakerState = "open"
	// BreakerHalfOpen: HSS is asked again, one question at a time, until one
	// of them tells whether it is well.
	BreakerHalfOpen BreakerState = "half-open"
)

// When a breaker opens, and for how long.
const (
	// breakAfter is how many questions in a row must fail.
	breakAfter = 5
	// breakWindow is how many of the last questions are looked at; it also
	// opens if half of these failed.
	breakWindow = 20
	// breakLeast and breakMost bound how long it stays open, which doubles
	// while HSS goes on failing.
	breakLeast = 5 * time.Second
	breakMost  = time.Minute
)

// breaker keeps a project's HSS from being asked while it fails, so that
// nobody waits for it in vain and it isn't flooded when it comes back.
type breaker struct {
	project string
	random  func() float64
	changed func(project string, state BreakerState)

	mu       sync.Mutex
	state    BreakerState
	era      int // counts the changes of state
	inRow    int
	outcomes uint32 // of the last questions, the latest lowest; 1: failed
	seen     int    // how many outcomes there are
	opened   int    // how often in a row
	until    time.Time
	probing  bool
	last     error
}

// openError says that HSS is not asked because it failed repeatedly.
type openError struct {
	project string
	until   time.Time // zero: it is being tried
	last    error
}

func (e *openError) Error() string {
	last := describe(e.last)
	if e.until.IsZero() {
		return fmt.Sprintf("HSS project %q failed repeatedly, and is being tried with one look-up; the last failure: %s", e.project, last)
	}
	return fmt.Sprintf("HSS project %q failed repeatedly, so it is not asked before %s; the last failure: %s",
		e.project, e.until.UTC().Format(time.RFC3339), last)
}

// allow asks whether HSS may be asked now. It returns the era, with which the
// outcome must be reported. A deep question is none to try HSS with.
func (b *breaker) allow(now time.Time, deep bool) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refusal(now, deep); err != nil {
		return 0, err
	}
	switch b.state {
	case BreakerOpen:
		b.become(BreakerHalfOpen)
		b.probing = true
	case BreakerHalfOpen:
		b.probing = true
	case BreakerClosed:
	}
	return b.era, nil
}

// forbids tells why HSS may not be asked now, and changes nothing.
func (b *breaker) forbids(now time.Time, deep bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refusal(now, deep)
}

// refusal is why HSS may not be asked now, or nil. The caller holds the lock.
func (b *breaker) refusal(now time.Time, deep bool) error {
	switch {
	case b.state == BreakerOpen && now.Before(b.until):
		return &openError{b.project, b.until, b.last}
	case b.state == BreakerHalfOpen && b.probing, b.state != BreakerClosed && deep:
		return &openError{b.project, time.Time{}, b.last}
	default:
		return nil
	}
}

// report tells how a question ended. What was asked in an earlier era says
// nothing about this one.
func (b *breaker) report(era int, now time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if era != b.era {
		return
	}
	b.probing = false
	switch verdict := judge(err); {
	case verdict == healthNone:
	case verdict == healthGood && b.state == BreakerHalfOpen:
		b.become(BreakerClosed)
		b.inRow, b.outcomes, b.seen, b.opened, b.last = 0, 0, 0, 0, nil
	case verdict == healthGood:
		b.note(0)
		b.inRow = 0
	case b.state == BreakerHalfOpen:
		b.open(now, err)
	default:
		b.note(1)
		b.inRow++
		if b.inRow >= breakAfter || (b.seen >= breakWindow && 2*bits.OnesCount32(b.outcomes) >= breakWindow) {
			b.open(now, err)
		}
	}
}

func (b *breaker) note(failed uint32) {
	b.outcomes = (b.outcomes<<1 | failed) & (1<<breakWindow - 1)
	b.seen = min(b.seen+1, breakWindow)
}

// open stops asking, for any time from three quarters to five quarters of what
// is meant, so that replicas don't come back together.
func (b *breaker) open(now time.Time, err error) {
	pause := min(breakLeast<<min(b.opened, 10), breakMost)
	b.opened++
	b.last = err
	b.until = now.Add(time.Duration(float64(pause) * (0.75 + b.random()/2)))
	b.become(BreakerOpen)
}

func (b *breaker) become(s BreakerState) {
	b.state = s
	b.era++
	b.changed(b.project, s)
}

// current is the state now.
func (b *breaker) current() BreakerState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}

// health is what an outcome says of HSS.
type health int

const (
	healthNone health = iota // nothing: HSS was not asked
	healthGood
	healthBad
)

// judge tells what the outcome of a question says of HSS as a whole. HSS is
// well if it answers, be it that it refuses: what is wrong with one request
// must not keep others from being sent.
func judge(err error) health {
	var refused *hss.RefusedError
	var answered *hss.Error
	var unsent *unsentError
	var panicked *panicError
	var rows *rowsError
	var row *hss.RowError
	var incomplete *hss.IncompleteListError
	var invalid *hss.InvalidRequestError
	var project *hss.ProjectError
	switch {
	case err == nil, errors.As(err, &rows), errors.As(err, &row), errors.As(err, &incomplete):
		return healthGood
	case errors.As(err, &refused), errors.As(err, &unsent), errors.As(err, &invalid), errors.As(err, &panicked),
		errors.As(err, &project) && project.Err == nil,              // IAM is well, and the account has no such project
		errors.Is(err, errClosed), errors.Is(err, context.Canceled): // nobody waited for it any more
		return healthNone
	case errors.As(err, &answered):
		return judgeAnswer(answered)
	default:
		return healthBad
	}
}

func judgeAnswer(e *hss.Error) health {
	switch {
	case e.Unauthenticated():
		return healthNone // the client's own guard deals with it
	case e.StatusCode == http.StatusTooManyRequests, e.StatusCode >= http.StatusInternalServerError:
		return healthBad
	case e.StatusCode < http.StatusBadRequest && e.Code == "":
		return healthBad // an answer that makes no sense
	default:
		return healthGood
	}
}

// unsentError is why a question did not reach HSS for a reason of ours.
type unsentError struct{ err error }

func (e *unsentError) Error() string { return e.err.Error() }
func (e *unsentError) Unwrap() error { return e.err }
