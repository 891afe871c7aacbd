package policy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const grace = 7 * day

func graced(change ...func(*v1alpha1.ImageScanPolicySpec)) *v1alpha1.ImageScanPolicy {
	p := policyOf(strict())
	p.Spec.Grace = &v1alpha1.Grace{Period: metav1.Duration{Duration: grace}}
	for _, f := range change {
		f(&p.Spec)
	}
	return p
}

func TestAGracePeriodHasBounds(t *testing.T) {
	t.Parallel()
	for period, ok := range map[time.Duration]bool{
		0: false, -time.Hour: false, time.Minute - 1: false, time.Minute: true, 90 * day: true, 90*day + 1: false,
	} {
		p, err := policy.Compile(graced(func(s *v1alpha1.ImageScanPolicySpec) { s.Grace.Period.Duration = period }))
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "spec.grace.period: Invalid value: ") {
			t.Errorf("%s: %v", period, err)
		}
		want := period
		if !ok {
			want = 0
		}
		if got := p.GracePeriod(); got != want {
			t.Errorf("%s: the period is %s, want %s", period, got, want)
		}
	}
	if got := mustCompile(t, policyOf(strict())).GracePeriod(); got != 0 {
		t.Errorf("without a grace the period is %s", got)
	}
}

func TestWhatAGraceCovers(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, graced())
	want := map[policy.Check]bool{
		policy.CheckSeverityLevel: true, policy.CheckVulnerabilities: true, policy.CheckUnsafeSettings: true,
		policy.CheckScanStatus: true, policy.CheckScanAge: true, policy.CheckExpression: true,
		policy.CheckMaliciousFiles: false, policy.CheckDigest: false, policy.CheckNotFound: false, policy.CheckNotScanned: false, policy.CheckUnavailable: false,
	}
	for check, covered := range want {
		// No expression is there to read anything else.
		if got := p.GraceCovers(check); got != covered {
			t.Errorf("%s: covered is %t, want %t", check, got, covered)
		}
	}
}

func TestAGraceCoversExpressionsOfResultsOnly(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]bool{
		"image.vulnerabilities < 10": true,
		"has(image.severityLevel) && image.severityLevel != 'High' && image.unsafeSettings < 3": true,
		"image.scannedAt > now - duration('24h')":                                               true,
		"image.scanStatus == 'success' || image.vulnerabilities == 0":                           true,
		"image.maliciousFiles == 0":                                                             false,
		"image.vulnerabilities < 10 && image.maliciousFiles == 0":                               false,
		"image.tag != 'latest'":                                                                 false,
		"image.host == 'a.example.com' || image.vulnerabilities==0":                             false,
		"image.namespace == 'prod'":                                                             false,
		"image.architectures.all(a, a.vulnerabilities == 0)":                                    false,
		"[image].all(i, i.maliciousFiles == 0)":                                                 false,
		"[1].all(image, image == 1) && [2].all(x, x > 1)":                                       false,
		"now < timestamp('2030-01-01T00:00:00Z')":                                               false,
		"true": false,
	} {
		p := mustCompile(t, graced(func(s *v1alpha1.ImageScanPolicySpec) {
			s.Require.Expressions = []v1alpha1.Expression{{Expression: expression}}
		}))
		if got := p.GraceCovers(policy.CheckExpression); got != want {
			t.Errorf("%s: covered is %t, want %t", expression, got, want)
		}
	}
	both := mustCompile(t, graced(func(s *v1alpha1.ImageScanPolicySpec) {
		s.Require.Expressions = []v1alpha1.Expression{{Expression: "image.vulnerabilities < 10"}, {Expression: "image.tag != ''"}}
	}))
	if both.GraceCovers(policy.CheckExpression) {
		t.Error("one expression that reads more spoils all")
	}
}

