package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// testPolicies writes good and bad policies.
func testPolicies(t *testing.T, f *gate) {
	add(f.hss["main"], row("policies", high), row("policies-clean"))
	inParallel(t, f, tests[*gate]{
		"bad policies are refused":                         testRefusedPolicies,
		"an invalid policy fails closed and says so":       testInvalidPolicy,
		"changes take effect":                              testPolicyChanges,
		"a namespace's labels count from its first moment": testNewNamespaces,
		"kube-system is never evaluated":                   testKubeSystem,
	})
}

const policyImage = "main.example.com/prod/policies:1"

// testRefusedPolicies shows what a person sees. internal/check tests all that the schema refuses.
func testRefusedPolicies(t *testing.T, f *gate) {
	for spec, want := range map[string]string{
		"enforcement: Block":                                      `spec.enforcement: Unsupported value: "Block": supported values: "Deny", "Warn", "Audit"`,
		"requires: {vulnerabilities: {max: 0}}":                   `unknown field "spec.requires"`,
		"require: {expressions: [{expression: image.nope == 1}]}": `spec.require.expressions[0].expression: Invalid value: "image.nope == 1": 1:6: undefined field 'nope'`,
	} {
		_, stderr, err := f.cluster.kubectl(t, "{apiVersion: hssgate.io/v1alpha1, kind: ImageScanPolicy, metadata: {name: refused}, spec: {"+spec+"}}", "create", "-f", "-")
		if err == nil || !strings.Contains(stderr, want) {
			t.Errorf("kubectl create: %v\ngot:  %s\nwant: %s", err, stderr, want)
		}
	}
}

// awaitPolicy waits for the policy's condition and returns its message.
func (s *space) awaitPolicy(t *testing.T, p *v1alpha1.ImageScanPolicy, status metav1.ConditionStatus) string {
	t.Helper()
	var message string
	eventually(t, func() error {
		now := get(t, s.client, p)
		ready := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Status != status || ready.ObservedGeneration != now.Generation || now.Status.ObservedGeneration != now.Generation {
			return fmt.Errorf("got status %+v of generation %d, want Ready %s", now.Status, now.Generation, status)
		}
		message = ready.Message
		return nil
	})
	return message
}

// testInvalidPolicy writes a policy past the policy webhook.
func testInvalidPolicy(t *testing.T, f *gate) {
	s := f.newSpace(t)
	p := s.newPolicy("p", func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Require.Expressions = []v1alpha1.Expression{{Expression: "image.nope == 1"}}
	})
	p.Labels = map[string]string{unvalidated: "true"}
	s.cluster.create(t, p)
	s.settle(t)
	if got, want := s.awaitPolicy(t, p, metav1.ConditionFalse), "spec.require.expressions[0].expression"; !strings.Contains(got, want) {
		t.Errorf("got message %q, want in it %q", got, want)
	}
	const clean = "main.example.com/prod/policies-clean:1"
	line := `container "app": ` + clean + " — expression `image.nope == 1` could not be compiled [policy " + p.Name + "]"
	s.denied(t, s.run(t, newPod("web", clean)), `pod "web"`, []string{line})

	t.Log("it is mended, and a person sees that")
	s.cluster.patch(t, p, `{"spec":{"require":{"expressions":[{"expression":"image.path.startsWith('prod/')"}]}}}`)
	s.awaitPolicy(t, p, metav1.ConditionTrue)
	s.settle(t)
	s.admitted(t, s.run(t, newPod("web", clean)))
	want := "NAME ENFORCEMENT READY HSS EVALUATED VIOLATIONS UNKNOWN AGE TEMPLATES SEVERITY VULNERABILITIES IMAGES REASON EFFECTIVE EXPIRING GRACE AUDITED " + p.Name + " Deny True "
	eventually(t, func() error { // another test's gate may still write what it knew before
		stdout, stderr, err := f.cluster.kubectl(t, "", "get", "isp", p.Name, "-o", "wide")
		if got := strings.Join(strings.Fields(stdout), " "); err != nil || !strings.HasPrefix(got, want) {
			return fmt.Errorf("kubectl get isp:\ngot:  %s%s\nwant: %s", got, stderr, want)
		}
		return nil
	})
}

