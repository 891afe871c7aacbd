package policy_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func set(digests ...string) map[string]struct{} {
	all := map[string]struct{}{}
	for _, d := range digests {
		all[d] = struct{}{}
	}
	return all
}

func TestHistoryAfterAnAudit(t *testing.T) {
	t.Parallel()
	passed := func(d time.Duration) policy.Passing { return policy.Passing{PassedAt: ago(d)} }
	worse := func(d, w time.Duration) policy.Passing { return policy.Passing{PassedAt: ago(d), WorsenedAt: ago(w)} }
	of := func(p policy.Passing) policy.History { return policy.History{digest: p} }
	tests := map[string]struct {
		before     policy.History
		passed     map[string]struct{}
		bad        map[string]struct{}
		incomplete bool
		want       policy.History
	}{
		"a new image that passes":                       {nil, set(digest), nil, false, of(passed(0))},
		"a new image that is bad":                       {nil, nil, set(digest), false, policy.History{}},
		"a new image that passes here and is bad there": {nil, set(digest), set(digest), false, policy.History{}},
		"one that passes again is noted now and then":   {of(passed(time.Hour)), set(digest), nil, false, of(passed(time.Hour))},
		"and not more often than a tenth of the period": {of(passed(grace / 10)), set(digest), nil, false, of(passed(grace / 10))},
		"but by then":                                      {of(passed(grace/10 + time.Second)), set(digest), nil, false, of(passed(0))},
		"all are, if anything is written":                  {of(passed(time.Hour)), set(digest, otherDigest), nil, false, policy.History{digest: passed(0), otherDigest: passed(0)}},
		"one that turns bad":                               {of(passed(time.Hour)), nil, set(digest), false, of(worse(time.Hour, 0))},
		"one that stays bad keeps its moment":              {of(worse(3*day, 2*day)), nil, set(digest), false, of(worse(3*day, 2*day))},
		"one that is bad here though it passes there":      {of(worse(3*day, 2*day)), set(digest), set(digest), false, of(worse(3*day, 2*day))},
		"one that turns good":                              {of(worse(3*day, 2*day)), set(digest), nil, false, of(passed(0))},
		"not if some pods could not be read":               {of(worse(3*day, 2*day)), set(digest), nil, true, of(worse(3*day, 2*day))},
		"one that no longer runs":                          {of(passed(6 * day)), nil, nil, false, of(passed(6 * day))},
		"for as long as it would have a grace":             {of(passed(grace)), nil, nil, false, policy.History{}},
		"one that nobody saw for a whole period":           {of(passed(grace)), nil, set(digest), false, of(worse(grace, grace))},
		"nor for longer than audits take to note a pass":   {of(passed(2 * day)), nil, set(digest), false, of(worse(2*day, 2*day))},
		"a late audit is no absence":                       {of(passed(grace/10 + 12*time.Hour)), nil, set(digest), false, of(worse(grace/10+12*time.Hour, 0))},
		"the end of a grace is remembered":                 {of(worse(40*day, 36*day)), nil, set(digest), false, of(worse(40*day, 36*day))},
		"but not for ever":                                 {of(worse(40*day, 37*day)), nil, set(digest), false, policy.History{}},
		"a pass in the future is dropped":                  {of(passed(-time.Hour)), nil, nil, false, policy.History{}},
		"a pass in the future is put right":                {of(passed(-time.Hour)), set(digest), nil, false, of(passed(0))},
		"a change in the future is put right":              {of(worse(day, -time.Hour)), nil, set(digest), false, of(worse(day, 0))},
		"a change in the future of what passes is dropped": {of(worse(day, -time.Hour)), nil, nil, false, of(passed(day))},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := maps.Clone(tt.before)
			got, dropped := tt.before.After(policy.Sighting{Passed: tt.passed, Bad: tt.bad, Complete: !tt.incomplete, Every: 6 * time.Hour}, grace, now())
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" || dropped != 0 {
				t.Errorf("dropped %d; -want +got:\n%s", dropped, diff)
			}
			if diff := cmp.Diff(before, tt.before); diff != "" {
				t.Errorf("the history of before has changed:\n%s", diff)
			}
			again, _ := got.After(policy.Sighting{Passed: tt.passed, Bad: tt.bad, Complete: !tt.incomplete, Every: 6 * time.Hour}, grace, now())
			if diff := cmp.Diff(got, again); diff != "" {
				t.Errorf("the next audit writes, too:\n%s", diff)
			}
		})
	}
}

