package policy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// History is which images ran and passed a policy, by their digests. It is not
// changed once it is made, and safe for concurrent use.
type History map[string]Passing

// Passing is what is known of one image.
type Passing struct {
	// PassedAt is when it was last seen to run and pass.
	PassedAt time.Time
	// WorsenedAt is when it was first seen to pass no longer; zero: it passes.
	WorsenedAt time.Time
}

const (
	// historySkew is how far the clocks of replicas may differ. What is later
	// than that is nothing that anybody has seen.
	historySkew = 5 * time.Minute
	// rememberEnded is how long it is remembered that a grace has ended.
	rememberEnded = 30 * day
	// refreshPart of a grace is how old PassedAt may be before it is written
	// again, so that little is written.
	refreshPart = 10
)

// CompileHistory reads a history. What can't be read is left out, which grants
// nothing; the error then says what that was.
func CompileHistory(h *v1alpha1.ImageScanHistory) (History, error) {
	history := make(History, min(len(h.Images), v1alpha1.MaxHistory))
	var errs []error
	for i := range h.Images {
		one := &h.Images[i]
		if len(history) >= v1alpha1.MaxHistory {
			errs = append(errs, fmt.Errorf("images: %d, at most %d count", len(h.Images), v1alpha1.MaxHistory))
			break
		}
		if !isDigest(one.Digest) || one.PassedAt.IsZero() {
			errs = append(errs, fmt.Errorf("images[%d]: must have a digest and passedAt", i))
			continue
		}
		p := Passing{PassedAt: one.PassedAt.Time}
		if one.WorsenedAt != nil {
			p.WorsenedAt = one.WorsenedAt.Time
		}
		if twin, ok := history[one.Digest]; ok {
			errs = append(errs, fmt.Errorf("images[%d]: %s is there twice", i, one.Digest))
			p = earlier(p, twin)
		}
		history[one.Digest] = p
	}
	return history, errors.Join(errs...)
}

func earlier(a, b Passing) Passing {
	if b.start().Before(a.start()) {
		return b
	}
	return a
}

// isDigest reports whether it is a whole digest, of one of the two algorithms that
// an image may be named by. It is the pattern of the schema of histories.
func isDigest(digest string) bool {
	algorithm, hex, _ := strings.Cut(digest, ":")
	return (algorithm == "sha256" && len(hex) == 64 || algorithm == "sha512" && len(hex) == 128) && strings.Trim(hex, "0123456789abcdef") == ""
}

// start is the moment from which a grace is counted. An image can't have
// worsened before it was last seen to pass: as long as no audit has seen it
// worsen, that is the moment, and no replica need ask another.
func (p Passing) start() time.Time {
	if p.WorsenedAt.IsZero() {
		return p.PassedAt
	}
	return p.WorsenedAt
}

// credible returns p without what lies in the future; ok says that anything is
// left.
func (p Passing) credible(now time.Time) (credible Passing, ok bool) {
	latest := now.Add(historySkew)
	if p.WorsenedAt.After(latest) {
		p.WorsenedAt = time.Time{}
	}
	return p, !p.PassedAt.IsZero() && !p.PassedAt.After(latest)
}

// graceEnd is when the grace of an image ends. One architecture of an image that
// passed whole has passed, too.
func (h History) graceEnd(d *Digests, period time.Duration, now time.Time) (end time.Time, ok bool) {
	for _, digest := range []string{d.Image, d.Whole} {
		p, known := h[digest]
		if p, credible := p.credible(now); known && credible {
			if one := p.start().Add(period); !ok || one.After(end) {
				end, ok = one, true
			}
		}
	}
	return end, ok
}

// Sighting is what one audit saw for a policy.
type Sighting struct {
	// Passed are the images that were seen to run and to pass, Bad those that
	// HSS's records say bad things of, by their digests.
	Passed, Bad map[string]struct{}
	// Complete says that nothing was left unseen that could be bad.
	Complete bool
	// Every is how often audits are made.
	Every time.Duration
}

