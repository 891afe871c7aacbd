package policy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestCompile(t *testing.T) {
	t.Parallel()
	type settings struct {
		Enforcement              v1alpha1.Enforcement
		Templates                v1alpha1.TemplateAction
		AllowsExceptions, Pins   bool
		SelectsNamespaces        bool
		MatchesAll, MatchesOther bool
	}
	type testCase struct {
		change func(*v1alpha1.ImageScanPolicySpec)
		want   settings
	}
	each(t, map[string]testCase{
		"what is left out has the schema's default": {func(*v1alpha1.ImageScanPolicySpec) {},
			settings{Enforcement: "Deny", Templates: "Warn", AllowsExceptions: true, MatchesAll: true, MatchesOther: true}},
		"what is given stays": {func(s *v1alpha1.ImageScanPolicySpec) {
			s.Enforcement, s.Templates, s.Exceptions, s.Pin = "Warn", "Ignore", "Forbid", true
		}, settings{Enforcement: "Warn", Templates: "Ignore", Pins: true, MatchesAll: true, MatchesOther: true}},
		"a policy that only audits does not pin": {func(s *v1alpha1.ImageScanPolicySpec) { s.Enforcement, s.Exceptions, s.Pin = "Audit", "Allow", true },
			settings{Enforcement: "Audit", Templates: "Warn", AllowsExceptions: true, MatchesAll: true, MatchesOther: true}},
		"empty selectors match everything": {func(s *v1alpha1.ImageScanPolicySpec) {
			s.Match.NamespaceSelector, s.Match.ObjectSelector = &metav1.LabelSelector{}, &metav1.LabelSelector{}
		}, settings{Enforcement: "Deny", Templates: "Warn", AllowsExceptions: true, MatchesAll: true, MatchesOther: true}},
		"a selector of pods selects no namespaces": {func(s *v1alpha1.ImageScanPolicySpec) { s.Match.ObjectSelector = selector(t, "a=c") },
			settings{Enforcement: "Deny", Templates: "Warn", AllowsExceptions: true, MatchesOther: true}},
		"a selector for the absence of a label does": {func(s *v1alpha1.ImageScanPolicySpec) { s.Match.NamespaceSelector = selector(t, "!a") },
			settings{Enforcement: "Deny", Templates: "Warn", AllowsExceptions: true, SelectsNamespaces: true, MatchesOther: true}},
		"images are included": {func(s *v1alpha1.ImageScanPolicySpec) {
			s.Match.Images = []string{"s.example.com/**", "r.example.com/*"}
		},
			settings{Enforcement: "Deny", Templates: "Warn", AllowsExceptions: true, MatchesAll: true}},
		"and excluded": {func(s *v1alpha1.ImageScanPolicySpec) {
			s.Match.Images, s.Match.ExcludeImages = []string{"r.example.com/**", "t.example.com/**"}, []string{"*/app"}
		}, settings{Enforcement: "Deny", Templates: "Warn", AllowsExceptions: true, MatchesOther: true}},
	}, func(t *testing.T, tt testCase) {
		spec := policyOf(v1alpha1.Requirements{})
		tt.change(&spec.Spec)
		p := mustCompile(t, spec)
		a, c := map[string]string{"a": "b"}, map[string]string{"a": "c"}
		got := settings{p.Enforcement(), p.Templates(), p.AllowsExceptions(), p.Pins(), p.SelectsNamespaces(),
			matchesObject(p, a, a) && p.MatchesImage("r.example.com/app"), matchesObject(p, nil, c) && p.MatchesImage("t.example.com/other")}
		if diff := cmp.Diff(tt.want, got); diff != "" || p.Name() != "production" {
			t.Errorf("policy %s (-want +got):\n%s", p.Name(), diff)
		}
	})
}

func selector(t *testing.T, text string) *metav1.LabelSelector {
	t.Helper()
	s, err := metav1.ParseToLabelSelector(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func matchesObject(p *policy.Policy, namespaceLabels, podLabels map[string]string) bool {
	return p.MatchesNamespace(namespaceLabels) && p.MatchesPod(podLabels)
}

func TestObjectsAreMatchedByTheirLabels(t *testing.T) {
	t.Parallel()
	p := policyOf(v1alpha1.Requirements{})
	p.Spec.Match.NamespaceSelector, p.Spec.Match.ObjectSelector = selector(t, "env=prod"), selector(t, "team notin (lab)")
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
		if got := matchesObject(compiled, c.namespace, c.object); got != c.want {
			t.Errorf("%s: matches is %t, want %t", c.name, got, c.want)
		}
	}
}

// invalid is a policy in which every part is wrong.
func invalid() *v1alpha1.ImageScanPolicy {
	return &v1alpha1.ImageScanPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "invalid"},
		Spec: v1alpha1.ImageScanPolicySpec{
			Enforcement: "Block",
			Templates:   "Maybe",
			Exceptions:  "Maybe",
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
				Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: -1, MinSeverity: "Terrible"},
				ScanStatus:      &v1alpha1.ScanStatusRequirement{In: []v1alpha1.ScanStatus{"done", "scanning"}},
				ScanAge:         &v1alpha1.ScanAgeRequirement{Max: metav1.Duration{Duration: -time.Hour}},
				Digest:          "Always",
				Expressions:     []v1alpha1.Expression{{Expression: "image.nonsense"}},
			},
			When: v1alpha1.When{NotFound: "Ignore", NotScanned: "x", Unavailable: "y"},
		},
	}
}

