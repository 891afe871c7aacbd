package charts_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/certificate"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const exemptLabel = "hssgate.io/exempt"

// testGuards installs what ci/enforce-values.yaml says, and tries to get past the
// guards of namespaces and graces as ones who may do everything else.
func testGuards(t *testing.T, c *cluster) {
	c.kubectl(t, "create", "clusterrole", "namespace-owners", "--verb=*", "--resource=namespaces,namespaces/status,namespaces/finalize")
	c.kubectl(t, "create", "clusterrolebinding", "namespace-owners", "--clusterrole=namespace-owners", "--group=namespace-owners")
	c.awaitGuard(t, false) // the API server forgets that of an earlier release late
	c.install(t, "--values", "hssgate/ci/enforce-values.yaml", "--set", "policies.preset=none")
	defer c.helm(t, "uninstall", release)
	c.awaitGuard(t, true)
	t.Run("exemptions", func(t *testing.T) { testExemptions(t, c) })
	t.Run("graces", func(t *testing.T) { testGraces(t, c) })
}

// awaitGuard waits until the API server guards namespaces, or no longer does.
func (c *cluster) awaitGuard(t *testing.T, guarded bool) {
	t.Helper()
	owner := c.as(t, "bob", "namespace-owners")
	eventually(t, func(ctx context.Context) string {
		err := owner.Create(ctx, newNamespace("probe", map[string]string{exemptLabel: "true"}), client.DryRunAll)
		if isGuarded := err != nil && strings.Contains(err.Error(), "exemptions.hssgate.io"); isGuarded != guarded || !guarded && err != nil {
			return fmt.Sprintf("got %v, want the guard: %t", err, guarded)
		}
		return ""
	})
}

