package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// registryHost is where all images come from.
const registryHost = "swr.cn-north-4.myhuaweicloud.com"

// namespace is where all pods are, and its labels.
const namespace = "prod"

func namespaceLabels() map[string]string {
	return map[string]string{"kubernetes.io/metadata.name": namespace, "env": namespace}
}

func imageName(n int) string {
	return fmt.Sprintf("%s/prod/service-%04d:2026.1.%d", registryHost, n, n)
}

// imageRow is what HSS says of an image that every policy admits.
func imageRow(n int, now time.Time) hsstest.Image {
	return hsstest.Image{
		Namespace: "prod", ImageName: fmt.Sprintf("service-%04d", n), ImageVersion: fmt.Sprintf("2026.1.%d", n),
		ImageDigest: fmt.Sprintf("sha256:%064x", n), ImageType: config.TypePrivate, RegistryType: "SwrPrivate", Scannable: true,
		ScanStatus: "success", SeverityLevel: "Low",
		VulNum: hsstest.Count(0), UnsafeSettingNum: hsstest.Count(2), MaliciousFileNum: hsstest.Count(0),
		LatestUpdateTime: now.Add(-48 * time.Hour), LatestScanTime: now.Add(-time.Hour), LatestSyncTime: now.Add(-time.Hour),
	}
}

func imageRows(n int) []hsstest.Image {
	rows, now := make([]hsstest.Image, n), time.Now()
	for i := range rows {
		rows[i] = imageRow(i, now)
	}
	return rows
}

// credentials writes hsstest's keys into files below dir.
func credentials(dir string) (config.Credentials, error) {
	c := config.Credentials{
		Source:        config.SourceFiles,
		AccessKeyFile: filepath.Join(dir, "access-key"), SecretKeyFile: filepath.Join(dir, "secret-key"),
	}
	key := hsstest.DefaultCredential()
	for path, content := range map[string]string{c.AccessKeyFile: key.AccessKey, c.SecretKeyFile: key.SecretKey} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return config.Credentials{}, fmt.Errorf("write credentials: %w", err)
		}
	}
	return c, nil
}

// newConfiguration is hssgate's default configuration for one registry that the
// HSS at endpoint scans; keys are written into files below dir.
func newConfiguration(endpoint, dir string) (*config.Configuration, error) {
	keys, err := credentials(dir)
	if err != nil {
		return nil, err
	}
	project := config.DefaultProject()
	project.Name, project.Endpoint, project.ProjectID, project.Credentials = "main", endpoint, "p1", keys
	c := config.Default()
	c.Projects = []config.Project{project}
	registry := config.DefaultRegistry()
	registry.Name, registry.Hosts, registry.Project = "main", []string{registryHost}, "main"
	c.Registries = []config.Registry{registry}
	return c, c.Validate()
}

// newInventory returns an inventory that asks as the configuration says.
func newInventory(c *config.Configuration, clk clock.Clock) (*inventory.Inventory, error) {
	clients, err := inventory.NewClients(c, "hssgate-bench")
	if err != nil {
		return nil, err
	}
	return inventory.New(inventory.Options{Config: c, Clients: clients, Clock: clk})
}

// warm has the inventory ask for the first n images.
func warm(ctx context.Context, known *inventory.Inventory, n int) error {
	for i := range n {
		ref, err := image.Parse(imageName(i))
		if err != nil {
			return err
		}
		if f := known.Facts(ctx, ref); f.State != policy.StateFound {
			return fmt.Errorf("warm up: %s is not found: %s", imageName(i), f.Reason)
		}
	}
	return nil
}

// policySpec is what a policy of production asks for.
func policySpec() v1alpha1.ImageScanPolicySpec {
	return v1alpha1.ImageScanPolicySpec{
		Enforcement: v1alpha1.EnforcementDeny,
		Match:       v1alpha1.Match{NamespaceSelector: selector("env", namespace)},
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

func selector(key, value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

// elsewhere makes the policy match other images, other pods or other
// namespaces, by turns.
func elsewhere(s *v1alpha1.ImageScanPolicySpec, n int) {
	switch n % 3 {
	case 0:
		s.Match.Images = []string{fmt.Sprintf("%s/team-%d/**", registryHost, n)}
	case 1:
		s.Match.ObjectSelector = selector("app", fmt.Sprintf("other-%d", n))
	default:
		s.Match.NamespaceSelector = selector("env", fmt.Sprintf("other-%d", n))
	}
}

func newPolicy(name string, spec v1alpha1.ImageScanPolicySpec) *v1alpha1.ImageScanPolicy {
	return &v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
}

// policies are those in force.
type policies struct{ index *gate.Index }

// Index returns them.
func (p policies) Index() *gate.Index { return p.index }

// newPolicies returns some policies that match every pod and others that match none.
func newPolicies(matching, others int) (policies, error) {
	var all []*policy.Policy
	for i := range matching + others {
		spec := policySpec()
		if i >= matching {
			elsewhere(&spec, i)
		}
		compiled, err := policy.Compile(newPolicy(fmt.Sprintf("policy-%04d", i), spec))
		if err != nil {
			return policies{}, err
		}
		all = append(all, compiled)
	}
	return policies{gate.NewIndex(all)}, nil
}

// namespaces are the labels of namespaces by name.
type namespaces map[string]map[string]string

// NamespaceLabels returns the labels of one.
func (n namespaces) NamespaceLabels(_ context.Context, name string) (map[string]string, error) {
	labels, ok := n[name]
	if !ok {
		return nil, fmt.Errorf("there is no namespace %q", name)
	}
	return labels, nil
}

// newGate returns a gate with some policies that match every pod and others
// that match none.
func newGate(known gate.Facts, clk clock.PassiveClock, matching, others int) (*gate.Gate, error) {
	inForce, err := newPolicies(matching, others)
	if err != nil {
		return nil, err
	}
	return &gate.Gate{
		Policies: inForce, Facts: known, Clock: clk,
		Namespaces:       namespaces{namespace: namespaceLabels()},
		ExemptNamespaces: []string{"kube-system", "hssgate-system"},
	}, nil
}
