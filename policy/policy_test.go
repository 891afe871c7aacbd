package policy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestCompileFillsInTheSchemasDefaults(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, policyOf(v1alpha1.Requirements{}))
	if got, want := p.Name(), "production"; got != want {
		t.Errorf("name is %q, want %q", got, want)
	}
	if got, want := p.Enforcement(), v1alpha1.EnforcementDeny; got != want {
		t.Errorf("enforcement is %q, want %q", got, want)
	}
	if got, want := p.Templates(), v1alpha1.TemplateWarn; got != want {
		t.Errorf("templates is %q, want %q", got, want)
	}
	if !p.MatchesObject(nil, nil) || !p.MatchesImage("r.example.com/app") {
		t.Error("an empty match must match everything")
	}
}

func TestCompileKeepsWhatIsSaid(t *testing.T) {
	t.Parallel()
	p := policyOf(v1alpha1.Requirements{})
	p.Spec.Enforcement, p.Spec.Templates = v1alpha1.EnforcementAudit, v1alpha1.TemplateIgnore
	compiled := mustCompile(t, p)
	if got := compiled.Enforcement(); got != v1alpha1.EnforcementAudit {
		t.Errorf("enforcement is %q", got)
	}
	if got := compiled.Templates(); got != v1alpha1.TemplateIgnore {
		t.Errorf("templates is %q", got)
	}
}

func TestObjectsAreMatchedByTheirLabels(t *testing.T) {
	t.Parallel()
	p := policyOf(v1alpha1.Requirements{})
	p.Spec.Match.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}
	p.Spec.Match.ObjectSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: "team", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"lab"}},
	}}
	compiled := mustCompile(t, p)
	for _, c := range []struct {
		name              string
		namespace, object map[string]string
		want              bool
	}{
		{"both match", map[string]string{"env": "prod", "x": "y"}, map[string]string{"team": "web"}, true},
		{"an absent label is not in a set", map[string]string{"env": "prod"}, nil, true},
		{"the namespace differs", map[string]string{"env": "dev"}, nil, false},
		{"the namespace has no labels", nil, nil, false},
		{"the object differs", map[string]string{"env": "prod"}, map[string]string{"team": "lab"}, false},
	} {
		if got := compiled.MatchesObject(c.namespace, c.object); got != c.want {
			t.Errorf("%s: matches is %t, want %t", c.name, got, c.want)
		}
	}
}

func TestEmptySelectorsMatchEverything(t *testing.T) {
	t.Parallel()
	p := policyOf(v1alpha1.Requirements{})
	p.Spec.Match.NamespaceSelector = &metav1.LabelSelector{}
	p.Spec.Match.ObjectSelector = &metav1.LabelSelector{}
	if !mustCompile(t, p).MatchesObject(map[string]string{"a": "b"}, nil) {
		t.Error("an empty selector must match everything")
	}
}

// invalid is a policy in which every part is wrong.
func invalid() *v1alpha1.ImageScanPolicy {
	return &v1alpha1.ImageScanPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: strings.Repeat("n", 64)},
		Spec: v1alpha1.ImageScanPolicySpec{
			Enforcement: "Block",
			Templates:   "Maybe",
			Match: v1alpha1.Match{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"not a key": "x"}},
				ObjectSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
					{Key: "a", Operator: "Like", Values: []string{"x"}},
				}},
				Images:        []string{"nginx"},
				ExcludeImages: []string{"https://r.example.com/**"},
			},
			Require: v1alpha1.Requirements{
				SeverityLevel:   &v1alpha1.SeverityRequirement{Max: "Critical"},
				Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: -1},
				ScanStatus:      &v1alpha1.ScanStatusRequirement{In: []v1alpha1.ScanStatus{"done", "scanning"}},
				ScanAge:         &v1alpha1.ScanAgeRequirement{Max: metav1.Duration{Duration: -time.Hour}},
				Digest:          "Always",
				Expressions:     []v1alpha1.Expression{{Expression: "image.nonsense"}},
			},
			When: v1alpha1.When{NotFound: "Ignore", NotScanned: "x", Unavailable: "y"},
		},
	}
}

func TestValidateListsEveryProblemWithItsField(t *testing.T) {
	t.Parallel()
	var fields []string
	for _, err := range policy.Validate(invalid()) {
		fields = append(fields, err.Field)
	}
	want := []string{
		"metadata.name",
		"spec.enforcement", "spec.templates", "spec.when.notFound", "spec.when.notScanned", "spec.when.unavailable",
		"spec.match.namespaceSelector", "spec.match.objectSelector", "spec.match.images[0]", "spec.match.excludeImages[0]",
		"spec.require.severityLevel.max", "spec.require.vulnerabilities.max",
		"spec.require.scanStatus.in", "spec.require.scanStatus.in[0]", "spec.require.scanStatus.in[1]",
		"spec.require.scanAge.max", "spec.require.digest", "spec.require.expressions[0].expression",
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("fields differ (-want +got):\n%s", diff)
	}
}

func TestValidateNamesAllowedValues(t *testing.T) {
	t.Parallel()
	text := policy.Validate(invalid()).ToAggregate().Error()
	for _, want := range []string{
		`supported values: "Deny", "Warn", "Audit"`, `"Security", "Low", "Medium", "High"`,
		`"Required", "Optional"`, `must be longer than 0s`, `1:6: undefined field 'nonsense'`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("problems don't say %q:\n%s", want, text)
		}
	}
}