func newNamespace(name string, labels map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

// testExemptions guards label hssgate.io/exempt, label env, by which policies
// select namespaces, and the name calico-system.
func testExemptions(t *testing.T, c *cluster) {
	bob := c.as(t, "bob", "namespace-owners")
	create := func(name string, labels map[string]string) func(context.Context) error {
		return func(ctx context.Context) error { return bob.Create(ctx, newNamespace(name, labels)) }
	}
	labelled := func(labels string) client.Patch {
		return client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":`+labels+`}}`))
	}
	patch := func(name, labels string) func(context.Context) error {
		return func(ctx context.Context) error { return bob.Patch(ctx, newNamespace(name, nil), labelled(labels)) }
	}
	patchStatus := func(name, labels string) func(context.Context) error {
		return func(ctx context.Context) error {
			return bob.Status().Patch(ctx, newNamespace(name, nil), labelled(labels))
		}
	}
	for name, labels := range map[string]map[string]string{"plain": nil, "selected": {"env": "prod"}, "exempted": {exemptLabel: ""}} {
		if err := c.client.Create(t.Context(), newNamespace(name, labels)); err != nil {
			t.Fatalf("a cluster administrator can't create namespace %s: %v", name, err)
		}
	}
	for name, try := range map[string]func(context.Context) error{
		"create it with the label":                                  create("sly", map[string]string{exemptLabel: "true"}),
		"create it with an empty label":                             create("sly", map[string]string{exemptLabel: ""}),
		"create it by an exempt name":                               create("calico-system", nil),
		"create it with a label that policies select by":            create("sly", map[string]string{"env": "dev"}),
		"set the label":                                             patch("plain", `{"hssgate.io/exempt":"yes"}`),
		"set the label through its status":                          patchStatus("plain", `{"hssgate.io/exempt":""}`),
		"change the label":                                          patch("exempted", `{"hssgate.io/exempt":"other"}`),
		"remove the label":                                          patch("exempted", `{"hssgate.io/exempt":null}`),
		"set a label that policies select by":                       patch("plain", `{"env":"dev"}`),
		"change a label that policies select by":                    patch("selected", `{"env":"dev"}`),
		"empty a label that policies select by":                     patch("selected", `{"env":""}`),
		"remove a label that policies select by":                    patch("selected", `{"env":null}`),
		"remove a label that policies select by through its status": patchStatus("selected", `{"env":null}`),
		"remove all labels":                                         patch("selected", `null`),
		"set the label when it is finalized": func(ctx context.Context) error {
			namespace := newNamespace("plain", nil)
			c.get(ctx, t, client.ObjectKeyFromObject(namespace), namespace)
			namespace.Labels[exemptLabel] = "true"
			return bob.SubResource("finalize").Update(ctx, namespace)
		},
	} {
		err := try(t.Context())
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "takes the right to grant exemptions.hssgate.io (ClusterRole hssgate-exemptions)") {
			t.Errorf("one who owns namespaces, to %s: got %v, want Forbidden with the right that it takes", name, err)
		}
	}
	platform, argocd := c.as(t, "carol", "platform", "namespace-owners"), c.as(t, "system:serviceaccount:argocd:argocd-application-controller", "namespace-owners")
	for name, try := range map[string]func(context.Context) error{
		"other labels are free":              patch("exempted", `{"team":"a"}`),
		"of namespaces that policies select": patch("selected", `{"team":"a"}`),
		"a group that the chart names": func(ctx context.Context) error {
			return platform.Patch(ctx, newNamespace("plain", nil), labelled(`{"hssgate.io/exempt":"true","env":"x"}`))
		},
		"an account that the chart names": func(ctx context.Context) error { return argocd.Create(ctx, newNamespace("calico-system", nil)) },
	} {
		if err := try(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// testGraces tries to write exceptions and graces, which hssgate writes: as an
// administrator, and by hssgate's service account, with RBAC's leave.
func testGraces(t *testing.T, c *cluster) {
	hssgate := c.as(t, serviceAccount, "system:masters")
	newException := func(name, image, labels string) *unstructured.Unstructured {
		return parse(t, fmt.Sprintf(`{apiVersion: %s, kind: ImageScanException, metadata: {namespace: default, name: %s, labels: %s},
			spec: {images: [%q], policies: [p], reason: r, expiresAt: %q}}`, v1alpha1.GroupVersion, name, labels, image, time.Now().Add(time.Hour).UTC().Format(time.RFC3339)))[0]
	}
	const isGrace, byDigest, byTag = "{hssgate.io/grace: p}", scannedDigest, "docker.io/**"
	for _, stored := range []struct {
		by client.Client
		*unstructured.Unstructured
	}{{c.client, newException("exception", byTag, "{}")}, {hssgate, newException("grace", byDigest, isGrace)}} {
		must(t, stored.by.Create(t.Context(), stored.Unstructured))
	}
	type request = func(context.Context, client.Client) error
	create := func(image, labels string) request {
		return func(ctx context.Context, by client.Client) error {
			return by.Create(ctx, newException("new", image, labels), client.DryRunAll)
		}
	}
	merge := func(body string) client.Patch { return client.RawPatch(types.MergePatchType, []byte(body)) }
	patch := func(name, body string) request {
		return func(ctx context.Context, by client.Client) error {
			return by.Patch(ctx, newException(name, byTag, "{}"), merge(body), client.DryRunAll)
		}
	}
	patchStatus := func(name, body string) request {
		return func(ctx context.Context, by client.Client) error {
			return by.Status().Patch(ctx, newException(name, byTag, "{}"), merge(body), client.DryRunAll)
		}
	}
	remove := func(name string) request {
		return func(ctx context.Context, by client.Client) error {
			return by.Delete(ctx, newException(name, byTag, "{}"), client.DryRunAll)
		}
	}
	for name, test := range map[string]struct {
		try             request
		others, hssgate bool
	}{
		"create an exception":              {create(byTag, "{}"), true, false},
		"change an exception":              {patch("exception", `{"spec":{"reason":"other"}}`), true, false},
		"delete an exception":              {remove("exception"), true, false},
		"write the status of an exception": {patchStatus("exception", `{"status":{"uses":1}}`), true, true},
		"make an exception a grace":        {patch("exception", `{"metadata":{"labels":{"hssgate.io/grace":"p"}}}`), false, false},
		"create a grace by digest":         {create(byDigest, isGrace), false, true},
		"create a grace by tag":            {create(byTag, isGrace), false, false},
		"change a grace":                   {patch("grace", `{"spec":{"reason":"other"}}`), false, false},
		"make a grace an exception":        {patch("grace", `{"metadata":{"labels":null}}`), false, false},
		"delete a grace":                   {remove("grace"), true, true},
		"write the status of a grace":      {patchStatus("grace", `{"status":{"uses":1}}`), true, true},
	} {
		for by, allowed := range map[client.Client]bool{c.client: test.others, hssgate: test.hssgate} {
			err := test.try(t.Context(), by)
			if allowed && err != nil || !allowed && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "hssgate-grace")) {
				t.Errorf("%s, by hssgate %t: got %v, want it allowed: %t", name, by == hssgate, err, allowed)
			}
		}
	}
	if err := hssgate.DeleteAllOf(t.Context(), newException("", byTag, "{}"), client.InNamespace("default"), client.HasLabels{v1alpha1.GraceLabel}); err != nil {
		t.Error(err)
	}
	c.kubectl(t, "delete", "imagescanexception", "exception")
}

// testCSIImages applies the policy of docs/guides/csi-images.md against CSI drivers
// that mount images.
func testCSIImages(t *testing.T, c *cluster) {
	policy := writeFile(t, "policy.yaml", blocks(t, "../docs/guides/csi-images.md", "", 1)[0])
	c.kubectl(t, "create", "-f", policy)
	defer c.kubectl(t, "delete", "-f", policy)
	pod := func(driver string) client.Object {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "csi", Namespace: "default"}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "app", Image: "web:1"}},
			Volumes: []corev1.Volume{
				{Name: "none", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
				{Name: "csi", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: driver, VolumeAttributes: map[string]string{"image": "evil:1"}}}},
			},
		}}
	}
	volume := func(driver string) client.Object {
		return &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "csi"}, Spec: corev1.PersistentVolumeSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadOnlyMany}, Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")},
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: "evil:1"}},
		}}
	}
	for _, object := range []func(string) client.Object{pod, volume} {
		for _, driver := range []string{"csi-image.warm-metal.tech", "image.csi.k8s.io"} {
			eventually(t, func(ctx context.Context) string {
				err := c.client.Create(ctx, object(driver), client.DryRunAll)
				if err == nil || !strings.Contains(err.Error(), "hssgate does not see these images") {
					return fmt.Sprintf("%T of driver %s: got %v, want a denial", object(driver), driver, err)
				}
				return ""
			})
		}
		if err := c.client.Create(t.Context(), object("disk.csi.everest.io"), client.DryRunAll); err != nil {
			t.Errorf("another driver: %v", err)
		}
	}
}

