package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// testPolicies writes good and bad policies.
func testPolicies(t *testing.T, f *fixture) {
	add(f.hss["main"], row("policies", high), row("policies-clean"))
	inParallel(t, f, tests{
		"bad policies are refused":                         testRefusedPolicies,
		"a person sees a policy's state":                   testPrinterColumns,
		"an invalid policy fails closed and says so":       testInvalidPolicy,
		"changes take effect":                              testPolicyChanges,
		"a namespace's labels count from its first moment": testNewNamespaces,
		"kube-system is never evaluated":                   testKubeSystem,
	})
}

const policyImage = "main.example.com/prod/policies:1"

// testRefusedPolicies shows what a person sees. internal/check tests all that the schema refuses.
func testRefusedPolicies(t *testing.T, f *fixture) {
	n := 0
	for name, test := range map[string]struct{ spec, want string }{
		"an unknown enforcement":   {"enforcement: Block", `spec.enforcement: Unsupported value: "Block": supported values: "Deny", "Warn", "Audit"`},
		"a misspelt field":         {"requires: {vulnerabilities: {max: 0}}", `unknown field "spec.requires"`},
		"an unknown field in CEL":  {"require: {expressions: [{expression: 'true'}, {expression: 'image.nope == 1'}]}", `spec.require.expressions[1].expression: Invalid value: "image.nope == 1": 1:6: undefined field 'nope'`},
		"an expression of no bool": {"require: {expressions: [{expression: 'image.path'}]}", `spec.require.expressions[0].expression: Invalid value: "image.path": must be a bool, is string`},
	} {
		n++
		metadata := fmt.Sprintf("refused-%d", n)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, stderr, err := f.cluster.kubectl(t, "apiVersion: hssgate.io/v1alpha1\nkind: ImageScanPolicy\nmetadata: {name: "+
				metadata+"}\nspec:\n  "+test.spec+"\n", "create", "-f", "-")
			if err == nil || !strings.Contains(stderr, test.want) {
				t.Errorf("kubectl create: %v\ngot:  %s\nwant: %s", err, stderr, test.want)
			}
		})
	}
}

func testPrinterColumns(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	p := s.enforce(t, "p")
	s.awaitReady(t, p.Name, metav1.ConditionTrue)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"isp", p.Name}, "NAME ENFORCEMENT READY HSS EVALUATED VIOLATIONS UNKNOWN AGE " + p.Name + " Deny True "},
		{[]string{"isp", p.Name, "-o", "wide"}, "NAME ENFORCEMENT READY HSS EVALUATED VIOLATIONS UNKNOWN AGE TEMPLATES SEVERITY VULNERABILITIES IMAGES REASON EFFECTIVE GRACE AUDITED " + p.Name + " Deny True "},
		{[]string{"security"}, p.Name + " Deny True "},
	} {
		stdout, stderr, err := f.cluster.kubectl(t, "", append([]string{"get"}, test.args...)...)
		if got := strings.Join(strings.Fields(stdout), " "); err != nil || !strings.Contains(got, test.want) {
			t.Errorf("kubectl get %q: %v\ngot:  %s%s\nwant: %s", test.args, err, got, stderr, test.want)
		}
	}
}

// awaitReady waits for the policy's condition and returns its message.
func (s *space) awaitReady(t *testing.T, name string, status metav1.ConditionStatus) string {
	t.Helper()
	var message string
	eventually(t, func() error {
		var p v1alpha1.ImageScanPolicy
		if err := s.cluster.policies.Get(t.Context(), client.ObjectKey{Name: name}, &p); err != nil {
			return err
		}
		ready := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Status != status || ready.ObservedGeneration != p.Generation || p.Status.ObservedGeneration != p.Generation {
			return fmt.Errorf("got status %+v of generation %d, want Ready %s", p.Status, p.Generation, status)
		}
		message = ready.Message
		return nil
	})
	return message
}

// testInvalidPolicy writes a policy past the policy webhook.
func testInvalidPolicy(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	p := s.newPolicy("p", func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Require.Expressions = []v1alpha1.Expression{{Expression: "image.nope == 1"}}
	})
	p.Labels = map[string]string{unvalidated: "true"}
	s.create(t, p)
	s.settle(t)
	if got, want := s.awaitReady(t, p.Name, metav1.ConditionFalse), "spec.require.expressions[0].expression"; !strings.Contains(got, want) {
		t.Errorf("got message %q, want in it %q", got, want)
	}
	const clean = "main.example.com/prod/policies-clean:1"
	line := `container "app": ` + clean + " — expression `image.nope == 1` could not be compiled [policy " + p.Name + "]"
	s.denied(t, s.run(t, newPod("web", clean)), `pod "web"`, []string{line})

	t.Log("it is mended")
	s.patchPolicy(t, p, `{"spec":{"require":{"expressions":[{"expression":"image.path.startsWith('prod/')"}]}}}`)
	s.awaitReady(t, p.Name, metav1.ConditionTrue)
	s.settle(t)
	s.admitted(t, s.run(t, newPod("web", clean)))
}

