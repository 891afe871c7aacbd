package inventory

import (
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/config"
)

func defaultCache() config.Cache { return config.Default().Cache }

func TestTouchedRepositoriesAreForgottenAndNeverTooFew(t *testing.T) {
	t.Parallel()
	var names touched
	if names.since(1, 1) {
		t.Error("a repository was touched before any was")
	}
	names.note(1, 100)
	names.note(1, 50)
	names.note(2, 200)
	for _, test := range []struct {
		name uint64
		at   int64
		want bool
	}{{1, 100, true}, {1, 99, true}, {1, 101, false}, {2, 150, true}, {3, 1, false}} {
		if got := names.since(test.name, test.at); got != test.want {
			t.Errorf("repository %d was touched since %d: %v", test.name, test.at, got)
		}
	}
	names.forget(150)
	if names.since(1, 50) || !names.since(2, 200) {
		t.Error("the wrong one was forgotten")
	}
	for n := range uint64(maxTouched + 1) {
		names.note(n+10, 300)
	}
	for _, name := range []uint64{1, 2, 10, 12345678} {
		if !names.since(name, 300) || names.since(name+1<<40, 301) {
			t.Errorf("when there are too many, repository %d counts as touched: %v", name, names.since(name, 300))
		}
	}
	if len(names.names) > maxTouched {
		t.Errorf("%d are remembered", len(names.names))
	}
}

func TestAnAnswerKnowsItsKey(t *testing.T) {
	t.Parallel()
	r := &registry{}
	digest := "sha256:0000000000000000000000000000000000000000000000000000000000000001"
	tagged := key{registry: r, namespace: "n", name: "a/b", version: "1"}
	pinned := key{registry: r, namespace: "n", name: "a/b", digest: digest}
	row := func(name, version string) []record {
		packed := record{}
		if err := packed.setTexts(&[texts]string{textNamespace: "n", textName: name, textVersion: version, textDigest: digest}); err != nil {
			t.Fatal(err)
		}
		return []record{packed}
	}
	for name, test := range map[string]struct {
		answer *answer
		of     key
	}{
		"not found, by tag":        {newAnswer(tagged, nil, timeOf(1), timeOf(1)), tagged},
		"not found, by digest":     {newAnswer(pinned, nil, timeOf(1), timeOf(1)), pinned},
		"found with a slash":       {newAnswer(tagged, row("a/b", "1"), timeOf(1), timeOf(1)), tagged},
		"found with a dollar":      {newAnswer(tagged, row("a$b", "1"), timeOf(1), timeOf(1)), tagged},
		"found by digest":          {newAnswer(pinned, row("a$b", "7"), timeOf(1), timeOf(1)), pinned},
		"found by tag, two of one": {newAnswer(tagged, append(row("a$b", "1"), row("a/b", "1")...), timeOf(1), timeOf(1)), tagged},
	} {
		if got := test.answer.key(); got != test.of || !test.answer.isOf(test.of) {
			t.Errorf("%s: it is of %+v", name, got)
		}
		for _, other := range []key{
			tagged, pinned, {}, {registry: &registry{Registry: config.Registry{Name: "x"}}, namespace: "n", name: "a/b", version: "1"},
			{registry: r, namespace: "m", name: "a/b", version: "1"}, {registry: r, namespace: "n", name: "a.b", version: "1"},
			{registry: r, namespace: "n", name: "a/b", version: "2"}, {registry: r, namespace: "n", name: "a/b"},
			{registry: r, namespace: "n", name: "a/b", digest: digest + "0"},
		} {
			if other != test.of && test.answer.isOf(other) {
				t.Errorf("%s: it passes for that of %+v", name, other)
			}
		}
	}
}

func TestASynchronisationOfLaterThanNowVouchesForNothing(t *testing.T) {
	t.Parallel()
	clock := clocktesting.NewFakeClock(at(2))
	i := &Inventory{clock: clock}
	s := &syncer{i: i}
	a := &answer{registry: &registry{project: &project{syncer: s}}, found: true, asOf: at(1).UnixNano(), stored: at(1).UnixNano()}
	s.coverage.Store(&coverage{begun: at(0).UnixNano(), until: at(2).UnixNano()})
	if got := time.Unix(0, i.vouchedAt(a)); !got.Equal(at(2)) {
		t.Errorf("it is vouched for at %s, want %s", got.UTC(), at(2))
	}
	clock.SetTime(at(1))
	if got := time.Unix(0, i.vouchedAt(a)); !got.Equal(at(1)) {
		t.Errorf("with the clock set back, it is vouched for at %s, want when it was asked, %s", got.UTC(), at(1))
	}
	a.asOf = at(2).UnixNano()
	if age := i.age(a); age < 365*24*time.Hour {
		t.Errorf("what HSS said later than now is %s old", age)
	}
}

func TestASynchronisationBeginsAnewOnceTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	clock := clocktesting.NewFakeClock(at(2))
	s := &syncer{i: &Inventory{clock: clock}, begun: at(1), since: at(2), nextFull: at(3)}
	s.coverage.Store(&coverage{begun: at(1).UnixNano(), until: at(2).UnixNano()})
	clock.SetTime(at(2).Add(-clockTolerance))
	if s.beginAnew(); s.coverage.Load() == nil || s.begun.IsZero() {
		t.Error("it begins anew, though the clock was set back by a moment only")
	}
	clock.SetTime(at(1))
	s.beginAnew()
	if s.coverage.Load() != nil || !s.begun.IsZero() || !s.nextFull.Equal(at(1)) {
		t.Errorf("it does not list all again: since %s, next at %s", s.begun, s.nextFull)
	}
	if s.beginAnew(); !s.nextFull.Equal(at(1)) {
		t.Error("before the first list there is nothing to forget")
	}
}
