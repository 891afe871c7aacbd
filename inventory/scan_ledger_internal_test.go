package inventory

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
)

func at(hour int) time.Time { return time.Date(2026, 3, 1, hour, 0, 0, 0, time.UTC) }

func TestAClaimBindsUntilItsEnd(t *testing.T) {
	t.Parallel()
	entries := map[string]string{}
	name := claimName(claimScan, "bj4", "sha256:aa")
	if g := take(entries, name, at(1), time.Hour, limits{5, 5}); g.taken == "" {
		t.Fatalf("the first got %+v", g)
	}
	if g := take(entries, name, at(1).Add(59*time.Minute), time.Hour, limits{5, 5}); g.taken != "" || g.held == nil || !g.held.at.Equal(at(1)) || g.held.state != claimAsking {
		t.Errorf("the second got %+v", g)
	}
	if g := take(entries, name, at(2), time.Hour, limits{5, 5}); g.taken == "" {
		t.Errorf("after its end: got %+v", g)
	}
}

func TestWhatWasRefusedDoesNotCount(t *testing.T) {
	t.Parallel()
	entries := map[string]string{
		claimName(claimScan, "bj4", "1"):   claim{state: claimRefused, at: at(1), until: at(2)}.String(),
		claimName(claimScan, "other", "1"): claim{state: claimAsked, at: at(1), until: at(20)}.String(),
		claimName(claimSync, "bj4", "1"):   claim{state: claimAsked, at: at(1), until: at(20)}.String(),
		claimName(claimScan, "bj4", "2"):   claim{state: claimUnconfirmed, at: at(1), until: at(1)}.String(),
	}
	if g := take(entries, claimName(claimScan, "bj4", "3"), at(1), time.Hour, limits{2, 2}); g.taken == "" {
		t.Fatalf("got %+v", g)
	}
	g := take(entries, claimName(claimScan, "bj4", "4"), at(1), time.Hour, limits{2, 9})
	if g.taken != "" || g.full != "2 an hour are allowed" || !g.until.Equal(at(2)) {
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
			entries := map[string]string{name: claim{state: test.first, at: at(1), until: at(2)}.String()}
			if g := take(entries, name, at(2), time.Hour, test.limits); g.taken == "" {
				t.Fatalf("got %+v", g)
			}
			delete(entries, name)
			if test.second != "" {
				entries[name] = claim{state: test.second, at: at(2), until: at(3)}.String()
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
		"binds":           claim{state: claimAsked, at: at(0).Add(-48 * time.Hour), until: at(2)}.String(),
		"counts":          claim{state: claimAsked, at: at(0), until: at(0)}.String(),
		"is over":         claim{state: claimAsked, at: at(1).Add(-25 * time.Hour), until: at(0)}.String(),
		"refused, over":   claim{state: claimRefused, at: at(0), until: at(0)}.String(),
		"is not a claim":  "asked",
		"has no times":    "asked soon later",
		"has no end":      "asked 2026-03-01T00:00:00Z later",
		"refused, binds":  claim{state: claimRefused, at: at(0), until: at(2)}.String(),
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
	entries := map[string]string{}
	name := func(n int) string { return claimName(claimScan, strings.Repeat("p", 63), fmt.Sprint(n)) }
	for n := range maxClaims - 5 {
		entries[name(n)] = claim{state: claimUnconfirmed, at: at(1), until: at(2)}.String()
	}
	for n := range 10 {
		take(entries, name(-1-n), at(1), time.Hour, limits{})
	}
	if n := bytesOf(entries); len(entries) != maxClaims || n > 900<<10 { // a ConfigMap holds 1 MiB
		t.Errorf("%d entries have %d bytes", len(entries), n)
	}
}

func TestABookIsBoundedInBytesToo(t *testing.T) {
	t.Parallel()
	entries := map[string]string{}
	claimOf := func(n int) rowClaim {
		name := claimName(claimScan, strings.Repeat("p", 63), fmt.Sprint(n))
		return rowClaim{shared: name, own: name + "r", row: rowName(strings.Repeat("n", maxRowName))}
	}
	for n := 0; bytesOf(entries) <= maxBookBytes-1000; n++ {
		entries[claimOf(n).shared] = claim{state: claimAsked, at: at(1), until: at(2), row: claimOf(n).row}.String()
	}
	taken := 0
	for n := range 10 {
		r := claimOf(-1 - n)
		if g := r.take(entries, "", at(1), time.Hour, limits{}); g.taken != "" {
			taken++
		}
	}
	if n := bytesOf(entries); n > maxBookBytes+1000 || taken == 0 || taken == 10 {
		t.Errorf("%d more were taken, and then %d entries have %d bytes", taken, len(entries), n)
	}
}

// Replicas of two versions may share a book.
func TestAClaimForARowReadsAsAClaim(t *testing.T) {
	t.Parallel()
	const old, named = "asked 2026-03-01T01:00:00Z 2026-03-01T02:00:00Z", "asked:prod/app:1#0123456789ab 2026-03-01T01:00:00Z 2026-03-01T02:00:00Z"
	for text, want := range map[string]claim{
		old:   {state: claimAsked, at: at(1), until: at(2)},
		named: {state: claimAsked, at: at(1), until: at(2), row: "prod/app:1#0123456789ab"},
	} {
		c, ok := parseClaim(text)
		if diff := cmp.Diff(want, c, cmp.AllowUnexported(claim{})); !ok || diff != "" || c.String() != text {
			t.Errorf("%q is read (-want +got):\n%s", text, diff)
		}
		if words := strings.Fields(text); len(words) != 3 {
			t.Errorf("%q has %d words, which earlier versions don't read", text, len(words))
		}
	}
	r := rowClaim{shared: "scan.bj4.digest", own: "scan.bj4.row", row: "stage/app:1#ba9876543210"}
	for text, want := range map[string]string{old: "", named: r.own} {
		entries := map[string]string{r.shared: text}
		if g := r.take(entries, "prod/app:1#0123456789ab", at(1), time.Hour, limits{5, 5}); g.taken != want {
			t.Errorf("%q: taken is %q, want %q", text, g.taken, want)
		}
	}
}

func TestARowIsNamedSoThatItCanBeFound(t *testing.T) {
	t.Parallel()
	p := &project{enterpriseProject: "all_granted_eps"}
	long := strings.Repeat("v", 65)
	for name, test := range map[string]struct {
		row  hss.Image
		want string
		ask  hss.ListRequest // none: it can't be asked for
	}{
		"a row":               {hss.Image{ID: "7", Namespace: "prod", Name: "app", Version: "1"}, "prod/app:1", hss.ListRequest{Namespace: "prod", ImageName: "app", ImageVersion: "1"}},
		"a nested name":       {hss.Image{Namespace: "prod", Name: "team/app", Version: "1"}, "prod/team/app:1", hss.ListRequest{Namespace: "prod", ImageName: "team/app", ImageVersion: "1"}},
		"a long version":      {hss.Image{Namespace: "prod", Name: "app", Version: long}, "prod/app:" + long, hss.ListRequest{Namespace: "prod", ImageName: "app"}},
		"what no version has": {hss.Image{Namespace: "prod", Name: "app", Version: "1#2"}, "prod/app:1#2", hss.ListRequest{Namespace: "prod", ImageName: "app", ImageVersion: "1#2"}},
		"blanks":              {hss.Image{Namespace: "prod", Name: "app", Version: "1 2"}, "another image", hss.ListRequest{}},
		"too long":            {hss.Image{Namespace: "prod", Name: strings.Repeat("n", 300), Version: "1"}, "another image", hss.ListRequest{}},
	} {
		is := rowNameOf(&test.row)
		got, ok := is.request(p)
		if test.ask.Namespace != "" {
			test.ask.EnterpriseProjectID, test.ask.Limit = p.enterpriseProject, hss.MaxLimit
		}
		if diff := cmp.Diff(test.ask, got); diff != "" || ok == (test.ask == hss.ListRequest{}) || is.String() != test.want {
			t.Errorf("%s: %s is asked for by (-want +got):\n%s", name, is, diff)
		}
		other := test.row
		other.RegistryID = "elsewhere"
		if rowNameOf(&other) == is {
			t.Errorf("%s: rows of two registries have one name", name)
		}
	}
}

func FuzzParseClaim(f *testing.F) {
	f.Add(claim{state: claimAsked, at: at(1), until: at(2)}.String())
	f.Add("asked 2026-03-01T00:00:00Z")
	f.Add(claim{state: claimAsked, at: at(1), until: at(2), row: "prod/app:1#0123456789ab"}.String())
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
		if !ok || again.state != c.state || again.row != c.row || !again.at.Equal(c.at.Truncate(time.Second)) {
			t.Errorf("%q became %+v and then %+v", text, c, again)
		}
	})
}