func TestWhatHasResultsAndWhatHasWorsened(t *testing.T) {
	t.Parallel()
	rescan := func(r *policy.Record) { r.Scan.Status = v1alpha1.ScanStatusScanning }
	multi := func(statuses ...v1alpha1.ScanStatus) func(*policy.Record) {
		return func(r *policy.Record) {
			r.MultiArch = true
			for i, status := range statuses {
				one := scan(0, 0, 0)
				one.Status = status
				r.Architectures = append(r.Architectures, policy.Architecture{Digest: []string{amd64Digest, arm64Digest}[i], Scan: one})
			}
		}
	}
	tests := map[string]struct {
		record              policy.Record
		allow               bool
		hasResults, worsens bool
	}{
		"a completed scan":                         {with(), false, true, false},
		"one with more vulnerabilities":            {with(func(r *policy.Record) { r.Scan = scan(3, 0, 0) }), false, true, true},
		"one with malicious files":                 {with(func(r *policy.Record) { r.Scan = scan(0, 0, 1) }), false, true, true},
		"one that has become old":                  {with(func(r *policy.Record) { r.ScannedAt = ago(9 * day) }), false, true, true},
		"a scan that failed":                       {with(func(r *policy.Record) { r.Scan.Status = v1alpha1.ScanStatusFailed }), false, false, true},
		"a status that nobody knows":               {with(func(r *policy.Record) { r.Scan.Status = "odd" }), false, false, true},
		"an image that was never scanned":          {with(func(r *policy.Record) { r.Scan.Status = v1alpha1.ScanStatusUnscan }), false, false, false},
		"one that may run unscanned":               {with(func(r *policy.Record) { r.Scan.Status = v1alpha1.ScanStatusUnscan }), true, false, false},
		"one pushed after its scan":                {with(func(r *policy.Record) { r.UpdatedAt = ago(0) }), false, false, false},
		"one that is scanned again":                {with(rescan), false, true, false},
		"one whose first scan is under way":        {with(rescan, func(r *policy.Record) { r.Severity = "" }), true, false, false},
		"several architectures":                    {with(multi("success", "success")), false, true, false},
		"several, of which one was never scanned":  {with(multi("success", "unscan")), true, false, false},
		"several, none of which are listed":        {with(multi()), true, false, false},
		"one architecture of several":              {with(multi("success"), func(r *policy.Record) { r.PinnedArchitecture, r.Scan.Status = true, "failed" }), false, true, false},
		"one architecture that was never scanned":  {with(multi("unscan"), func(r *policy.Record) { r.PinnedArchitecture = true }), true, false, false},
		"an architecture that nobody could scan":   {with(multi("success", "failed")), false, false, true},
		"an architecture with a completed re-scan": {with(multi("success", "success"), rescan), false, true, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := mustCompile(t, graced(func(s *v1alpha1.ImageScanPolicySpec) {
				if tt.allow {
					s.When.NotScanned = v1alpha1.ActionAllow
				}
			}))
			f := policy.Facts{State: policy.StateFound, Records: []policy.Record{tt.record}}
			if got := f.HasResults(); got != tt.hasResults {
				t.Errorf("HasResults is %t, want %t", got, tt.hasResults)
			}
			findings := p.Evaluate(context.Background(), f, now())
			if got := p.Worsened(&f, findings); got != tt.worsens {
				t.Errorf("Worsened is %t, want %t: %+v", got, tt.worsens, findings)
			}
		})
	}
	p := mustCompile(t, graced())
	for _, state := range []policy.State{policy.StateNotFound, policy.StateUnavailable, 0} {
		f := policy.Facts{State: state}
		if f.HasResults() || p.Worsened(&f, p.Evaluate(t.Context(), f, now())) {
			t.Errorf("state %d: that nobody knows says nothing", state)
		}
	}
}

