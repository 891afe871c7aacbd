package e2e_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hssgate/hssgate/policy/v1alpha1"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
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
		name: "calm", projects: map[string]*hsstest.Server{"main": server},
		// Large reviews take their time on a busy machine.
		change: func(configuration *admissionregistrationv1.ValidatingWebhookConfiguration) {
			*configuration.Webhooks[0].TimeoutSeconds = 30
		},
	})
	add(server, row("many", having(highUnfixed)), row("large", high), row("large-clean"))
	t.Run("HSS is asked once for 50 pods of an image, and once for its vulnerabilities", func(t *testing.T) {
		t.Parallel()
		testManyPods(t, calm, server)
	})
	t.Run("a pod that the API server makes six times larger is evaluated", func(t *testing.T) {
		t.Parallel()
		const bad = "main.example.com/prod/large:1"
		large := func(p *corev1.Pod) { // the API server writes "<" as \u003c
			p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "A", Value: strings.Repeat("<", 1_300_000)}}
		}
		s := calm.newSpace(t)
		s.enforce(t, "p")
		s.denied(t, s.post(t, newPod("large", bad, large)), `pod "large"`, []string{highLine(s, bad)}, adviseRebuild)
		s.admitted(t, s.post(t, newPod("large", "main.example.com/prod/large-clean:1", large)))
	})
}

func testManyPods(t *testing.T, g *gate, server *hsstest.Server) {
	s := g.newSpace(t)
	s.enforce(t, "p", func(spec *v1alpha1.ImageScanPolicySpec) { spec.Require.Vulnerabilities.FixableOnly = true })
	server.SetLatency(100 * time.Millisecond)
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() {
			if err := s.run(t, newPod(fmt.Sprintf("pod-%d", n), "main.example.com/prod/many:1")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	// A look-up may need further pages; each begins with the first.
	looked := server.Stats().Count(func(q url.Values) bool {
		return q.Get("image_name") == "many" && (q.Get("offset") == "" || q.Get("offset") == "0")
	})
	if listed := server.Stats().Endpoints[hsstest.EndpointVulnerabilities].Requests; looked != 1 || listed != 1 {
		t.Errorf("HSS was asked %d times for the image, and %d times for its vulnerabilities", looked, listed)
	}
}

// post tries a large pod, with "<" as it is. A body has ten seconds to arrive, in
// which the race detector on a busy machine may not have read all of it: the API
// server then sees the answer, or only that the connection is closed while it writes.
func (s *space) post(t *testing.T, pod *corev1.Pod) (err error) {
	t.Helper()
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(pod); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		err = s.client.CoreV1().RESTClient().Post().Namespace(s.name).Resource("pods").Param("dryRun", "All").
			SetHeader("Content-Type", "application/json").Body(body.Bytes()).Do(t.Context()).Error()
		if err != nil && (strings.Contains(err.Error(), "review did not arrive in time") || strings.Contains(err.Error(), "write: connection reset by peer")) {
			return err
		}
		return nil
	})
	return err
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
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+g.webhook+"/validate?timeout=15s", bytes.NewReader(body))
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
