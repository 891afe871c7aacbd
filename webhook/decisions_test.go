package webhook

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestDecisionsAreCountedByPolicyEffectAndReason(t *testing.T) {
	t.Parallel()
	violation := func(name string, effect v1alpha1.Enforcement, check policy.Check) gate.Violation {
		return gate.Violation{Policy: name, Effect: effect, Findings: []policy.Finding{{Check: check}, {Check: policy.CheckDigest}}}
	}
	registry := prometheus.NewRegistry()
	m := NewMetrics(registry)
	m.decided(&gate.Decision{Outcome: gate.Denied, Policies: []string{"a", "b", "c", "d", "e"}, Violations: []gate.Violation{
		violation("a", v1alpha1.EnforcementWarn, policy.CheckNotFound),
		violation("a", v1alpha1.EnforcementDeny, policy.CheckSeverityLevel),
		violation("b", v1alpha1.EnforcementAudit, policy.CheckScanAge),
		violation("c", gate.EffectExcepted, policy.CheckVulnerabilities),
		violation("e", v1alpha1.EnforcementWarn, policy.CheckScanAge),
	}}, time.Millisecond, trace.SpanContext{})
	m.decided(&gate.Decision{Outcome: gate.Admitted, Policies: []string{"d"}}, time.Millisecond, trace.SpanContext{})
	want := []string{"a Deny severityLevel 1", "b Audit scanAge 1", "c Excepted vulnerabilities 1", "d Allow passed 2", "e Warn scanAge 1"}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		if f.GetName() != "hssgate_policy_decisions_total" {
			continue
		}
		for _, one := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range one.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			got = append(got, fmt.Sprintf("%s %s %s %v", labels["policy"], labels["enforcement"], labels["reason"], one.GetCounter().GetValue()))
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNobodyNeedsToCount(t *testing.T) {
	t.Parallel()
	var m *Metrics
	m.decided(&gate.Decision{Policies: []string{"a"}}, time.Second, trace.SpanContext{})
}