func TestValidateListsEveryProblemThatTheSchemaDoesNotFind(t *testing.T) {
	t.Parallel()
	var fields []string
	for _, err := range policy.Validate(invalid()) {
		fields = append(fields, err.Field)
	}
	want := []string{
		"spec.enforcement", "spec.templates", "spec.exceptions", "spec.when.notFound", "spec.when.notScanned", "spec.when.unavailable",
		"spec.match.namespaceSelector", "spec.match.objectSelector", "spec.match.images[0]", "spec.match.excludeImages[0]",
		"spec.require.severityLevel.max", "spec.require.vulnerabilities.minSeverity", "spec.require.scanStatus.in[0]",
		"spec.require.digest", "spec.require.expressions[0].expression",
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("fields differ (-want +got):\n%s", diff)
	}
	text := policy.Validate(invalid()).ToAggregate().Error()
	for _, want := range []string{
		`supported values: "Deny", "Warn", "Audit"`, `"Security", "Low", "Medium", "High"`,
		`"Required", "Optional"`, `1:6: undefined field 'nonsense'`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("problems do not contain %q:\n%s", want, text)
		}
	}
}

func TestAnInvalidPolicyFailsClosed(t *testing.T) {
	t.Parallel()
	p, err := policy.Compile(invalid())
	if err == nil || p == nil {
		t.Fatalf("policy is %v, error %v", p, err)
	}
	if p.Enforcement() != v1alpha1.EnforcementDeny || p.Templates() != v1alpha1.TemplateDeny || p.AllowsExceptions() {
		t.Errorf("enforcement %s, templates %s, exceptions %t, want the strictest", p.Enforcement(), p.Templates(), p.AllowsExceptions())
	}
	if !matchesObject(p, nil, nil) || !p.MatchesImage("r.example.com/excluded") {
		t.Error("what can't be read must match everything, and exclude nothing")
	}
	wantLines(t, strings.Join([]string{
		"severityLevel: severity Low, allowed Critical",
		"vulnerabilities: number of vulnerabilities unknown, allowed -1",
		"scanStatus: scan success, allowed done or scanning",
		"scanAge: scanned 1 day ago, allowed -1h0m0s",
		"digest: image must be pinned by digest",
		"expression: expression `image.nonsense` could not be compiled",
	}, "\n"), lines(p.Evaluate(t.Context(), found(with(func(r *policy.Record) { r.Scan.Vulnerabilities = nil })), now())))
	wantLines(t, "notScanned: never scanned\ndigest: image must be pinned by digest",
		lines(p.Evaluate(t.Context(), found(with(status("unscan"))), now())))
}

func TestValidSamplesOfTheSchemaCompile(t *testing.T) {
	t.Parallel()
	policies, _ := filepath.Glob("v1alpha1/testdata/valid/*.yaml")
	exceptions, _ := filepath.Glob("v1alpha1/testdata/exceptions/valid/*.yaml")
	if len(policies) == 0 || len(exceptions) == 0 {
		t.Fatal("there are no samples")
	}
	for _, path := range append(policies, exceptions...) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var p v1alpha1.ImageScanPolicy
		var e v1alpha1.ImageScanException
		if slices.Contains(exceptions, path) {
			err = yaml.UnmarshalStrict(content, &e)
			mustCompileException(t, &e)
		} else {
			err = yaml.UnmarshalStrict(content, &p)
			mustCompile(t, &p)
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestMatchesNothing(t *testing.T) {
	t.Parallel()
	images := func(included string, excluded ...string) v1alpha1.Match {
		return v1alpha1.Match{Images: strings.Fields(included), ExcludeImages: excluded}
	}
	named := func(s string) v1alpha1.Match {
		return v1alpha1.Match{NamespaceSelector: selector(t, "kubernetes.io/metadata.name "+s)}
	}
	type testCase struct {
		match v1alpha1.Match
		want  string
	}
	each(t, map[string]testCase{
		"everything":                          {v1alpha1.Match{}, ""},
		"all images excluded":                 {images("", "**"), "excludeImages"},
		"all images excluded, in other words": {images("", "*/**"), "excludeImages"},
		"one image, excluded":                 {images("a.example.com/x", "a.example.com/*"), "excludeImages"},
		"a host, excluded":                    {images("a.example.com/**", "A.example.com:443/**"), "excludeImages"},
		"a part of a host, excluded":          {images("a.example.com/x/*", "a.example.com/**"), "excludeImages"},
		"one of two excluded":                 {images("a.example.com/x b.example.com/x", "a.example.com/**"), ""},
		"a part excluded":                     {images("a.example.com/**", "a.example.com/x/**"), ""},
		"it is uncertain":                     {images("a.*/x", "a.example.com/**"), ""},
		"an exempt namespace":                 {named("in (kube-system)"), "namespaceSelector"},
		"an exempt namespace and another":     {named("in (kube-system,shop)"), ""},
	}, func(t *testing.T, tt testCase) {
		got := policy.MatchesNothing(&tt.match, []string{"kube-system"})
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("MatchesNothing = %q, want %q in it", got, tt.want)
		}
	})
}
