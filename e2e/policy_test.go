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
	t.Run("bad policies are refused", func(t *testing.T) {
		t.Parallel()
		testRefusedPolicies(t, f)
	})
	t.Run("a person sees a policy's state", func(t *testing.T) {
		t.Parallel()
		testPrinterColumns(t, f)
	})
	t.Run("an invalid policy fails closed and says so", func(t *testing.T) {
		t.Parallel()
		testInvalidPolicy(t, f)
	})
	t.Run("changes take effect", func(t *testing.T) {
		t.Parallel()
		testPolicyChanges(t, f)
	})
	t.Run("a namespace's labels count from its first moment", func(t *testing.T) {
		t.Parallel()
		testNewNamespaces(t, f)
	})
	t.Run("kube-system is never judged", func(t *testing.T) {
		t.Parallel()
		testKubeSystem(t, f)
	})
}

const policyImage = "main.example.com/prod/policies:1"

func testRefusedPolicies(t *testing.T, f *fixture) {
	n := 0
	for name, test := range map[string]struct{ spec, want string }{
		"an unknown enforcement":   {"enforcement: Block", `spec.enforcement: Unsupported value: "Block": supported values: "Deny", "Warn", "Audit"`},
		"an unknown severity":      {"require: {severityLevel: {max: Critical}}", `spec.require.severityLevel.max: Unsupported value: "Critical"`},
		"a duration in days":       {"require: {scanAge: {max: 7d}}", "days and weeks are no unit"},
		"a negative number":        {"require: {vulnerabilities: {max: -1}}", "spec.require.vulnerabilities.max: Invalid value: -1"},
		"a glob with a scheme":     {"match: {images: ['https://registry.example.com/**']}", "leave out the scheme"},
		"a glob with a tag":        {"match: {images: ['registry.example.com/app:1']}", "leave out the tag"},
		"a policy without rules":   {"when: {notFound: Allow, notScanned: Allow, unavailable: Allow}", "the policy asks for nothing"},
		"an operator that isn't":   {"match: {namespaceSelector: {matchExpressions: [{key: a, operator: Is}]}}", "operator must be In, NotIn, Exists or DoesNotExist"},
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
	if err := s.try(t, newPod("web", policyImage)); err != nil {
		t.Error(err)
	}
	s.warned(t, highLine(s, policyImage))

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
