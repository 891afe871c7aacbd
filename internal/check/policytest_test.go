package check_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/config/samples"
	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/report"
)

// testFile writes a file of tests beside the samples.
func testFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.yaml")
	must(t, os.CopyFS(filepath.Dir(path), samples.Files()))
	writeFile(t, path, text)
	const head, tail = "apiVersion: hssgate.io/v1alpha1\nkind: ImageScanException\n", "policies: [production], reason: x, expiresAt: 2026-11-23T13:00:00Z}\n"
	writeFile(t, filepath.Join(filepath.Dir(path), "exceptions.yaml"),
		head+"metadata: {name: one, namespace: shop}\nspec: {images: [swr.cn-north-4.myhuaweicloud.com/prod/vulnerable], "+tail+"---\n"+
			head+"metadata: {name: two}\nspec: {images: [swr.cn-north-4.myhuaweicloud.com/prod/unsafe], "+tail)
	return path
}

// runCases runs files of tests.
func runCases(t *testing.T, paths ...string) *report.Report {
	t.Helper()
	got := &report.Report{Tests: &report.Tests{}}
	must(t, (&check.PolicyTests{Paths: paths}).RunTo(t.Context(), got))
	return got
}

const policyTest = `apiVersion: test.hssgate.io/v1alpha1
kind: PolicyTest
policies: [policies, exceptions.yaml]
inventory: inventory.yaml
config: config.yaml
now: 2026-11-23T12:00:00Z
namespaces: {shop: {env: prod}, quiet: {env: dev}}
cases:
`

func TestPoliciesAreTested(t *testing.T) {
	t.Parallel()
	const high, clean = "image: swr.cn-north-4.myhuaweicloud.com/prod/high:1.0", "image: swr.cn-north-4.myhuaweicloud.com/prod/clean:1.0"
	const vulnerable, unsafe = "image: swr.cn-north-4.myhuaweicloud.com/prod/vulnerable:1.0", "image: swr.cn-north-4.myhuaweicloud.com/prod/unsafe:1.0"
	for name, tt := range map[string]struct {
		given, expect string
		want          string
	}{
		"as expected":               {high + ", namespace: shop", "verdict: Denied, says: ['severity High'], silent: [malicious]", ""},
		"another verdict":           {clean + ", namespace: shop", "verdict: Denied", "is Admitted, expected Denied: passes production"},
		"something unsaid":          {high + ", namespace: shop", "verdict: Denied, says: [malicious]", `without saying "malicious"`},
		"something said":            {high + ", namespace: shop", "verdict: Denied, silent: [High]", `but says "High"`},
		"another namespace":         {high + ", namespace: quiet", "verdict: Admitted, says: ['Audit: severity High']", ""},
		"no policy for a namespace": {high, "verdict: Admitted, says: [no policy applies]", ""},
		"HSS away":                  {clean + ", namespace: shop, hss: Unavailable", "verdict: Unknown", ""},
		"an exception":              {vulnerable + ", namespace: shop", "verdict: Warned, says: [Excepted]", ""},
		"after its end":             {vulnerable + ", namespace: shop, later: 2h", "verdict: Denied", ""},
		"one of the default's":      {unsafe + ", namespace: shop", "verdict: Denied", ""},
		"six days later":            {clean + ", namespace: shop, later: 144h", "verdict: Admitted", ""},
		"eight days later":          {clean + ", namespace: shop, later: 192h", "verdict: Denied, says: [scanned 8 days ago]", ""},
		"a file":                    {"file: manifests/50-init-container.yaml", "verdict: Denied, says: ['init container']", ""},
		"a namespace of manifests":  {"object: {apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Namespace, metadata: {name: new, labels: {env: prod}}}, {apiVersion: v1, kind: Pod, metadata: {namespace: new}, spec: {containers: [{name: a, " + high + "}]}}]}", "verdict: Denied", ""},
		"an object":                 {"object: {apiVersion: v1, kind: Pod, metadata: {namespace: shop}, spec: {containers: [{name: a, " + high + "}]}}", "verdict: Denied", ""},
	} {
		got := runCases(t, testFile(t, policyTest+"- {name: one, "+tt.given+", expect: {"+tt.expect+"}}\n"))
		if len(got.Results) != 1 || len(got.Problems) > 0 {
			t.Fatalf("%s: got %+v", name, got)
		}
		problem := got.Results[0].Problem
		if (problem == "") != (tt.want == "") || !strings.Contains(problem, tt.want) || got.Tests.Failed > 0 != (tt.want != "") {
			t.Errorf("%s: got %q, want %q", name, problem, tt.want)
		}
	}
}

