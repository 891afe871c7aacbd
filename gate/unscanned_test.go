package gate_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestUnscannedAreTheImagesThatAScanWouldHelp(t *testing.T) {
	t.Parallel()
	allow := func(s *v1alpha1.ImageScanPolicySpec) { s.When.NotFound = v1alpha1.ActionAllow }
	unknown, high := swr+"unknown:1", swr+"high:1.4"
	for name, tt := range map[string]struct {
		policies []*v1alpha1.ImageScanPolicy
		request  gate.Request
		want     []string
	}{
		"denied, and by two policies":    {[]*v1alpha1.ImageScanPolicy{strict("a"), strict("b")}, pod(unknown, high, unknown), []string{unknown}},
		"warned":                         {[]*v1alpha1.ImageScanPolicy{strict("a", enforcement("Warn"))}, pod(unknown), []string{unknown}},
		"only audited":                   {[]*v1alpha1.ImageScanPolicy{strict("a", enforcement("Audit"))}, pod(unknown), nil},
		"allowed":                        {[]*v1alpha1.ImageScanPolicy{strict("a", allow)}, pod(unknown), nil},
		"nobody judges it":               {nil, pod(unknown), nil},
		"a reference that can't be read": {[]*v1alpha1.ImageScanPolicy{strict("a")}, pod("Prod/App:1"), nil},
		"HSS can't be asked":             {[]*v1alpha1.ImageScanPolicy{strict("a")}, pod(swr + "gone:1"), nil},
		"bad as it is":                   {[]*v1alpha1.ImageScanPolicy{strict("a")}, pod(high), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, _ := newGate(t, tt.policies...)
			d := g.Decide(t.Context(), tt.request)
			var got []string
			for _, i := range d.Unscanned() {
				got = append(got, i.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
