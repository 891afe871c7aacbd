package charts_test

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// state is what hssgate and its users have a right to find unchanged, by name.
type state map[string]string

// with returns the state with other values of the chart's.
func (s state) with(failurePolicy, preset string) state {
	s = maps.Clone(s)
	s["failurePolicy"], s["preset"] = failurePolicy, preset
	return s
}

// state reads it from the cluster.
func (c *cluster) state(ctx context.Context, t testing.TB) state {
	t.Helper()
	var all objects
	for _, object := range parse(t, `{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: hssgate}}
---
{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: hssgate}}
---
{apiVersion: v1, kind: Secret, metadata: {name: hssgate-serving-ca, namespace: hssgate-system}}
---
{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: hssgate, namespace: hssgate-system}}
---
{apiVersion: hssgate.io/v1alpha1, kind: ImageScanPolicy, metadata: {name: hssgate-default}}`) {
		if err := c.client.Get(ctx, client.ObjectKeyFromObject(object), object); err == nil {
			all = append(all, object)
		}
	}
	s := state{}
	for name, where := range map[string]string{
		"failurePolicy": "ValidatingWebhookConfiguration .webhooks[0].failurePolicy",
		"caBundles":     "ValidatingWebhookConfiguration .webhooks[*].clientConfig.caBundle",
		"pinCABundle":   "MutatingWebhookConfiguration .webhooks[*].clientConfig.caBundle",
		"ca":            "Secret .data",
		"leader":        "Lease .spec.holderIdentity",
		"preset":        `ImageScanPolicy .metadata.annotations['hssgate\.io/preset']`,
		"uid":           "ImageScanPolicy .metadata.uid",
		"ready":         `ImageScanPolicy .status.conditions[?(@.type=="Ready")].status`,
	} {
		s[name] = all.at(t, where)
	}
	return s
}

// missing says what a gate that has just been started has still to write.
func (s state) missing() string {
	bundles := slices.Compact(strings.Fields(s["caBundles"]))
	if len(bundles) != 1 || s["pinCABundle"] != bundles[0] || !strings.Contains(s["ca"], "ca.crt") || s["leader"] == "" || s["ready"] != "True" {
		return fmt.Sprintf("hssgate hasn't yet written all: %q", map[string]string(s))
	}
	return ""
}