func TestDigestsOfRecords(t *testing.T) {
	t.Parallel()
	several := func(r *policy.Record) {
		r.MultiArch, r.Architectures = true, []policy.Architecture{{Digest: amd64Digest}, {Digest: arm64Digest}, {}}
	}
	tests := map[string]struct {
		records []policy.Record
		want    []policy.Digests
	}{
		"one":                      {[]policy.Record{with()}, []policy.Digests{{Image: digest}}},
		"several architectures":    {[]policy.Record{with(several)}, []policy.Digests{{Image: digest, Architectures: []string{amd64Digest, arm64Digest}}}},
		"the one that is named":    {[]policy.Record{with(several, func(r *policy.Record) { r.PinnedArchitecture = true })}, []policy.Digests{{Image: amd64Digest, Whole: digest}}},
		"a record without digest":  {[]policy.Record{with(), with(func(r *policy.Record) { r.Digest = "" })}, nil},
		"a digest that is none":    {[]policy.Record{with(func(r *policy.Record) { r.Digest = "sha256:abc" })}, nil},
		"a digest in upper case":   {[]policy.Record{with(func(r *policy.Record) { r.Digest = strings.ToUpper(amd64Digest) })}, nil},
		"no record at all":         {nil, nil},
		"two records with digests": {[]policy.Record{with(), with(func(r *policy.Record) { r.Digest = otherDigest })}, []policy.Digests{{Image: digest}, {Image: otherDigest}}},
	}
	for name, tt := range tests {
		f := policy.Facts{State: policy.StateFound, Records: tt.records}
		got := f.Digests()
		if len(got) == 0 {
			got = nil
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	d := policy.Digests{Image: digest, Architectures: []string{amd64Digest}}
	for _, id := range []string{digest, amd64Digest} {
		if !d.Has(id) {
			t.Errorf("a node may report %s", id)
		}
	}
	for _, id := range []string{"", otherDigest, arm64Digest} {
		if d.Has(id) {
			t.Errorf("%q is none of it", id)
		}
	}
}

func TestGraceEnd(t *testing.T) {
	t.Parallel()
	one, two := with(), with(func(r *policy.Record) { r.Digest = otherDigest })
	pinned := with(func(r *policy.Record) {
		r.MultiArch, r.PinnedArchitecture, r.Architectures = true, true, []policy.Architecture{{Digest: amd64Digest}}
	})
	whole := with(func(r *policy.Record) {
		r.MultiArch, r.Architectures = true, []policy.Architecture{{Digest: amd64Digest}}
	})
	nameless := with(func(r *policy.Record) { r.Digest = "" })
	passed := func(at time.Time) policy.Passing { return policy.Passing{PassedAt: at} }
	worse := func(passed, worsened time.Time) policy.Passing {
		return policy.Passing{PassedAt: passed, WorsenedAt: worsened}
	}
	tests := map[string]struct {
		history policy.History
		records []policy.Record
		want    time.Time
	}{
		"an image that no audit has seen turn bad":          {policy.History{digest: passed(ago(time.Hour))}, []policy.Record{one}, ago(time.Hour).Add(grace)},
		"one that an audit has":                             {policy.History{digest: worse(ago(3*day), ago(2*day))}, []policy.Record{one}, ago(2 * day).Add(grace)},
		"one whose grace has ended":                         {policy.History{digest: worse(ago(10*day), ago(9*day))}, []policy.Record{one}, ago(9 * day).Add(grace)},
		"a new one":                                         {policy.History{otherDigest: passed(ago(time.Hour))}, []policy.Record{one}, time.Time{}},
		"none is known":                                     {nil, []policy.Record{one}, time.Time{}},
		"an image without a digest":                         {policy.History{"": passed(ago(time.Hour))}, []policy.Record{nameless}, time.Time{}},
		"two records: the first end counts":                 {policy.History{digest: passed(ago(day)), otherDigest: passed(ago(2 * day))}, []policy.Record{one, two}, ago(2 * day).Add(grace)},
		"two records, one of which is new":                  {policy.History{digest: passed(ago(day))}, []policy.Record{one, two}, time.Time{}},
		"one architecture of an image that passed":          {policy.History{digest: passed(ago(day))}, []policy.Record{pinned}, ago(day).Add(grace)},
		"one architecture that passed":                      {policy.History{amd64Digest: passed(ago(day))}, []policy.Record{pinned}, ago(day).Add(grace)},
		"one that passed later than the whole":              {policy.History{digest: worse(ago(6*day), ago(5*day)), amd64Digest: passed(ago(day))}, []policy.Record{pinned}, ago(day).Add(grace)},
		"the whole of which one architecture passed":        {policy.History{amd64Digest: passed(ago(day))}, []policy.Record{whole}, time.Time{}},
		"a pass in the future is nonsense":                  {policy.History{digest: passed(ago(-time.Hour))}, []policy.Record{one}, time.Time{}},
		"a clock may be a little ahead":                     {policy.History{digest: passed(ago(-time.Minute))}, []policy.Record{one}, ago(-time.Minute).Add(grace)},
		"a change in the future prolongs nothing":           {policy.History{digest: worse(ago(3*day), ago(-day))}, []policy.Record{one}, ago(3 * day).Add(grace)},
		"no time of passing":                                {policy.History{digest: worse(time.Time{}, ago(day))}, []policy.Record{one}, time.Time{}},
		"a change before the last pass is an earlier grace": {policy.History{digest: worse(ago(day), ago(8*day))}, []policy.Record{one}, ago(8 * day).Add(grace)},
	}
	p := mustCompile(t, graced())
	for name, tt := range tests {
		f := policy.Facts{State: policy.StateFound, Records: tt.records}
		got, ok := p.GraceEnd(tt.history, &f, now())
		if !got.Equal(tt.want) || ok != !tt.want.IsZero() {
			t.Errorf("%s: the end is %s, %t, want %s", name, got, ok, tt.want)
		}
	}
	f := policy.Facts{State: policy.StateFound, Records: []policy.Record{one}}
	if _, ok := mustCompile(t, policyOf(strict())).GraceEnd(policy.History{digest: passed(ago(day))}, &f, now()); ok {
		t.Error("a policy that gives no grace gave one")
	}
}
