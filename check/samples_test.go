package check_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/check"
	"github.com/hssgate/hssgate/config/samples"
	"github.com/hssgate/hssgate/hss/inventoryfile"
	"github.com/hssgate/hssgate/report"
)

// sampleFolder writes hssgate's samples into a folder.
func sampleFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, samples.Files()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// simulated answers from the samples' inventory.
func simulated(t *testing.T) check.Options {
	t.Helper()
	c, err := check.SampleRegistries()
	if err != nil {
		t.Fatal(err)
	}
	data, err := samples.Files().ReadFile("inventory.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file, err := inventoryfile.Parse(data, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	known, err := check.NewFileInventory(file, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(known.Close)
	return check.Options{Facts: known, Vulnerabilities: known, Clock: clock.RealClock{}, ExemptNamespaces: c.ExemptNamespaces}
}

func checkSamplesBy(t *testing.T, o check.Options, explainer func(*check.Policies) *check.Explainer) *report.Report {
	t.Helper()
	dir := sampleFolder(t)
	loaded, err := check.LoadPolicies(t.Context(), check.Files{Paths: []string{filepath.Join(dir, "policies")}})
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := (&check.Files{Paths: []string{filepath.Join(dir, "manifests")}}).Read(t.Context())
	if err != nil || len(manifests.Problems) > 0 {
		t.Fatal(err, manifests.Problems)
	}
	namespaces := &check.Namespaces{}
	namespaces.Add(manifests.Namespaces)
	policies, err := check.Compile(loaded.Policies)
	if err != nil {
		t.Fatal(err)
	}
	o.Namespaces, o.Policies, o.Explain = namespaces, policies, explainer(policies)
	r := &report.Report{}
	if err := check.NewChecker(o).Check(t.Context(), manifests.Objects, r); err != nil {
		t.Fatal(err)
	}
	r.Finish()
	return r
}
