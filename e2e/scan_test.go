package e2e_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/controlplanetest"
)

// scanning are two replicas that share what they asked HSS to scan. Both are
// asked about every pod, at the same time.
type scanning struct {
	*space
	hss      *hsstest.Server
	replicas []*gate
}

const claimsNamespace = "hssgate-system"

func newScanning(t *testing.T) *scanning {
	t.Helper()
	c := newCluster(t, controlplanetest.WithControllers())
	s := &scanning{hss: newHSS(t, hsstest.WithScanTimes(time.Second, time.Second, time.Second),
		hsstest.WithRegistries(hsstest.Registry{ID: "r1", Type: "SwrPrivate", Address: "main.example.com"}))}
	c.newNamespace(t, claimsNamespace, nil)
	claims := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "hssgate-scans"}}
	if _, err := c.Clientset(t).CoreV1().ConfigMaps(claimsNamespace).Create(t.Context(), claims, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	with := setup{
		name: "one", projects: map[string]*hsstest.Server{"main": s.hss},
		cache:   "freshFor: 1s\nnotFoundFor: 1s\npendingFor: 1s\nerrorFor: 1s",
		project: "scanOnDemand: {enabled: true, maxPerHour: 3, maxPerDay: 100}", more: "scanClaimsConfigMap: hssgate-scans",
		args: []string{"--leader-elect=false", "--shutdown-delay=0s"}, environment: []string{"POD_NAMESPACE=" + claimsNamespace},
	}
	one := newGate(t, c, with)
	with.name, with.change = "two", func(configuration *admissionregistrationv1.ValidatingWebhookConfiguration) {
		configuration.Webhooks[0].NamespaceSelector.MatchLabels = map[string]string{gateLabel: "one"}
	}
	two := c.launch(t, with)
	two.awaitReady(t)
	s.replicas = []*gate{one, two}
	s.space = one.newSpace(t)
	s.enforce(t, "p")
	return s
}

// unseen is an image that HSS has not scanned, with a digest of its own.
func unseen(name, digit string, changes ...func(*hsstest.Image)) hsstest.Image {
	return row(name, append([]func(*hsstest.Image){unscanned, func(i *hsstest.Image) {
		i.ImageDigest, i.RegistryID = digest(digit), "r1"
	}}, changes...)...)
}

// asked is how often HSS was asked to scan.
func (s *scanning) asked() int { return s.hss.Stats().Endpoints[hsstest.EndpointScan].Requests }

// TestScanOnDemand takes images from being unknown to running pods, with two
// replicas and the real controller of ReplicaSets.
func TestScanOnDemand(t *testing.T) {
	t.Parallel()
	s := newScanning(t)
	add(s.hss, unseen("fresh", "1", func(i *hsstest.Image) { i.Hidden = true }),
		unseen("risky", "2", func(i *hsstest.Image) {
			i.Outcome = &hsstest.ScanOutcome{SeverityLevel: "High", VulNum: hsstest.Count(9)}
		}),
		unseen("refused", "3"), unseen("crowded", "4"), unseen("late", "5"))
	for _, step := range []struct {
		name string
		test func(*testing.T, *scanning)
	}{
		{"a request that is only tried asks for nothing", testTriedScan},
		{"a ReplicaSet gets its pods in by itself, for one scan", testReplicaSetScan},
		{"what the scan finds decides", testRiskyScan},
		{"a refusal is not asked for again at every review", testRefusedScan},
		{"a thousand reviews cost one scan", testCrowdedScan},
		{"past its bound nothing is asked for", testLateScan},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.test(t, s) }) {
			return
		}
	}
}

func testTriedScan(t *testing.T, s *scanning) {
	for _, name := range []string{"fresh", "risky"} {
		err := s.try(t, newPod("tried", "main.example.com/prod/"+name+":1"))
		if err == nil || strings.Contains(err.Error(), "scan:") {
			t.Errorf("%s: got %v, want a denial that asks for nothing", name, err)
		}
	}
	if stats := s.hss.Stats(); stats.Scans != 0 || stats.Syncs != 0 {
		t.Errorf("HSS was asked for %d scans and %d synchronisations", stats.Scans, stats.Syncs)
	}
}

