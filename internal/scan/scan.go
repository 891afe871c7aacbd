// Package scan has HSS scan images that pods need and that it has not scanned, and synchronise the registries of images that it does not know.
//
// HSS's own list says what has been requested: an image that it shows as not scanned is requested, one that waits or is being scanned is not.
// Replicas share nothing else. Each waits a random time and reads the list again before it requests a scan, so that two rarely request the same one.
package scan

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/language"
)

const (
	// patience is how long a review waits for the request of a scan, at most a quarter of its time. It never waits for a scan.
	patience = 500 * time.Millisecond
	// maxJitter bounds the random time before a replica requests a scan: far longer than HSS takes to show a request of another in its list.
	maxJitter = 3 * time.Second
	// maxImages bounds the images that are remembered, for rememberFor at most, and maxRequests those of them that HSS
	// is being asked about at one time.
	maxImages   = 4096
	rememberFor = 24 * time.Hour
	maxRequests = 256
)

// beingRequested is for people: a workload's controller tries again by itself.
const beingRequested = "a scan is being requested; try again in about 1m"

// Options are those of New.
type Options struct {
	Inventory *inventory.Inventory
	Clock     clock.PassiveClock
	// Observe is called with each outcome. It must not block.
	Observe func(project, image string, outcome Outcome, note string)
	// Language is that of notes.
	Language language.Language
	// Jitter returns the time to wait before a scan is requested; optional.
	Jitter func() time.Duration
}

// Scans requests scans. It is safe for concurrent use.
type Scans struct {
	Options

	mu       sync.Mutex
	images   *cache.LRUExpireCache // *request by inventory.ScanTarget
	underWay int
	// sent are the calls to HSS of the last hour that cost something or must not be repeated yet.
	sent []*call
}

// request is the last request for an image.
type request struct {
	running bool
	done    chan struct{} // closed at its end
	note    string
	until   time.Time // when to look again
}

// New returns Scans that have requested nothing yet.
func New(o Options) *Scans {
	if o.Jitter == nil {
		o.Jitter = func() time.Duration { return rand.N(maxJitter) } //nolint:gosec // no secret
	}
	return &Scans{Options: o, images: cache.NewLRUExpireCacheWithClock(maxImages, o.Clock)}
}

// Want requests scans in the background for images that a pod was refused or warned for. It returns soon, with a note for
// each image; empty if there is nothing to say.
func (s *Scans) Want(ctx context.Context, images []image.Reference) []string {
	wait := patience
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline)/4)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	notes := make([]string, len(images))
	for n := range images {
		if target, ok := s.Inventory.ScanTarget(&images[n]); ok {
			notes[n] = s.want(ctx, target)
		}
	}
	return notes
}

// want returns a note on the request of an image, which goes on when the review has ended.
func (s *Scans) want(ctx context.Context, t inventory.ScanTarget) string {
	r, note := s.begin(t)
	if note != s.Language.Text(beingRequested) {
		return note
	}
	select {
	case <-r.done:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.note
}

// begin returns the request of an image, a new one if it is time for one, with the note so far.
func (s *Scans) begin(t inventory.ScanTarget) (*request, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Clock.Now()
	known, _ := s.images.Get(t)
	before, _ := known.(*request)
	if before != nil && (before.running || now.Before(before.until)) {
		return before, before.note
	}
	if s.underWay >= maxRequests {
		return nil, s.Language.Text("no scan was requested, since too many images wait for one; try again in about 1m")
	}
	r := &request{running: true, done: make(chan struct{}), note: s.Language.Text(beingRequested)}
	if before != nil {
		r.note = before.note
	}
	s.images.Add(t, r, rememberFor)
	s.underWay++
	go s.run(t, r)
	return r, r.note
}

func (s *Scans) run(t inventory.ScanTarget, r *request) {
	result := result{Failed, "a scan could not be requested: internal error", againAfterFailure}
	defer func() {
		_ = recover() // a failed request must not end the process
		until := s.Clock.Now().Add(result.again)
		s.Observe(t.Project().Name, t.String(), result.outcome, result.note)
		s.mu.Lock()
		defer s.mu.Unlock()
		r.running, r.note, r.until = false, s.Language.Text(result.note), until
		s.underWay--
		close(r.done)
	}()
	result = s.attempt(t)
}
