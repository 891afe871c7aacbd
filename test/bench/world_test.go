package bench_test

import (
	"context"
	"fmt"
	"testing"
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
	// knownImages is how many images are in use: those of a large rollout.
	knownImages = 50
)

func imageName(n int) string {
	return fmt.Sprintf("%s/prod/service-%04d:2026.1.%d", registryHost, n, n)
}

// newHSS starts an HSS with n images that every policy admits.
func newHSS(tb testing.TB, n int) *hsstest.Server {
	tb.Helper()
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
	hss := hsstest.NewServer(hsstest.WithImages(rows...))
	tb.Cleanup(hss.Close)
	return hss
}

// newConfiguration returns the default configuration for one registry of the HSS at an endpoint.
func newConfiguration(tb testing.TB, endpoint string) *config.Configuration {
	tb.Helper()
	key := hsstest.DefaultCredential()
	tb.Setenv("HUAWEICLOUD_SDK_AK", key.AccessKey)
	tb.Setenv("HUAWEICLOUD_SDK_SK", key.SecretKey)
	c, err := config.Parse("config.yaml", fmt.Appendf(nil, `apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects:
- {name: main, endpoint: %q, projectID: p1, credentials: {source: Environment}}
registries:
- {name: main, hosts: [%s], project: main}
`, endpoint, registryHost))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// newInventory returns an inventory that calls HSS as the configuration says.
func newInventory(tb testing.TB, c *config.Configuration) *inventory.Inventory {
	tb.Helper()
	clients, err := inventory.NewClients(c, "hssgate-bench")
	if err != nil {
		tb.Fatal(err)
	}
	known, err := inventory.New(inventory.Options{Config: c, Clients: clients})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(known.Close)
	return known
}

// lookUp looks images of newHSS up, each of which must be found.
func lookUp(tb testing.TB, known *inventory.Inventory, first, n int) {
	tb.Helper()
	for i := first; i < first+n; i++ {
		ref, err := image.Parse(imageName(i))
		if err != nil {
			tb.Fatal(err)
		}
		if f := known.Facts(tb.Context(), ref); f.State != policy.StateFound {
			tb.Fatalf("look up %s: %s", imageName(i), f.Reason)
		}
	}
}

// newGate returns a gate with 10 policies that match every pod.
func newGate(tb testing.TB, known gate.Facts) *gate.Gate {
	tb.Helper()
	labels := map[string]string{"kubernetes.io/metadata.name": "prod", "env": "prod"}
	spec := v1alpha1.ImageScanPolicySpec{
		Enforcement: v1alpha1.EnforcementDeny,
		Match:       v1alpha1.Match{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}},
		Require: v1alpha1.Requirements{
			SeverityLevel:   &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityMedium},
			Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: 0},
			MaliciousFiles:  &v1alpha1.CountRequirement{Max: 0},
			UnsafeSettings:  &v1alpha1.CountRequirement{Max: 10},
			ScanStatus:      &v1alpha1.ScanStatusRequirement{In: []v1alpha1.ScanStatus{v1alpha1.ScanStatusSuccess}},
			ScanAge:         &v1alpha1.ScanAgeRequirement{Max: metav1.Duration{Duration: 168 * time.Hour}},
		},
	}
	var all []*policy.Policy
	for i := range 10 {
		compiled, err := policy.Compile(&v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("policy-%d", i)}, Spec: spec})
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, compiled)
	}
	return &gate.Gate{
		Policies:        func() []*policy.Policy { return all },
		NamespaceLabels: func(context.Context, string) (map[string]string, error) { return labels, nil },
		Facts:           known, Clock: clock.RealClock{}, ExemptNamespaces: []string{"kube-system", "hssgate-system"},
	}
}