func TestValidateBoundsLists(t *testing.T) {
	t.Parallel()
	p := policyOf(v1alpha1.Requirements{})
	for i := range 65 {
		p.Spec.Match.Images = append(p.Spec.Match.Images, fmt.Sprintf("r%d.example.com/**", i))
	}
	p.Spec.Match.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{}}
	for i := range 33 {
		p.Spec.Match.ObjectSelector.MatchLabels[fmt.Sprint("a", i)] = ""
	}
	p.Spec.Match.NamespaceSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: "a", Operator: metav1.LabelSelectorOpIn, Values: make([]string, 65)},
	}}
	for range 32 {
		p.Spec.Match.NamespaceSelector.MatchExpressions = append(p.Spec.Match.NamespaceSelector.MatchExpressions,
			metav1.LabelSelectorRequirement{Key: "b", Operator: metav1.LabelSelectorOpExists})
	}
	for range 17 {
		p.Spec.Require.Expressions = append(p.Spec.Require.Expressions, v1alpha1.Expression{Expression: "true"})
	}
	var problems []string
	for _, err := range policy.Validate(p) {
		problems = append(problems, err.Error())
	}
	want := []string{
		"spec.match.namespaceSelector.matchExpressions: Too many: 33: must have at most 32 items",
		"spec.match.namespaceSelector.matchExpressions[0].values: Too many: 65: must have at most 64 items",
		"spec.match.objectSelector.matchLabels: Too many: 33: must have at most 32 items",
		"spec.match.images: Too many: 65: must have at most 64 items",
		"spec.require.expressions: Too many: 17: must have at most 16 items",
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("problems differ (-want +got):\n%s", diff)
	}
}

func TestAnInvalidPolicyFailsClosed(t *testing.T) {
	t.Parallel()
	p, err := policy.Compile(invalid())
	if err == nil || p == nil {
		t.Fatalf("policy is %v, error %v", p, err)
	}
	if p.Enforcement() != v1alpha1.EnforcementDeny || p.Templates() != v1alpha1.TemplateDeny {
		t.Errorf("enforcement %s, templates %s, want the strictest", p.Enforcement(), p.Templates())
	}
	if !p.MatchesObject(nil, nil) || !p.MatchesImage("r.example.com/excluded") {
		t.Error("what can't be read must match everything, and exclude nothing")
	}
	wantLines(t, strings.Join([]string{
		"severityLevel: severity Low, allowed Critical",
		"vulnerabilities: number of vulnerabilities unknown, allowed -1",
		"scanStatus: scan success, allowed done or scanning",
		"scanAge: scanned 1 day ago, allowed -1h0m0s",
		"digest: names no digest, required by the policy",
		"expression: expression `image.nonsense` could not be compiled",
	}, "\n"), lines(p.Evaluate(t.Context(), found(with(func(r *policy.Record) { r.Scan.Vulnerabilities = nil })), now())))
	wantLines(t, "notScanned: never scanned\ndigest: names no digest, required by the policy",
		lines(p.Evaluate(t.Context(), found(with(status("unscan"))), now())))
}

func TestNoPolicyFailsClosed(t *testing.T) {
	t.Parallel()
	p, err := policy.Compile(nil)
	if err == nil || p == nil {
		t.Fatalf("policy is %v, error %v", p, err)
	}
	if p.Enforcement() != v1alpha1.EnforcementDeny {
		t.Errorf("enforcement is %s", p.Enforcement())
	}
}

// What the schema accepts, Validate accepts; the samples are the schema's own.
func TestValidSamplesOfTheSchema(t *testing.T) {
	t.Parallel()
	for path, b := range samples(t, "valid") {
		var p v1alpha1.ImageScanPolicy
		if err := yaml.UnmarshalStrict(b, &p); err != nil {
			t.Fatal(err)
		}
		if errs := policy.Validate(&p); len(errs) > 0 {
			t.Errorf("%s: %v", path, errs.ToAggregate())
		}
	}
}

// What the schema refuses, Validate refuses, for policies that no API server
// has seen.
func TestInvalidSamplesOfTheSchema(t *testing.T) {
	t.Parallel()
	for path, b := range samples(t, "invalid") {
		var p v1alpha1.ImageScanPolicy
		if err := yaml.UnmarshalStrict(b, &p); err != nil {
			continue // 7d is no Go duration
		}
		if errs := policy.Validate(&p); len(errs) == 0 {
			t.Errorf("%s is refused by the schema and passes here", path)
		}
	}
}

func samples(t *testing.T, kind string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("v1alpha1/testdata/" + kind + "/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	all := map[string][]byte{}
	for _, path := range paths {
		if all[path], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestValidateOnlyRefusesPoliciesThatAskForNothing(t *testing.T) {
	t.Parallel()
	allowAll := v1alpha1.When{NotFound: "Allow", NotScanned: "Allow", Unavailable: "Allow"}
	for _, c := range []struct {
		name    string
		when    v1alpha1.When
		require v1alpha1.Requirements
		valid   bool
	}{
		{"nothing at all", allowAll, v1alpha1.Requirements{}, false},
		{"an optional digest", allowAll, v1alpha1.Requirements{Digest: v1alpha1.DigestOptional}, false},
		{"that HSS knows the image", v1alpha1.When{NotScanned: "Allow", Unavailable: "Allow"}, v1alpha1.Requirements{}, true},
		{"a digest", allowAll, v1alpha1.Requirements{Digest: v1alpha1.DigestRequired}, true},
		{"an expression", allowAll, expressions("image.tag != 'latest'"), true},
		{"a scan status", allowAll, v1alpha1.Requirements{ScanStatus: statuses("success")}, true},
		{"a number", allowAll, v1alpha1.Requirements{MaliciousFiles: &v1alpha1.CountRequirement{}}, true},
	} {
		p := policyOf(c.require)
		p.Spec.When = c.when
		if errs := policy.Validate(p); (len(errs) == 0) != c.valid {
			t.Errorf("%s: problems are %v, valid should be %t", c.name, errs, c.valid)
		}
	}
}