const guardMessage = "only caBundle may change"

// configurationChanges are JSON patches that each change one thing of a webhook
// configuration. The guard compares all fields alike, but for those of clientConfig.
var configurationChanges = map[string]string{
	"the URL":                 `[{"op": "replace", "path": "/webhooks/0/clientConfig/url", "value": "https://evil.example.com/"}]`,
	"the URL for a Service":   `[{"op": "replace", "path": "/webhooks/0/clientConfig", "value": {"service": {"namespace": "default", "name": "evil"}}}]`,
	"the resources of a rule": `[{"op": "replace", "path": "/webhooks/0/rules/0/resources", "value": ["secrets"]}]`,
	"no rules":                `[{"op": "remove", "path": "/webhooks/0/rules"}]`,
	"the namespaces":          `[{"op": "replace", "path": "/webhooks/0/namespaceSelector", "value": {}}]`,
	"no match conditions":     `[{"op": "remove", "path": "/webhooks/0/matchConditions"}]`,
	"the failure policy":      `[{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"}]`,
	"the timeout":             `[{"op": "replace", "path": "/webhooks/0/timeoutSeconds", "value": 1}]`,
	"the name":                `[{"op": "replace", "path": "/webhooks/0/name", "value": "other.hssgate.io"}]`,
	"one more webhook":        `[{"op": "copy", "from": "/webhooks/0", "path": "/webhooks/-"}, {"op": "replace", "path": "/webhooks/0/name", "value": "other.hssgate.io"}]`,
	"one webhook less":        `[{"op": "remove", "path": "/webhooks/0"}]`,
	"no webhooks":             `[{"op": "remove", "path": "/webhooks"}]`,
	"a label":                 `[{"op": "add", "path": "/metadata/labels/team", "value": "a"}]`,
	"an annotation":           `[{"op": "add", "path": "/metadata/annotations/cert-manager.io~1inject-ca-from", "value": "default/evil"}]`,
	"an owner":                `[{"op": "add", "path": "/metadata/ownerReferences", "value": [{"apiVersion": "v1", "kind": "Node", "name": "gone", "uid": "1"}]}]`,
	"a finalizer":             `[{"op": "add", "path": "/metadata/finalizers", "value": ["example.com/mine"]}]`,
	"the caBundle and a rule": `[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}, {"op": "remove", "path": "/webhooks/0/rules"}]`,
}

