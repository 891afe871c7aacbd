package policy_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func expressions(sources ...string) v1alpha1.Requirements {
	var r v1alpha1.Requirements
	for _, source := range sources {
		r.Expressions = append(r.Expressions, v1alpha1.Expression{Expression: source})
	}
	return r
}

func TestExpressionsThatAreTrueOfACleanImage(t *testing.T) {
	t.Parallel()
	record := with(architectures(scan(0, 1, 2), scan(3, 4, 5)), func(r *policy.Record) {
		r.InstanceID, r.InstanceName = "i-1", "main"
	})
	for _, source := range []string{
		"image.reference == 'swr.cn-north-4.myhuaweicloud.com/prod/app:1.4'",
		"image.host.endsWith('.myhuaweicloud.com') && image.path == 'prod/app'",
		"image.repository == image.host + '/' + image.path",
		"image.tag == '1.4' && image.digest == ''",
		"image.namespace == 'prod' && image.name == 'app' && image.version == '1.4'",
		"image.scannedDigest.startsWith('sha256:1')",
		"image.imageType == 'private_image' && image.registryType == 'SwrPrivate' && image.registryName == 'swr'",
		"image.instanceID == 'i-1' && image.instanceName == 'main'",
		"image.scanStatus == 'success' && image.severityLevel == 'Low'",
		"image.vulnerabilities == 0 && image.unsafeSettings == 1 && image.maliciousFiles == 0",
		"now - image.scannedAt <= duration('24h') && image.updatedAt < image.scannedAt",
		"image.multiArch && size(image.architectures) == 2",
		"image.architectures.all(a, a.scanStatus == 'success' && a.vulnerabilities < 4)",
		"image.architectures.exists(a, a.digest.startsWith('sha256:bb') && a.unsafeSettings == 4 && a.maliciousFiles == 5)",
		"has(image.vulnerabilities) && has(image.severityLevel)",
		"image.?vulnerabilities.orValue(99) == 0",
		"image.tag.matches('^[0-9]+[.][0-9]+$') && image.tag.find('[0-9]+') == '1'",
		"semver(image.tag + '.0').isGreaterThan(semver('1.3.9'))",
		"sets.contains(['prod', 'dev'], [image.namespace])",
		"image.registryType in ['SwrPrivate', 'SwrEnterprise']",
		"url('https://' + image.host).getHostname() == image.host",
		"image.name.upperAscii() == 'APP'",
		"image.vulnerabilities < 0.5",
	} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			wantLines(t, "", evaluate(t, policyOf(expressions(source)), found(record)))
		})
	}
}

func TestExpressionsThatFail(t *testing.T) {
	t.Parallel()
	unknown := with(func(r *policy.Record) {
		r.Severity, r.UpdatedAt = "", time.Time{}
		r.Scan = policy.Scan{Status: v1alpha1.ScanStatusSuccess}
	})
	const cannot = "could not be evaluated: "
	type testCase struct {
		source string
		record policy.Record
		want   string
	}
	each(t, map[string]testCase{
		"what is false": {"image.tag == 'x'", cleanRecord(), "expression `image.tag == 'x'` is not true"},
		"a missing number": {"image.vulnerabilities < 5", unknown,
			"expression `image.vulnerabilities < 5` " + cannot + "no such key: vulnerabilities"},
		"a missing severity level": {"image.severityLevel != 'High'", unknown,
			"expression `image.severityLevel != 'High'` " + cannot + "no such key: severityLevel"},
		"a missing time": {"now - image.updatedAt < duration('1h')", unknown,
			"expression `now - image.updatedAt < duration('1h')` " + cannot + "no such key: updatedAt"},
		"a number of a failed scan": {"image.vulnerabilities == 0", failed(),
			"expression `image.vulnerabilities == 0` " + cannot + "no such key: vulnerabilities"},
		"a division by zero": {"1 / image.vulnerabilities == 1", cleanRecord(),
			"expression `1 / image.vulnerabilities == 1` " + cannot + "division by zero"},
		"several lines become one":           {"false ||\n\tfalse", cleanRecord(), "expression `false || false` is not true"},
		"a failed scan may be tested for":    {"image.scanStatus == 'failed'", failed(), ""},
		"a missing number may be tested for": {"!has(image.vulnerabilities)", unknown, ""},
	}, func(t *testing.T, c testCase) {
		want := c.want
		if want != "" {
			want = "expression: " + want
		}
		wantLines(t, want, evaluate(t, policyOf(expressions(c.source)), found(c.record)))
	})
}

func TestExpressionsAreEvaluatedForEachScannedRecord(t *testing.T) {
	t.Parallel()
	shared := with(func(r *policy.Record) { r.ID, r.ImageType = "2", "shared_image" })
	p := policyOf(expressions("image.imageType != 'shared_image'"))
	p.Spec.When = v1alpha1.When{NotFound: "Allow", NotScanned: "Allow", Unavailable: "Allow"}
	wantLines(t, "expression: expression `image.imageType != 'shared_image'` is not true (shared_image record)", evaluate(t, p, found(cleanRecord(), shared)))
	status("unscan")(&shared)
	for _, f := range []*policy.Facts{{State: policy.StateNotFound}, {State: policy.StateUnavailable}, found(shared)} {
		wantLines(t, "", evaluate(t, p, f))
	}
}