func numbered(i int) string { return fmt.Sprintf("sha256:%064x", i) }

func TestAFullHistoryLeavesOutTheOldest(t *testing.T) {
	t.Parallel()
	before, passed := policy.History{}, map[string]struct{}{}
	for i := range v1alpha1.MaxHistory {
		before[numbered(i)] = policy.Passing{PassedAt: ago(time.Hour)}
	}
	before[numbered(7)] = policy.Passing{PassedAt: ago(3 * day), WorsenedAt: ago(2 * day)}
	for i := range 10 {
		passed[numbered(10000+i)] = struct{}{}
	}
	after, dropped := before.After(policy.Sighting{Passed: passed, Complete: true}, grace, now())
	if len(after) != v1alpha1.MaxHistory || dropped != 10 {
		t.Fatalf("%d images, %d dropped", len(after), dropped)
	}
	if _, ok := after[numbered(7)]; ok {
		t.Error("the oldest is still there")
	}
	for d := range passed {
		if _, ok := after[d]; !ok {
			t.Errorf("%s is missing", d)
		}
	}
	// If more run than there is room for, the same are left out every time.
	for i := range 2 * v1alpha1.MaxHistory {
		passed[numbered(i)] = struct{}{}
	}
	first, _ := policy.History{}.After(policy.Sighting{Passed: passed, Complete: true}, grace, now())
	second, dropped := first.After(policy.Sighting{Passed: passed, Complete: true}, grace, now().Add(time.Minute))
	if diff := cmp.Diff(first, second); diff != "" || dropped == 0 {
		t.Errorf("another audit writes: dropped %d", dropped)
	}
}

func TestGarbageInAHistoryGrantsNothing(t *testing.T) {
	t.Parallel()
	at := metav1.NewTime(ago(day))
	later := metav1.NewTime(ago(time.Hour))
	good := v1alpha1.PassedImage{Digest: digest, PassedAt: at}
	tests := map[string]struct {
		images []v1alpha1.PassedImage
		want   policy.History
		err    string
	}{
		"what is good stays": {[]v1alpha1.PassedImage{good}, policy.History{digest: {PassedAt: at.Time}}, ""},
		"no digest":          {[]v1alpha1.PassedImage{{PassedAt: at}, good}, policy.History{digest: {PassedAt: at.Time}}, "images[0]: must have a digest and passedAt"},
		"no digest either":   {[]v1alpha1.PassedImage{{Digest: "**", PassedAt: at}}, policy.History{}, "images[0]"},
		"no time":            {[]v1alpha1.PassedImage{{Digest: digest, WorsenedAt: &at}}, policy.History{}, "images[0]"},
		"twice, the earlier counts": {[]v1alpha1.PassedImage{{Digest: digest, PassedAt: later}, good}, policy.History{digest: {PassedAt: at.Time}},
			"images[1]: " + digest + " is there twice"},
	}
	for name, tt := range tests {
		got, err := policy.CompileHistory(&v1alpha1.ImageScanHistory{Images: tt.images})
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: got error %v, want %s", name, err, tt.err)
		}
	}
	many := make([]v1alpha1.PassedImage, v1alpha1.MaxHistory+5)
	for i := range many {
		many[i] = v1alpha1.PassedImage{Digest: numbered(i), PassedAt: at}
	}
	if got, err := policy.CompileHistory(&v1alpha1.ImageScanHistory{Images: many}); len(got) != v1alpha1.MaxHistory || err == nil {
		t.Errorf("%d images count, error %v", len(got), err)
	}
}

func TestAHistoryIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	h := policy.History{digest: {PassedAt: ago(day)}, otherDigest: {PassedAt: ago(2 * day), WorsenedAt: ago(time.Hour)}}
	got, err := policy.CompileHistory(&v1alpha1.ImageScanHistory{Images: h.Images()})
	if diff := cmp.Diff(h, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if diff := cmp.Diff(map[string]time.Time{otherDigest: ago(time.Hour)}, h.Worsenings()); diff != "" {
		t.Error(diff)
	}
}
