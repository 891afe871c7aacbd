package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/webhook"
)

func newDenial(name string) gate.Decision {
	in := func(effect v1alpha1.Enforcement, ref string) gate.Violation {
		v := violation(image.Use{Place: image.PlaceContainer, Name: "app", Image: ref}, "severity High")
		v.Effect, v.PodEffect = effect, effect
		return v
	}
	return gate.Decision{
		Kind: "Pod", Namespace: "team", Name: name, Outcome: gate.Denied, Policies: []string{"p"},
		Violations: []gate.Violation{in("Deny", "r.io/bad:1"), in("Deny", "r.io/bad:1"), in("Warn", "r.io/odd:1")},
	}
}

// logging returns a function that has a review of a ReplicaSet's pod, or of one without an owner,
// decided, and returns the lines that are logged.
func logging(t *testing.T) func(replicaSet string, d gate.Decision) []map[string]any {
	t.Helper()
	var log bytes.Buffer
	fake := &decider{}
	h := newHandler(fake, func(o *webhook.Options) { o.Log = slog.New(slog.NewJSONHandler(&log, nil)) })
	return func(replicaSet string, d gate.Decision) (lines []map[string]any) {
		fake.decide = func(context.Context, gate.Request) gate.Decision { return d }
		p := pod("x")
		if replicaSet != "" {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: replicaSet, UID: "1", Controller: new(true)}}
		}
		send(t, h, bytes.Replace(reviewOf(t, "CREATE", p, nil), []byte(`"userInfo":{`), []byte(`"userInfo":{"username":"controller"`), 1))
		for decoder := json.NewDecoder(&log); decoder.More(); {
			var line map[string]any
			must(t, decoder.Decode(&line))
			delete(line, "time")
			lines = append(lines, line)
		}
		return lines
	}
}

func TestADenialIsOneLine(t *testing.T) {
	t.Parallel()
	logged := logging(t)
	line := `container "app": r.io/bad:1 — severity High [policy p]`
	want := []map[string]any{{
		"level": "INFO", "msg": "denied", "outcome": "Denied", "kind": "Pod", "namespace": "team", "name": "web-1-*", "owner": "ReplicaSet/web-1",
		"uid": "705ab4f5", "user": "controller", "images": []any{"r.io/bad:1"}, "policies": []any{"p"},
		"violations":    []any{"Deny: " + line, `Warn: container "app": r.io/odd:1 — severity High [policy p]`},
		"dryRunRequest": false, "dryRun": false,
	}}
	equal(t, "the line", want, logged("web-1", newDenial("web-1-*")))
	admitted := newDenial("web")
	admitted.Outcome = gate.Admitted
	if lines := logged("", admitted); len(lines) > 0 {
		t.Errorf("an admission is logged: %v", lines)
	}
}

func TestRepeatedDenialsAreLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logged, lines := logging(t), 0
		for n := range 90 {
			// The API server gives each pod a name of its own, and a message of HSS
			// may name the request.
			d := newDenial(fmt.Sprintf("web-1-%d", n))
			d.Violations[0].Findings[0].Message = fmt.Sprintf("HSS answered 503 (request r-%d)", n)
			lines += len(logged("web-1", d))
			time.Sleep(time.Second)
		}
		equal(t, "lines in 90 s", 2, lines)
		logged("web-2", newDenial("web-2-x"))
		for name, change := range map[string]func(*gate.Violation){
			"another check":   func(v *gate.Violation) { v.Findings = []policy.Finding{{Check: policy.CheckNotScanned}} },
			"another policy":  func(v *gate.Violation) { v.Policy = "q" },
			"another image":   func(v *gate.Violation) { v.Reference = "r.io/worse:1" },
			"another place":   func(v *gate.Violation) { v.Use.Name = "side" },
			"another effect":  func(v *gate.Violation) { v.Effect = "Warn" },
			"another finding": func(v *gate.Violation) { v.Findings = append(v.Findings, policy.Finding{Check: policy.CheckDigest}) },
		} {
			d := newDenial("web-2-x")
			change(&d.Violations[0])
			equal(t, "lines of "+name, 1, len(logged("web-2", d)))
		}
	})
}

func TestDenialsOfEverNewNamesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		logged, lines := logging(t), 0
		for n := range 1000 {
			lines += len(logged("", newDenial(fmt.Sprint("web-", n))))
		}
		if lines > 200 {
			t.Errorf("1,000 denials at one moment are %d lines", lines)
		}
		time.Sleep(time.Second)
		if lines := logged("", newDenial("another")); len(lines) != 1 || lines[0]["notLogged"] != 800.0 {
			t.Errorf("got %v, want a line that counts 800", lines)
		}
	})
}

