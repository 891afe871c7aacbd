package inventory

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func at(hour int) time.Time { return time.Date(2026, 3, 1, hour, 0, 0, 0, time.UTC) }

func TestAClaimBindsUntilItsEnd(t *testing.T) {
	t.Parallel()
	entries := map[string]string{}
	name := claimName(claimScan, "bj4", "sha256:aa")
	if g := take(entries, name, at(1), time.Hour, limits{5, 5}); !g.taken {
		t.Fatalf("the first got %+v", g)
	}
	if g := take(entries, name, at(1).Add(59*time.Minute), time.Hour, limits{5, 5}); g.taken || g.held == nil || !g.held.at.Equal(at(1)) || g.held.state != claimAsking {
		t.Errorf("the second got %+v", g)
	}
	if g := take(entries, name, at(2), time.Hour, limits{5, 5}); !g.taken {
		t.Errorf("after its end: got %+v", g)
	}
}

func TestWhatWasRefusedDoesNotCount(t *testing.T) {
	t.Parallel()
	entries := map[string]string{
		claimName(claimScan, "bj4", "1"):   claim{claimRefused, at(1), at(2)}.String(),
		claimName(claimScan, "other", "1"): claim{claimAsked, at(1), at(20)}.String(),
		claimName(claimSync, "bj4", "1"):   claim{claimAsked, at(1), at(20)}.String(),
		claimName(claimScan, "bj4", "2"):   claim{claimUnconfirmed, at(1), at(1)}.String(),
	}
	if g := take(entries, claimName(claimScan, "bj4", "3"), at(1), time.Hour, limits{2, 2}); !g.taken {
		t.Fatalf("got %+v", g)
	}
	g := take(entries, claimName(claimScan, "bj4", "4"), at(1), time.Hour, limits{2, 9})
	if g.taken || g.full != "2 an hour are allowed" || !g.until.Equal(at(2)) {
		t.Errorf("past the limit: got %+v", g)
	}
}

func TestWhatWasAskedForCountsWhateverComesOfItsRepeat(t *testing.T) {
	t.Parallel()
	name := claimName(claimScan, "bj4", "1")
	for _, test := range []struct {
		name          string
		first, second claimState // none: it was given back
		limits        limits
		want          []string // what the book holds after both
	}{
		{"the repeat was taken", claimAsked, claimAsked, limits{5, 5},
			[]string{"asked 2026-03-01T01:00:00Z 2026-03-01T02:00:00Z", "asked 2026-03-01T02:00:00Z 2026-03-01T03:00:00Z"}},
		{"the repeat was refused", claimUnconfirmed, claimRefused, limits{5, 5},
			[]string{"refused 2026-03-01T02:00:00Z 2026-03-01T03:00:00Z", "unconfirmed 2026-03-01T01:00:00Z 2026-03-01T02:00:00Z"}},
		{"the repeat did not reach HSS", claimAsked, "", limits{5, 5},
			[]string{"asked 2026-03-01T01:00:00Z 2026-03-01T02:00:00Z"}},
		{"the first replica ended while it asked", claimAsking, "", limits{5, 5},
			[]string{"asking 2026-03-01T01:00:00Z 2026-03-01T02:00:00Z"}},
		{"the first was refused", claimRefused, claimAsked, limits{5, 5},
			[]string{"asked 2026-03-01T02:00:00Z 2026-03-01T03:00:00Z"}},
		{"nothing is counted", claimAsked, claimAsked, limits{},
			[]string{"asked 2026-03-01T02:00:00Z 2026-03-01T03:00:00Z"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			entries := map[string]string{name: claim{test.first, at(1), at(2)}.String()}
			if g := take(entries, name, at(2), time.Hour, test.limits); !g.taken {
				t.Fatalf("got %+v", g)
			}
			delete(entries, name)
			if test.second != "" {
				entries[name] = claim{test.second, at(2), at(3)}.String()
			}
			if diff := cmp.Diff(test.want, slices.Sorted(maps.Values(entries))); diff != "" {
				t.Errorf("the book (-want +got):\n%s", diff)
			}
			if prune(entries, at(26)); len(entries) != 0 {
				t.Errorf("a day later it still holds %v", entries)
			}
		})
	}
}

func TestOneDigestFillsNoBook(t *testing.T) {
	t.Parallel()
	entries, l := map[string]string{}, limits{4, 9}
	for minute := range 3 * 24 * 60 {
		take(entries, claimName(claimScan, "bj4", "1"), at(0).Add(time.Duration(minute)*time.Minute), time.Minute, l)
		if len(entries) > l.perDay {
			t.Fatalf("%d entries after %d minutes: %v", len(entries), minute, entries)
		}
	}
}

func TestWhatIsOverIsForgotten(t *testing.T) {
	t.Parallel()
	entries := map[string]string{
		"binds":           claim{claimAsked, at(0).Add(-48 * time.Hour), at(2)}.String(),
		"counts":          claim{claimAsked, at(0), at(0)}.String(),
		"is over":         claim{claimAsked, at(1).Add(-25 * time.Hour), at(0)}.String(),
		"refused, over":   claim{claimRefused, at(0), at(0)}.String(),
		"is not a claim":  "asked",
		"has no times":    "asked soon later",
		"has no end":      "asked 2026-03-01T00:00:00Z later",
		"refused, binds":  claim{claimRefused, at(0), at(2)}.String(),
		"has a long name": strings.Repeat("x", 1000),
	}
	prune(entries, at(1))
	for _, name := range []string{"binds", "counts", "refused, binds"} {
		if entries[name] == "" {
			t.Errorf("%q was forgotten", name)
		}
	}
	if len(entries) != 3 {
		t.Errorf("%d are left: %v", len(entries), entries)
	}
}

func TestABookIsBounded(t *testing.T) {
	t.Parallel()
	entries, bytes := map[string]string{}, 0
	for n := range maxClaims + 10 {
		take(entries, claimName(claimScan, strings.Repeat("p", 63), fmt.Sprint(n)), at(1), time.Hour, limits{})
	}
	for name, entry := range entries {
		bytes += len(name) + len(entry)
	}
	if len(entries) != maxClaims || bytes > 900<<10 { // a ConfigMap holds 1 MiB
		t.Errorf("%d entries have %d bytes", len(entries), bytes)
	}
}

func FuzzParseClaim(f *testing.F) {
	f.Add(claim{claimAsked, at(1), at(2)}.String())
	f.Add("asked 2026-03-01T00:00:00Z")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		c, ok := parseClaim(text)
		if !ok {
			return
		}
		again, ok := parseClaim(c.String())
		if c.at.UTC().Year() > 9999 || c.at.UTC().Year() < 0 || c.until.UTC().Year() > 9999 || c.until.UTC().Year() < 0 {
			return // a zone can take a time past what can be written
		}
		if !ok || again.state != c.state || !again.at.Equal(c.at.Truncate(time.Second)) {
			t.Errorf("%q became %+v and then %+v", text, c, again)
		}
	})
}
