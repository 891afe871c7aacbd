package server

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestPoliciesAndBuildAreMeasured(t *testing.T) {
	t.Parallel()
	p := &v1alpha1.ImageScanPolicy{}
	p.Name, p.Spec.Enforcement = "p", v1alpha1.EnforcementWarn
	compiled, err := policy.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	index := gate.NewIndex([]*policy.Policy{compiled})
	registry := prometheus.NewRegistry()
	registry.MustRegister(newPolicyMetrics(func() *gate.Index { return index }), newBuildInfo("hssgate/v1.2.3"))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() != "goversion" {
					got[f.GetName()+" "+l.GetValue()] = m.GetGauge().GetValue()
				}
			}
		}
	}
	want := map[string]float64{
		"hssgate_policies_in_force Deny": 0, "hssgate_policies_in_force Warn": 1, "hssgate_policies_in_force Audit": 0,
		"hssgate_build_info v1.2.3": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