func TestMessagesOfExpressionsAreLinesOfBoundedLength(t *testing.T) {
	t.Parallel()
	r := v1alpha1.Requirements{Expressions: []v1alpha1.Expression{
		{Expression: "false", Message: "second by the alphabet"},
		{Expression: "false", Message: "a\nmessage\x1b" + strings.Repeat("!", 300)},
	}}
	wantLines(t, "expression: second by the alphabet\nexpression: a message"+strings.Repeat("!", 246)+"…",
		evaluate(t, policyOf(r), found(cleanRecord())))
}

func TestExpressionsThatDoNotCompile(t *testing.T) {
	t.Parallel()
	type testCase struct{ source, want string }
	each(t, map[string]testCase{
		"an empty one":                           {" ", "must not be empty"},
		"bad syntax, with its place":             {"image.tag ==", "1:13: Syntax error"},
		"an unknown field, with its place":       {"image.tag == image.nope", "1:19: undefined field 'nope'"},
		"a field of an architecture":             {"image.architectures.all(a, a.severityLevel == 'Low')", "undefined field 'severityLevel'"},
		"an unknown variable":                    {"object.spec == 1", "1:1: undeclared reference to 'object'"},
		"a place on a second line":               {"true &&\nimage.nope", "2:6: undefined field 'nope'"},
		"a string":                               {"image.tag", "must be a bool, is string"},
		"an unknown type":                        {"dyn(true)", "must be a bool, is dyn"},
		"a comparison of types that differ":      {"image.vulnerabilities == '0'", "no matching overload"},
		"a bad pattern":                          {"image.tag.matches('(')", "invalid matches argument"},
		"a bad duration":                         {"now - image.scannedAt < duration('7d')", "invalid duration argument"},
		"one that is too long":                   {"'" + strings.Repeat("x", 1024) + "' == ''", "size exceeds limit"},
		"one that costs too much":                {"image.architectures.all(a, image.architectures.all(b, image.architectures.all(c, a.digest + b.digest != c.digest)))", "allowed 100000: use fewer or smaller loops"},
		"one without a loop that costs too much": {strings.TrimSuffix(strings.Repeat("image.tag.replace('a', image.digest).replace('b', image.digest).matches('x') && ", 12), " && "), "allowed 100000: use fewer"},
		"one that may cost any amount":           {"image.tag.split('').join('x') == ''", "may cost any amount, allowed 100000: use fewer"},
		"one that is nested too deep":            {strings.Repeat("(", 500) + "true" + strings.Repeat(")", 500), "recursion limit"},
	}, func(t *testing.T, c testCase) {
		p, err := policy.Compile(policyOf(expressions(c.source)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Fatalf("error is %v, want one with %q", err, c.want)
		}
		if !strings.Contains(err.Error(), "spec.require.expressions[0].expression") {
			t.Errorf("error does not name the field: %v", err)
		}
		got := lines(p.Evaluate(t.Context(), found(cleanRecord()), now()))
		if len(got) != 1 || !strings.HasSuffix(got[0], "could not be compiled") {
			t.Errorf("findings are %q", got)
		}
	})
}

func TestExpressionsStopAtTheirCostAndWithTheContext(t *testing.T) {
	t.Parallel()
	many := with(func(r *policy.Record) {
		r.MultiArch = true
		for range 5000 {
			r.Architectures = append(r.Architectures, policy.Architecture{Digest: digest, Scan: scan(0, 0, 0)})
		}
	})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx    context.Context
		source string
		record policy.Record
		want   string
	}{
		"a loop in a loop":                    {t.Context(), "image.architectures.all(a, image.architectures.all(b, a.vulnerabilities == b.vulnerabilities))", many, "cost limit exceeded"},
		"a long loop after the time is up":    {ended, "image.architectures.all(a, a.vulnerabilities == 0)", many, "interrupted"},
		"no loop at all after the time is up": {ended, "image.vulnerabilities == 0", cleanRecord(), "interrupted"},
	} {
		got := lines(mustCompile(t, policyOf(expressions(c.source))).Evaluate(c.ctx, found(c.record), now()))
		if len(got) != 1 || !strings.Contains(got[0], c.want) {
			t.Errorf("%s: findings are %q", name, got)
		}
	}
}

// FuzzExpression: whatever the source, compiling and evaluating end well.
func FuzzExpression(f *testing.F) {
	for _, seed := range []string{
		"image.vulnerabilities < 5", "now > image.scannedAt", "image.architectures.all(a, a.digest != '')", "[1].map(x, x)[0] == 1",
		"image.?severityLevel.orValue('') == 'High'", "'a'.matches('(a+)+$')", "{'a': [b'', 1u, -0.0]} == {}", "\x00", "((((",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		p, err := policy.Compile(policyOf(expressions(source)))
		if p == nil {
			t.Fatalf("the policy is nil: %v", err)
		}
		for _, finding := range p.Evaluate(t.Context(), found(cleanRecord(), failed()), now()) {
			if strings.ContainsFunc(finding.Message, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("message is not printable: %q", finding.Message)
			}
		}
	})
}
