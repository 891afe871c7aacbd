package inventory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
)

// ScanClient is what asking for scans asks of HSS besides; *hss.Client is one.
type ScanClient interface {
	StartScan(ctx context.Context, r hss.ScanRequest) error
	SyncRegistries(ctx context.Context, r hss.SyncRequest) error
	Registries(ctx context.Context, r hss.RegistryRequest) iter.Seq2[hss.Registry, error]
}

// ScanOutcome is what came of wanting an image scanned.
type ScanOutcome string

// The outcomes.
const (
	// ScanAsked: HSS was asked to scan the image.
	ScanAsked ScanOutcome = "asked"
	// ScanUnconfirmed: it was asked, and did not confirm it.
	ScanUnconfirmed ScanOutcome = "unconfirmed"
	// ScanSynchronised: HSS was asked to synchronise the image's registry.
	ScanSynchronised ScanOutcome = "synchronised"
	// ScanHeld: somebody asked already, or the scan is under way.
	ScanHeld ScanOutcome = "held"
	// ScanRefused: HSS refused it.
	ScanRefused ScanOutcome = "refused"
	// ScanExhausted: what may be asked for is used up.
	ScanExhausted ScanOutcome = "exhausted"
	// ScanNeedless: there is nothing to scan, or it has been.
	ScanNeedless ScanOutcome = "needless"
	// ScanFailed: HSS could not be asked.
	ScanFailed ScanOutcome = "failed"
)

// ScanObserver is told what came of wanting images scanned. It is called
// concurrently and must not block.
type ScanObserver interface {
	// Scan tells of one attempt: the project, the image, what came of it, and a
	// note that says so to people.
	Scan(project, image string, outcome ScanOutcome, note string)
}

type noScanObserver struct{}

func (noScanObserver) Scan(string, string, ScanOutcome, string) {}

// ScanOptions are what Scans are made of.
type ScanOptions struct {
	// Book is shared by all replicas; nil: one in memory.
	Book Book
	// Observer is told what happens; nil: nobody.
	Observer ScanObserver
}

const (
	// scanPatience is how long a request waits to learn whether HSS took what it
	// asks for. It never waits for a scan.
	scanPatience = 500 * time.Millisecond
	// maxWishes bounds the images that are remembered, and maxWishesUnderWay
	// those of them that HSS is being asked about.
	maxWishes         = 4096
	maxWishesUnderWay = 256
)

// Scans asks HSS to scan images that pods need, and to synchronise the
// registries of those that it does not know: each once for all replicas that
// share a Book, and within the project's bounds. It is safe for concurrent use.
type Scans struct {
	inventory *Inventory
	book      Book
	observer  ScanObserver

	mu         sync.Mutex
	wishes     map[wishKey]*wish
	underWay   int
	registries map[*project]*knownRegistries
}

// wishKey is an image that is to be scanned. Unlike a key it has the digest
// that goes with a tag, too.
type wishKey struct {
	key
	pinned string
}

// wish is what came of wanting an image scanned, and what is coming of it.
type wish struct {
	asking bool
	done   chan struct{} // closed when HSS was asked
	note   string        // empty: nothing is known yet
	until  time.Time     // when to look again
}

// NewScans returns one that has asked nothing yet. Those projects take part
// that are configured so.
func (i *Inventory) NewScans(o ScanOptions) *Scans {
	s := &Scans{inventory: i, book: o.Book, observer: o.Observer, wishes: map[wishKey]*wish{}, registries: map[*project]*knownRegistries{}}
	if s.book == nil {
		s.book = NewBook()
	}
	if s.observer == nil {
		s.observer = noScanObserver{}
	}
	return s
}

// Want says that a pod was refused, or warned of, since HSS has no scan of these
// images. It sees to it, in the background, that HSS is asked for what may be
// asked for, and returns soon, with a note for each image that tells what came
// of it; empty if there is nothing to tell.
func (s *Scans) Want(ctx context.Context, images []image.Reference) []string {
	notes := make([]string, len(images))
	wanted := make([]*wish, len(images))
	for n := range images {
		wanted[n], notes[n] = s.wish(&images[n]) //nolint:contextcheck // HSS goes on being asked when the request has ended
	}
	timer := time.NewTimer(patienceOf(ctx))
	defer timer.Stop()
	expired := false
	for n, w := range wanted {
		if w == nil {
			continue
		}
		if !expired && notes[n] == "" {
			expired = w.wait(ctx, timer.C)
		}
		if notes[n] == "" {
			notes[n] = s.noteOf(w)
		}
	}
	return notes
}

// patienceOf is how long a request may wait: at most a quarter of what it has.
func patienceOf(ctx context.Context) time.Duration {
	const part = 4
	if deadline, ok := ctx.Deadline(); ok {
		return min(scanPatience, max(0, time.Until(deadline)/part))
	}
	return scanPatience
}

// wait reports whether patience ended before HSS was asked.
func (w *wish) wait(ctx context.Context, expired <-chan time.Time) bool {
	select {
	case <-w.done:
		return false
	case <-expired:
		return true
	case <-ctx.Done():
		return true
	}
}

func (s *Scans) noteOf(w *wish) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.note == "" {
		return "HSS is being asked for a scan; " + tryAgain
	}
	return w.note
}