// After returns the history after an audit at the time now, and how many images
// had to be left out. It is h itself if there is nothing to write.
func (h History) After(s Sighting, period time.Duration, now time.Time) (next History, dropped int) {
	now = now.Truncate(time.Second)
	next, stale := h.kept(s, period, now)
	for digest := range s.Passed {
		before, known := next[digest]
		if _, bad := s.Bad[digest]; bad || known && !before.WorsenedAt.IsZero() && !s.Complete {
			continue
		}
		stale = stale || known && now.Sub(before.PassedAt) > period/refreshPart
		next[digest] = Passing{PassedAt: now}
	}
	dropped = next.shrink(v1alpha1.MaxHistory)
	if !stale && next.sameSince(h) {
		return h, dropped
	}
	return next, dropped
}

// kept returns what is still worth knowing, with what an audit saw to be bad. It
// is to be written if anything in h is nothing that anybody has seen.
func (h History) kept(s Sighting, period time.Duration, now time.Time) (kept History, stale bool) {
	kept = make(History, len(h))
	for digest, p := range h {
		p, ok := p.credible(now)
		if !ok {
			stale = true
			continue
		}
		if _, bad := s.Bad[digest]; bad && p.WorsenedAt.IsZero() {
			p.WorsenedAt = p.firstBad(period, s.Every, now)
		}
		if !p.forgotten(period, now) {
			kept[digest] = p
		}
	}
	return kept, stale
}

// firstBad is when an image is taken to have turned bad that an audit sees so
// now. Of one that did not run meanwhile nobody knows, and it keeps the end that
// it was admitted by. One that runs and passes is noted at every refreshPart of
// the period; an audit may be late, or fail.
func (p Passing) firstBad(period, every time.Duration, now time.Time) time.Time {
	if unseen := now.Sub(p.PassedAt); unseen < period && unseen <= period/refreshPart+2*every {
		return now
	}
	return p.PassedAt
}

// forgotten tells whether an entry can grant nothing, and needn't explain that
// any more either.
func (p Passing) forgotten(period time.Duration, now time.Time) bool {
	end := p.start().Add(period)
	if p.WorsenedAt.IsZero() {
		return !now.Before(end)
	}
	return !now.Before(end.Add(rememberEnded))
}

// shrink leaves out the entries that began the longest ago, and of equal ones
// always the same.
func (h History) shrink(most int) (dropped int) {
	dropped = len(h) - most
	if dropped <= 0 {
		return 0
	}
	digests := slices.SortedFunc(maps.Keys(h), func(a, b string) int {
		return cmp.Or(h[a].start().Compare(h[b].start()), strings.Compare(b, a))
	})
	for _, digest := range digests[:dropped] {
		delete(h, digest)
	}
	return dropped
}

// sameSince tells whether both histories have the same images, and since the
// same times bad ones.
func (h History) sameSince(other History) bool {
	return maps.EqualFunc(h, other, func(a, b Passing) bool { return a.WorsenedAt.Equal(b.WorsenedAt) })
}

// Worsenings tells histories apart by what no longer passes.
func (h History) Worsenings() map[string]time.Time {
	worse := map[string]time.Time{}
	for digest, p := range h {
		if !p.WorsenedAt.IsZero() {
			worse[digest] = p.WorsenedAt
		}
	}
	return worse
}

// Images returns the history as it is written.
func (h History) Images() []v1alpha1.PassedImage {
	images := make([]v1alpha1.PassedImage, 0, len(h))
	for _, digest := range slices.Sorted(maps.Keys(h)) {
		p := h[digest]
		one := v1alpha1.PassedImage{Digest: digest, PassedAt: metav1.NewTime(p.PassedAt)}
		if !p.WorsenedAt.IsZero() {
			one.WorsenedAt = new(metav1.NewTime(p.WorsenedAt))
		}
		images = append(images, one)
	}
	return images
}