func testPolicyChanges(t *testing.T, f *gate) {
	s := f.newSpace(t)
	s.admitted(t, s.try(t, newPod("web", policyImage)))
	p := s.enforce(t, "p")
	s.denied(t, s.try(t, newPod("web", policyImage)), `pod "web"`, []string{highLine(s, policyImage)}, adviseRebuild)
	s.cluster.patch(t, p, `{"spec":{"enforcement":"Warn"}}`)
	s.settle(t)
	s.admitted(t, s.try(t, newPod("web", policyImage)), highLine(s, policyImage))
	s.cluster.patch(t, p, `{"spec":{"enforcement":"Deny","require":{"severityLevel":{"max":"Low"}}}}`)
	s.await(t, policyImage, "severity High, allowed Low")
	s.cluster.delete(t, p)
	s.await(t, policyImage, "")
}

// testNewNamespaces creates pods right after their namespaces, which no cache
// has seen by then.
func testNewNamespaces(t *testing.T, f *gate) {
	s := f.newSpace(t)
	label := "env-" + s.name
	s.enforce(t, "p", func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Match.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{label: "prod"}}
	})
	for n := range 5 {
		prod, dev := s.spaceOf(t, fmt.Sprintf("%s-prod-%d", s.name, n)), s.spaceOf(t, fmt.Sprintf("%s-dev-%d", s.name, n))
		s.cluster.newNamespace(t, prod.name, map[string]string{gateLabel: f.name, label: "prod"})
		says(t, prod.run(t, newPod("web", policyImage)), highLine(s, policyImage))
		s.cluster.newNamespace(t, dev.name, map[string]string{gateLabel: f.name, label: "dev"})
		dev.admitted(t, dev.run(t, newPod("web", policyImage)))
	}
}

// testKubeSystem has the API server ask about kube-system, too.
func testKubeSystem(t *testing.T, f *gate) {
	s := f.enforced(t, func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Match.NamespaceSelector = nil
		spec.Match.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"test": "system"}}
	})
	const image = "system.example.com/prod/system:1"
	labelled := func(p *corev1.Pod) { p.Labels = map[string]string{"test": "system"} }
	says(t, s.try(t, newPod("system", image, labelled)), `pod "system" denied by 1 policy:`)
	system := s.spaceOf(t, metav1.NamespaceSystem)
	s.cluster.patch(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: system.name}}, fmt.Sprintf(`{"metadata":{"labels":{%q:%q}}}`, gateLabel, f.name))
	system.admitted(t, system.try(t, newPod("system", image, labelled)))

	t.Log("asked for sure, not only perhaps")
	for namespace, want := range map[string]bool{s.name: false, metav1.NamespaceSystem: true} {
		if got := f.ask(t, namespace, newPod("system", image, labelled)); got.Allowed != want {
			t.Errorf("in %s: got allowed %v, want %v", namespace, got.Allowed, want)
		}
	}
}

const enforcedImage = "main.example.com/prod/enforced:1"

// testEnforcement has policies deny, warn and only record.
func testEnforcement(t *testing.T, f *gate) {
	add(f.hss["main"], row("enforced", high), row("enforced-clean"))
	inParallel(t, f, tests[*gate]{
		"Deny denies, dry-run requests too, and is in the audit log": func(t *testing.T, f *gate) {
			s := f.enforced(t)
			s.denied(t, s.try(t, newPod("dry", enforcedImage)), `pod "dry"`, []string{highLine(s, enforcedImage)}, adviseRebuild)
			s.denied(t, s.run(t, newPod("web", enforcedImage)), `pod "web"`, []string{highLine(s, enforcedImage)}, adviseRebuild)
			s.audited(t, "web", "Denied", "Deny: "+highLine(s, enforcedImage))
			says(t, s.run(t, newPod("", enforcedImage, func(p *corev1.Pod) { p.GenerateName = "web-" })), `denied the request: pod "web-`)
			s.admitted(t, s.run(t, newPod("clean", "main.example.com/prod/enforced-clean:1")))
			s.audited(t, "clean", "Admitted", "")
		},
		"Warn admits with a warning": func(t *testing.T, f *gate) {
			s := f.enforced(t, enforcement(v1alpha1.EnforcementWarn))
			s.admitted(t, s.try(t, newPod("web", enforcedImage)), highLine(s, enforcedImage))
			s.admitted(t, s.run(t, newPod("web", enforcedImage)), highLine(s, enforcedImage))
			s.audited(t, "web", "Admitted", "Warn: "+highLine(s, enforcedImage))
		},
		"Audit admits in silence": func(t *testing.T, f *gate) {
			s := f.enforced(t, enforcement(v1alpha1.EnforcementAudit))
			s.admitted(t, s.run(t, newPod("web", enforcedImage)))
			s.audited(t, "web", "Admitted", "Audit: "+highLine(s, enforcedImage))
		},
		"every policy has its say": testTwoPolicies,
	})
}

