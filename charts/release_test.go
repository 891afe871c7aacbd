package charts_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// state is what hssgate and its users have a right to find unchanged.
type state struct {
	FailurePolicy   string
	CABundle        string
	PinCABundle     string
	Authority       map[string][]byte
	Leader          string
	Preset          string
	PolicyUID       types.UID
	PolicyCondition string
}

// testRelease installs the chart, runs the real gate with no other rights than
// the chart's, and takes the release through its life.
func testRelease(t *testing.T, c *cluster) {
	g := newTestGate(t)
	// The API server of a test reaches the gate by its address, and no pods.
	values := append(working("deployment.enabled=true", "webhook.timeoutSeconds=15", "policies.preset=audit", pinned), g.values()...)
	c.install(t, values...)
	g.start(t, c, pinningConfiguration(t, values...))
	eventually(t, func(ctx context.Context) string { return c.state(ctx, t).missing() })
	installed := c.state(t.Context(), t)
	if installed.Preset != "audit" || installed.FailurePolicy != "Ignore" {
		t.Errorf("got %+v, want preset audit and failurePolicy Ignore", installed)
	}
	testRights(t, c)
	testStolenToken(t, c)
	testPins(t, c)
	testRepair(t, c, installed)

	enforce := slices.Concat(values, set("mode=enforce", "policies.preset=baseline", "replicas=3"))
	enforced := installed
	enforced.FailurePolicy, enforced.Preset = "Fail", "baseline"
	steps := []struct {
		name string
		args []string
		want state
	}{
		{"an upgrade leaves alone what hssgate wrote, and replaces no policy", append([]string{"upgrade", release, chart}, enforce...), enforced},
		{"another upgrade too", append([]string{"upgrade", release, chart}, enforce...), enforced},
		{"an upgrade back too", append([]string{"upgrade", release, chart}, values...), installed},
		{"a rollback too", []string{"rollback", release, "3"}, enforced},
	}
	for _, step := range steps {
		c.helm(t, step.args...)
		eventually(t, func(ctx context.Context) string {
			if diff := cmp.Diff(step.want, c.state(ctx, t)); diff != "" {
				return step.name + ": -want +got:\n" + diff
			}
			return ""
		})
	}
	testChangesByHand(t, c, enforce, enforced)
	c.helm(t, "rollback", release, "1")
	if got := c.state(t.Context(), t); got.Preset != "audit" || got.CABundle != installed.CABundle {
		t.Errorf("after a rollback to the first revision: got %+v, want preset audit and the caBundle as it was", got)
	}
	c.helm(t, slices.Concat([]string{"upgrade", release, chart}, values, set("policies.preset=none"))...)
	if got := c.state(t.Context(), t); got.Preset != "" {
		t.Errorf("without a preset its policy is still there: %+v", got)
	}
	c.helm(t, slices.Concat([]string{"upgrade", release, chart}, values, set("policies.preset=strict"))...)
	if got := c.state(t.Context(), t); got.Preset != "strict" {
		t.Errorf("got %+v, want preset strict", got)
	}
	g.stop(t)
	g.verify(t)
	c.helm(t, "uninstall", release)
	c.leaves(t, definitions(t)...)
}

// testRepair takes from the gate what it keeps in the cluster: the CA comes back
// as it was, and the caBundle at once, while the Secret is still gone.
func testRepair(t *testing.T, c *cluster, installed state) {
	c.kubectl(t, "-n", namespace, "delete", "secret", release+"-authority")
	for _, kind := range []string{"validatingwebhookconfiguration", "mutatingwebhookconfiguration"} {
		c.kubectl(t, "patch", kind, release, "--type=json", `-p=[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]`)
	}
	eventually(t, func(ctx context.Context) string {
		secret := corev1.Secret{}
		if err := c.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: release + "-authority"}, &secret); err != nil {
			return err.Error()
		}
		return cmp.Diff(installed, c.state(ctx, t))
	})
}

