package main

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	// registryHost is where all images come from.
	registryHost = "swr.cn-north-4.myhuaweicloud.com"
	// namespace is where all pods are.
	namespace = "prod"
	// knownImages is how many images are in use: those of a large rollout.
	knownImages = 50
)

func imageName(n int) string {
	return fmt.Sprintf("%s/prod/service-%04d:2026.1.%d", registryHost, n, n)
}

// newHSS starts an HSS with n images that every policy admits.
func newHSS(n int) *hsstest.Server {
	rows, now := make([]hsstest.Image, n), time.Now()
	for i := range rows {
		rows[i] = hsstest.Image{
			Namespace: "prod", ImageName: fmt.Sprintf("service-%04d", i), ImageVersion: fmt.Sprintf("2026.1.%d", i),
			ImageDigest: fmt.Sprintf("sha256:%064x", i), ImageType: config.TypePrivate, RegistryType: "SwrPrivate", Scannable: true,
			ScanStatus: "success", SeverityLevel: "Low",
			VulNum: hsstest.Count(0), UnsafeSettingNum: hsstest.Count(2), MaliciousFileNum: hsstest.Count(0),
			LatestUpdateTime: now.Add(-48 * time.Hour), LatestScanTime: now.Add(-time.Hour), LatestSyncTime: now.Add(-time.Hour),
		}
	}
	return hsstest.NewServer(hsstest.WithImages(rows...))
}

// configurationFile is the default configuration for one registry, with the fields that have no default.
const configurationFile = `apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects:
- {name: main, endpoint: %q, projectID: p1, credentials: {source: Environment}%s}
registries:
- {name: main, hosts: [%s], project: main}
`

// newConfiguration returns the configuration for the HSS at an endpoint, with more fields of its project.
func newConfiguration(endpoint, more string) (*config.Configuration, error) {
	return config.Parse("config.yaml", fmt.Appendf(nil, configurationFile, endpoint, more, registryHost))
}

// newInventory returns an inventory that calls HSS as the configuration says.
func newInventory(c *config.Configuration) (*inventory.Inventory, error) {
	clients, err := inventory.NewClients(c, "hssgate-bench")
	if err != nil {
		return nil, err
	}
	return inventory.New(inventory.Options{Config: c, Clients: clients})
}

func lookUp(ctx context.Context, known *inventory.Inventory, name string) error {
	ref, err := image.Parse(name)
	if err != nil {
		return err
	}
	if f := known.Facts(ctx, ref); f.State != policy.StateFound {
		return fmt.Errorf("look up %s: %s", name, f.Reason)
	}
	return nil
}

// newSpec returns what a policy of production requires.
func newSpec() v1alpha1.ImageScanPolicySpec {
	return v1alpha1.ImageScanPolicySpec{
		Enforcement: v1alpha1.EnforcementDeny,
		Match:       v1alpha1.Match{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": namespace}}},
		Require: v1alpha1.Requirements{
			SeverityLevel:   &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityMedium},
			Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: 0},
			MaliciousFiles:  &v1alpha1.CountRequirement{Max: 0},
			UnsafeSettings:  &v1alpha1.CountRequirement{Max: 10},
			ScanStatus:      &v1alpha1.ScanStatusRequirement{In: []v1alpha1.ScanStatus{v1alpha1.ScanStatusSuccess}},
			ScanAge:         &v1alpha1.ScanAgeRequirement{Max: metav1.Duration{Duration: 168 * time.Hour}},
		},
	}
}

// newGate returns a gate with 10 policies that match every pod.
func newGate(known gate.Facts) (*gate.Gate, error) {
	var all []*policy.Policy
	for i := range 10 {
		compiled, err := policy.Compile(&v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("policy-%d", i)}, Spec: newSpec()})
		if err != nil {
			return nil, err
		}
		all = append(all, compiled)
	}
	labels := map[string]string{"kubernetes.io/metadata.name": namespace, "env": namespace}
	return &gate.Gate{
		Policies:        func() []*policy.Policy { return all },
		NamespaceLabels: func(context.Context, string) (map[string]string, error) { return labels, nil },
		Facts:           known, Clock: clock.RealClock{}, ExemptNamespaces: []string{"kube-system", "hssgate-system"},
	}, nil
}

// newPod returns the creation of a pod of the images from first on.
func newPod(first, images int) gate.Request {
	w := image.Workload{Kind: "Pod", Labels: map[string]string{"app": "web", "env": namespace}}
	for i := range images {
		w.Uses = append(w.Uses, image.Use{Place: image.PlaceContainer, Name: fmt.Sprintf("c%d", i), Image: imageName(first + i)})
	}
	return gate.Request{Namespace: namespace, Name: "web", Workload: w}
}

// decide has the gate decide about a request, which must be admitted, and returns how long it took.
func decide(ctx context.Context, decider *gate.Gate, r *gate.Request) (time.Duration, error) {
	begun := time.Now()
	if d := decider.Decide(ctx, *r); d.Outcome != gate.Admitted {
		return 0, fmt.Errorf("outcome %q, want %q: %s", d.Outcome, gate.Admitted, d.Message())
	}
	return time.Since(begun), nil
}
