package check_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/hssgate/hssgate/check"
	"github.com/hssgate/hssgate/internal/controlplanetest"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/report"
)

// TestACluster reads a real API server.
func TestACluster(t *testing.T) {
	t.Parallel()
	env := controlplanetest.Start(t, controlplanetest.WithFlag("disable-admission-plugins", "ServiceAccount"))
	fill(t, env)
	c, err := check.NewCluster(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("pods are read some at a time", func(t *testing.T) { readPods(t, c) })
	t.Run("policies are read", func(t *testing.T) {
		list, err := c.Policies(t.Context())
		if err != nil || len(list) != 1 || list[0].Spec.Require.Vulnerabilities.Max != 0 {
			t.Errorf("got %v, %v", list, err)
		}
	})
	t.Run("exceptions let past", func(t *testing.T) { useException(t, env, c) })
	t.Run("graces do, too", func(t *testing.T) { useGrace(t, env, c) })
	t.Run("namespaces have labels", func(t *testing.T) {
		labels, err := c.NamespaceLabels(t.Context(), "shop")
		if err != nil || labels["env"] != "prod" {
			t.Errorf("got %v, %v", labels, err)
		}
		if _, err := c.NamespaceLabels(t.Context(), "nowhere"); err == nil {
			t.Error("a namespace that isn't there has labels")
		}
	})
}

// manyPods are more than are read at a time.
const manyPods = 520

func fill(t *testing.T, env *controlplanetest.Environment) {
	t.Helper()
	env.Config.QPS, env.Config.Burst = -1, -1
	typed, err := kubernetes.NewForConfig(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"env": "prod"}}}
	if _, err := typed.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range manyPods {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%03d", i), Namespace: "shop", Labels: map[string]string{"app": "web"}}}
		if i == 0 {
			p.Namespace, p.Labels = "default", nil
		}
		p.Spec.Containers = []corev1.Container{{Name: "app", Image: "h.io/n0:1"}}
		made, err := typed.CoreV1().Pods(p.Namespace).Create(t.Context(), p, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if i > 1 {
			continue
		}
		if made.Status.Phase = corev1.PodRunning; i == 1 {
			made.Status.Phase = corev1.PodSucceeded
		}
		if _, err := typed.CoreV1().Pods(p.Namespace).UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	createPolicy(t, env)
}

func createPolicy(t *testing.T, env *controlplanetest.Environment) {
	t.Helper()
	untyped, err := dynamic.NewForConfig(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	p := noVulnerabilities("")
	p.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ImageScanPolicy"}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&p)
	if err != nil {
		t.Fatal(err)
	}
	delete(fields, "status")
	resource := untyped.Resource(v1alpha1.GroupVersion.WithResource("imagescanpolicies"))
	if _, err := resource.Create(t.Context(), &unstructured.Unstructured{Object: fields}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func readPods(t *testing.T, c *check.Cluster) {
	t.Helper()
	tests := map[string]struct {
		selection check.Selection
		want      []int
	}{
		// One of them has ended.
		"all":                      {check.Selection{}, []int{500, manyPods - 501}},
		"of a namespace":           {check.Selection{Namespace: "shop"}, []int{500, manyPods - 502}},
		"with labels":              {check.Selection{Labels: "app!=web"}, []int{1}},
		"of a namespace with none": {check.Selection{Namespace: "kube-public"}, nil},
	}
	for name, tt := range tests {
		var sizes []int
		err := c.Pods(t.Context(), tt.selection, func(objects []check.Object) error {
			sizes = append(sizes, len(objects))
			if o := objects[0]; o.Workload.Kind != "Pod" || o.Workload.Uses[0].Image != "h.io/n0:1" {
				t.Errorf("%s: got %+v", name, o)
			}
			return nil
		})
		if diff := cmp.Diff(tt.want, sizes); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	enough := errors.New("enough")
	if err := c.Pods(t.Context(), check.Selection{}, func([]check.Object) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("got %v, want the error that ended it", err)
	}
}

// useException has an exception of the cluster let one image past.
const grantedDigest = "sha256:7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa"

func useException(t *testing.T, env *controlplanetest.Environment, c *check.Cluster) {
	t.Helper()
	untyped, err := dynamic.NewForConfig(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	exception := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "ImageScanException",
		"metadata": map[string]any{"name": "known", "namespace": "shop"},
		"spec": map[string]any{
			"images": []any{"h.io/n9"}, "policies": []any{"none"}, "reason": "a fix is on its way",
			"expiresAt": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		},
	}}
	resource := untyped.Resource(v1alpha1.GroupVersion.WithResource("imagescanexceptions")).Namespace("shop")
	if _, err := resource.Create(t.Context(), exception, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	exceptions, err := c.Exceptions(t.Context(), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	p := noVulnerabilities("")
	p.Spec.Exceptions = v1alpha1.PermissionAllow
	o := check.Options{Facts: &facts{}, Exceptions: exceptions, Policies: compile(t, p)}
	r := checkObjects(t, o, []check.Object{check.ImageObject("h.io/n9:1", "shop"), check.ImageObject("h.io/n9:1", "other")})
	if got := r.Results[0]; got.Verdict != report.Warned || !strings.Contains(strings.Join(got.Why(), ""), "Excepted: 9 vulnerabilities") {
		t.Errorf("with an exception: got %s because %q", got.Verdict, got.Why())
	}
	if got := r.Results[1].Verdict; got != report.Denied {
		t.Errorf("in another namespace: got %s", got)
	}
}

// useGrace reads what ran and passed as the webhook does.
func useGrace(t *testing.T, env *controlplanetest.Environment, c *check.Cluster) {
	t.Helper()
	untyped, err := dynamic.NewForConfig(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-time.Hour).UTC()
	history := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "ImageScanHistory", "metadata": map[string]any{"name": "none"},
		"images": []any{
			map[string]any{"digest": grantedDigest, "passedAt": at.Format(time.RFC3339)},
			map[string]any{"digest": grantedDigest, "passedAt": at.Add(time.Minute).Format(time.RFC3339)},
		},
	}}
	resource := untyped.Resource(v1alpha1.GroupVersion.WithResource("imagescanhistories"))
	if _, err := resource.Create(t.Context(), history, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	histories, err := c.Histories(t.Context())
	if err == nil || !strings.Contains(err.Error(), `history "none": images[1]: `+grantedDigest+" is there twice") {
		t.Errorf("got error %v", err)
	}
	if got := histories.History("none")[grantedDigest].PassedAt; !got.Equal(at.Truncate(time.Second)) || len(histories.History("none")) != 1 {
		t.Errorf("it passed at %s, want %s", got, at)
	}
	for period, want := range map[time.Duration]bool{0: false, time.Hour: true} {
		p := noVulnerabilities("")
		if period > 0 {
			p.Spec.Grace = &v1alpha1.Grace{Period: metav1.Duration{Duration: period}}
		}
		if got := compile(t, p).GiveGrace(); got != want {
			t.Errorf("a grace of %s is given: %t", period, got)
		}
	}
}

func TestAClusterWithoutHssgate(t *testing.T) {
	t.Parallel()
	env := controlplanetest.Start(t, controlplanetest.WithoutCRDs())
	c, err := check.NewCluster(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Policies(t.Context()); !errors.Is(err, check.ErrNoCRD) {
		t.Errorf("got %v", err)
	}
	if x, err := c.Exceptions(t.Context(), time.Hour); err != nil || x == nil || len(x) > 0 {
		t.Errorf("got exceptions %v, %v", x, err)
	}
	if h, err := c.Histories(t.Context()); err != nil || h == nil || len(h) > 0 {
		t.Errorf("got histories %v, %v", h, err)
	}
}
