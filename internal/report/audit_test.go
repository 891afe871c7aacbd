package report_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// audited is the report of an audit of pods that stand in every way.
func audited() *report.Report {
	r := &report.Report{
		Subject: "running pods of all namespaces", Time: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Version: "v1.0.0",
		Policies: []string{"production", "<b>everywhere|"}, Audit: &report.Audit{Policies: []report.PolicyCounts{
			{Policy: "production", Enforcement: v1alpha1.EnforcementDeny}, {Policy: "<b>everywhere|", Enforcement: v1alpha1.EnforcementAudit},
		}},
	}
	shown := report.Image{Place: image.PlaceContainer, Name: "app", Reference: host + "/prod/app:1", State: report.Found, Known: "severity High", Severity: v1alpha1.SeverityHigh}
	violation := func(of string, effect v1alpha1.Enforcement, checks ...policy.Check) report.Violation {
		v := report.Violation{Place: image.PlaceContainer, Name: "app", Reference: shown.Reference, Policy: of, Effect: effect, PodEffect: effect}
		for _, check := range checks {
			v.Findings = append(v.Findings, policy.Finding{Check: check, Message: string(check)})
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
	for _, name := range []string{"web-1-a", "web-1-b", "web-2-a"} {
		add(name, "Deployment/web", report.Denied, both, bad, violation("<b>everywhere|", v1alpha1.EnforcementAudit, policy.CheckSeverityLevel, policy.CheckUnavailable))
	}
	add("only-audited", "", report.Admitted, both, violation("<b>everywhere|", v1alpha1.EnforcementAudit, policy.CheckVulnerabilities))
	add("excepted", "", report.Warned, both, violation("production", gate.EffectExcepted, policy.CheckSeverityLevel))
	add("away", "", report.Unknown, []string{"production"}, violation("production", v1alpha1.EnforcementDeny, policy.CheckUnavailable))
	r.Finish()
	return r
}

func TestAnAuditWithoutAnythingToShowHasNoEmptyTable(t *testing.T) {
	t.Parallel()
	r := &report.Report{Policies: []string{"p"}, Audit: &report.Audit{Policies: []report.PolicyCounts{{Policy: "p", Enforcement: v1alpha1.EnforcementDeny}}}}
	for _, name := range []string{"good-1", "good-2"} {
		r.Add(report.Result{Kind: "Pod", Name: name, Owner: "DaemonSet/good", Verdict: report.Admitted, Policies: []string{"p"}})
	}
	r.Finish()
	text := writtenAs(t, r, report.TableOutput)
	if strings.Contains(text, "VERDICT") || !strings.Contains(text, "p       Deny         2") || !strings.Contains(text, "The 2 that are admitted") {
		t.Errorf("got\n%s", text)
	}
}