func TestDecisionsAreCountedByPolicyEffectAndReason(t *testing.T) {
	t.Parallel()
	of := func(name string, effect v1alpha1.Enforcement, check policy.Check) gate.Violation {
		return gate.Violation{Policy: name, Effect: effect, Findings: []policy.Finding{{Check: check}, {Check: policy.CheckDigest}}}
	}
	registry, d := prometheus.NewRegistry(), &decider{}
	h := newHandler(d, func(o *webhook.Options) { o.Metrics = webhook.NewMetrics(registry) })
	for _, decision := range []gate.Decision{
		{Outcome: gate.Denied, Policies: []string{"a", "b", "d", "e"}, Violations: []gate.Violation{
			of("a", v1alpha1.EnforcementWarn, policy.CheckNotFound),
			of("a", v1alpha1.EnforcementDeny, policy.CheckSeverityLevel),
			of("b", v1alpha1.EnforcementAudit, policy.CheckScanAge),
			of("e", v1alpha1.EnforcementWarn, policy.CheckScanAge),
		}},
		{Outcome: gate.Admitted, Policies: []string{"d"}},
	} {
		d.decide = func(context.Context, gate.Request) gate.Decision { return decision }
		send(t, h, reviewOf(t, "CREATE", pod("x"), nil))
	}
	want := map[string]float64{"Deny/a/severityLevel": 1, "Audit/b/scanAge": 1, "Allow/d/passed": 2, "Warn/e/scanAge": 1}
	equal(t, "decisions", want, counted(t, registry, "hssgate_policy_decisions_total"))
}

// dryRunRequest marks a review as that of a dry-run request.
func dryRunRequest(body []byte) []byte {
	return []byte(strings.Replace(string(body), `"operation"`, `"dryRun":true,"operation"`, 1))
}

func TestUsedExceptionsAreRecorded(t *testing.T) {
	t.Parallel()
	const use = "prod/base-image: policy p until 2026-12-01T00:00:00Z: PLAT-217"
	e, err := policy.CompileException(&v1alpha1.ImageScanException{
		ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "base-image"},
		Spec: v1alpha1.ImageScanExceptionSpec{Images: []string{"**"}, Policies: []string{"p"}, Reason: "PLAT-217",
			ExpiresAt: metav1.NewTime(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))},
	}, time.Hour)
	must(t, err.ToAggregate())
	type testCase struct {
		dryRun   bool
		outcome  gate.Outcome
		recorded []string
		counted  map[string]float64
	}
	each(t, map[string]testCase{
		"of a request":                 {false, gate.Admitted, []string{use}, map[string]float64{"p": 1}},
		"not of a dry-run request":     {true, gate.Admitted, nil, map[string]float64{}},
		"not if another policy denies": {false, gate.Denied, nil, map[string]float64{}},
	}, func(t *testing.T, tt testCase) {
		var used []string
		registry := prometheus.NewRegistry()
		h := newHandler(&decider{decide: func(_ context.Context, r gate.Request) gate.Decision {
			v := violation(r.Workload.Uses[0], "severity High, allowed Medium")
			v.Effect, v.Otherwise, v.Exception = gate.EffectExcepted, "Deny", e
			return gate.Decision{Kind: "Pod", Outcome: tt.outcome, Policies: []string{"p"}, Violations: []gate.Violation{v}}
		}}, func(o *webhook.Options) {
			o.Metrics = webhook.NewMetrics(registry)
			o.ExceptionUsed = func(use gate.ExceptionUse) { used = append(used, use.String()) }
		})
		body := reviewOf(t, "CREATE", pod("bad"), nil)
		if tt.dryRun {
			body = dryRunRequest(body)
		}
		got := send(t, h, body)
		want := map[string]string{
			"decision": string(tt.outcome), "policies": "p", "exceptions": use,
			"violations": "Excepted: container \"c0\": bad — severity High, allowed Medium [policy p]",
		}
		if diff := cmp.Diff(want, got.AuditAnnotations); got.Allowed != (tt.outcome == gate.Admitted) || diff != "" {
			t.Errorf("allowed %t, audit annotations (-want +got):\n%s", got.Allowed, diff)
		}
		equal(t, "recorded", tt.recorded, used)
		equal(t, "metrics", tt.counted, counted(t, registry, "hssgate_exceptions_used_total"))
		equal(t, "decisions", map[string]float64{"Excepted/p/severityLevel": 1}, counted(t, registry, "hssgate_policy_decisions_total"))
	})
}

// counted returns the values of a counter that are not 0, by the values of its labels.
func counted(t *testing.T, registry *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	must(t, err)
	counts := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			if n := m.GetCounter().GetValue(); family.GetName() == name && n != 0 {
				counts[strings.Join(labels, "/")] = n
			}
		}
	}
	return counts
}

