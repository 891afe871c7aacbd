package check_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/check"
	"github.com/hssgate/hssgate/config/presets"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// TestPresetsAreThoseOfTheChart reads them out of the chart's template, where
// they stand without anything that Helm would fill in.
func TestPresetsAreThoseOfTheChart(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../charts/hssgate/templates/_policies.tpl")
	if err != nil {
		t.Fatal(err)
	}
	defined := regexp.MustCompile(`(?s)define "hssgate\.preset\.(\w+)" -}}\n(.*?)\{\{- end`).FindAllStringSubmatch(string(text), -1)
	if len(defined) != len(presets.Names()) {
		t.Errorf("the chart has %d presets, the binary has %v", len(defined), presets.Names())
	}
	for _, one := range defined {
		var want v1alpha1.ImageScanPolicySpec
		if err := yaml.UnmarshalStrict([]byte(one[2]), &want); err != nil {
			t.Fatal(err)
		}
		got, err := check.Preset(one[1])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Spec); diff != "" {
			t.Errorf("%s (-chart +binary):\n%s", one[1], diff)
		}
		if _, err := check.Compile([]v1alpha1.ImageScanPolicy{got}); err != nil || got.Name != one[1] {
			t.Errorf("%s: named %q, %v", one[1], got.Name, err)
		}
	}
	if _, err := check.Preset("lax"); err == nil || err.Error() != `preset must be audit, baseline, strict, not "lax"` {
		t.Errorf("got %v", err)
	}
}

func TestPoliciesAreLoadedOrRefused(t *testing.T) {
	t.Parallel()
	const good = "apiVersion: hssgate.io/v1alpha1\nkind: ImageScanPolicy\nmetadata: {name: one}\nspec: {enforcement: Warn}\n"
	tests := map[string]struct {
		text, want string
		names      []string
	}{
		"one policy":         {good, "", []string{"one"}},
		"two of them":        {good + "---\n" + strings.Replace(good, "one", "two", 1), "", []string{"one", "two"}},
		"the same twice":     {good + "---\n" + good, `p.yaml:6: policy "one" is there twice, first in `, nil},
		"none":               {"# nothing\n", "no ImageScanPolicy", nil},
		"an unknown field":   {good + "stauts: {}\n", `unknown field "stauts"; did you mean "status"?`, nil},
		"another case":       {strings.Replace(good, "enforcement: Warn", "Enforcement: Warn", 1), `unknown field "spec.Enforcement"; did you mean "enforcement"?`, nil},
		"JSON after JSON":    {`{"apiVersion":"hssgate.io/v1alpha1","kind":"ImageScanPolicy","metadata":{"name":"a"}}` + "\n{}", "something follows", nil},
		"another kind":       {"apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n", `not "v1", "Pod"`, nil},
		"a policy no name":   {"apiVersion: hssgate.io/v1alpha1\nkind: ImageScanPolicy\n", "p.yaml:1: metadata.name is missing: an ImageScanPolicy must have one", nil},
		"what isn't YAML":    {good + "---\n{]", "p.yaml:6: read the YAML", nil},
		"no spec":            {strings.Replace(good, "spec:", "#", 1), `policy "one" has no spec`, nil},
		"a spec of null":     {strings.Replace(good, "{enforcement: Warn}", "null", 1), `policy "one" has no spec`, nil},
		"an unknown version": {strings.Replace(good, "v1alpha1", "v9", 1), "hssgate.io/v9", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "p.yaml"), []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			loaded, err := check.LoadPolicies(t.Context(), check.Files{Paths: []string{dir}})
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want an error with %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			compiled, err := check.Compile(loaded.Policies)
			if diff := cmp.Diff(tt.names, compiled.Names); diff != "" || err != nil || compiled.Index() == nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// The API server takes such entries away before it judges.
func TestWhatIsNullIsNotThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "p.yaml")
	const text = "apiVersion: hssgate.io/v1alpha1\nkind: ImageScanPolicy\nmetadata: {name: one}\nspec: {match: {namespaceSelector: {matchLabels: {env: null, tier: web}}}, require: {maliciousFiles: {max: 0}}}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := check.LoadPolicies(t.Context(), check.Files{Paths: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"tier": "web"}, loaded.Policies[0].Spec.Match.NamespaceSelector.MatchLabels); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAnInvalidPolicyFailsClosed(t *testing.T) {
	t.Parallel()
	p := v1alpha1.ImageScanPolicy{}
	p.Name, p.Spec.Require.Expressions = "bad", []v1alpha1.Expression{{Expression: "image."}}
	compiled, err := check.Compile([]v1alpha1.ImageScanPolicy{p})
	if err == nil || !strings.Contains(err.Error(), `policy "bad" is invalid`) {
		t.Fatalf("got %v", err)
	}
	r := checkObjects(t, check.Options{Facts: &facts{}, Policies: compiled}, []check.Object{check.ImageObject("h.io/n0:1", "")})
	if r.Summary.Denied != 1 {
		t.Errorf("got %+v", r.Summary)
	}
}