// wish finds what was wanted of an image, and begins to ask HSS if it is time
// to. It returns what is known of an earlier attempt at once.
func (s *Scans) wish(ref *image.Reference) (w *wish, note string) {
	k, reason := s.inventory.locate(ref)
	if reason != "" || !k.registry.project.scanOnDemand.Enabled {
		return nil, ""
	}
	name := wishKey{key: k, pinned: ref.Digest}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.inventory.clock.Now()
	w = s.wishes[name]
	if w == nil && !s.makeRoom(now) {
		return nil, "no scan was asked for, since too many images wait for one; " + tryAgain
	}
	if w == nil || (!w.asking && !now.Before(w.until)) {
		w = s.begin(name, w)
	}
	return w, w.note
}

// begin asks HSS in the background, if not too many images are being asked for.
// The caller holds the lock.
func (s *Scans) begin(name wishKey, before *wish) *wish {
	w := &wish{asking: true, done: make(chan struct{})}
	if before != nil {
		w.note = before.note
	}
	if s.underWay >= maxWishesUnderWay {
		w.asking, w.note = false, "no scan was asked for, since too many images wait for one; "+tryAgain
		close(w.done)
		return w
	}
	name.key, w.until = name.clone(), s.inventory.clock.Now()
	s.wishes[name] = w
	s.underWay++
	go s.grant(name, w)
	return w
}

// makeRoom reports whether one more image may be remembered, and forgets those
// whose time is over. The caller holds the lock.
func (s *Scans) makeRoom(now time.Time) bool {
	if len(s.wishes) < maxWishes {
		return true
	}
	for name, w := range s.wishes {
		if !w.asking && !now.Before(w.until) {
			delete(s.wishes, name)
		}
	}
	return len(s.wishes) < maxWishes
}

// result is what came of an attempt.
type result struct {
	outcome ScanOutcome
	note    string
	// again is after how long to look again.
	again time.Duration
}

// grant sees to one image, and notes what came of it.
func (s *Scans) grant(name wishKey, w *wish) {
	r := result{ScanFailed, "HSS could not be asked for a scan: internal error", againAfterFailure}
	defer func() {
		s.mu.Lock()
		w.asking, w.note, w.until = false, r.note, s.inventory.clock.Now().Add(r.again)
		s.underWay--
		s.mu.Unlock()
		close(w.done)
	}()
	err := guarded(func() (err error) {
		r, err = s.attempt(name)
		return err
	})
	if err != nil {
		r = result{ScanFailed, failedNote(err) + "; " + tryAgain, againAfterFailure}
	}
	s.observer.Scan(name.registry.project.name, name.String(), r.outcome, r.note)
}

// failedNote says why HSS was not asked.
func failedNote(err error) string {
	if noted, ok := errors.AsType[*bookError](err); ok {
		return "no scan was asked for, since that could not be noted: " + noted.err.Error()
	}
	return "HSS could not be asked for a scan: " + strings.TrimPrefix(describe(err), "HSS could not be asked: ")
}

// attempt looks at what HSS knows of the image now, and asks for what it lacks.
func (s *Scans) attempt(name wishKey) (result, error) {
	if !s.inventory.begin() {
		return result{}, errClosed
	}
	defer s.inventory.underWay.Done()
	rows, err := s.inventory.listForScan(name)
	switch {
	case err != nil:
		return result{}, err
	case len(rows) == 0:
		return s.synchronise(name)
	}
	return s.scan(name, rows)
}

// listForScan asks HSS for the rows of an image, past what is remembered, which
// then is as new.
func (i *Inventory) listForScan(name wishKey) (rows []hss.Image, err error) {
	k := name.key
	begun := i.clock.Now()
	err = i.call(i.base, question{project: k.registry.project, urgency: newUrgency(forBackground), calls: 1}, func(ctx context.Context, _ int) error {
		begun = i.clock.Now()
		for _, spelling := range k.spellings() {
			found, err := k.registry.rows(ctx, k, spelling)
			if err != nil {
				return whyEnded(ctx, err)
			}
			rows = append(rows, found...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := i.renew(k, rows, begun); err != nil {
		return nil, err
	}
	if name.pinned == "" {
		return rows, nil
	}
	var pinned []hss.Image
	for n := range rows {
		if hasDigest(&rows[n], name.pinned) {
			pinned = append(pinned, rows[n])
		}
	}
	return pinned, nil
}

// renew remembers rows that were just read.
func (i *Inventory) renew(k key, rows []hss.Image, begun time.Time) error {
	records, err := packAll(rows)
	if err != nil {
		return err
	}
	if known := i.cache.get(k); known != nil {
		keepCompleted(records, known.records())
	}
	i.cache.put(newAnswer(k, records, begun, i.clock.Now()))
	return nil
}

var errNoScanClient = errors.New("the client cannot ask for scans")

// checkScanClient refuses a client that cannot do what is configured.
func checkScanClient(c *config.Project, lister Lister) error {
	if _, ok := lister.(ScanClient); c.ScanOnDemand.Enabled && !ok {
		return fmt.Errorf("project %q is to be asked for scans, and its client %T: %w", c.Name, lister, errNoScanClient)
	}
	return nil
}
