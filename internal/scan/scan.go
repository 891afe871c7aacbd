// Package scan has HSS scan images that pods need and that it has not scanned, and synchronise the registries of images that it does not know.
//
// HSS's own list says what has been requested: an image that it shows as not scanned is requested, one that waits or is being scanned is not.
// Replicas share nothing else. Each waits a random time and reads the list again before it requests a scan, so that two rarely request the same one.
package scan

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/hss"
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
	sent     []*call // the calls to HSS of the last hour that cost something or must not be repeated yet
}

type request struct {
	done  chan struct{} // closed at its end
	note  string
	until time.Time // when to look again; zero: not at its end yet
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
	known, _ := s.images.Get(t)
	before, _ := known.(*request)
	if before != nil && (before.until.IsZero() || s.Clock.Now().Before(before.until)) {
		return before, before.note
	}
	if s.underWay >= maxRequests {
		return nil, s.Language.Text("no scan was requested, since too many images wait for one; try again in about 1m")
	}
	r := &request{done: make(chan struct{}), note: s.Language.Text(beingRequested)}
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
		r.note, r.until = s.Language.Text(result.note), until
		s.underWay--
		close(r.done)
	}()
	result = s.attempt(t)
}

// Outcome is the outcome of a request.
type Outcome string

// The outcomes.
const (
	Asked        Outcome = "asked"        // HSS accepted the request of a scan, which costs money
	Unconfirmed  Outcome = "unconfirmed"  // HSS may have accepted it
	Synchronised Outcome = "synchronised" // HSS accepted the request to synchronise the registry
	Held         Outcome = "held"         // it has been requested already, or the scan is running
	Refused      Outcome = "refused"      // HSS refused the request
	Exhausted    Outcome = "exhausted"    // the hourly limit is used up
	Needless     Outcome = "needless"     // there is nothing to scan, or it has been scanned
	Failed       Outcome = "failed"       // HSS could not be reached
)

// When an image is looked at again, if a pod needs it then.
const (
	againAfterAsking  = 10 * time.Second
	againAfterSync    = 5 * time.Second
	againAfterFailure = 15 * time.Second
	againAfterLimit   = time.Minute
)

const (
	// hold is how long HSS has to show an accepted request in its list, and the least time between two synchronisations of a registry.
	hold        = 10 * time.Minute
	refusedHold = 30 * time.Minute // how long a refused request is not repeated
	repeatAfter = 24 * time.Hour   // how long a failed scan is not repeated: each costs money
)

type result struct {
	outcome Outcome
	note    string
	again   time.Duration
}

func (s *Scans) attempt(t inventory.ScanTarget) result {
	rows, err := t.Rows()
	needsScan := func(row hss.Image) bool { return resultOf(&row, s.Clock.Now()).outcome == Asked }
	if err == nil && (len(rows) == 0 || slices.ContainsFunc(rows, needsScan)) {
		time.Sleep(s.Jitter())
		rows, err = t.Rows()
	}
	switch {
	case err != nil:
		return s.failed(err)
	case len(rows) == 0:
		return s.synchronise(t)
	}
	r := result{Needless, "HSS has scanned it meanwhile; try again", againAfterAsking}
	for n := range rows {
		one := resultOf(&rows[n], s.Clock.Now())
		if one.outcome == Asked {
			one = s.requestScan(t, &rows[n])
		}
		if one.outcome != "" && (r.outcome == Needless || one.outcome != Held && one.outcome != Needless) {
			r = one
		}
	}
	return r
}

// resultOf returns why a row of HSS's list needs no scan: no outcome if it has been scanned. It returns Asked if it needs
// one, since it was never scanned, or not since it was pushed.
func resultOf(row *hss.Image, now time.Time) result {
	statuses := statusesOf(row)
	failed := slices.ContainsFunc(statuses, hss.ScanStatus.Failed)
	toScan := result{outcome: Asked}
	switch {
	case slices.ContainsFunc(statuses, hss.ScanStatus.Running):
		return result{Held, "it is being scanned; try again in about 1m", againAfterAsking}
	case slices.Contains(statuses, hss.ScanStatusUnscan):
		return toScan
	case slices.Contains(statuses, hss.ScanStatusImageOversized), failed && now.Sub(row.LatestScanTime) < repeatAfter:
		return result{Needless, "its scan failed, and is not repeated so soon", againAfterLimit}
	case failed, row.LatestScanTime.IsZero(), row.LatestUpdateTime.After(row.LatestScanTime):
		return toScan
	case row.MultiArch && len(row.Architectures) == 0, slices.ContainsFunc(statuses, func(s hss.ScanStatus) bool { return !s.Completed() }):
		return result{Needless, "HSS shows no result that can be evaluated", againAfterLimit}
	}
	return result{}
}

func statusesOf(row *hss.Image) []hss.ScanStatus {
	statuses := []hss.ScanStatus{row.ScanStatus}
	for n := range row.Architectures {
		statuses = append(statuses, row.Architectures[n].ScanStatus)
	}
	return statuses
}