// testChangesByHand makes the changes that docs/emergency.md recommends, and takes
// them back by the upgrade that it recommends.
func testChangesByHand(t *testing.T, c *cluster, enforce []string, enforced state) {
	const path = "../docs/emergency.md"
	emergency := readFile(t, path)
	for _, command := range []string{
		"kubectl delete validatingwebhookconfiguration hssgate", "kubectl annotate ", "kubectl patch imagescanpolicy ", "kubectl patch validatingwebhookconfiguration ",
	} {
		line := regexp.MustCompile("(?m)^" + command + ".*$").FindString(emergency)
		line = strings.NewReplacer("NAME", release+"-default", "'", "", `"hssgate.io/retried-at=$(date +%s)"`, "hssgate.io/retried-at=1").Replace(line)
		if got := c.says(t.Context(), t, line); line == "" || strings.Contains(got, "rror") {
			t.Errorf("%s: %s: %s", path, command, got)
		}
		if strings.Contains(command, "delete") {
			c.helm(t, slices.Concat([]string{"upgrade", release, chart, "--force-conflicts"}, enforce)...)
			eventually(t, func(ctx context.Context) string { return cmp.Diff(enforced, c.state(ctx, t)) })
		}
	}
	c.kubectl(t, "-n", namespace, "scale", "deployment", release, "--replicas=5")
	if got := c.state(t.Context(), t).FailurePolicy; got != "Ignore" {
		t.Errorf("%s: its patch leaves failurePolicy %s, want Ignore", path, got)
	}
	upgrade := helm(t, slices.Concat([]string{"upgrade", release, chart, "--namespace", namespace}, enforce)...)
	upgrade.Env = append(upgrade.Env, "KUBECONFIG="+c.kubeconfig)
	if _, stderr, err := run(t, upgrade); err == nil || !strings.Contains(stderr, "conflict") {
		t.Errorf("an upgrade without --force-conflicts: got %v, %s, want a conflict", err, stderr)
	}
	if _, afterwards, _ := strings.Cut(emergency, "## Afterwards"); !strings.Contains(afterwards, "--force-conflicts\n") {
		t.Errorf("%s: the upgrade afterwards has no --force-conflicts", path)
	}
	c.helm(t, slices.Concat([]string{"upgrade", release, chart, "--force-conflicts"}, enforce)...)
	eventually(t, func(ctx context.Context) string { return cmp.Diff(enforced, c.state(ctx, t)) })
	got := c.kubectl(t, "-n", namespace, "get", "deployment", release, "-o", "jsonpath={.spec.replicas}") + " " +
		c.kubectl(t, "get", "imagescanpolicy", release+"-default", "-o", "jsonpath={.spec.enforcement}")
	if got != "3 Deny" {
		t.Errorf("after the upgrade: got replicas and enforcement %s, want 3 Deny", got)
	}
}

// testFirstInstallTakenBack starts with the CRDs that the last release kept, and
// with none.
func testFirstInstallTakenBack(t *testing.T, c *cluster) {
	t.Run("with CRDs that were kept", func(t *testing.T) {
		c.install(t, working("policies.preset=audit")...)
		c.helm(t, "uninstall", release)
		c.leaves(t, definitions(t)...)
	})
	c.kubectl(t, "delete", "--wait", "-f", chart+"/files/crds")
	t.Run("with CRDs of its own", func(t *testing.T) {
		c.install(t, working("policies.preset=audit")...)
		c.helm(t, "uninstall", release)
		c.leaves(t, definitions(t)...)
	})
	t.Run("with CRDs that aren't kept", func(t *testing.T) {
		c.kubectl(t, "delete", "--wait", "-f", chart+"/files/crds")
		c.install(t, working("policies.preset=audit", "crds.keep=false")...)
		c.helm(t, "uninstall", release, "--wait")
		c.leaves(t)
	})
	c.install(t, working()...)
	c.helm(t, "uninstall", release)
}

// definitions are the CustomResourceDefinitions, which are kept.
func definitions(t testing.TB) []string {
	t.Helper()
	names := []string{}
	for _, crd := range render(t, working()...).ofKind("CustomResourceDefinition") {
		names = append(names, "CustomResourceDefinition "+crd.GetName())
	}
	return slices.Sorted(slices.Values(names))
}

