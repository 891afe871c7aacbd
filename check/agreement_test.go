package check_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/check"
	"github.com/hssgate/hssgate/config/samples"
	"github.com/hssgate/hssgate/demo"
	"github.com/hssgate/hssgate/report"
)

// answer is what both the webhook and check say of an object.
type answer struct {
	Object, Verdict, Message string
	Warnings, Policies       []string
}

// TestCheckSaysOfEverySampleWhatTheWebhookSays sends the samples to the real
// webhook, and has check read the same files.
func TestCheckSaysOfEverySampleWhatTheWebhookSays(t *testing.T) {
	t.Parallel()
	shown, err := demo.Run(t.Context(), demo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var want []answer
	for _, r := range shown.Results {
		want = append(want, answer{r.Kind + "/" + r.Name, string(r.Verdict), r.Message, r.Warnings, r.Policies})
	}
	var got []answer
	for _, r := range checkSamples(t).Results {
		got = append(got, answer{r.Kind + "/" + r.Name, string(r.Verdict), r.Message, r.Warnings, r.Policies})
	}
	for i := range want {
		// An update that brings no new image is judged by nobody; check
		// judges every object as if it were created.
		if want[i].Verdict == "Admitted" && want[i].Policies == nil {
			got[i].Policies = nil
		}
	}
	if diff := cmp.Diff(want, got, cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
		t.Errorf("(-webhook +check):\n%s", diff)
	}
}

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
	known, err := check.NewFileInventory(data, c, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(known.Close)
	return check.Options{Facts: known, Vulnerabilities: known, Clock: clock.RealClock{}, ExemptNamespaces: c.ExemptNamespaces}
}

func checkSamples(t *testing.T) *report.Report {
	t.Helper()
	return checkSamplesBy(t, simulated(t), func(*check.Policies) *check.Explainer { return nil })
}

func checkSamplesBy(t *testing.T, o check.Options, explainer func(*check.Policies) *check.Explainer) *report.Report {
	t.Helper()
	dir := sampleFolder(t)
	list, err := check.LoadPolicies(t.Context(), check.Files{Paths: []string{filepath.Join(dir, "policies")}})
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := (&check.Files{Paths: []string{filepath.Join(dir, "manifests")}}).Read(t.Context())
	if err != nil || len(manifests.Problems) > 0 {
		t.Fatal(err, manifests.Problems)
	}
	namespaces := &check.Namespaces{}
	namespaces.Add(manifests.Namespaces)
	policies, err := check.Compile(list)
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
