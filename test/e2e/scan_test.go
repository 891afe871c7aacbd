package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/controlplanetest"
)

// scanning are two replicas. Both are asked about every pod, at the same time.
type scanning struct {
	*space
	hss      *hsstest.Server
	replicas []*gate
}

func newScanning(t *testing.T, c *cluster) *scanning {
	t.Helper()
	c = newCluster(t, c.program, controlplanetest.WithControllers())
	s := &scanning{hss: newHSS(t, hsstest.WithScanTimes(time.Second, time.Second, time.Second),
		hsstest.WithRegistries(hsstest.Registry{ID: "r1", Type: "SwrPrivate", Address: "main.example.com"}))}
	with := c.asInstalled(t, setup{
		name: "one", hss: map[string]*hsstest.Server{"main": s.hss}, cache: changing,
		project: "scanOnDemand: {enabled: true, maxPerHour: 20}", args: []string{"--leader-elect=false"},
	})
	one := c.newGate(t, with)
	with.name, with.change = "two", func(configuration *admissionregistrationv1.ValidatingWebhookConfiguration) {
		configuration.Webhooks[0].NamespaceSelector.MatchLabels = map[string]string{gateLabel: "one"}
	}
	two := c.newGate(t, with)
	s.replicas = []*gate{one, two}
	s.space = one.enforced(t)
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

// testScanOnDemand takes images from being unknown to running pods, with two
// replicas and the real controller of ReplicaSets.
func testScanOnDemand(t *testing.T, c *cluster) {
	s := newScanning(t, c)
	add(s.hss, unseen("fresh", "1", func(i *hsstest.Image) { i.Hidden = true }),
		unseen("risky", "2", func(i *hsstest.Image) {
			i.Outcome = &hsstest.ScanOutcome{SeverityLevel: "High", VulNum: hsstest.Count(9)}
		}),
		unseen("refused", "3"), unseen("crowded", "4"))
	for _, step := range []struct {
		name string
		test func(*testing.T, *scanning)
	}{
		{"a request that is only tried asks for nothing", testTriedScan},
		{"a ReplicaSet gets its pods in by itself, for one scan", testReplicaSetScan},
		{"what the scan finds decides", testRiskyScan},
		{"a refusal is not asked for again at every review", testRefusedScan},
		{"many reviews cost one scan", testCrowdedScan},
		{"the metrics count what costs money", testScanMetrics},
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
	const image = "main.example.com/prod/fresh:1"
	must(t, s.createWorkload(t, "ReplicaSet", "fresh", image))
	if stats := s.hss.Stats(); stats.Scans != 0 {
		t.Errorf("the template asked for %d scans", stats.Scans)
	}
	eventually(t, func() error {
		var pods corev1.PodList
		err := s.client.List(t.Context(), &pods, client.InNamespace(s.name), client.MatchingLabels{"app": "web"})
		if err == nil && len(pods.Items) < 1 {
			err = errNotYet
		}
		return err
	})
	stats, most := s.hss.Stats(), len(s.replicas)
	if stats.Scans < 1 || stats.Scans > most || stats.Syncs < 1 || stats.Syncs > most || s.asked() > most {
		t.Errorf("it took %d scans, %d requests and %d synchronisations, want one each, or two in a race of the replicas", stats.Scans, s.asked(), stats.Syncs)
	}
	eventually(t, func() error {
		var events corev1.EventList
		must(t, s.client.List(t.Context(), &events, client.InNamespace(s.name), client.MatchingFields{"reason": "FailedCreate"}))
		for _, event := range events.Items {
			if strings.Contains(event.Message, "scan: "+image+": ") && strings.Contains(event.Message, "a synchronisation of its registry was requested at ") {
				return nil
			}
		}
		return errNotYet
	})
}

func testRiskyScan(t *testing.T, s *scanning) {
	const image = "main.example.com/prod/risky:1"
	before := s.asked()
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
	if n := s.asked() - before; n < 1 || n > len(s.replicas) {
		t.Errorf("HSS was asked %d times for one image", n)
	}
}

func testRefusedScan(t *testing.T, s *scanning) {
	s.hss.Inject(hsstest.ErrorFault(http.StatusForbidden, "HSS.0013", "No permission.").ForEndpoint(hsstest.EndpointScan).Times(0))
	defer s.hss.ClearFaults()
	const image = "main.example.com/prod/refused:1"
	before := s.asked()
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
		says(t, s.run(t, newPod("refused", image)), "HSS refused to scan it at ", "it is not requested again before ")
	}
	if n := s.asked() - before; n != len(s.replicas) {
		t.Errorf("HSS was asked %d times, want once by each replica", n)
	}
}

func testCrowdedScan(t *testing.T, s *scanning) {
	const image = "main.example.com/prod/crowded:1"
	before := s.hss.Stats().Scans
	var wg sync.WaitGroup
	for worker := range 20 {
		wg.Go(func() {
			for n := range 20 {
				if err := s.run(t, newPod(fmt.Sprintf("crowded-%d-%d", worker, n), image)); err != nil && !strings.Contains(err.Error(), "scan: "+image+": ") {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, func() error { return s.run(t, newPod("crowded", image)) })
	if n := s.hss.Stats().Scans - before; n < 1 || n > len(s.replicas) {
		t.Errorf("HSS accepted %d scans of one image, want one, or two in a race of the replicas", n)
	}
}

func testScanMetrics(t *testing.T, s *scanning) {
	eventually(t, func() error {
		asked := 0
		for _, replica := range s.replicas {
			n := 0
			scraped := replica.scrape(t)
			if !strings.Contains(scraped, fmt.Sprintf("\nhssgate_hss_billed_scans{kind=\"repository\",project=\"main\"} %d\n", s.hss.Stats().Scans)) {
				return fmt.Errorf("a replica does not show what HSS bills: %w", errNotYet)
			}
			if _, count, found := strings.Cut(scraped, "\n"+`hssgate_scans_wanted_total{outcome="asked",project="main"} `); found {
				_, _ = fmt.Sscan(count, &n)
			}
			asked += n
		}
		if asked < 3 || asked > 3*len(s.replicas) {
			return fmt.Errorf("the metrics of both replicas count %d scans, want 3, or some more in a race", asked)
		}
		return nil
	})
}
