package policy_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func record(id, imageType, registry, instance string, n int) policy.Record {
	return with(vulnerable(n), func(r *policy.Record) {
		r.ID, r.ImageType, r.RegistryName, r.InstanceName = id, imageType, registry, instance
	})
}

func TestSeveralRecords(t *testing.T) {
	t.Parallel()
	const three = "vulnerabilities: 3 vulnerabilities, allowed 0"
	for _, c := range []struct {
		name    string
		records []policy.Record
		want    string
	}{
		{"all pass", []policy.Record{record("1", "private_image", "", "", 0), record("2", "shared_image", "", "", 0)}, ""},
		{"one fails and is named", []policy.Record{record("1", "private_image", "", "", 0), record("2", "shared_image", "", "", 3)},
			three + " (shared_image record)"},
		{"both fail alike", []policy.Record{record("1", "private_image", "", "", 3), record("2", "shared_image", "", "", 3)}, three},
		{"both fail differently", []policy.Record{record("1", "private_image", "", "", 5), record("2", "shared_image", "", "", 3)},
			three + " (shared_image record)\nvulnerabilities: 5 vulnerabilities, allowed 0 (private_image record)"},
		{"two of three fail alike", []policy.Record{record("1", "harbor", "", "", 3), record("2", "jfrog", "", "", 0), record("3", "shared_image", "", "", 3)},
			three + " (harbor record, shared_image record)"},
		{"told apart by the registry", []policy.Record{record("1", "harbor", "a", "", 3), record("2", "harbor", "b", "", 0)},
			three + " (harbor record of registry a)"},
		{"told apart by the instance", []policy.Record{record("1", "instance_image", "", "x", 3), record("2", "instance_image", "", "y", 0)},
			three + " (instance_image record of instance x)"},
		{"told apart by the id", []policy.Record{record("1", "harbor", "a", "", 3), record("2", "harbor", "a", "", 0)},
			three + " (harbor record of id 1)"},
		{"a registry's name is made printable", []policy.Record{record("1", "harbor", "a\n\x1b[0m", "", 3), record("2", "harbor", "b", "", 0)},
			three + " (harbor record of registry a [0m)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			wantLines(t, c.want, evaluate(t, policyOf(strict()), found(c.records...)))
		})
	}
}

func TestFindingsDoNotDependOnTheOrderOfRecords(t *testing.T) {
	t.Parallel()
	records := []policy.Record{
		record("1", "harbor", "a", "", 3), record("2", "harbor", "b", "", 4),
		record("3", "shared_image", "a", "", 3), with(status("unscan"), func(r *policy.Record) { r.ID = "4" }),
	}
	p := policyOf(strict())
	want := strings.Join(evaluate(t, p, found(records...)), "\n")
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		random.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		wantLines(t, want, evaluate(t, p, found(records...)))
	}
}

func TestFindingsOfRequirementsDeny(t *testing.T) {
	t.Parallel()
	p := policyOf(strict())
	p.Spec.When = v1alpha1.When{NotFound: "Allow", NotScanned: "Allow", Unavailable: "Allow"}
	for _, f := range mustCompile(t, p).Evaluate(t.Context(), found(with(vulnerable(1))), now()) {
		if f.Action != v1alpha1.ActionDeny {
			t.Errorf("%s has action %s, want Deny", f.Check, f.Action)
		}
	}
}