// scans records the images that scans are requested for, and returns a note on each
// but "silent".
type scans struct{ images []string }

func (s *scans) request(_ context.Context, images []image.Reference) []string {
	notes := make([]string, len(images))
	for n, i := range images {
		s.images = append(s.images, i.Path)
		if i.Path != "silent" {
			notes[n] = "a scan was\nrequested"
		}
	}
	return notes
}

// lacking decides that images were not scanned, with an effect.
func lacking(effect v1alpha1.Enforcement, check policy.Check, paths ...string) *decider {
	return &decider{decide: func(_ context.Context, r gate.Request) gate.Decision {
		d := gate.Decision{Kind: "Pod", Name: r.Name, Policies: []string{"p"}, Outcome: gate.Admitted}
		if effect == v1alpha1.EnforcementDeny {
			d.Outcome = gate.Denied
		}
		for _, path := range paths {
			v := violation(image.Use{Image: path}, "never scanned")
			v.Image = image.Reference{Host: "swr.example.com", Path: path, Tag: "1"}
			v.Effect, v.PodEffect, v.Findings[0].Check = effect, effect, check
			d.Violations = append(d.Violations, v)
		}
		return d
	}}
}

func TestScansAreRequestedForWhatAPodLacks(t *testing.T) {
	t.Parallel()
	type testCase struct {
		decider *decider
		options []func(*webhook.Options)
		object  any
		edit    func([]byte) []byte
		want    []string
	}
	each(t, map[string]testCase{
		"a pod that is denied":      {lacking("Deny", policy.CheckNotScanned, "a", "b", "a"), nil, pod("x"), nil, []string{"a", "b"}},
		"a pod that is warned of":   {lacking("Warn", policy.CheckNotFound, "a"), nil, pod("x"), nil, []string{"a"}},
		"a scan that failed":        {lacking("Deny", policy.CheckScanStatus, "a"), nil, pod("x"), nil, []string{"a"}},
		"a policy that only audits": {lacking("Audit", policy.CheckNotScanned, "a"), nil, pod("x"), nil, nil},
		"an exception":              {lacking(gate.EffectExcepted, policy.CheckNotScanned, "a"), nil, pod("x"), nil, nil},
		"another finding":           {lacking("Deny", policy.CheckSeverityLevel, "a"), nil, pod("x"), nil, nil},
		"HSS is unreachable":        {lacking("Deny", policy.CheckUnavailable, "a"), nil, pod("x"), nil, nil},
		"a template":                {lacking("Warn", policy.CheckNotScanned, "a"), nil, deployment("x"), nil, nil},
		"a dry-run request":         {lacking("Deny", policy.CheckNotScanned, "a"), nil, pod("x"), dryRunRequest, nil},
		"dry-run mode":              {lacking("Deny", policy.CheckNotScanned, "a"), with(dryRun), pod("x"), nil, nil},
		"many images":               {lacking("Deny", policy.CheckNotScanned, strings.Split("a b c d e f g h i j k l m n o p q r s t u v w x y", " ")...), nil, pod("x"), nil, strings.Split("a b c d e f g h i j k l m n o p q r s t", " ")},
	}, func(t *testing.T, tc testCase) {
		seen := &scans{}
		h := newHandler(tc.decider, append(tc.options, func(o *webhook.Options) { o.RequestScans = seen.request })...)
		body := reviewOf(t, "CREATE", tc.object, nil)
		if tc.edit != nil {
			body = tc.edit(body)
		}
		send(t, h, body)
		equal(t, "images", tc.want, seen.images)
	})
}

func TestADenialMentionsTheScan(t *testing.T) {
	t.Parallel()
	scanner := func(o *webhook.Options) { o.RequestScans = (&scans{}).request }
	const note = "swr.example.com/a:1: a scan was requested"
	denied := send(t, newHandler(lacking("Deny", policy.CheckNotScanned, "a", "silent"), scanner), reviewOf(t, "CREATE", pod("x"), nil))
	want := "\nscan: swr.example.com/a:1: a scan was requested\nto do: have HSS scan the image"
	if got := denied.Result.Message; !strings.Contains(got, want) || strings.Contains(got, "silent:1:") {
		t.Errorf("the message is %q, want %q in it", got, want)
	}
	equal(t, "the annotation", note, denied.AuditAnnotations["scans"])
	equal(t, "warnings of a denial", nil, denied.Warnings)
	warned := send(t, newHandler(lacking("Warn", policy.CheckNotScanned, "a"), scanner), reviewOf(t, "CREATE", pod("x"), nil))
	if diff := cmp.Diff("scan: "+note, warned.Warnings[len(warned.Warnings)-2]); diff != "" || !warned.Allowed {
		t.Errorf("warned: %v, allowed %v", warned.Warnings, warned.Allowed)
	}
}