func (s *space) patchPolicy(t *testing.T, p *v1alpha1.ImageScanPolicy, patch string) {
	t.Helper()
	if err := s.cluster.policies.Patch(t.Context(), p, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Fatal(err)
	}
}

func testPolicyChanges(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.admitted(t, s.try(t, newPod("web", policyImage)))
	p := s.enforce(t, "p")
	s.denied(t, s.try(t, newPod("web", policyImage)), `pod "web"`, []string{highLine(s, policyImage)}, adviseRebuild)

	s.patchPolicy(t, p, `{"spec":{"enforcement":"Warn"}}`)
	s.settle(t)
	s.admitted(t, s.try(t, newPod("web", policyImage)), highLine(s, policyImage))

	s.patchPolicy(t, p, `{"spec":{"enforcement":"Deny","require":{"severityLevel":{"max":"High"},"vulnerabilities":{"max":111}}}}`)
	s.settle(t)
	s.admitted(t, s.try(t, newPod("web", policyImage)))

	s.patchPolicy(t, p, `{"spec":{"require":{"severityLevel":{"max":"Low"}}}}`)
	s.settle(t)
	says(t, s.try(t, newPod("web", policyImage)), "severity High, allowed Low")

	if err := s.cluster.policies.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	s.settle(t)
	s.admitted(t, s.try(t, newPod("web", policyImage)))
}

// testNewNamespaces creates pods right after their namespaces, which no cache
// has seen by then.
func testNewNamespaces(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	label := "env-" + s.name
	s.enforce(t, "p", func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Match.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{label: "prod"}}
	})
	for n := range 5 {
		prod, dev := s.with(t), s.with(t)
		prod.name, dev.name = fmt.Sprintf("%s-prod-%d", s.name, n), fmt.Sprintf("%s-dev-%d", s.name, n)
		s.cluster.newNamespace(t, prod.name, map[string]string{gateLabel: f.name, label: "prod"})
		err := prod.run(t, newPod("web", policyImage))
		prod.denied(t, err, `pod "web"`, []string{highLine(s, policyImage)}, adviseRebuild)
		s.cluster.newNamespace(t, dev.name, map[string]string{gateLabel: f.name, label: "dev"})
		dev.admitted(t, dev.run(t, newPod("web", policyImage)))
	}
}

