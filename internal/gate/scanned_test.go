package gate_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// The audit compares what nodes run with these.
func TestWhatHSSScannedUnderATagIsReported(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("a", 64)
	with := func(change func(*policy.Facts)) policy.Facts {
		f := scanned("Low", 0)
		f.Records[0].Digest = digest
		change(&f)
		return f
	}
	for name, tt := range map[string]struct {
		facts policy.Facts
		image string
		want  []gate.Scanned
	}{
		"a tag": {with(func(*policy.Facts) {}), "app:1", []gate.Scanned{{
			Reference: swr + "app:1", Policies: []string{"p"}, Digests: []policy.Digests{{Image: digest}},
		}}},
		"a reference with a digest":        {with(func(*policy.Facts) {}), "app:1@" + digest, nil},
		"an old result":                    {with(func(f *policy.Facts) { f.Stale = true }), "app:1", nil},
		"a row without a digest":           {with(func(f *policy.Facts) { f.Records[0].Digest = "" }), "app:1", nil},
		"an image that no policy matches":  {with(func(*policy.Facts) {}), "excluded:1", nil},
		"an image that HSS does not know":  {policy.Facts{State: policy.StateNotFound}, "app:1", nil},
		"no answer, but some of the rows":  {with(func(f *policy.Facts) { f.State = policy.StateUnavailable }), "app:1", nil},
		"a reference that cannot be read ": {with(func(*policy.Facts) {}), "app:", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, inv := newGate(t, strict("p", func(s *v1alpha1.ImageScanPolicySpec) { s.Match.ExcludeImages = []string{swr + "excluded"} }))
			inv.facts["prod/app"], inv.facts["prod/excluded"] = tt.facts, tt.facts
			r := pod(swr + tt.image)
			r.Sightings = true
			got := g.Decide(t.Context(), r).Scanned
			for i := range got {
				got[i].Use = tt.want[i].Use
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
