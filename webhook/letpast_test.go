package webhook_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/webhook"
)

// recorder keeps what it is told.
type recorder struct{ uses []string }

func (r *recorder) Excepted(use gate.ExceptionUse) { r.uses = append(r.uses, use.String()) }

// byAlice sends the review in the name of alice, perhaps as a dry run.
func byAlice(t *testing.T, body []byte, dryRun bool) []byte {
	t.Helper()
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil {
		t.Fatal(err)
	}
	review.Request.DryRun = &dryRun
	review.Request.UserInfo = authenticationv1.UserInfo{Username: "alice"}
	data, err := json.Marshal(review)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// letPast is a decision that an exception made.
func letPast(t *testing.T) func(context.Context, gate.Request) gate.Decision {
	t.Helper()
	e, err := policy.CompileException(&v1alpha1.ImageScanException{
		ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "base-image"},
		Spec: v1alpha1.ImageScanExceptionSpec{Images: []string{"**"}, Policies: []string{"p"}, Reason: "PLAT-217",
			ExpiresAt: metav1.NewTime(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))},
	}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return func(_ context.Context, r gate.Request) gate.Decision {
		excepted := violation(r.Workload.Uses[0], "severity High, allowed Medium")
		excepted.Effect, excepted.Otherwise, excepted.Exception = gate.EffectExcepted, "Deny", e
		return gate.Decision{Kind: "Pod", Namespace: r.Namespace, Name: r.Name, Outcome: gate.Admitted, Policies: []string{"p"},
			Violations: []gate.Violation{excepted}}
	}
}

func TestWhatIsLetPastIsRecorded(t *testing.T) {
	t.Parallel()
	for name, dryRun := range map[string]bool{"for good": false, "only tried": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, registry := &recorder{}, prometheus.NewRegistry()
			h := newHandler(&decider{decide: letPast(t)}, func(o *webhook.Options) { o.Recorder, o.Metrics = r, webhook.NewMetrics(registry) })
			got := send(t, h, byAlice(t, reviewOf(t, "CREATE", pod("bad"), nil), dryRun))
			want := map[string]string{
				"decision": "Admitted", "policies": "p",
				"exceptions": "prod/base-image: policy p until 2026-12-01T00:00:00Z: PLAT-217",
				"violations": "Excepted: container \"c0\": bad — severity High, allowed Medium [policy p]",
			}
			if diff := cmp.Diff(want, got.AuditAnnotations); !got.Allowed || diff != "" {
				t.Errorf("allowed %t, audit annotations (-want +got):\n%s", got.Allowed, diff)
			}
			checkRecorded(t, r, registry, !dryRun)
		})
	}
}

// What one exception lets past and another policy refuses has not been let in.
func TestWhatIsRefusedAllTheSameIsNotLetPast(t *testing.T) {
	t.Parallel()
	r, registry := &recorder{}, prometheus.NewRegistry()
	past := letPast(t)
	decide := func(ctx context.Context, request gate.Request) gate.Decision {
		d := past(ctx, request)
		d.Outcome = gate.Denied
		return d
	}
	h := newHandler(&decider{decide: decide}, func(o *webhook.Options) { o.Recorder, o.Metrics = r, webhook.NewMetrics(registry) })
	got := send(t, h, byAlice(t, reviewOf(t, "CREATE", pod("bad"), nil), false))
	if got.Allowed || got.AuditAnnotations["exceptions"] == "" {
		t.Errorf("allowed %t, audit annotations %v", got.Allowed, got.AuditAnnotations)
	}
	checkRecorded(t, r, registry, false)
}

func checkRecorded(t *testing.T, r *recorder, registry *prometheus.Registry, recorded bool) {
	t.Helper()
	counts := map[string]float64{}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		name := family.GetName()
		if name != "hssgate_exceptions_used_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			counts[name+" "+m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
		}
	}
	if !recorded {
		if len(counts) > 0 || len(r.uses) > 0 {
			t.Errorf("what comes to nothing is recorded: %v, %+v", counts, r)
		}
		return
	}
	if diff := cmp.Diff(map[string]float64{"hssgate_exceptions_used_total p": 1}, counts); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	want := &recorder{[]string{"prod/base-image: policy p until 2026-12-01T00:00:00Z: PLAT-217"}}
	if diff := cmp.Diff(want, r, cmp.AllowUnexported(recorder{})); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
}

func TestAGraceIsAnnotatedAndCounted(t *testing.T) {
	t.Parallel()
	decide := func(_ context.Context, r gate.Request) gate.Decision {
		v := violation(r.Workload.Uses[0], "severity High, allowed Medium")
		v.Reference, v.Effect, v.PodEffect, v.Otherwise = "bad", "Warn", "Warn", "Deny"
		v.Grace = &gate.Grace{Until: time.Date(2026, 12, 1, 3, 0, 0, 0, time.UTC)}
		return gate.Decision{Kind: "Pod", Namespace: r.Namespace, Name: r.Name, Outcome: gate.Admitted, Policies: []string{"p"}, Violations: []gate.Violation{v, v}}
	}
	for _, dryRun := range []bool{false, true} {
		r, registry := &recorder{}, prometheus.NewRegistry()
		h := newHandler(&decider{decide: decide}, func(o *webhook.Options) { o.Recorder, o.Metrics = r, webhook.NewMetrics(registry) })
		got := send(t, h, byAlice(t, reviewOf(t, "CREATE", pod("bad"), nil), dryRun))
		if want := "policy p until 2026-12-01T03:00:00Z: bad"; !got.Allowed || got.AuditAnnotations["grace"] != want {
			t.Errorf("allowed %t, annotation %q, want %q", got.Allowed, got.AuditAnnotations["grace"], want)
		}
		warning := `container "c0": bad — severity High, allowed Medium [policy p] (grace until 2026-12-01T03:00:00Z: it ran here and passed before)`
		if diff := cmp.Diff([]string{warning, warning}, got.Warnings); diff != "" {
			t.Error(diff)
		}
		counted := 0.0
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == "hssgate_grace_used_total" {
				counted = family.GetMetric()[0].GetCounter().GetValue()
			}
		}
		if want := map[bool]float64{false: 1, true: 0}[dryRun]; counted != want {
			t.Errorf("dry run %t: %v counted, want %v", dryRun, counted, want)
		}
	}
}