// missing says what a gate that has just been started has still to write.
func (s state) missing() string {
	if s.CABundle == "" || s.PinCABundle != s.CABundle || len(s.Authority["ca.crt"]) == 0 || s.Leader == "" || s.PolicyCondition != "True" {
		return fmt.Sprintf("hssgate hasn't yet written all: %+v", s)
	}
	return ""
}

// state reads it from the cluster.
func (c *cluster) state(ctx context.Context, t testing.TB) state {
	t.Helper()
	var s state
	var webhooks admissionregistrationv1.ValidatingWebhookConfiguration
	c.get(ctx, t, client.ObjectKey{Name: release}, &webhooks)
	for _, webhook := range webhooks.Webhooks {
		if s.CABundle != "" && s.CABundle != string(webhook.ClientConfig.CABundle) {
			t.Errorf("webhook %s has another caBundle than the first", webhook.Name)
		}
		s.CABundle = string(webhook.ClientConfig.CABundle)
	}
	var pinning admissionregistrationv1.MutatingWebhookConfiguration
	c.get(ctx, t, client.ObjectKey{Name: release}, &pinning)
	s.PinCABundle = string(pinning.Webhooks[0].ClientConfig.CABundle)
	s.FailurePolicy = string(*webhooks.Webhooks[0].FailurePolicy)
	var authority corev1.Secret
	c.get(ctx, t, client.ObjectKey{Namespace: namespace, Name: release + "-authority"}, &authority)
	s.Authority = authority.Data
	var lease coordinationv1.Lease
	c.get(ctx, t, client.ObjectKey{Namespace: namespace, Name: "hssgate"}, &lease)
	if lease.Spec.HolderIdentity != nil {
		s.Leader = *lease.Spec.HolderIdentity
	}
	policy := &unstructured.Unstructured{}
	policy.SetGroupVersionKind(schema.GroupVersionKind{Group: "hssgate.io", Version: "v1alpha1", Kind: "ImageScanPolicy"})
	err := c.client.Get(ctx, client.ObjectKey{Name: release + "-default"}, policy)
	if apierrors.IsNotFound(err) {
		return s
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Preset, s.PolicyUID = policy.GetAnnotations()["hssgate.io/preset"], policy.GetUID()
	conditions, _, err := unstructured.NestedSlice(policy.Object, "status", "conditions")
	if err != nil {
		t.Fatal(err)
	}
	for _, condition := range conditions {
		s.PolicyCondition, _ = condition.(map[string]any)["status"].(string)
	}
	return s
}

func (c *cluster) get(ctx context.Context, t testing.TB, key client.ObjectKey, into client.Object) {
	t.Helper()
	if err := c.client.Get(ctx, key, into); err != nil {
		t.Fatal(err)
	}
}

// leaves checks that nothing of any kind is left of the release, or of hssgate,
// but the wanted.
func (c *cluster) leaves(t testing.TB, want ...string) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for {
		diff := cmp.Diff(append([]string{}, want...), c.leftOvers(t))
		if diff == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("what is left behind: -want +got:\n%s", diff)
		}
	}
}

func (c *cluster) leftOvers(t testing.TB) []string {
	t.Helper()
	found := []string{}
	for kind := range strings.FieldsSeq(c.kubectl(t, "api-resources", "--verbs=list", "-o", "name")) {
		// Events expire, the namespace is the user's, and an APIService comes and goes with its CRD.
		if slices.Contains([]string{"events", "events.events.k8s.io", "namespaces", "apiservices.apiregistration.k8s.io"}, kind) {
			continue
		}
		out := c.kubectl(t, "get", kind, "--all-namespaces", "--ignore-not-found", "-o",
			`jsonpath={range .items[*]}{.kind} {.metadata.name}{"\n"}{end}`)
		for line := range strings.Lines(out) {
			if strings.Contains(line, "hssgate") {
				found = append(found, strings.TrimSpace(line))
			}
		}
	}
	return found
}
