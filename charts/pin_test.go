package charts_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/image"
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
		judging := webhooks(t, args...)["pods.hssgate.io"]
		if *pin.FailurePolicy != "Ignore" || *pin.ReinvocationPolicy != "IfNeeded" || *pin.SideEffects != "None" || *pin.MatchPolicy != "Equivalent" {
			t.Errorf("%s: got %+v", mode, pin)
		}
		if path := *pin.ClientConfig.Service.Path; path != "/mutate" {
			t.Errorf("it asks %s", path)
		}
		same := map[string][2]any{
			"rules": {judging.Rules, pin.Rules}, "namespaceSelector": {judging.NamespaceSelector, pin.NamespaceSelector},
			"objectSelector": {judging.ObjectSelector, pin.ObjectSelector}, "timeoutSeconds": {judging.TimeoutSeconds, pin.TimeoutSeconds},
		}
		for what, both := range same {
			if diff := cmp.Diff(both[0], both[1]); diff != "" {
				t.Errorf("%s: -judges +pins:\n%s", what, diff)
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

func TestBothConfigurationsAreTrustedByTheSameMeans(t *testing.T) {
	t.Parallel()
	name := func(c *config.Configuration) string { return c.Webhook.MutatingConfigurationName }
	if got := name(configuration(t, working(pinned, "fullnameOverride=gate")...)); got != "gate" {
		t.Errorf("hssgate is told to fill in %q", got)
	}
	if got := name(configuration(t, working()...)); got != "" {
		t.Errorf("without the webhook hssgate is told to fill in %q", got)
	}
	const authority = "-----BEGIN CERTIFICATE-----"
	certManager, _ := pinWebhook(t, working(pinned, "certManager.enabled=true")...)
	if certManager.Annotations["cert-manager.io/inject-ca-from"] == "" {
		t.Error("cert-manager isn't told to fill in the caBundle")
	}
	if got := name(configuration(t, working(pinned, "certManager.enabled=true")...)); got != "" {
		t.Errorf("hssgate is told to fill in %q beside cert-manager", got)
	}
	_, elsewhere := pinWebhook(t, set(pinned, "webhook.url=https://gate.example.com", "webhook.caBundle="+authority)...)
	if *elsewhere.ClientConfig.URL != "https://gate.example.com/mutate" || string(elsewhere.ClientConfig.CABundle) != authority {
		t.Errorf("got %+v", elsewhere.ClientConfig)
	}
}

// pinningConfiguration is that of a gate which may deny and pin, and asks a
// server that knows one image.
func pinningConfiguration(t *testing.T, values ...string) *config.Configuration {
	t.Helper()
	known := knowing(t, scannedImage())
	c := configuration(t, values...)
	c.DryRun = false
	project := &c.Projects[0]
	project.Endpoint, project.Region, project.ProjectID = known.URL, "", "p1"
	project.Credentials = config.Credentials{Source: "TokenFile", TokenFile: writeFile(t, "token", "a-token")}
	return c
}

// knowing is a server that knows some images.
func knowing(t *testing.T, images ...hsstest.Image) *hsstest.Server {
	t.Helper()
	known := hsstest.NewServer(hsstest.WithImages(images...), hsstest.WithTokens("a-token"))
	t.Cleanup(known.Close)
	return known
}

// testPins has the API server ask the real gate by what the chart has rendered.
func testPins(t *testing.T, c *cluster) {
	c.kubectl(t, "create", "namespace", "pinned")
	c.kubectl(t, "apply", "-f", writeFile(t, "policy.yaml", pinningPolicy))
	const digested = scannedReference + "@" + scannedDigest
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "pinned"},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "app", Image: scannedReference}},
			Volumes:    []corev1.Volume{{Name: "empty", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
		},
	}
	eventually(t, func(ctx context.Context) string {
		tried := pod.DeepCopy()
		if err := c.client.Create(ctx, tried, client.DryRunAll); err != nil {
			return err.Error()
		}
		if got := tried.Spec.Containers[0].Image; got != digested {
			return "got image " + got + ", want " + digested
		}
		return ""
	})
	// The condition by which calls are spared looks at every place.
	pod.Spec.Containers[0].Image = digested
	for name, with := range map[string]func(*corev1.PodSpec){
		"init container": func(p *corev1.PodSpec) {
			p.InitContainers = []corev1.Container{{Name: "setup", Image: scannedReference}}
		},
		"image volume": func(p *corev1.PodSpec) {
			p.Volumes = append(p.Volumes, corev1.Volume{Name: "model", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: scannedReference}}})
		},
	} {
		tried := pod.DeepCopy()
		with(&tried.Spec)
		if err := c.client.Create(t.Context(), tried, client.DryRunAll); err != nil {
			t.Error(err)
		}
		for _, use := range image.InPodSpec(&tried.Spec) {
			if use.Image != digested {
				t.Errorf("%s: %s has image %s, want %s", name, use, use.Image, digested)
			}
		}
	}
	c.kubectl(t, "delete", "imagescanpolicy", "pinning")
	c.kubectl(t, "delete", "namespace", "pinned", "--wait=false")
}

const (
	scannedReference = "swr.cn-north-4.myhuaweicloud.com/prod/app:1.4"
	scannedDigest    = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
)

func scannedImage() hsstest.Image {
	now := time.Now()
	return hsstest.Image{
		ID: 1, Namespace: "prod", ImageName: "app", ImageVersion: "1.4", ImageDigest: scannedDigest,
		ImageType: "private_image", RegistryType: "SwrPrivate", Scannable: true, ScanStatus: "success", SeverityLevel: "Low",
		VulNum: hsstest.Count(0), UnsafeSettingNum: hsstest.Count(0), MaliciousFileNum: hsstest.Count(0),
		LatestUpdateTime: now.Add(-2 * time.Hour), LatestScanTime: now.Add(-time.Hour), LatestSyncTime: now,
	}
}

const pinningPolicy = `apiVersion: hssgate.io/v1alpha1
kind: ImageScanPolicy
metadata: {name: pinning}
spec:
  pin: true
  match: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: pinned}}}
  require: {digest: Required}
`

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
