package charts_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/internal/image"
)

const pinned = "pin.enabled=true"

func pinWebhook(t testing.TB, args ...string) (*admissionregistrationv1.MutatingWebhookConfiguration, admissionregistrationv1.MutatingWebhook) {
	t.Helper()
	configuration := decode[admissionregistrationv1.MutatingWebhookConfiguration](t, render(t, args...).one(t, "MutatingWebhookConfiguration"))
	if len(configuration.Webhooks) != 1 {
		t.Fatalf("got %d webhooks, want 1", len(configuration.Webhooks))
	}
	return configuration, configuration.Webhooks[0]
}

func TestNothingIsPinnedUnlessItIsAskedFor(t *testing.T) {
	t.Parallel()
	manifests, err := template(t, working("mode=enforce")...)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(strings.ToLower(manifests), "mutating") {
		t.Error("something in the chart is about mutating, by default")
	}
}

func TestTheWebhookThatPins(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"mode=audit", "mode=enforce"} {
		args := working(mode, pinned, "exemptions.namespaces={calico-system}", "exemptions.label=hssgate.io/exempt",
			"webhook.matchConditions[0].name=mine", "webhook.matchConditions[0].expression=1 == 1")
		_, pin := pinWebhook(t, args...)
		evaluating := webhooks(t, args...)["pods.hssgate.io"]
		if *pin.FailurePolicy != "Ignore" || *pin.ReinvocationPolicy != "IfNeeded" || *pin.SideEffects != "None" || *pin.MatchPolicy != "Equivalent" {
			t.Errorf("%s: got %+v", mode, pin)
		}
		if path := *pin.ClientConfig.Service.Path; path != "/mutate" {
			t.Errorf("it asks %s", path)
		}
		same := map[string][2]any{
			"rules": {evaluating.Rules, pin.Rules}, "namespaceSelector": {evaluating.NamespaceSelector, pin.NamespaceSelector},
			"objectSelector": {evaluating.ObjectSelector, pin.ObjectSelector}, "timeoutSeconds": {evaluating.TimeoutSeconds, pin.TimeoutSeconds},
		}
		for what, both := range same {
			if diff := cmp.Diff(both[0], both[1]); diff != "" {
				t.Errorf("%s: -evaluates +pins:\n%s", what, diff)
			}
		}
		own := []string{}
		for _, condition := range pin.MatchConditions {
			own = append(own, condition.Name)
		}
		if diff := cmp.Diff([]string{"images-may-be-new", "some-image-has-no-digest", "mine"}, own); diff != "" {
			t.Error(diff)
		}
	}
}

func TestTheWebhookThatPinsIsTrustedAsTheOther(t *testing.T) {
	t.Parallel()
	certManager, _ := pinWebhook(t, working(pinned, "certManager.enabled=true")...)
	if certManager.Annotations["cert-manager.io/inject-ca-from"] == "" {
		t.Error("cert-manager isn't told to fill in the caBundle")
	}
	const ca = "-----BEGIN CERTIFICATE-----"
	_, elsewhere := pinWebhook(t, set(pinned, "webhook.url=https://gate.example.com", "webhook.caBundle="+ca)...)
	if *elsewhere.ClientConfig.URL != "https://gate.example.com/mutate" || string(elsewhere.ClientConfig.CABundle) != ca {
		t.Errorf("got %+v", elsewhere.ClientConfig)
	}
}

// testPins has the API server ask the real gate by what the chart has rendered.
func testPins(t *testing.T, c *cluster) {
	c.kubectl(t, "create", "namespace", "pinned")
	c.kubectl(t, "apply", "-f", writeFile(t, "policy.yaml", pinningPolicy))
	const digested = scannedReference + "@" + scannedDigest
	// The condition by which calls are spared looks at every place.
	for name, with := range map[string]func(*corev1.PodSpec){
		"container": func(p *corev1.PodSpec) { p.Containers[0].Image = scannedReference },
		"init container": func(p *corev1.PodSpec) {
			p.InitContainers = []corev1.Container{{Name: "setup", Image: scannedReference}}
		},
		"image volume": func(p *corev1.PodSpec) {
			p.Volumes[0].VolumeSource = corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: scannedReference}}
		},
	} {
		eventually(t, func(ctx context.Context) string {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "pinned"}, Spec: corev1.PodSpec{
				Containers: []corev1.Container{{Name: "app", Image: digested}},
				Volumes:    []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
			}}
			with(&pod.Spec)
			if err := c.client.Create(ctx, pod, client.DryRunAll); err != nil {
				return err.Error()
			}
			for _, use := range image.InPodSpec(&pod.Spec) {
				if use.Image != digested {
					return fmt.Sprintf("%s: %s has image %s, want %s", name, use, use.Image, digested)
				}
			}
			return ""
		})
	}
	c.kubectl(t, "delete", "imagescanpolicy", "pinning")
	c.kubectl(t, "delete", "namespace", "pinned", "--wait=false")
}

const pinningPolicy = `apiVersion: hssgate.io/v1alpha1
kind: ImageScanPolicy
metadata: {name: pinning}
spec:
  pin: true
  match: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: pinned}}}
  require: {digest: Required}
`
