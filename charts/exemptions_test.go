package charts_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const exemptLabel = "hssgate.io/exempt"

// testExemptions applies the guard of values/ci/enforce-values.yaml and tries to
// get past it as one who may do everything with namespaces but that. Policies
// select namespaces by label env there.
func testExemptions(t *testing.T, c *cluster) {
	c.install(t, "--values", "hssgate/ci/enforce-values.yaml", "--set", "policies.preset=none")
	defer c.helm(t, "uninstall", release)
	c.allowNamespaces(t)
	bob := c.as(t, "bob", "namespace-owners")
	c.waitForGuard(t, bob)
	newNamespace := func(name string, labels map[string]string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	}
	set := func(key, value string) client.Patch {
		return client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"`+key+`":`+value+`}}}`))
	}
	label := func(value string) client.Patch { return set(exemptLabel, value) }
	env := func(value string) client.Patch { return set("env", value) }
	if err := bob.Create(t.Context(), newNamespace("plain", nil)); err != nil {
		t.Fatal(err)
	}
	if err := c.client.Create(t.Context(), newNamespace("selected", map[string]string{"env": "prod"})); err != nil {
		t.Fatalf("a cluster administrator can't set a label that policies select by: %v", err)
	}
	if err := c.client.Create(t.Context(), newNamespace("exempted", map[string]string{exemptLabel: ""})); err != nil {
		t.Fatalf("a cluster administrator can't exempt: %v", err)
	}

	refusals := map[string]func(context.Context) error{
		"to create it with the label": func(ctx context.Context) error {
			return bob.Create(ctx, newNamespace("sly", map[string]string{exemptLabel: "true"}))
		},
		"to create it with an empty label": func(ctx context.Context) error {
			return bob.Create(ctx, newNamespace("sly", map[string]string{exemptLabel: ""}))
		},
		"to create it by an exempt name": func(ctx context.Context) error { return bob.Create(ctx, newNamespace("calico-system", nil)) },
		"to set the label":               func(ctx context.Context) error { return bob.Patch(ctx, newNamespace("plain", nil), label(`"yes"`)) },
		"to set the label through its status": func(ctx context.Context) error {
			return bob.Status().Patch(ctx, newNamespace("plain", nil), label(`""`))
		},
		"to change the label": func(ctx context.Context) error {
			return bob.Patch(ctx, newNamespace("exempted", nil), label(`"other"`))
		},
		"to remove the label": func(ctx context.Context) error { return bob.Patch(ctx, newNamespace("exempted", nil), label(`null`)) },
		"to set the label when it is finalized": func(ctx context.Context) error {
			namespace := newNamespace("plain", nil)
			if err := c.client.Get(ctx, client.ObjectKeyFromObject(namespace), namespace); err != nil {
				return err
			}
			namespace.Labels[exemptLabel] = "true"
			return bob.SubResource("finalize").Update(ctx, namespace)
		},
		"to create it with a label that policies select by": func(ctx context.Context) error {
			return bob.Create(ctx, newNamespace("sly", map[string]string{"env": "dev"}))
		},
		"to set a label that policies select by": func(ctx context.Context) error {
			return bob.Patch(ctx, newNamespace("plain", nil), env(`"dev"`))
		},
		"to change a label that policies select by": func(ctx context.Context) error {
			return bob.Patch(ctx, newNamespace("selected", nil), env(`"dev"`))
		},
		"to empty a label that policies select by": func(ctx context.Context) error {
			return bob.Patch(ctx, newNamespace("selected", nil), env(`""`))
		},
		"to remove a label that policies select by": func(ctx context.Context) error {
			return bob.Patch(ctx, newNamespace("selected", nil), env(`null`))
		},
		"to remove a label that policies select by through its status": func(ctx context.Context) error {
			return bob.Status().Patch(ctx, newNamespace("selected", nil), env(`null`))
		},
		"to remove all labels": func(ctx context.Context) error {
			namespace := newNamespace("selected", nil)
			if err := c.client.Get(ctx, client.ObjectKeyFromObject(namespace), namespace); err != nil {
				return err
			}
			namespace.Labels = nil
			return bob.Update(ctx, namespace)
		},
	}
	for name, try := range refusals {
		t.Run("one who owns namespaces isn't let "+name, func(t *testing.T) {
			err := try(t.Context())
			if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "takes the right to grant exemptions.hssgate.io (ClusterRole hssgate-exemptions)") {
				t.Errorf("got %v, want Forbidden with the right that it takes", err)
			}
		})
	}
	t.Run("other labels are free", func(t *testing.T) {
		for _, name := range []string{"exempted", "selected", "plain"} {
			if err := bob.Patch(t.Context(), newNamespace(name, nil), set("team", `"a"`)); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("whom the chart names may exempt", func(t *testing.T) {
		platform := c.as(t, "carol", "platform", "namespace-owners")
		if err := platform.Patch(t.Context(), newNamespace("plain", nil), label(`"true"`)); err != nil {
			t.Error(err)
		}
		if err := platform.Patch(t.Context(), newNamespace("selected", nil), env(`null`)); err != nil {
			t.Error(err)
		}
		argocd := c.as(t, "system:serviceaccount:argocd:argocd-application-controller", "namespace-owners")
		if err := argocd.Create(t.Context(), newNamespace("calico-system", nil)); err != nil {
			t.Error(err)
		}
	})
}

// testCSIImages applies the policy of docs/threat-model.md against CSI drivers
// that mount images.
func testCSIImages(t *testing.T, c *cluster) {
	_, manifest, _ := strings.Cut(readFile(t, "../docs/threat-model.md"), "```yaml\n")
	manifest, _, found := strings.Cut(manifest, "```")
	if !found {
		t.Fatal("docs/threat-model.md has no manifest")
	}
	for _, object := range parse(t, manifest) {
		if err := c.client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := c.client.Delete(context.WithoutCancel(t.Context()), object); err != nil {
				t.Error(err)
			}
		}()
	}
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

// allowNamespaces lets a group do everything with namespaces.
func (c *cluster) allowNamespaces(t *testing.T) {
	t.Helper()
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "namespace-owners"},
		Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Verbs: []string{"*"},
			Resources: []string{"namespaces", "namespaces/status", "namespaces/finalize"}}},
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "namespace-owners"},
		RoleRef:    rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "namespace-owners"},
		Subjects:   []rbacv1.Subject{{APIGroup: "rbac.authorization.k8s.io", Kind: "Group", Name: "namespace-owners"}},
	}
	for _, object := range []client.Object{role, binding} {
		if err := c.client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// waitForGuard waits until the API server has learnt of the guard and of the
// roles.
func (c *cluster) waitForGuard(t *testing.T, bob client.Client) {
	t.Helper()
	eventually(t, func(ctx context.Context) string {
		probe := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "probe", Labels: map[string]string{exemptLabel: "true"}}}
		err := bob.Create(ctx, probe, client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), "exemptions.hssgate.io") {
			return "the guard isn't there yet"
		}
		return ""
	})
}
