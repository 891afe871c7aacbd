package policy_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// TestFindingsAreWordedAsAgreed keeps the wording of findings, which people
// search for and scripts match, in testdata/findings.txt. Run it with
// -update to write that file anew.
func TestFindingsAreWordedAsAgreed(t *testing.T) {
	t.Parallel()
	const path = "testdata/findings.txt"
	require := strict()
	require.Digest = v1alpha1.DigestRequired
	require.Expressions = []v1alpha1.Expression{
		{Expression: "image.registryType != 'Other'", Message: "only known registries"},
		{Expression: "image.namespace == 'prod'"},
	}
	p := mustCompile(t, policyOf(require))
	var b strings.Builder
	for _, c := range scenarios() {
		fmt.Fprintf(&b, "# %s\n", c.name)
		for _, line := range lines(p.Evaluate(t.Context(), c.facts, now())) {
			fmt.Fprintln(&b, line)
		}
		fmt.Fprintln(&b)
	}
	if update := flag.Lookup("update"); update != nil && update.Value.String() == "true" {
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("findings differ (-want +got):\n%s", diff)
	}
}

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the golden files anew")
	os.Exit(m.Run())
}

type scenario struct {
	name  string
	facts policy.Facts
}

func scenarios() []scenario {
	clean := found(cleanRecord())
	clean.Image.Digest = digest
	everything := with(func(r *policy.Record) {
		r.Severity, r.Scan = v1alpha1.SeverityHigh, scan(111, 40, 2)
		r.ScannedAt, r.UpdatedAt = ago(60*day), ago(90*day)
		r.RegistryType, r.Namespace = "Other", "dev"
	})
	shared := with(vulnerable(1), func(r *policy.Record) { r.ID, r.ImageType = "2", "shared_image" })
	return []scenario{
		{"a clean image, by digest", clean},
		{"everything is wrong", found(everything)},
		{"the scan failed", found(failed())},
		{"never scanned", found(with(status("unscan")))},
		{"scanned for the first time", found(rescanned())},
		{"scanned again, after a bad result", found(rescanned(before(vulnerable(7))))},
		{"pushed after its scan", found(with(func(r *policy.Record) { r.UpdatedAt = ago(22 * time.Hour) }))},
		{"statuses and levels unknown to us", found(with(status("paused")), with(func(r *policy.Record) { r.Severity = "Critical" }))},
		{"HSS sent no numbers", found(with(func(r *policy.Record) { r.Scan = policy.Scan{Status: "success"}; r.Severity = "" }))},
		{"one bad architecture of two", found(with(architectures(scan(0, 0, 0), scan(7, 0, 0))))},
		{"no architectures listed", found(with(func(r *policy.Record) { r.MultiArch = true }))},
		{"one bad record of two", found(cleanRecord(), shared)},
		{"an unknown registry", policy.Facts{Image: image(), State: policy.StateNotFound, Reason: "no configured registry claims host evil.example.com"}},
		{"HSS is down", policy.Facts{Image: image(), State: policy.StateUnavailable, Reason: "HSS did not answer within 3s"}},
	}
}
