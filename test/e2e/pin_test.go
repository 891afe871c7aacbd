package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	pinImage    = "main.example.com/prod/pin:1"
	injectLabel = "inject"
)

func pins(spec *v1alpha1.ImageScanPolicySpec) { spec.Pin = true }

// testPinning starts a gate that pins, and then makes what has the API server ask it to.
func testPinning(t *testing.T, c *cluster) {
	f := c.newGate(t, setup{
		name: "pinning", hss: mainHSS(t, row("pin"), row("pin-high", high)), serving: "mutatingConfigurationName: pinning", cache: changing,
	})
	f.mutate(t, "pinning", gateLabel+": "+f.name, func(w *admissionregistrationv1.MutatingWebhook) { w.Name = "pin.hssgate.io" })
	s := f.enforced(t, pins)
	s.awaitMutation(t, func(pod *corev1.Pod) bool { return pod.Spec.Containers[0].Image != pinImage })
	inParallel(t, f, tests[*gate]{
		"a pod runs the digest that HSS scanned":              testPinned,
		"every place does, and the whole of a multi-arch":     testPinnedPlaces,
		"what makes pods isn't touched, and is told so":       testTemplatesNotPinned,
		"an update pins what it brings in":                    testPinnedUpdates,
		"what a later webhook injects is pinned as well":      testPinnedInjection,
		"the last answer of a moved tag is what comes to run": testPinnedMovedTag,
	})
}

// awaitMutation waits until what would become of a pod is what it should.
func (s *space) awaitMutation(t *testing.T, done func(*corev1.Pod) bool) {
	t.Helper()
	eventually(t, func() error {
		pod := newPod("try", pinImage)
		if err := s.try(t, pod); err != nil || done(pod) {
			return err
		}
		return errNotYet
	})
	s.warnings.take()
}

// mutating has the API server send a gate the pods of namespaces with a label.
const mutating = `
metadata: {name: CONFIGURATION}
webhooks:
- name: CONFIGURATION.hssgate.io
  clientConfig: {url: "https://ADDRESS/mutate"}
  namespaceSelector: {matchLabels: {LABEL}}
  rules:
  - {operations: [CREATE, UPDATE], apiGroups: [""], apiVersions: [v1], resources: [pods, pods/ephemeralcontainers]}
  <<: {failurePolicy: Ignore, reinvocationPolicy: IfNeeded, sideEffects: None, timeoutSeconds: 15, admissionReviewVersions: [v1]}
`

// mutate creates a configuration, changed as wanted.
func (g *gate) mutate(t *testing.T, name, label string, change func(*admissionregistrationv1.MutatingWebhook)) {
	t.Helper()
	configuration := &admissionregistrationv1.MutatingWebhookConfiguration{}
	g.decodeFor(t, strings.NewReplacer("CONFIGURATION", name, "LABEL", label).Replace(mutating), configuration)
	change(&configuration.Webhooks[0])
	g.cluster.create(t, configuration)
}

// runs checks the images of a pod that is stored, by the names of their places.
func (s *space) runs(t *testing.T, pod string, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for _, use := range image.InPodSpec(&s.pod(t, pod).Spec) {
		got[use.Name] = use.Image
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the images of pod %q, -want +got:\n%s", pod, diff)
	}
}

func onlyApp(image string) map[string]string { return map[string]string{"app": image} }

func testPinned(t *testing.T, f *gate) {
	s := f.enforced(t, pins, func(spec *v1alpha1.ImageScanPolicySpec) { spec.Require.Digest = v1alpha1.DigestRequired })
	pinned := pinImage + "@" + digest("a")
	for n, written := range []string{pinImage, pinned} {
		name := fmt.Sprintf("pod-%d", n)
		s.admitted(t, s.run(t, newPod(name, written)))
		s.runs(t, name, onlyApp(pinned))
	}
	says(t, s.run(t, newPod("other", pinImage+"@"+digest("b"))), "HSS knows prod/pin:1 with digest "+digest("a")+" only")
	bad := "main.example.com/prod/pin-high:1@" + digest("a")
	s.denied(t, s.run(t, newPod("bad", "main.example.com/prod/pin-high:1")), `pod "bad"`, []string{highLine(s, bad)}, adviseRebuild)

	s.cluster.AuditEvent(t, s.name, func(e *auditv1.Event) bool {
		return e.ObjectRef != nil && e.ObjectRef.Namespace == s.name && e.Annotations["pin.hssgate.io/pinned"] == `container "app": `+pinned
	})
	if !strings.Contains(s.scrape(t), `hssgate_pins_total{outcome="pinned",reason=""}`) {
		t.Error("no pin is counted")
	}
}