// testRelease installs the chart, runs the real gate with no other rights than
// the chart's, and takes the release through its life.
func testRelease(t *testing.T, c *cluster) {
	g := newGate(t)
	values := append(working("webhook.timeoutSeconds=15", "policies.preset=audit", pinned, "dryRun=false"), g.values()...)
	c.install(t, values...)
	g.start(t, c, scannedImage("Low"), values...)
	eventually(t, func(ctx context.Context) string { return c.state(ctx, t).missing() })
	installed := c.state(t.Context(), t)
	equal(t, "preset and failurePolicy", "audit Ignore", installed["preset"]+" "+installed["failurePolicy"])
	testRights(t, c)
	testStolenToken(t, c)
	testRepair(t, c, installed)

	enforce := slices.Concat(values, set("mode=enforce", "policies.preset=baseline", "replicas=3"))
	enforced := installed.with("Fail", "baseline")
	for _, step := range []struct {
		name string
		args []string
		want state
	}{
		{"an upgrade leaves alone what hssgate wrote, and replaces no policy", append([]string{"upgrade", release, chart}, enforce...), enforced},
		{"an upgrade back too", append([]string{"upgrade", release, chart}, values...), installed},
		{"a rollback too", []string{"rollback", release}, enforced},
	} {
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
	if got := c.state(t.Context(), t); got["preset"] != "audit" || got["caBundles"] != installed["caBundles"] {
		t.Errorf("after a rollback to the first revision: got %+v, want preset audit and the caBundle as it was", got)
	}
	for preset, want := range map[string]string{"none": "", "strict": "strict"} {
		c.upgrade(t, slices.Concat(values, set("policies.preset="+preset))...)
		equal(t, "preset "+preset, want, c.state(t.Context(), t)["preset"])
	}
	g.stop()
	c.hadAllRights(t)
	c.helm(t, "uninstall", release)
	c.leaves(t, definitions()...)
}

// testRepair takes from the gate what it keeps in the cluster: the CA comes back
// as it was, and the caBundle at once, while the Secret is still gone.
func testRepair(t *testing.T, c *cluster, installed state) {
	c.kubectl(t, "-n", namespace, "delete", "secret", release+"-serving-ca")
	for _, kind := range []string{"validatingwebhookconfiguration", "mutatingwebhookconfiguration"} {
		c.kubectl(t, "patch", kind, release, "--type=json", `-p=[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]`)
	}
	eventually(t, func(ctx context.Context) string { return cmp.Diff(installed, c.state(ctx, t)) })
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
			c.upgrade(t, append(enforce, "--force-conflicts")...)
			eventually(t, func(ctx context.Context) string { return cmp.Diff(enforced, c.state(ctx, t)) })
		}
	}
	c.kubectl(t, "-n", namespace, "scale", "deployment", release, "--replicas=5")
	equal(t, "the failurePolicy after the patch of "+path, "Ignore", c.state(t.Context(), t)["failurePolicy"])
	if out, err := c.tryHelm(t, append([]string{"upgrade", release, chart}, enforce...)...); err == nil || !strings.Contains(out, "conflict") {
		t.Errorf("an upgrade without --force-conflicts: got %v, %s, want a conflict", err, out)
	}
	if _, afterwards, _ := strings.Cut(emergency, "## Afterwards"); !strings.Contains(afterwards, "--force-conflicts\n") {
		t.Errorf("%s: the upgrade afterwards has no --force-conflicts", path)
	}
	c.upgrade(t, append(enforce, "--force-conflicts")...)
	eventually(t, func(ctx context.Context) string { return cmp.Diff(enforced, c.state(ctx, t)) })
	got := c.kubectl(t, "-n", namespace, "get", "deployment", release, "-o", "jsonpath={.spec.replicas}") + " " +
		c.kubectl(t, "get", "imagescanpolicy", release+"-default", "-o", "jsonpath={.spec.enforcement}")
	equal(t, "replicas and enforcement after the upgrade", "3 Deny", got)
}

// testFirstInstallTakenBack starts with the CRDs that the last release kept, and
// with none.
func testFirstInstallTakenBack(t *testing.T, c *cluster) {
	for _, keep := range []string{"true", "false"} {
		left := definitions()
		if keep == "false" {
			left = nil
			c.kubectl(t, "delete", "--wait", "-f", chart+"/files/crds")
		}
		c.install(t, working("policies.preset=audit", "crds.keep="+keep)...)
		c.helm(t, "uninstall", release, "--wait")
		c.leaves(t, left...)
	}
	c.install(t, working()...) // the CRDs of later steps
	c.helm(t, "uninstall", release)
}

// definitions are the CustomResourceDefinitions, which are kept.
func definitions() []string {
	return []string{
		"customresourcedefinition.apiextensions.k8s.io/clusterimagescanexceptions.hssgate.io",
		"customresourcedefinition.apiextensions.k8s.io/imagescanexceptions.hssgate.io", "customresourcedefinition.apiextensions.k8s.io/imagescanpolicies.hssgate.io",
	}
}

func (c *cluster) get(ctx context.Context, t testing.TB, key client.ObjectKey, into client.Object) {
	t.Helper()
	must(t, c.client.Get(ctx, key, into))
}

// leaves checks that nothing of any kind is left of the release, or of hssgate,
// but the wanted. Events expire, the namespace is the user's, and an APIService
// comes and goes with its CRD.
func (c *cluster) leaves(t testing.TB, want ...string) {
	t.Helper()
	eventually(t, func(ctx context.Context) string {
		kinds := strings.Join(strings.Fields(c.says(ctx, t, "kubectl api-resources --verbs=list -o name")), ",")
		all := c.says(ctx, t, "kubectl get "+kinds+" -A --ignore-not-found -o name")
		if !strings.Contains(all, "namespace/"+namespace) { // it stays
			return all
		}
		left := slices.DeleteFunc(regexp.MustCompile(`(?m)^\S+/\S*hssgate\S*$`).FindAllString(all, -1), regexp.MustCompile(`^(event|namespace|apiservice)\b`).MatchString)
		slices.Sort(left)
		return cmp.Diff(want, slices.Compact(left), cmpopts.EquateEmpty())
	})
}
