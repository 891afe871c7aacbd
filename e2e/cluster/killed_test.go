package cluster_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// held is how many reviews wait for HSS, on both replicas, when one is killed.
const held = 8

// unanswered is what the API server says when it can't ask hssgate. The
// webhook's failurePolicy is Fail.
const unanswered = "failed calling webhook"

// testKilled kills the replica that leads while the API server asks without a
// pause, and starts it again when the other one leads.
func testKilled(t *testing.T, w *world) {
	w.awaitReplicas(t, 2)
	var leader, other *pod
	eventually(t, func() (err error) {
		leader, other, err = w.elected(t.Context())
		return err
	})
	before := w.holder(t)
	want := w.verdicts(t, other)
	load := w.startLoad(t)
	answers := w.hold(t)

	killed := time.Now()
	revive := leader.kill(t)
	defer revive()
	left := w.awaitLeaving(t, leader)
	w.hss.SetLatency(0)
	t.Logf("the Service no longer has it %s after its end", left.Sub(killed).Round(time.Millisecond))
	checkHeld(t, answers)
	eventually(t, func() error { return leads(t.Context(), other) })
	if got := w.holder(t); got == before || got == "" {
		t.Errorf("the Lease is held by %q, before the kill by %q", got, before)
	}
	t.Logf("the other one leads %s after its end", time.Since(killed).Round(time.Second))

	revive()
	w.awaitReady(t, leader)
	for _, p := range []*pod{leader, other} {
		if diff := cmp.Diff(want, w.verdicts(t, p)); diff != "" {
			t.Errorf("verdicts of pod %s (-before +after):\n%s", p.object.Name, diff)
		}
	}
	load.end(t)
	load.checkKilled(t, killed, left)
}

// checkKilled checks that every failure is a review that wasn't answered, and
// that the Service still had the dead replica then.
func (l *load) checkKilled(t *testing.T, killed, left time.Time) {
	t.Helper()
	inFlight, refused := 0, 0
	for _, f := range l.failed {
		switch {
		case !strings.Contains(f.err.Error(), unanswered):
			t.Errorf("a wrong answer: %s", f.describe(l.started))
		case f.ended.Before(killed) || f.started.After(left):
			t.Errorf("it failed although both replicas, or the one left, could answer: %s", f.describe(l.started))
		case f.started.Before(killed):
			inFlight++
		default:
			refused++
		}
	}
	t.Logf("of the load, %d reviews in flight failed, and %d that came before the Service knew", inFlight, refused)
}

// hold has reviews wait for HSS, and returns where their answers come.
func (w *world) hold(t *testing.T) <-chan error {
	t.Helper()
	w.hss.Update(func(images []hsstest.Image) []hsstest.Image {
		for n := range held {
			images = append(images, newImage(fmt.Sprintf("held-%d", n)))
		}
		return images
	})
	w.hss.SetLatency(5 * time.Second)
	answers := make(chan error, held)
	for n := range held {
		go func() { answers <- w.try(t.Context(), fmt.Sprintf("registry.example.com/prod/held-%d:1", n)) }()
	}
	eventually(t, func() error {
		if n := w.hss.Stats().InFlight; n < held/2 {
			return fmt.Errorf("%d of %d reviews wait for HSS", n, held)
		}
		return nil
	})
	return answers
}

// checkHeld checks that those on the dead replica failed, and the others got
// their answer. HSS may have been too slow for it.
func checkHeld(t *testing.T, answers <-chan error) {
	t.Helper()
	failed, late := 0, 0
	for range held {
		err := <-answers
		switch {
		case err == nil:
		case strings.Contains(err.Error(), unanswered):
			failed++
		case apierrors.IsServiceUnavailable(err):
			late++
		default:
			t.Errorf("a clean image that HSS was being asked for: %v", err)
		}
	}
	t.Logf("of %d reviews that waited for HSS, %d failed, HSS was too slow for %d", held, failed, late)
	if failed == held {
		t.Error("all of them failed, also those of the other replica")
	}
}

// elected returns the replica that leads, and the other one.
func (w *world) elected(ctx context.Context) (leader, other *pod, err error) {
	replicas := w.kubelet.replicas()
	if len(replicas) != 2 {
		return nil, nil, fmt.Errorf("%d replicas are ready", len(replicas))
	}
	if leads(ctx, replicas[0]) == nil {
		return replicas[0], replicas[1], nil
	}
	return replicas[1], replicas[0], leads(ctx, replicas[1])
}

// leads returns nil if the replica leads.
func leads(ctx context.Context, p *pod) error {
	metrics, err := p.scrape(ctx)
	if err == nil && !strings.Contains(metrics, "\nleader_election_master_status{name=\"hssgate\"} 1\n") {
		err = fmt.Errorf("pod %s doesn't lead", p.object.Name)
	}
	return err
}

// holder returns who holds the Lease.
func (w *world) holder(t *testing.T) string {
	t.Helper()
	lease, err := w.client.CoordinationV1().Leases(namespace).Get(t.Context(), release, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// awaitLeaving waits until new connections no longer go to the pod, and returns
// when that was seen.
func (w *world) awaitLeaving(t *testing.T, p *pod) time.Time {
	t.Helper()
	eventually(t, func() error {
		if slices.Contains(w.kubelet.ready(), p.webhook) {
			return errors.New("the Service still has the pod that was killed")
		}
		return nil
	})
	return time.Now()
}

func (w *world) awaitReady(t *testing.T, p *pod) {
	t.Helper()
	eventually(t, func() error {
		if !slices.Contains(w.kubelet.ready(), p.webhook) {
			return fmt.Errorf("pod %s is not ready", p.object.Name)
		}
		return nil
	})
}

// verdicts asks one replica itself, and returns what it says by the images.
func (w *world) verdicts(t *testing.T, p *pod) map[string]string {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(w.authority(t).Data["ca.crt"]) {
		t.Fatal("the Secret holds no authority")
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
	}}
	verdicts := map[string]string{}
	for _, image := range []string{goodImage, badImage} {
		response := ask(t, client, "https://"+p.webhook+"/validate?timeout=10s", image)
		if response.Allowed != (image == goodImage) {
			t.Errorf("pod %s: allowed is %t for %s: %+v", p.object.Name, response.Allowed, image, response.Result)
		}
		if response.Result != nil {
			verdicts[image] = response.Result.Message
		}
	}
	return verdicts
}

// ask sends a review as the API server would.
func ask(t *testing.T, client *http.Client, url, image string) *admissionv1.AdmissionResponse {
	t.Helper()
	object, err := json.Marshal(newPod("asked", image))
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "asked", Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Namespace: shop,
			Name: "asked", Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: object},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(answer.Body).Decode(&review); err != nil {
		t.Fatal(err)
	}
	return review.Response
}