func testReplicaSetScan(t *testing.T, s *scanning) {
	labels := map[string]string{"app": "fresh"}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec("main.example.com/prod/fresh:1")}
	set := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: "fresh"}, Spec: appsv1.ReplicaSetSpec{
		Replicas: new(int32(3)), Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template}}
	if _, err := s.client.AppsV1().ReplicaSets(s.name).Create(t.Context(), set, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if stats := s.hss.Stats(); stats.Scans != 0 {
		t.Errorf("the template asked for %d scans", stats.Scans)
	}
	eventually(t, func() error {
		pods, err := s.client.CoreV1().Pods(s.name).List(t.Context(), metav1.ListOptions{LabelSelector: "app=fresh"})
		if err == nil && len(pods.Items) < 3 {
			err = fmt.Errorf("the ReplicaSet has %d pods", len(pods.Items))
		}
		return err
	})
	if stats := s.hss.Stats(); stats.Scans != 1 || stats.Syncs != 1 || s.asked() != 1 {
		t.Errorf("it took %d scans, %d requests and %d synchronisations, want one each", stats.Scans, s.asked(), stats.Syncs)
	}
	s.awaitEvent(t, "was asked to synchronise its registry at ")
	claims, err := s.client.CoreV1().ConfigMaps(claimsNamespace).Get(t.Context(), "hssgate-scans", metav1.GetOptions{})
	if err != nil || len(claims.Data) != 2 {
		t.Errorf("noted is %v, error %v", claims.Data, err)
	}
}

// awaitEvent waits for an event of a refused pod that tells of the scan.
func (s *scanning) awaitEvent(t *testing.T, text string) {
	t.Helper()
	eventually(t, func() error {
		list, err := s.client.CoreV1().Events(s.name).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=FailedCreate"})
		if err != nil {
			return err
		}
		for _, event := range list.Items {
			if strings.Contains(event.Message, "scan: main.example.com/prod/fresh:1: ") && strings.Contains(event.Message, text) {
				return nil
			}
		}
		return fmt.Errorf("none of %d events tells of the scan", len(list.Items))
	})
}

func testRiskyScan(t *testing.T, s *scanning) {
	const image = "main.example.com/prod/risky:1"
	says(t, s.run(t, newPod("risky", image)), "never scanned", "scan: "+image+": ", "to do: have HSS scan the image")
	eventually(t, func() error {
		err := s.run(t, newPod("risky", image))
		if err == nil {
			t.Fatal("it is let in")
		}
		if !strings.Contains(err.Error(), "severity High, allowed Medium; 9 vulnerabilities, allowed 0") {
			return err
		}
		return nil
	})
	if s.asked() != 2 {
		t.Errorf("HSS was asked %d times for two images", s.asked())
	}
}

func testRefusedScan(t *testing.T, s *scanning) {
	s.hss.Inject(hsstest.ErrorFault(http.StatusForbidden, "HSS.0013", "No permission.").ForEndpoint(hsstest.EndpointScan).Times(0))
	defer s.hss.ClearFaults()
	const image = "main.example.com/prod/refused:1"
	// Either replica may answer the API server, and one learns later than the other.
	for _, replica := range s.replicas {
		eventually(t, func() error {
			got := replica.ask(t, s.name, newPod("refused", image))
			if got.Allowed || !strings.Contains(got.Result.Message, "HSS refused to scan it at ") {
				return fmt.Errorf("not yet: %+v", got.Result)
			}
			return nil
		})
	}
	for range 20 {
		says(t, s.run(t, newPod("refused", image)), "HSS refused to scan it at ", "it is not asked again before ")
	}
	if s.asked() != 3 {
		t.Errorf("HSS was asked %d times, want once more", s.asked()-2)
	}
}

func testCrowdedScan(t *testing.T, s *scanning) {
	var wg sync.WaitGroup
	for worker := range 20 {
		wg.Go(func() {
			for n := range 50 {
				name := fmt.Sprintf("crowded-%d-%d", worker, n)
				if err := s.run(t, newPod(name, "main.example.com/prod/crowded:1")); err != nil && !strings.Contains(err.Error(), "scan: main.example.com/prod/crowded:1: ") {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, func() error { return s.run(t, newPod("crowded", "main.example.com/prod/crowded:1")) })
	if stats := s.hss.Stats(); stats.Scans != 3 {
		t.Errorf("%d images were scanned, want the third", stats.Scans)
	}
}

func testLateScan(t *testing.T, s *scanning) {
	eventually(t, func() error {
		err := s.run(t, newPod("late", "main.example.com/prod/late:1"))
		if err == nil || !strings.Contains(err.Error(), ", since 3 an hour are allowed") {
			return orNotYet(err)
		}
		return nil
	})
	if stats := s.hss.Stats(); stats.Scans != 3 {
		t.Errorf("%d images were scanned", stats.Scans)
	}
	asked := 0
	for _, replica := range s.replicas {
		_, metrics, err := get(t, "http://"+replica.metrics+"/metrics")
		if err != nil {
			t.Fatal(err)
		}
		if found := regexp.MustCompile(`(?m)^hssgate_scans_wanted_total\{outcome="asked",project="main"\} (\d+)$`).FindStringSubmatch(metrics); found != nil {
			n, err := strconv.Atoi(found[1])
			if err != nil {
				t.Fatal(err)
			}
			asked += n
		}
	}
	if asked != 3 {
		t.Errorf("the metrics of both replicas count %d scans, want 3", asked)
	}
}
