package inventory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"
)

// Book keeps what replicas must agree on: short texts by name. One that all
// replicas share makes an image be scanned once for all of them.
type Book interface {
	// Change lets change edit the entries, and writes them if it reports that
	// it did. If somebody else has written meanwhile it reads and calls change
	// anew: change must depend on nothing but the entries.
	Change(ctx context.Context, change func(entries map[string]string) bool) error
}

// NewBook returns a book in memory, for a single replica.
func NewBook() Book { return &memoryBook{entries: map[string]string{}} }

type memoryBook struct {
	mu      sync.Mutex
	entries map[string]string
}

// Change edits the entries.
func (b *memoryBook) Change(_ context.Context, change func(map[string]string) bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	edited := maps.Clone(b.entries)
	if change(edited) {
		b.entries = edited
	}
	return nil
}

// What is claimed.
const (
	claimScan = "scan"
	claimSync = "sync"
)

// claimState is what came of what was claimed.
type claimState string

const (
	// claimAsking: HSS is being asked, or was when its replica ended.
	claimAsking claimState = "asking"
	// claimAsked: HSS took the request.
	claimAsked claimState = "asked"
	// claimUnconfirmed: HSS may have taken it.
	claimUnconfirmed claimState = "unconfirmed"
	// claimRefused: HSS refused it, so it cost nothing.
	claimRefused claimState = "refused"
)

const (
	// budgetWindow is the longest time for which what was asked for counts.
	budgetWindow = 24 * time.Hour
	// maxClaims and maxBookBytes bound a book: an entry has some 150 bytes and
	// the name of an image, and a ConfigMap holds 1 MiB.
	maxClaims    = 5000
	maxBookBytes = 850 << 10
)

// claim is the right to ask for something, taken by one replica for all.
type claim struct {
	state claimState
	// at is when it was taken; until then nobody else may take it.
	at, until time.Time
	// row is, of a claim by digest, the row that HSS is asked to scan; empty if
	// it isn't known.
	row rowName
}

// claimName names a claim in a book, which may be a ConfigMap's data: letters,
// digits, dashes and dots.
func claimName(kind, project, what string) string {
	sum := sha256.Sum256([]byte(what))
	return kind + "." + project + "." + hex.EncodeToString(sum[:20])
}

// String is the claim in three words. The first may name the row, STATE:ROW:
// replicas of versions that know no rows read that as a state like any other.
func (c claim) String() string {
	state := string(c.state)
	if c.row != "" {
		state += ":" + string(c.row)
	}
	return fmt.Sprintf("%s %s %s", state, c.at.UTC().Format(time.RFC3339), c.until.UTC().Format(time.RFC3339))
}

// parseClaim reads an entry; what is none counts as never claimed.
func parseClaim(s string) (c claim, ok bool) {
	words := strings.Fields(s)
	if len(words) != 3 {
		return claim{}, false
	}
	at, err := time.Parse(time.RFC3339, words[1])
	if err != nil {
		return claim{}, false
	}
	until, err := time.Parse(time.RFC3339, words[2])
	if err != nil {
		return claim{}, false
	}
	state, row, _ := strings.Cut(words[0], ":")
	return claim{claimState(state), at, until, rowName(row)}, true
}

// limits bound what may be asked for; 0: without bound.
type limits struct{ perHour, perDay int }

// grant is the answer to who wants to claim something.
type grant struct {
	// taken names what is the caller's now; empty: nothing.
	taken string
	// held is the claim of somebody else, or an earlier one, if there is one.
	held *claim
	// full says what is used up, and until when.
	full  string
	until time.Time
}

// take claims something until a time, if nobody holds it and the limits allow.
func take(entries map[string]string, name string, now time.Time, hold time.Duration, l limits) grant {
	prune(entries, now)
	if c, ok := parseClaim(entries[name]); ok && now.Before(c.until) {
		return grant{held: &c}
	}
	if full, until := used(entries, name, now, l); full != "" {
		return grant{full: full, until: until}
	}
	if len(entries) >= maxClaims || bytesOf(entries) > maxBookBytes {
		return grant{full: fmt.Sprintf("%d images are remembered already", len(entries)), until: now.Add(time.Minute)}
	}
	if l.perDay != 0 {
		keepSpent(entries, name)
	}
	entries[name] = claim{state: claimAsking, at: now, until: now.Add(hold)}.String()
	return grant{taken: name}
}

func bytesOf(entries map[string]string) (n int) {
	for name, entry := range entries {
		n += len(name) + len(entry)
	}
	return n
}

// keepSpent keeps, under a name of its own, a claim that is about to be taken
// again: what it cost counts whatever comes of the repeat. As any claim it is
// pruned once it counts no more, so the limits bound how many are kept.
func keepSpent(entries map[string]string, name string) {
	if c, ok := parseClaim(entries[name]); ok && c.state != claimRefused {
		entries[fmt.Sprintf("%s-%d", name, c.at.Unix())] = entries[name]
	}
}

// prune forgets what neither binds nor counts any more.
func prune(entries map[string]string, now time.Time) {
	for name, entry := range entries {
		c, ok := parseClaim(entry)
		if !ok || (!now.Before(c.until) && (!now.Before(c.at.Add(budgetWindow)) || c.state == claimRefused)) {
			delete(entries, name)
		}
	}
}

// used tells which limit allows nothing more, and until when.
func used(entries map[string]string, name string, now time.Time, l limits) (full string, until time.Time) {
	if l.perDay == 0 {
		return "", time.Time{}
	}
	alike := name[:strings.LastIndex(name, ".")+1]
	var hour, day window
	for other, entry := range entries {
		c, ok := parseClaim(entry)
		if !ok || c.state == claimRefused || !strings.HasPrefix(other, alike) {
			continue
		}
		hour.count(c.at, now, time.Hour)
		day.count(c.at, now, budgetWindow)
	}
	switch {
	case day.n >= l.perDay:
		return fmt.Sprintf("%d a day are allowed", l.perDay), day.free
	case hour.n >= l.perHour:
		return fmt.Sprintf("%d an hour are allowed", l.perHour), hour.free
	}
	return "", time.Time{}
}

// window counts what was asked for in the last so much time.
type window struct {
	n    int
	free time.Time // when the oldest counts no more
}

func (w *window) count(at, now time.Time, length time.Duration) {
	end := at.Add(length)
	if !now.Before(end) {
		return
	}
	w.n++
	if w.free.IsZero() || end.Before(w.free) {
		w.free = end
	}
}