func enforcement(e v1alpha1.Enforcement) func(*v1alpha1.ImageScanPolicySpec) {
	return func(spec *v1alpha1.ImageScanPolicySpec) { spec.Enforcement = e }
}

// audited checks the annotations of the request that created the pod, in the
// audit log. No violations: none are annotated.
func (s *space) audited(t *testing.T, pod, decision, violations string) {
	t.Helper()
	got := s.annotations(t, pod, "decision")
	for key, want := range map[string]string{"decision": decision, "policies": s.name + "-p", "violations": violations, "notices": "", "dry-run": ""} {
		if got["pods.hssgate.io/"+key] != want {
			t.Errorf("audit annotation %s: got %q, want %q", key, got["pods.hssgate.io/"+key], want)
		}
	}
}

func testTwoPolicies(t *testing.T, f *gate) {
	s := f.newSpace(t)
	warns := s.newPolicy("warns", enforcement(v1alpha1.EnforcementWarn))
	s.cluster.create(t, warns)
	s.enforce(t, "p", func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Require = v1alpha1.Requirements{Digest: v1alpha1.DigestRequired}
		spec.Match.Images = []string{"main.example.com/prod/**"}
		spec.Match.ExcludeImages = []string{"main.example.com/prod/*-clean"}
	})
	line := `container "app": ` + enforcedImage + " — image must be pinned by digest [policy " + s.name + "-p]"
	s.denied(t, s.run(t, newPod("web", enforcedImage)), `pod "web"`, []string{line}, "name the image by its digest: image:tag@sha256:…")
	s.warned(t, strings.Replace(highLine(s, enforcedImage), s.name+"-p", warns.Name, 1))
	s.admitted(t, s.run(t, newPod("clean", "main.example.com/prod/enforced-clean:1")))
}

// testEffect has an exception have no effect, until its policy comes, changes and goes.
func testEffect(t *testing.T, f *gate) {
	s := f.newSpace(t)
	p := s.newPolicy("later")
	e := s.newException("early", func(e *v1alpha1.ImageScanException) { e.Spec.Policies = []string{p.Name} })
	s.cluster.create(t, e)
	for _, step := range []struct {
		change func()
		reason string
	}{
		{func() {}, "PolicyNotFound"},
		{func() { s.cluster.create(t, p) }, ""},
		{func() { s.cluster.patch(t, p, `{"spec":{"exceptions":"Forbid"}}`) }, "ExceptionsForbidden"},
		{func() {
			s.cluster.patch(t, p, `{"spec":{"exceptions":"Allow","match":{"images":["other.example.com/**"]}}}`)
		}, "MatchesNothing"},
		{func() { s.cluster.delete(t, p) }, "PolicyNotFound"},
	} {
		step.change()
		eventually(t, func() error {
			reason, conditions := "", get(t, s.client, e).Status.Conditions
			if c := meta.FindStatusCondition(conditions, v1alpha1.ConditionEffective); c != nil {
				reason = c.Reason
			}
			if reason != step.reason || !meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionReady) {
				return fmt.Errorf("got %+v, want Ready, and Effective not because of %q", conditions, step.reason)
			}
			return nil
		})
	}
}
