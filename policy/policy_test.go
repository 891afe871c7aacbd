package policy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// matchOf reads a match as a policy has it.
func matchOf(t *testing.T, text string) (m v1alpha1.Match) {
	t.Helper()
	must(t, yaml.UnmarshalStrict([]byte(text), &m))
	return m
}

func TestMatch(t *testing.T) {
	t.Parallel()
	const lab = "objectSelector: {matchExpressions: [{key: team, operator: NotIn, values: [lab]}]}"
	type testCase struct{ match, want string }
	each(t, map[string]testCase{
		"everything":                             {"{}", "plain prod lab other"},
		"empty selectors":                        {"{namespaceSelector: {}, objectSelector: {}}", "plain prod lab other"},
		"namespaces by a label":                  {"{namespaceSelector: {matchLabels: {env: prod}}}", "namespaces: prod lab"},
		"namespaces by the absence of one":       {"{namespaceSelector: {matchExpressions: [{key: env, operator: DoesNotExist}]}}", "namespaces: plain other"},
		"pods: an absent label is not in a set":  {"{" + lab + "}", "plain prod other"},
		"both":                                   {"{namespaceSelector: {matchLabels: {env: prod}}, " + lab + "}", "namespaces: prod"},
		"images":                                 {"{images: [s.example.com/**, r.example.com/*]}", "plain prod lab"},
		"images, of which some are excluded":     {"{images: [r.example.com/**, t.example.com/**], excludeImages: ['*/app']}", "other"},
		"a selector and images, which both must": {"{namespaceSelector: {matchLabels: {env: prod}}, images: [t.example.com/*]}", "namespaces:"},
	}, func(t *testing.T, tt testCase) {
		p := policyOf(v1alpha1.Requirements{})
		p.Spec.Match = matchOf(t, tt.match)
		c := mustCompile(t, p)
		var got []string
		if c.SelectsNamespaces() {
			got = append(got, "namespaces:")
		}
		for _, one := range []struct {
			name, image       string
			namespace, labels map[string]string
		}{
			{"plain", "r.example.com/app", nil, nil}, {"prod", "r.example.com/app", map[string]string{"env": "prod"}, map[string]string{"team": "web"}},
			{"lab", "r.example.com/app", map[string]string{"env": "prod"}, map[string]string{"team": "lab"}}, {"other", "t.example.com/other", nil, nil},
		} {
			if c.MatchesNamespace(one.namespace) && c.MatchesPod(one.labels) && c.MatchesImage(one.image) {
				got = append(got, one.name)
			}
		}
		wantEqual(t, "what matches", tt.want, strings.Join(got, " "))
	})
}

// invalid is a policy in which every part is wrong.
func invalid() *v1alpha1.ImageScanPolicy {
	return &v1alpha1.ImageScanPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "invalid"},
		Spec: v1alpha1.ImageScanPolicySpec{
			Enforcement: "Block", Templates: "Maybe", Exceptions: "Maybe",
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
				Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: 0, MinSeverity: v1alpha1.SeveritySecurity},
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
	_, problems := policy.Compile(invalid())
	for _, err := range problems {
		fields = append(fields, err.Field)
	}
	want := []string{
		"spec.enforcement", "spec.templates", "spec.exceptions", "spec.when.notFound", "spec.when.notScanned", "spec.when.unavailable",
		"spec.match.namespaceSelector", "spec.match.objectSelector", "spec.match.images[0]", "spec.match.excludeImages[0]",
		"spec.require.severityLevel.max", "spec.require.vulnerabilities.minSeverity", "spec.require.scanStatus.in[0]",
		"spec.require.digest", "spec.require.expressions[0].expression",
	}
	wantEqual(t, "fields", want, fields)
	text := problems.ToAggregate().Error()
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
	low := policy.Vulnerability{ID: "CVE-2024-1", Severity: v1alpha1.SeverityLow}
	p, err := policy.Compile(invalid())
	if err == nil || p == nil {
		t.Fatalf("policy is %v, error %v", p, err)
	}
	if p.Enforcement() != v1alpha1.EnforcementDeny || p.Templates() != v1alpha1.TemplateDeny || p.AllowsExceptions() {
		t.Errorf("enforcement %s, templates %s, exceptions %t, want the strictest", p.Enforcement(), p.Templates(), p.AllowsExceptions())
	}
	if !p.MatchesNamespace(nil) || !p.MatchesPod(nil) || !p.MatchesImage("r.example.com/excluded") {
		t.Error("what can't be read must match everything, and exclude nothing")
	}
	wantLines(t, strings.Join([]string{
		"severityLevel: severity Low, allowed Critical",
		"vulnerabilities: 1 vulnerability, allowed 0 (worst: CVE-2024-1 (no fix))",
		"scanStatus: scan success, allowed done or scanning",
		"scanAge: scanned 1 day ago, allowed -1h",
		"digest: image must be pinned by digest",
		"expression: expression `image.nonsense` could not be compiled",
	}, "\n"), lines(p.Evaluate(t.Context(), found(affected(0, low)), now())))
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
		must(t, err)
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
	named := func(names string) string {
		return "namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [" + names + "]}]}"
	}
	type testCase struct{ match, want string }
	each(t, map[string]testCase{
		"everything":                          {"", ""},
		"all images excluded":                 {"excludeImages: ['**']", "excludeImages"},
		"all images excluded, in other words": {"excludeImages: ['*/**']", "excludeImages"},
		"one image, excluded":                 {"images: [a.example.com/x], excludeImages: [a.example.com/*]", "excludeImages"},
		"a host, excluded":                    {"images: [a.example.com/**], excludeImages: ['A.example.com:443/**']", "excludeImages"},
		"a part of a host, excluded":          {"images: [a.example.com/x/*], excludeImages: [a.example.com/**]", "excludeImages"},
		"one of two excluded":                 {"images: [a.example.com/x, b.example.com/x], excludeImages: [a.example.com/**]", ""},
		"a part excluded":                     {"images: [a.example.com/**], excludeImages: [a.example.com/x/**]", ""},
		"it is uncertain":                     {"images: ['a.*/x'], excludeImages: [a.example.com/**]", ""},
		"an exempt namespace":                 {named("kube-system"), "namespaceSelector"},
		"an exempt namespace and another":     {named("kube-system, shop"), ""},
	}, func(t *testing.T, tt testCase) {
		m := matchOf(t, "{"+tt.match+"}")
		got := policy.MatchesNothing(&m, []string{"kube-system"})
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("MatchesNothing = %q, want %q in it", got, tt.want)
		}
	})
}
