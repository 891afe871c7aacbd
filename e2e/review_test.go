package e2e_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// testReviews sends reviews that are large, and many.
func testReviews(t *testing.T, f *fixture) {
	server := newHSS(t)
	calm := newGate(t, f.cluster, setup{
		name: "calm", projects: map[string]*hsstest.Server{"main": server}, webhook: "maxReviewBytes: 4Mi",
	})
	add(server, row("many"), row("large", high), row("large-clean"))
	add(f.hss["main"], row("large", high), row("large-clean"))
	t.Run("HSS is asked once for 50 pods of an image", func(t *testing.T) {
		t.Parallel()
		testManyPods(t, calm, server)
	})
	t.Run("a pod that the API server makes six times larger is judged", func(t *testing.T) {
		t.Parallel()
		testEscapes(t, f.newSpace(t))
	})
	t.Run("a review that is too large is denied with the reason", func(t *testing.T) {
		t.Parallel()
		s := calm.newSpace(t)
		s.enforce(t, "p")
		says(t, s.post(t, escapes("large-clean")), `admission webhook "pods.hssgate.io" denied the request: `+
			"hssgate cannot judge this object: review is too large: ", "at most 4194304 are allowed")
	})
	t.Run("a pod with a spec of 2 MB is judged", func(t *testing.T) {
		t.Parallel()
		testLargeSpec(t, f.newSpace(t))
	})
}

func testManyPods(t *testing.T, g *gate, server *hsstest.Server) {
	s := g.newSpace(t)
	s.enforce(t, "p")
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			if err := s.run(t, newPod(fmt.Sprintf("pod-%d", n), "main.example.com/prod/many:1")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := server.Stats().CountImage("prod", "many"); n != 1 {
		t.Errorf("HSS was asked %d times", n)
	}
}

// escapes is a pod whose environment has 1.3 MB of what the API server writes
// as \u003c.
func escapes(name string) []byte {
	pod := newPod("escapes", "main.example.com/prod/"+name+":1", func(p *corev1.Pod) {
		p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "A", Value: strings.Repeat("<", 1_300_000)}}
	})
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(pod); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// post creates a pod as it is written.
func (s *space) post(t *testing.T, pod []byte) error {
	t.Helper()
	return s.client.CoreV1().RESTClient().Post().Namespace(s.name).Resource("pods").
		SetHeader("Content-Type", "application/json").Body(pod).Do(t.Context()).Error()
}

func testEscapes(t *testing.T, s *space) {
	s.enforce(t, "p")
	const bad = "main.example.com/prod/large:1"
	s.denied(t, s.post(t, escapes("large")), `pod "escapes"`, []string{highLine(s, bad)}, adviseRebuild)
	s.admitted(t, s.post(t, escapes("large-clean")))
}

func testLargeSpec(t *testing.T, s *space) {
	s.enforce(t, "p")
	const bad = "main.example.com/prod/large:1"
	large := func(p *corev1.Pod) {
		p.Spec.Containers[0].Args = []string{strings.Repeat("x", 2_000_000)}
	}
	s.denied(t, s.try(t, newPod("large", bad, large)), `pod "large"`, []string{highLine(s, bad)}, adviseRebuild)
	s.admitted(t, s.try(t, newPod("large", "main.example.com/prod/large-clean:1", large)))
}

// ask sends the gate a review as the API server would.
func (g *gate) ask(t *testing.T, namespace string, pod *corev1.Pod) *admissionv1.AdmissionResponse {
	t.Helper()
	raw, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: types.UID(namespace), Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Namespace: namespace,
			Name: pod.Name, Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: raw},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(g.send(t, body), &review); err != nil {
		t.Fatal(err)
	}
	if review.Response.UID != types.UID(namespace) {
		t.Errorf("got the answer to %q", review.Response.UID)
	}
	return review.Response
}

// send posts to the webhook and returns the answer.
func (g *gate) send(t *testing.T, body []byte) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+g.webhook+"/validate?timeout=5s", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := g.httpsClient(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// httpsClient trusts what the gate wrote into --ca-file.
func (g *gate) httpsClient(t *testing.T) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(g.caFile(t)) {
		t.Fatal("--ca-file holds no certificate")
	}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
	}}
}