// testKubeSystem has the API server ask about kube-system, too.
func testKubeSystem(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	everywhere := func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Match.NamespaceSelector = nil
		spec.Match.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"test": "system"}}
	}
	s.enforce(t, "p", everywhere)
	const image = "system.example.com/prod/system:1"
	labelled := func(p *corev1.Pod) { p.Labels = map[string]string{"test": "system"} }
	says(t, s.try(t, newPod("system", image, labelled)), `pod "system" denied by 1 policy:`)
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, gateLabel, f.name)
	if _, err := s.client.CoreV1().Namespaces().Patch(t.Context(), metav1.NamespaceSystem, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	system := s.with(t)
	system.name = metav1.NamespaceSystem
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
func testEnforcement(t *testing.T, f *fixture) {
	add(f.hss["main"], row("enforced", high), row("enforced-clean"))
	t.Run("Deny denies, dry-run requests too, and is in the audit log", func(t *testing.T) {
		t.Parallel()
		s := f.newSpace(t)
		s.enforce(t, "p")
		s.denied(t, s.try(t, newPod("dry", enforcedImage)), `pod "dry"`, []string{highLine(s, enforcedImage)}, adviseRebuild)
		s.denied(t, s.run(t, newPod("web", enforcedImage)), `pod "web"`, []string{highLine(s, enforcedImage)}, adviseRebuild)
		s.audited(t, "web", "Denied", "Deny: "+highLine(s, enforcedImage))
		says(t, s.run(t, newPod("", enforcedImage, func(p *corev1.Pod) { p.GenerateName = "web-" })), `denied the request: pod "web-`)
		s.admitted(t, s.try(t, newPod("clean", "main.example.com/prod/enforced-clean:1")))
		s.admitted(t, s.run(t, newPod("clean", "main.example.com/prod/enforced-clean:1")))
		s.audited(t, "clean", "Admitted", "")
	})
	t.Run("Warn admits with a warning", func(t *testing.T) {
		t.Parallel()
		s := f.newSpace(t)
		s.enforce(t, "p", enforcement(v1alpha1.EnforcementWarn))
		for _, create := range []func(*testing.T, *corev1.Pod) error{s.try, s.run} {
			s.admitted(t, create(t, newPod("web", enforcedImage)), highLine(s, enforcedImage))
		}
		s.audited(t, "web", "Admitted", "Warn: "+highLine(s, enforcedImage))
	})
	t.Run("Audit admits in silence", func(t *testing.T) {
		t.Parallel()
		s := f.newSpace(t)
		s.enforce(t, "p", enforcement(v1alpha1.EnforcementAudit))
		s.admitted(t, s.run(t, newPod("web", enforcedImage)))
		s.audited(t, "web", "Admitted", "Audit: "+highLine(s, enforcedImage))
	})
	t.Run("every policy has its say", func(t *testing.T) {
		t.Parallel()
		testTwoPolicies(t, f)
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

func testTwoPolicies(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.create(t, s.newPolicy("warns", enforcement(v1alpha1.EnforcementWarn)))
	s.enforce(t, "p", func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Require = v1alpha1.Requirements{Digest: v1alpha1.DigestRequired}
		spec.Match.Images = []string{"main.example.com/prod/**"}
		spec.Match.ExcludeImages = []string{"main.example.com/prod/*-clean"}
	})
	line := `container "app": ` + enforcedImage + " — image must be pinned by digest [policy " + s.name + "-p]"
	s.denied(t, s.run(t, newPod("web", enforcedImage)), `pod "web"`, []string{line}, "name the image by its digest: image:tag@sha256:…")
	warning := `container "app": ` + enforcedImage + " — severity High, allowed Medium; 111 vulnerabilities, allowed 0 [policy " + s.name + "-warns]"
	s.warned(t, warning)
	s.admitted(t, s.run(t, newPod("clean", "main.example.com/prod/enforced-clean:1")))
}

// testEffect writes policies and exceptions that can have no effect, and mends
// them.
func testEffect(t *testing.T, f *fixture) {
	t.Run("a host that no registry claims", func(t *testing.T) {
		t.Parallel()
		s := f.newSpace(t)
		p := s.newPolicy("p", func(spec *v1alpha1.ImageScanPolicySpec) { spec.Match.Images = []string{"nobody.example.com/**"} })
		s.create(t, p)
		s.awaitEffect(t, "imagescanpolicy", p.Name, "HostUnclaimed")
		s.patchPolicy(t, p, `{"spec":{"match":{"images":null}}}`)
		s.awaitEffect(t, "imagescanpolicy", p.Name, "")
	})
	t.Run("an exception from a policy that comes later and goes", func(t *testing.T) {
		t.Parallel()
		s := f.newSpace(t)
		p := s.newPolicy("later")
		const name = "early"
		s.createException(t, s.newException(name, func(e *v1alpha1.ImageScanException) { e.Spec.Policies = []string{p.Name} }))
		s.awaitEffect(t, "imagescanexception", name, "PolicyNotFound")
		s.create(t, p)
		s.awaitEffect(t, "imagescanexception", name, "")
		s.patchPolicy(t, p, `{"spec":{"exceptions":"Forbid"}}`)
		s.awaitEffect(t, "imagescanexception", name, "ExceptionsForbidden")
		s.patchPolicy(t, p, `{"spec":{"exceptions":"Allow","match":{"images":["other.example.com/**"]}}}`)
		s.awaitEffect(t, "imagescanexception", name, "MatchesNothing")
		if err := s.cluster.policies.Delete(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		s.awaitEffect(t, "imagescanexception", name, "PolicyNotFound")
	})
}

// awaitEffect waits for a reason of the condition Effective and a True Ready.
func (s *space) awaitEffect(t *testing.T, kind, name, reason string) {
	t.Helper()
	eventually(t, func() error {
		stdout, stderr, err := s.cluster.kubectl(t, "", "-n", s.name, "get", kind, name, "-o",
			`jsonpath={.status.conditions[?(@.type=="Ready")].status}:{.status.conditions[?(@.type=="Effective")].reason}`)
		if err != nil || stdout != "True:"+reason {
			return fmt.Errorf("got %q %s, want True:%s", stdout, stderr, reason)
		}
		return nil
	})
}