func testPinnedPlaces(t *testing.T, f *gate) {
	add(f.hss["main"], row("pin-multi", func(i *hsstest.Image) {
		i.MultiArch, i.ImageDigest = true, digest("d")
		for n, of := range []string{"b", "c"} {
			i.AssociationImages = append(i.AssociationImages, hsstest.Architecture{
				ID: int64(n + 1), ImageName: "pin-multi", ImageVersion: "1", Namespace: "prod", ImageType: "private_image", ImageDigest: digest(of),
				ScanStatus: "success", VulNum: hsstest.Count(0), UnsafeSettingNum: hsstest.Count(0), MaliciousFileNum: hsstest.Count(0),
			})
		}
	}))
	s := f.enforced(t, pins)
	const multi = "main.example.com/prod/pin-multi:1"
	s.admitted(t, s.run(t, newPod("web", multi, func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{{Name: "one", Image: pinImage}, {Name: "two", Image: multi + "@" + digest("b")}}
		p.Spec.Volumes = []corev1.Volume{
			{Name: "empty", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "model", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: multi}}},
		}
	})))
	want := map[string]string{
		"one": pinImage + "@" + digest("a"), "two": multi + "@" + digest("b"), "app": multi + "@" + digest("d"), "model": multi + "@" + digest("d"),
	}
	s.runs(t, "web", want)
	s.admitted(t, s.debug(t, "web", "debug", pinImage))
	want["debug"] = pinImage + "@" + digest("a")
	s.runs(t, "web", want)
}

func testTemplatesNotPinned(t *testing.T, f *gate) {
	s := f.enforced(t, pins, func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Require.Digest, spec.Templates = v1alpha1.DigestRequired, v1alpha1.TemplateDeny
	})
	s.admitted(t, s.createWorkload(t, "Deployment", "web", pinImage))
	deployment := get(t, s.client, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: "web"}})
	if got := deployment.Spec.Template.Spec.Containers[0].Image; got != pinImage {
		t.Errorf("the Deployment's image is %s, want it as it was written", got)
	}
}

func testPinnedUpdates(t *testing.T, f *gate) {
	add(f.hss["main"], row("pin-next", func(i *hsstest.Image) { i.ImageDigest = digest("e") }))
	s := f.newSpace(t)
	const next = "main.example.com/prod/pin-next:1"
	s.admitted(t, s.run(t, newPod("old", next)))
	s.enforce(t, "p", pins)
	s.admitted(t, s.patch(t, "old", `{"metadata":{"labels":{"a":"b"}}}`))
	s.runs(t, "old", onlyApp(next))
	for range 2 {
		s.admitted(t, s.swap(t, "old", pinImage))
		s.runs(t, "old", onlyApp(pinImage+"@"+digest("a")))
	}
	s.admitted(t, s.swap(t, "old", next))
	s.runs(t, "old", onlyApp(next+"@"+digest("e")))
}

func testPinnedInjection(t *testing.T, f *gate) {
	add(f.hss["main"], row("pin-sidecar", func(i *hsstest.Image) { i.ImageDigest = digest("f") }))
	const sidecar = "main.example.com/prod/pin-sidecar:1"
	injector := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { inject(t, w, r, sidecar) }))
	t.Cleanup(injector.Close)
	// It comes after the one that pins.
	f.mutate(t, "pinning-then-injecting", injectLabel+`: "yes"`, func(w *admissionregistrationv1.MutatingWebhook) {
		w.ReinvocationPolicy = new(admissionregistrationv1.NeverReinvocationPolicy)
		w.ClientConfig.URL, w.ClientConfig.CABundle = &injector.URL, certificatePEM(injector.Certificate().Raw)
	})

	s := f.newSpace(t)
	s.cluster.patch(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}}, `{"metadata":{"labels":{"`+injectLabel+`":"yes"}}}`)
	s.enforce(t, "p", pins)
	s.awaitMutation(t, func(pod *corev1.Pod) bool { return len(pod.Spec.Containers) == 2 })
	s.admitted(t, s.run(t, newPod("web", pinImage)))
	s.runs(t, "web", map[string]string{"app": pinImage + "@" + digest("a"), "sidecar": sidecar + "@" + digest("f")})
}

// inject adds a container in front of the pod's, so that what was there moves.
func inject(t *testing.T, w http.ResponseWriter, r *http.Request, image string) {
	t.Helper()
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		t.Error(err)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{
		UID: review.Request.UID, Allowed: true, PatchType: new(admissionv1.PatchTypeJSONPatch),
		Patch: fmt.Appendf(nil, `[{"op":"add","path":"/spec/containers/0","value":{"name":"sidecar","image":%q}}]`, image),
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(review); err != nil {
		t.Error(err)
	}
}

// HSS may not know yet that a tag was pushed again. What it scanned comes to run.
func testPinnedMovedTag(t *testing.T, f *gate) {
	add(f.hss["main"], row("pin-moved"))
	s := f.enforced(t, pins)
	const image = "main.example.com/prod/pin-moved:1"
	s.admitted(t, s.run(t, newPod("before", image)))
	s.runs(t, "before", onlyApp(image+"@"+digest("a")))
	t.Log("HSS learns of the push, and has not scanned it yet")
	change(f.hss["main"], "pin-moved", func(i *hsstest.Image) { unscanned(i); i.ImageDigest = digest("b") })
	s.await(t, image, "never scanned")
	change(f.hss["main"], "pin-moved", func(i *hsstest.Image) { *i = row("pin-moved", func(i *hsstest.Image) { i.ImageDigest = digest("b") }) })
	s.await(t, image, "")
	s.admitted(t, s.run(t, newPod("after", image)))
	s.runs(t, "after", onlyApp(image+"@"+digest("b")))
}
