package e2e_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// testReviews sends reviews that are large, and many.
func testReviews(t *testing.T, c *cluster) {
	inParallel(t, c.newGate(t, setup{
		name: "calm", hss: mainHSS(t, row("many", having(highUnfixed)), row("large", high), row("large-clean")),
		// Large reviews take their time on a busy machine.
		change: func(configuration *admissionregistrationv1.ValidatingWebhookConfiguration) {
			*configuration.Webhooks[0].TimeoutSeconds = 30
		},
	}), tests[*gate]{
		"HSS is asked once for 50 pods of an image, and once for its vulnerabilities": testManyPods,
		"a pod that the API server makes six times larger is evaluated": func(t *testing.T, g *gate) {
			const bad = "main.example.com/prod/large:1"
			large := func(p *corev1.Pod) { // the API server writes "<" as \u003c
				p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "A", Value: strings.Repeat("<", 1_300_000)}}
			}
			s := g.enforced(t)
			s.denied(t, s.post(t, newPod("large", bad, large)), `pod "large"`, []string{highLine(s, bad)}, adviseRebuild)
			s.admitted(t, s.post(t, newPod("large", "main.example.com/prod/large-clean:1", large)))
		},
	})
}

func testManyPods(t *testing.T, g *gate) {
	s, server := g.newSpace(t), g.hss["main"]
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
	if looked, listed := lookUps(server, "many"), server.Stats().Endpoints[hsstest.EndpointVulnerabilities].Requests; looked != 1 || listed != 1 {
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
	must(t, encoder.Encode(pod))
	eventually(t, func() error {
		err = s.cluster.Clientset(t).CoreV1().RESTClient().Post().Namespace(s.name).Resource("pods").Param("dryRun", "All").
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
	must(t, err)
	review := admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: types.UID(namespace), Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Namespace: namespace,
			Name: pod.Name, Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: raw},
		},
	}
	body, err := json.Marshal(review)
	must(t, err)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+g.webhook+"/validate?timeout=15s", bytes.NewReader(body))
	must(t, err)
	ca, err := os.ReadFile(g.caFile)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
	response, err := client.Do(r)
	must(t, err)
	defer response.Body.Close()
	must(t, json.NewDecoder(response.Body).Decode(&review))
	if review.Response == nil || review.Response.UID != types.UID(namespace) {
		t.Fatalf("got %+v, want an answer to %q", review.Response, namespace)
	}
	return review.Response
}