// requestScan requests a scan of what a row is of, whatever its other rows.
func (s *Scans) requestScan(t inventory.ScanTarget, row *hss.Image) result {
	subject := row.Digest
	if !image.IsDigest(subject) {
		subject = strings.Join([]string{row.ID, row.ImageID, row.RegistryID, row.InstanceID, row.Namespace, row.Name, row.Version}, "\x00")
	}
	return s.send(t, func() error { return t.Scan(row) }, &call{
		subject: subject, billed: true, requested: "a scan was requested at %s", refused: "HSS refused to scan it at %s (%s); it is not requested again before %s",
		result: result{outcome: Asked, again: againAfterAsking},
	})
}

// synchronise requests that HSS reads the list of an unknown image's registry.
func (s *Scans) synchronise(t inventory.ScanTarget) result {
	return s.send(t, t.Synchronise, &call{
		subject: "registry " + t.Registry(), requested: "HSS does not know it yet, and a synchronisation of its registry was requested at %s",
		refused: "HSS refused to synchronise its registry at %s (%s); it is not requested again before %s", result: result{outcome: Synchronised, again: againAfterSync},
	})
}

type call struct {
	project, subject   string
	billed             bool      // it counts for the hourly limit
	requested, refused string    // notes
	at, until          time.Time // until when it is not repeated
	result             result    // if HSS accepts it, at first
}

// send makes a call unless this replica made it lately, or the hourly limit is used up.
func (s *Scans) send(t inventory.ScanTarget, do func() error, c *call) result {
	accepted := c.result
	c.project, c.at = t.Project().Name, s.Clock.Now()
	if before := s.claim(c, t.Project().ScanOnDemand.MaxPerHour); before != nil {
		return *before
	}
	err := do()
	s.mu.Lock()
	defer s.mu.Unlock()
	c.until, c.billed = c.at.Add(hold), c.billed && err == nil
	l := s.Language
	at := l.Sprintf(c.requested, clockTime(c.at))
	switch _, unconfirmed := errors.AsType[*hss.UnconfirmedError](err); {
	case err == nil:
		c.result = result{accepted.outcome, l.Sprintf("%s; try again in about 1m", at), accepted.again}
	case unconfirmed:
		c.billed = true
		c.result = result{Unconfirmed, l.Sprintf("%s, and HSS did not confirm it (%s); try again in about 1m", at, inventory.DescribeScanFailure(l, err)), accepted.again}
	case errors.Is(err, inventory.ErrUnknownRegistry):
		c.until = c.at.Add(againAfterLimit)
		c.result = result{Needless, l.Sprintf("HSS does not know it, and lists no registry that is %q of hssgate's configuration", t.Registry()), againAfterLimit}
	case isRefusal(err):
		c.until = c.at.Add(refusedHold)
		c.result = result{Refused, l.Sprintf(c.refused,
			clockTime(c.at), inventory.DescribeScanFailure(l, err), clockTime(c.until)), againAfterLimit}
	default:
		c.until, c.result = c.at, s.failed(err)
	}
	return c.result
}

// claim keeps a call that is about to be made. It returns why it must not be made, or nil.
func (s *Scans) claim(c *call, perHour int) *result {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = slices.DeleteFunc(s.sent, func(o *call) bool {
		return !c.at.Before(o.until) && (!o.billed || c.at.Sub(o.at) >= time.Hour)
	})
	var billed []time.Time
	for _, o := range s.sent {
		switch {
		case o.project != c.project:
		case o.subject == c.subject && c.at.Before(o.until):
			before := o.result
			if before.outcome != Needless {
				before.outcome = Held
			}
			return &before
		case o.billed:
			billed = append(billed, o.at)
		}
	}
	if c.billed && len(billed) >= perHour {
		free := billed[0].Add(time.Hour)
		note := s.Language.Sprintf("no scan is requested before %s, since %d an hour are allowed", clockTime(free), perHour)
		return &result{Exhausted, note, min(againAfterLimit, max(time.Second, free.Sub(c.at)))}
	}
	c.until, c.result = c.at.Add(hold), result{Held, s.Language.Text("its scan is being requested; try again in about 1m"), againAfterSync}
	s.sent = append(s.sent, c)
	return nil
}

func (s *Scans) failed(err error) result {
	note := s.Language.Sprintf("a scan could not be requested: %s; try again in about 1m", inventory.DescribeScanFailure(s.Language, err))
	return result{Failed, note, againAfterFailure}
}

// isRefusal reports whether HSS refused the request itself, and not the caller or the rate of calls.
func isRefusal(err error) bool {
	_, refused := errors.AsType[*hss.RefusedError](err)
	answer, answered := errors.AsType[*hss.Error](err)
	return !refused && answered && !answer.Unauthenticated() && !answer.Retryable
}

func clockTime(t time.Time) string { return t.UTC().Format("15:04:05") + " UTC" }