// testStolenToken tries to change the release's webhook configurations as hssgate's
// service account, which has the right to patch their caBundle.
func testStolenToken(t *testing.T, c *cluster) {
	thief := c.as(t, serviceAccount)
	validating := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: release}}
	mutating := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: release}}
	ca, err := certificate.NewSelfSigned(clock.RealClock{}, "evil.example.com")
	must(t, err)
	caBundle := base64.StdEncoding.EncodeToString(ca.CA().PEM())
	try := func(ctx context.Context, configuration client.Object, patch string) error {
		changed, _ := configuration.DeepCopyObject().(client.Object)
		return thief.Patch(ctx, changed, client.RawPatch(types.JSONPatchType, []byte(patch)), client.DryRunAll)
	}
	eventually(t, func(ctx context.Context) string {
		if err := try(ctx, mutating, configurationChanges["no rules"]); err == nil {
			return "the API server hasn't learned of the guard yet"
		}
		return ""
	})
	if err := try(t.Context(), validating, `[{"op": "move", "from": "/webhooks/0", "path": "/webhooks/1"}]`); !apierrors.IsForbidden(err) {
		t.Errorf("a stolen token changes the order: got %v, want Forbidden", err)
	}
	for _, configuration := range []client.Object{validating, mutating} {
		for name, change := range configurationChanges {
			if err := try(t.Context(), configuration, change); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), guardMessage) {
				t.Errorf("a stolen token changes in a %T %s: got %v, want Forbidden with %q", configuration, name, err, guardMessage)
			}
		}
		for _, change := range []string{
			`[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]`,
			`[{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": "` + caBundle + `"}]`,
		} {
			if err := try(t.Context(), configuration, change); err != nil {
				t.Errorf("a caBundle of a %T: %v", configuration, err)
			}
		}
		c.testGuardWithoutRBAC(t, configuration)
	}
}

// testGuardWithoutRBAC gives hssgate's service account every right, as roles of the
// user's own may, and leaves it to the guard.
func (c *cluster) testGuardWithoutRBAC(t *testing.T, configuration client.Object) {
	t.Helper()
	thief := c.as(t, serviceAccount, "system:masters")
	c.get(t.Context(), t, client.ObjectKeyFromObject(configuration), configuration)
	updated, _ := configuration.DeepCopyObject().(client.Object)
	updated.SetLabels(nil)
	created, _ := configuration.DeepCopyObject().(client.Object)
	created.SetName("another")
	created.SetResourceVersion("")
	for name, err := range map[string]error{
		"update": thief.Update(t.Context(), updated, client.DryRunAll),
		"create": thief.Create(t.Context(), created, client.DryRunAll),
		"delete": thief.Delete(t.Context(), configuration, client.DryRunAll),
	} {
		if err == nil || !strings.Contains(err.Error(), guardMessage) {
			t.Errorf("%s of a %T with RBAC's leave: got %v, want %q", name, configuration, err, guardMessage)
		}
	}
}
