package check_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/check"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/report"
)

// testFile writes a file of tests beside the samples.
func testFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(sampleFolder(t), "test.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const policyTest = `apiVersion: test.hssgate.io/v1alpha1
kind: PolicyTest
policies: [policies]
inventory: inventory.yaml
config: config.yaml
now: 2026-11-23T12:00:00Z
namespaces: {shop: {env: prod}, quiet: {env: dev}}
cases:
`

func TestPoliciesAreTested(t *testing.T) {
	t.Parallel()
	const high, clean = "image: swr.cn-north-4.myhuaweicloud.com/prod/high:1.0", "image: swr.cn-north-4.myhuaweicloud.com/prod/clean:1.0"
	tests := map[string]struct {
		given, expect string
		want          string
	}{
		"as expected":               {high + ", namespace: shop", "verdict: Denied, says: ['severity High'], silent: [malicious]", ""},
		"another verdict":           {clean + ", namespace: shop", "verdict: Denied", "is Admitted, expected Denied: passes production"},
		"something unsaid":          {high + ", namespace: shop", "verdict: Denied, says: [malicious]", `without saying "malicious"`},
		"something said":            {high + ", namespace: shop", "verdict: Denied, silent: [High]", `but says "High"`},
		"another namespace":         {high + ", namespace: quiet", "verdict: Admitted, says: ['Audit: severity High']", ""},
		"no policy for a namespace": {high, "verdict: Admitted, says: [no policy judges it]", ""},
		"HSS away":                  {clean + ", namespace: shop, hss: Unavailable", "verdict: Unknown", ""},
		"six days later":            {clean + ", namespace: shop, later: 144h", "verdict: Admitted", ""},
		"eight days later":          {clean + ", namespace: shop, later: 192h", "verdict: Denied, says: [scanned 8 days ago]", ""},
		"a file":                    {"file: manifests/50-init-container.yaml", "verdict: Denied, says: ['init container']", ""},
		"an object":                 {"object: {apiVersion: v1, kind: Pod, metadata: {namespace: shop}, spec: {containers: [{name: a, " + high + "}]}}", "verdict: Denied", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got report.Tests
			path := testFile(t, policyTest+"- {name: one, "+tt.given+", expect: {"+tt.expect+"}}\n")
			if err := check.RunPolicyTests(t.Context(), []string{path}, &got); err != nil || len(got.Problems) > 0 {
				t.Fatal(err, got.Problems)
			}
			problem := got.Cases[0].Problem
			if (problem == "") != (tt.want == "") || !strings.Contains(problem, tt.want) || got.Failed > 0 != (tt.want != "") {
				t.Errorf("got %q, want %q", problem, tt.want)
			}
		})
	}
}

func TestImagesCanStandInATest(t *testing.T) {
	t.Parallel()
	path := testFile(t, `apiVersion: test.hssgate.io/v1alpha1
kind: PolicyTest
preset: strict
images:
- {namespace: prod, image_name: app, image_version: "1", image_type: private_image, scan_status: success, severity_level: High, vul_num: 3, latest_scan_time: -1h}
cases:
- {name: a High one, image: "swr.cn-north-4.myhuaweicloud.com/prod/app:1", expect: {verdict: Denied, says: [severity High, digest]}}
- {name: an unknown one, image: "swr.cn-north-4.myhuaweicloud.com/prod/other:1", expect: {verdict: Denied, says: [has no image]}}
`)
	var got report.Tests
	if err := check.RunPolicyTests(t.Context(), []string{path}, &got); err != nil || len(got.Problems) > 0 || got.Failed > 0 || len(got.Cases) != 2 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAWrongTestIsRefused(t *testing.T) {
	t.Parallel()
	one := "- {name: one, image: a, expect: {verdict: Denied}}\n"
	tests := map[string]struct{ text, want string }{
		"another kind":          {strings.Replace(policyTest, "PolicyTest", "Test", 1) + one, `not "test.hssgate.io/v1alpha1", "Test"`},
		"an unknown field":      {policyTest + strings.Replace(one, "image:", "imgae:", 1), `unknown field "cases[0].imgae"; allowed are expect, file, hss, image,`},
		"another case":          {policyTest + strings.Replace(one, "image:", "Image:", 1), `unknown field "cases[0].Image"; did you mean "image"?`},
		"a second document":     {policyTest + one + "---\n" + policyTest + one, "the file must hold one document only: put a second PolicyTest into a file of its own"},
		"no cases":              {policyTest, "it has no cases"},
		"no policies":           {strings.Replace(policyTest, "policies: [policies]\n", "", 1) + one, "either policies or preset"},
		"two inventories":       {strings.Replace(policyTest, "now:", "images: [{}]\nnow:", 1) + one, "exclude each other"},
		"no name":               {policyTest + strings.Replace(one, "name: one", "name: ''", 1), "cases[0] has no name"},
		"nothing to judge":      {policyTest + strings.Replace(one, "image: a, ", "", 1), "one of image, object and file"},
		"an unknown verdict":    {policyTest + strings.Replace(one, "Denied", "Refused", 1), `not "Refused"`},
		"an unknown state":      {policyTest + strings.Replace(one, "image: a", "image: a, hss: Gone", 1), `not "Gone"`},
		"a delay that is none":  {policyTest + strings.Replace(one, "image: a", "image: a, later: 2 days", 1), `not "2 days"`},
		"missing policies":      {strings.Replace(policyTest, "[policies]", "[nowhere]", 1) + one, "nowhere"},
		"a missing inventory":   {strings.Replace(policyTest, "inventory.yaml", "nowhere.yaml", 1) + one, "nowhere.yaml"},
		"a missing config":      {strings.Replace(policyTest, "config.yaml", "nowhere.yaml", 1) + one, "nowhere.yaml"},
		"a missing file":        {policyTest + strings.Replace(one, "image: a", "file: nowhere.yaml", 1), "nowhere.yaml"},
		"an unknown preset":     {strings.Replace(policyTest, "policies: [policies]", "preset: lax", 1) + one, `not "lax"`},
		"a file without images": {policyTest + strings.Replace(one, "image: a", "file: manifests/00-namespaces.yaml", 1), "no object in it that names images"},
		"an object that's none": {policyTest + strings.Replace(one, "image: a", "object: {a: 1}", 1), "it is no Kubernetes object"},
		"a misspelt namespace":  {policyTest + strings.Replace(one, "image: a", "image: a, namespace: shopp", 1), `case "one": namespace "shopp" is not among namespaces (quiet, shop); did you mean "shop"?`},
		"an object's namespace": {policyTest + strings.Replace(one, "image: a", "namespace: shop, object: {apiVersion: v1, kind: Pod, metadata: {namespace: elsewhere}, spec: {containers: [{image: a}]}}", 1), `namespace "elsewhere" is not among namespaces (quiet, shop): list it there, one without labels as elsewhere: {}`},
		"one policy, no list":   {strings.Replace(policyTest, "[policies]", "policies", 1) + one, "policies must be a list, not a string"},
		"a number for a name":   {policyTest + strings.Replace(one, "name: one", "name: 7", 1), "cases.name must be a string (in quotes, if it reads as something else), not a number"},
		"now without a day":     {strings.Replace(policyTest, "2026-11-23T12:00:00Z", "yesterday", 1) + one, `now must be a time such as 2026-11-23T12:00:00Z, not "yesterday"`},
		"now as a date only":    {strings.Replace(policyTest, "2026-11-23T12:00:00Z", "2026-11-23", 1) + one, `now must be a time such as`},
		"an inventory of faults": {
			strings.Replace(policyTest, "inventory: inventory.yaml", "images: [{image_name: 7}]", 1) + one, "image_name",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got report.Tests
			err := check.RunPolicyTests(t.Context(), []string{testFile(t, tt.text)}, &got)
			if err != nil || len(got.Problems) != 1 || !strings.Contains(got.Problems[0].Message, tt.want) {
				t.Errorf("got %v, %v, want a problem with %q", err, got.Problems, tt.want)
			}
		})
	}
}

// TestNamespacesOfManifestsCountInATest: check reads their labels, too.
func TestNamespacesOfManifestsCountInATest(t *testing.T) {
	t.Parallel()
	const manifests = "apiVersion: v1\nkind: Namespace\nmetadata: {name: new, labels: {env: prod}}\n---\n" +
		"apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: new}\nspec: {containers: [{name: a, image: swr.cn-north-4.myhuaweicloud.com/prod/high:1.0}]}\n"
	path := testFile(t, policyTest+"- {name: one, file: new.yaml, expect: {verdict: Denied}}\n")
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "new.yaml"), []byte(manifests), 0o600); err != nil {
		t.Fatal(err)
	}
	var got report.Tests
	if err := check.RunPolicyTests(t.Context(), []string{path}, &got); err != nil || len(got.Problems) > 0 || got.Failed > 0 || len(got.Cases) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWhatCannotBeReadKeepsNoOtherCaseFromRunning(t *testing.T) {
	t.Parallel()
	const missing, good = "- {name: gone, file: nowhere.yaml, expect: {verdict: Denied}}\n", "- {name: good, image: a, expect: {verdict: Admitted}}\n"
	path := testFile(t, policyTest+missing+good)
	var got report.Tests
	if err := check.RunPolicyTests(t.Context(), []string{"no-such.yaml", path}, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Cases) != 1 || got.Cases[0].Name != "good" || len(got.Problems) != 2 || got.Problems[0].Source != "no-such.yaml" || got.Problems[1].Source != path {
		t.Errorf("got %+v", got)
	}
}

func TestASimulationTellsWhatChanges(t *testing.T) {
	t.Parallel()
	before := noVulnerabilities("")
	before.Spec.Require.Vulnerabilities.Max = 5
	milder, stricter := before, before
	milder.Spec.Enforcement = v1alpha1.EnforcementWarn
	stricter.Spec.Require.Vulnerabilities = &v1alpha1.VulnerabilityRequirement{Max: 0}
	other := noVulnerabilities("")
	other.Name = "other"
	objects := []check.Object{
		check.ImageObject("h.io/n0:1", ""), check.ImageObject("h.io/n3:1", ""), check.ImageObject("h.io/n9:1", ""), check.ImageObject("h.io/away:1", ""),
	}
	tests := map[string]struct {
		change                      []v1alpha1.ImageScanPolicy
		denied, admitted, otherwise int
	}{
		"nothing":          {nil, 0, 0, 0},
		"the same":         {[]v1alpha1.ImageScanPolicy{before}, 0, 0, 0},
		"a milder policy":  {[]v1alpha1.ImageScanPolicy{milder}, 0, 1, 0},
		"a stricter one":   {[]v1alpha1.ImageScanPolicy{stricter}, 1, 0, 0},
		"one more":         {[]v1alpha1.ImageScanPolicy{other}, 1, 0, 0},
		"both in one file": {[]v1alpha1.ImageScanPolicy{milder, other}, 1, 0, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inForce := []v1alpha1.ImageScanPolicy{before}
			heard := 0
			s := check.NewSimulation(check.Options{
				Policies: compile(t, inForce...), Namespaces: &check.Namespaces{Others: map[string]string{}}, Facts: &facts{},
				Clock: simulated(t).Clock, Progress: func(done int) { heard = done },
			}, compile(t, check.Replace(inForce, tt.change)...))
			var got report.Changes
			if err := s.Compare(t.Context(), objects, &got); err != nil {
				t.Fatal(err)
			}
			if got.NewlyDenied != tt.denied || got.NewlyAdmitted != tt.admitted || got.Objects != 4 || got.Unknown != 1 || heard != 4 {
				t.Errorf("got %s (progress %d)", got.String(), heard)
			}
		})
	}
}
