package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// The tests' now, and the digests of their images.
const (
	digest      = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	otherDigest = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
	amd64Digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	arm64Digest = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// ago is a time before now; ago(0) is now.
func ago(d time.Duration) time.Time { return now().Add(-d) }

const day = 24 * time.Hour

// strict requires all that a field of its own can.
func strict() v1alpha1.Requirements {
	return v1alpha1.Requirements{
		SeverityLevel:   &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityMedium},
		Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: 0},
		MaliciousFiles:  &v1alpha1.CountRequirement{Max: 0},
		UnsafeSettings:  &v1alpha1.CountRequirement{Max: 10},
		ScanStatus:      &v1alpha1.ScanStatusRequirement{In: []v1alpha1.ScanStatus{v1alpha1.ScanStatusSuccess}},
		ScanAge:         &v1alpha1.ScanAgeRequirement{Max: metav1.Duration{Duration: 7 * day}},
	}
}

func policyOf(r v1alpha1.Requirements) *v1alpha1.ImageScanPolicy {
	return &v1alpha1.ImageScanPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "production"},
		Spec:       v1alpha1.ImageScanPolicySpec{Require: r},
	}
}

func mustCompile(tb testing.TB, p *v1alpha1.ImageScanPolicy) *policy.Policy {
	tb.Helper()
	compiled, err := policy.Compile(p)
	if err != nil {
		tb.Fatal(err)
	}
	return compiled
}

// scan is a scan that succeeded.
func scan(vulnerabilities, unsafeSettings, maliciousFiles int) policy.Scan {
	return policy.Scan{
		Status:          v1alpha1.ScanStatusSuccess,
		Vulnerabilities: &vulnerabilities,
		UnsafeSettings:  &unsafeSettings,
		MaliciousFiles:  &maliciousFiles,
	}
}

// cleanRecord passes every requirement of strict.
func cleanRecord() policy.Record {
	return policy.Record{
		ID: "1", ImageType: "private_image", RegistryType: "SwrPrivate", RegistryName: "swr",
		Namespace: "prod", Name: "app", Version: "1.4", Digest: digest,
		Scan: scan(0, 1, 0), Severity: v1alpha1.SeverityLow,
		ScannedAt: ago(day), UpdatedAt: ago(10 * day),
	}
}

// with returns a clean record, changed.
func with(changes ...func(*policy.Record)) policy.Record {
	r := cleanRecord()
	for _, change := range changes {
		change(&r)
	}
	return r
}

func status(s v1alpha1.ScanStatus) func(*policy.Record) {
	return func(r *policy.Record) { r.Scan.Status = s }
}

// failed is a record whose scan failed, as in HSS's own example.
func failed() policy.Record {
	return with(func(r *policy.Record) {
		zero := 0
		r.Severity = ""
		r.Scan = policy.Scan{
			Status: v1alpha1.ScanStatusFailed, FailedCode: "authentication_failed", FailedDescription: "认证失败",
			Vulnerabilities: &zero, UnsafeSettings: &zero, MaliciousFiles: &zero,
		}
	})
}

func image() policy.Image {
	const host, path, tag = "swr.cn-north-4.myhuaweicloud.com", "prod/app", "1.4"
	return policy.Image{Reference: host + "/" + path + ":" + tag, Host: host, Path: path, Tag: tag}
}

func found(records ...policy.Record) *policy.Facts {
	return &policy.Facts{Image: image(), State: policy.StateFound, Records: records, AsOf: now()}
}

// evaluate returns a line for each finding: "check: message [Action]", the
// action only if it isn't Deny.
func evaluate(tb testing.TB, p *v1alpha1.ImageScanPolicy, f *policy.Facts) []string {
	tb.Helper()
	return lines(mustCompile(tb, p).Evaluate(tb.Context(), f, now()))
}

func lines(findings []policy.Finding) []string {
	var all []string
	for _, f := range findings {
		line := fmt.Sprintf("%s: %s", f.Check, f.Message)
		if f.Action != v1alpha1.ActionDeny {
			line += fmt.Sprintf(" [%s]", f.Action)
		}
		all = append(all, line)
	}
	return all
}

// wantLines compares findings with one text, a line each.
func wantLines(tb testing.TB, want string, got []string) {
	tb.Helper()
	if diff := cmp.Diff(want, strings.Join(got, "\n")); diff != "" {
		tb.Errorf("findings differ (-want +got):\n%s", diff)
	}
}

// requirementCase is a row of a table about one requirement.
type requirementCase struct {
	name   string
	record policy.Record
	want   string
}

func runRequirement(t *testing.T, r v1alpha1.Requirements, cases []requirementCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			wantLines(t, c.want, evaluate(t, policyOf(r), found(c.record)))
		})
	}
}

// each runs a test for each case, in parallel.
func each[C any](t *testing.T, cases map[string]C, test func(t *testing.T, c C)) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, c)
		})
	}
}