func TestAWrongTestIsRefused(t *testing.T) {
	t.Parallel()
	one := "- {name: one, image: a, expect: {verdict: Denied}}\n"
	for name, tt := range map[string]struct{ text, want string }{
		"another kind":          {strings.Replace(policyTest, "PolicyTest", "Test", 1) + one, `not "test.hssgate.io/v1alpha1", "Test"`},
		"an unknown field":      {policyTest + strings.Replace(one, "image:", "imgae:", 1), `unknown field "cases[0].imgae"`},
		"a second document":     {policyTest + one + "---\n" + policyTest + one, "the file must hold one document only: put a second PolicyTest into a file of its own"},
		"no cases":              {policyTest, "it has no cases"},
		"no policies":           {strings.Replace(policyTest, "policies: [policies, exceptions.yaml]\n", "", 1) + one, "either policies or preset"},
		"nothing to evaluate":   {policyTest + strings.Replace(one, "image: a, ", "", 1), "one of image, object and file"},
		"an unknown verdict":    {policyTest + strings.Replace(one, "Denied", "Refused", 1), `not "Refused"`},
		"missing policies":      {strings.Replace(policyTest, "[policies,", "[nowhere,", 1) + one, "nowhere"},
		"a missing inventory":   {strings.Replace(policyTest, "inventory.yaml", "nowhere.yaml", 1) + one, "nowhere.yaml"},
		"a file without images": {policyTest + strings.Replace(one, "image: a", "file: manifests/00-namespaces.yaml", 1), "no object in it that names images"},
		"a misspelt namespace":  {policyTest + strings.Replace(one, "image: a", "image: a, namespace: shopp", 1), `case "one": namespace "shopp" is not among namespaces (default, quiet, shop): list it there`},
		"an object's namespace": {policyTest + strings.Replace(one, "image: a", "namespace: shop, object: {apiVersion: v1, kind: Pod, metadata: {namespace: elsewhere}, spec: {containers: [{image: a}]}}", 1), `namespace "elsewhere" is not among namespaces (default, quiet, shop): list it there, one without labels as elsewhere: {}`},
		"one policy, no list":   {strings.Replace(policyTest, "[policies, exceptions.yaml]", "policies", 1) + one, "policies must be a list"},
		"a number for a name":   {policyTest + strings.Replace(one, "name: one", "name: 7", 1), "cases[0].name must be a string (in quotes, if it reads as something else)"},
		"now without a day":     {strings.Replace(policyTest, "2026-11-23T12:00:00Z", "yesterday", 1) + one, `now must be a time such as 2026-11-23T12:00:00Z`},
		"an inventory of odds":  {strings.Replace(policyTest, "inventory: inventory.yaml", "images: [{image_name: 7}]", 1) + one, "image_name"},
	} {
		if got := runCases(t, testFile(t, tt.text)); len(got.Problems) != 1 || !strings.Contains(got.Problems[0].Message, tt.want) {
			t.Errorf("%s: got %v, want a problem with %q", name, got.Problems, tt.want)
		}
	}
}

func TestWhatCannotBeReadKeepsNoOtherCaseFromRunning(t *testing.T) {
	t.Parallel()
	const missing, good = "- {name: gone, file: nowhere.yaml, expect: {verdict: Denied}}\n", "- {name: good, image: a, expect: {verdict: Admitted}}\n"
	path := testFile(t, policyTest+missing+good)
	got := runCases(t, "no-such.yaml", path)
	if len(got.Results) != 1 || got.Results[0].Case != "good" || len(got.Problems) != 2 || got.Problems[0].Source != "no-such.yaml" || got.Problems[1].Source != path {
		t.Errorf("got %+v", got)
	}
}
