package report_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/report"
)

// audited is the report of an audit of pods that stand in every way.
func audited(t *testing.T) *report.Report {
	t.Helper()
	policies := []v1alpha1.ImageScanPolicy{
		{ObjectMeta: metav1.ObjectMeta{Name: "production"}},
		{ObjectMeta: metav1.ObjectMeta{Name: "<b>everywhere|"}, Spec: v1alpha1.ImageScanPolicySpec{Enforcement: v1alpha1.EnforcementAudit}},
	}
	r := &report.Report{
		Subject: "running pods of all namespaces", Time: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Version: "v1.0.0",
		Policies: []string{"production", "<b>everywhere|"}, Audit: report.NewAudit(policies),
	}
	shown := report.Image{Place: image.PlaceContainer, Name: "app", Reference: host + "/prod/app:1", State: report.Found, Known: "severity High", Severity: v1alpha1.SeverityHigh}
	violation := func(of string, effect v1alpha1.Enforcement, checks ...policy.Check) report.Violation {
		v := report.Violation{Place: image.PlaceContainer, Name: "app", Reference: shown.Reference, Policy: of, Effect: effect, PodEffect: effect}
		for _, check := range checks {
			v.Findings = append(v.Findings, report.Finding{Check: check, Message: string(check)})
		}
		return v
	}
	both := []string{"production", "<b>everywhere|"}
	add := func(name, owner string, verdict report.Verdict, policies []string, violations ...report.Violation) {
		one := report.Result{Namespace: "shop", Kind: "Pod", Name: name, Owner: owner, Verdict: verdict, Images: []report.Image{shown}, Policies: policies, Violations: violations}
		if verdict == report.Denied {
			one.Message = "denied"
		}
		r.Add(one)
	}
	add("good", "", report.Admitted, both)
	add("unselected", "", report.Admitted, nil)
	bad := violation("production", v1alpha1.EnforcementDeny, policy.CheckSeverityLevel)
	add("web-1-a", "ReplicaSet/web-1", report.Denied, both, bad, violation("<b>everywhere|", v1alpha1.EnforcementAudit, policy.CheckSeverityLevel, policy.CheckUnavailable))
	add("web-1-b", "ReplicaSet/web-1", report.Denied, both, bad, violation("<b>everywhere|", v1alpha1.EnforcementAudit, policy.CheckSeverityLevel, policy.CheckUnavailable))
	add("web-2-a", "ReplicaSet/web-2", report.Denied, both, bad, violation("<b>everywhere|", v1alpha1.EnforcementAudit, policy.CheckSeverityLevel, policy.CheckUnavailable))
	add("only-audited", "", report.Admitted, both, violation("<b>everywhere|", v1alpha1.EnforcementAudit, policy.CheckVulnerabilities))
	add("excepted", "", report.Warned, both, violation("production", gate.EffectExcepted, policy.CheckSeverityLevel))
	add("away", "", report.Unknown, []string{"production"}, violation("production", v1alpha1.EnforcementDeny, policy.CheckUnavailable))
	r.Finish()
	err := r.Reown(func(namespace, owner string) (string, error) {
		if namespace == "shop" && strings.HasPrefix(owner, "ReplicaSet/web-") {
			return "Deployment/web", nil
		}
		return owner, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnAuditCountsPodsByPolicy(t *testing.T) {
	t.Parallel()
	want := &report.Audit{Pods: 8, Violating: 4, Unknown: 1, Policies: []report.PolicyCounts{
		{Policy: "production", Enforcement: v1alpha1.EnforcementDeny, Evaluated: 6, Violations: 3, Unknown: 1, Excepted: 1},
		{Policy: "<b>everywhere|", Enforcement: v1alpha1.EnforcementAudit, Evaluated: 6, Violations: 4},
	}}
	got := audited(t)
	if diff := cmp.Diff(want, got.Audit); diff != "" {
		t.Error(diff)
	}
	if got.Summary.Objects != 8 || got.Summary.Denied != 3 {
		t.Errorf("the summary is %+v", got.Summary)
	}
}

func TestAnAuditNamesWorkloads(t *testing.T) {
	t.Parallel()
	r := audited(t)
	var titles []string
	for i := range r.Results {
		titles = append(titles, r.Results[i].Title())
	}
	want := []string{"Pod/good", "Pod/unselected", "Deployment/web (3 pods)", "Pod/only-audited", "Pod/excepted", "Pod/away"}
	if diff := cmp.Diff(want, titles); diff != "" {
		t.Error(diff)
	}
	broken := errors.New("the API server is away")
	if err := r.Reown(func(string, string) (string, error) { return "", broken }); !errors.Is(err, broken) || len(r.Results) != len(want) {
		t.Errorf("got %v and %d results", err, len(r.Results))
	}
}

// TestFormatsOfAnAudit compares every format with what a person has read.
func TestFormatsOfAnAudit(t *testing.T) {
	t.Parallel()
	for _, output := range report.AuditOutputs() {
		t.Run(string(output), func(t *testing.T) {
			t.Parallel()
			got := written(t, audited(t), report.Format{Output: output})
			golden := filepath.Join("testdata", "audit."+string(output))
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got; -update writes it anew):\n%s", diff)
			}
		})
	}
}

func TestWhatAnAuditComesTo(t *testing.T) {
	t.Parallel()
	problem := []report.Problem{{Message: "unread"}}
	for name, tt := range map[string]struct {
		report   report.Report
		want     report.Verdict
		headline string
	}{
		"nothing is wrong":               {report.Report{Audit: &report.Audit{Pods: 5}}, report.Admitted, "no running pod violates a policy"},
		"something is unread":            {report.Report{Audit: &report.Audit{Pods: 5}, Problems: problem}, report.Unknown, "no running pod violates a policy"},
		"one could not be evaluated":     {report.Report{Audit: &report.Audit{Pods: 5, Unknown: 1}}, report.Unknown, "1 of 5 running pods could not be evaluated"},
		"some violate, though only warn": {report.Report{Audit: &report.Audit{Pods: 5, Violating: 2, Unknown: 1}, Problems: problem, Summary: report.Summary{Warned: 2}}, report.Denied, "2 of 5 running pods violate a policy"},
	} {
		if got := tt.report.Outcome(); got != tt.want {
			t.Errorf("%s: it comes to %s, want %s", name, got, tt.want)
		}
		if got := tt.report.Audit.Headline(); got != tt.headline {
			t.Errorf("%s: it says %q, want %q", name, got, tt.headline)
		}
	}
}

func TestAnAuditWithoutAnythingToShowHasNoEmptyTable(t *testing.T) {
	t.Parallel()
	r := &report.Report{Policies: []string{"p"}, Audit: report.NewAudit([]v1alpha1.ImageScanPolicy{{ObjectMeta: metav1.ObjectMeta{Name: "p"}}})}
	r.Add(report.Result{Kind: "Pod", Name: "good", Verdict: report.Admitted, Policies: []string{"p"}})
	r.Finish()
	text := written(t, r, report.Format{})
	if strings.Contains(text, "WHAT HSS KNOWS") || !strings.Contains(text, "p       Deny                 1") {
		t.Errorf("got\n%s", text)
	}
}
