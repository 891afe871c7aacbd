package policy_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestVulnerabilities(t *testing.T) {
	t.Parallel()
	counted := func(n *int) policy.Record {
		return with(func(r *policy.Record) { r.Scan.Vulnerabilities = n })
	}
	runRequirement(t, v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: 0}}, []requirementCase{
		{"none passes", counted(new(0)), ""},
		{"one fails in the singular", counted(new(1)), "vulnerabilities: 1 vulnerability, allowed 0"},
		{"several fail", counted(new(111)), "vulnerabilities: 111 vulnerabilities, allowed 0"},
		{"a missing number fails", counted(nil), "vulnerabilities: number of vulnerabilities unknown, allowed 0"},
		{"a negative number is none", counted(new(-1)), "vulnerabilities: number of vulnerabilities unknown, allowed 0"},
		{"a failed scan has no number", failed(), "scanStatus: scan failed (authentication_failed: 认证失败), allowed success"},
	})
	runRequirement(t, v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: 10}}, []requirementCase{
		{"the maximum passes", counted(new(10)), ""},
		{"one more than the maximum fails", counted(new(11)), "vulnerabilities: 11 vulnerabilities, allowed 10"},
		{"the API's largest number is no overflow", counted(new(2147483647)), "vulnerabilities: 2147483647 vulnerabilities, allowed 10"},
	})
}

// In an image of several layers, HSS may list a vulnerability once for each,
// and count something else.
func TestRepeatsInLayersAreNotUnlisted(t *testing.T) {
	t.Parallel()
	const one, two = "CVE-2024-1234", "CVE-2024-2222"
	layered := func(counted int, ids ...string) policy.Record {
		return with(func(r *policy.Record) {
			r.Scan.Vulnerabilities = new(counted)
			for _, id := range ids {
				v := policy.Vulnerability{ID: id, Severity: v1alpha1.SeverityMedium}
				r.Scan.Found = append(r.Scan.Found, v, v, v)
			}
		})
	}
	require := func(limit int32, ignored ...string) v1alpha1.Requirements {
		return v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: limit}, IgnoreVulnerabilities: ignored}
	}
	runRequirement(t, require(0, one, two), []requirementCase{
		{"none is left if all that are listed are ignored", layered(4, one, two), ""},
		{"what is counted beyond the rows still counts", layered(7, one, two), "vulnerabilities: 1 vulnerability, allowed 0 (7 in all)"},
	})
	runRequirement(t, require(2, one), []requirementCase{
		{"those of the others count, with each repeat", layered(4, one, two), "vulnerabilities: 3 vulnerabilities, allowed 2 (4 in all; worst: CVE-2024-2222 (no fix))"},
		{"but no more than HSS counts", layered(2, one, two), ""},
	})
	runRequirement(t, require(1, one), []requirementCase{
		{"two that differ are two whatever HSS counts", layered(1, two, "CVE-2024-3333"),
			"vulnerabilities: 2 vulnerabilities, allowed 1 (2 in all; worst: CVE-2024-2222 (no fix), CVE-2024-3333 (no fix))"},
	})
}

// affected lists its vulnerabilities, of which one more is counted than listed
// if unlisted is 1.
func affected(unlisted int, all ...policy.Vulnerability) policy.Record {
	return with(func(r *policy.Record) {
		r.Scan.Vulnerabilities, r.Scan.Found = new(len(all)+unlisted), all
	})
}

func TestVulnerabilitiesThatCount(t *testing.T) {
	t.Parallel()
	const one = "CVE-2024-1234"
	mild := policy.Vulnerability{ID: one, Severity: v1alpha1.SeverityLow, Fix: "update openssl"}
	medium := policy.Vulnerability{ID: "CVE-2024-2222", Severity: v1alpha1.SeverityMedium, Fix: "update openssl"}
	unfixed := policy.Vulnerability{ID: "CVE-2024-3333", Severity: v1alpha1.SeverityHigh}
	strange := policy.Vulnerability{ID: "CVE-2024-4444", Severity: "Urgent", Fix: "update openssl"}
	unlisted := with(func(r *policy.Record) { r.Scan.Vulnerabilities = new(1) })
	require := func(r v1alpha1.VulnerabilityRequirement, ignored ...string) v1alpha1.Requirements {
		return v1alpha1.Requirements{Vulnerabilities: &r, IgnoreVulnerabilities: ignored}
	}
	runRequirement(t, require(v1alpha1.VulnerabilityRequirement{MinSeverity: v1alpha1.SeverityMedium}), []requirementCase{
		{"milder ones don't count", affected(0, mild, mild), ""},
		{"the least severity counts", affected(0, mild, medium), "vulnerabilities: 1 vulnerability, allowed 0 (of severity Medium or worse; 2 in all; worst: CVE-2024-2222 → update openssl)"},
		{"worse ones count", affected(0, mild, medium, unfixed), "vulnerabilities: 2 vulnerabilities, allowed 0 (of severity Medium or worse; 3 in all; worst: CVE-2024-3333 (no fix), CVE-2024-2222 → update openssl)"},
		{"an unknown severity counts", affected(0, strange), "vulnerabilities: 1 vulnerability, allowed 0 (of severity Medium or worse; 1 in all; worst: CVE-2024-4444 → update openssl)"},
		{"those that aren't listed count", affected(1, mild), "vulnerabilities: 1 vulnerability, allowed 0 (of severity Medium or worse; 2 in all)"},
		{"without a list all count", unlisted, "vulnerabilities: 1 vulnerability, allowed 0 (all count, since they are not known one by one)"},
		{"why there is no list is said", with(func(r *policy.Record) {
			r.Scan.Vulnerabilities, r.Scan.Unlisted = new(1), "HSS did not answer\nin time (2s)"
		}), "vulnerabilities: 1 vulnerability, allowed 0 (all count, since they are not known one by one: HSS did not answer in time (2s))"},
		{"more listed than counted is what is in all", with(func(r *policy.Record) {
			r.Scan.Vulnerabilities, r.Scan.Found = new(1), []policy.Vulnerability{mild, medium}
		}), "vulnerabilities: 1 vulnerability, allowed 0 (of severity Medium or worse; 2 in all; worst: CVE-2024-2222 → update openssl)"},
		{"no list of none passes", with(func(r *policy.Record) { r.Scan.Vulnerabilities = new(0) }), ""},
		{"a list without a number is none", with(func(r *policy.Record) {
			r.Scan.Vulnerabilities, r.Scan.Found = nil, []policy.Vulnerability{mild}
		}), "vulnerabilities: number of vulnerabilities unknown, allowed 0"},
	})
	runRequirement(t, require(v1alpha1.VulnerabilityRequirement{FixableOnly: true, MinSeverity: v1alpha1.SeverityHigh}), []requirementCase{
		{"what nothing fixes doesn't count", affected(0, unfixed), ""},
		{"what is fixed does", affected(0, unfixed, strange), "vulnerabilities: 1 vulnerability, allowed 0 (of severity High, with a fix; 2 in all; worst: CVE-2024-4444 → update openssl)"},
	})
	runRequirement(t, require(v1alpha1.VulnerabilityRequirement{}, one, "CVE-2024-2222"), []requirementCase{
		{"those that are ignored don't count", affected(0, mild, medium), ""},
		{"all others do", affected(0, mild, unfixed), "vulnerabilities: 1 vulnerability, allowed 0 (2 in all; worst: CVE-2024-3333 (no fix))"},
		{"each architecture is counted by itself", with(func(r *policy.Record) {
			r.MultiArch = true
			r.Architectures = []policy.Architecture{{Digest: amd64Digest, Scan: affected(0, mild).Scan}, {Digest: arm64Digest, Scan: affected(0, unfixed).Scan}}
		}), "vulnerabilities: architecture sha256:bbbbbbbbbbbb…: 1 vulnerability, allowed 0 (1 in all; worst: CVE-2024-3333 (no fix))"},
	})
	runRequirement(t, require(v1alpha1.VulnerabilityRequirement{MinSeverity: v1alpha1.SeverityLow}), []requirementCase{
		{"from Low on, all count", affected(0, mild), "vulnerabilities: 1 vulnerability, allowed 0 (1 in all; worst: CVE-2024-1234 → update openssl)"},
	})
}

func TestBadVulnerabilityRequirementsFailClosed(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]v1alpha1.Requirements{
		"an unknown severity":  {Vulnerabilities: &v1alpha1.VulnerabilityRequirement{MinSeverity: "Terrible"}},
		"the lowest severity":  {Vulnerabilities: &v1alpha1.VulnerabilityRequirement{MinSeverity: v1alpha1.SeveritySecurity}},
		"a name that is no ID": {Vulnerabilities: &v1alpha1.VulnerabilityRequirement{}, IgnoreVulnerabilities: []string{"openssl"}},
	} {
		p, err := policy.Compile(policyOf(r))
		if err == nil {
			t.Errorf("%s compiles", name)
		}
		if len(p.Evaluate(t.Context(), found(affected(0, policy.Vulnerability{ID: "CVE-2024-1", Severity: v1alpha1.SeverityLow})), now())) == 0 {
			t.Errorf("%s lets a vulnerability past", name)
		}
	}
	if _, err := policy.Compile(policyOf(v1alpha1.Requirements{IgnoreVulnerabilities: []string{"CVE-2024-1234"}})); err == nil {
		t.Error("ignored vulnerabilities that nothing counts compile")
	}
}

// libraries are those that most images have.
func libraries() []policy.Vulnerability {
	return []policy.Vulnerability{
		{ID: "CVE-2024-0001", Severity: v1alpha1.SeverityLow, Package: "zlib", Installed: "1.2.11", Fix: "1.2.12"},
		{ID: "CVE-2024-0002", Severity: v1alpha1.SeverityHigh, Package: "busybox", Installed: "1.36.1"},
		{ID: "RHSA-2022:4991", Severity: v1alpha1.SeverityHigh, Package: "xz-libs", Installed: "5.2.4-3.el8", Fix: "To upgrade the affected software"},
		{ID: "CVE-2024-0003", Severity: v1alpha1.SeverityMedium, Package: "curl", Installed: "7.1", Fix: "7.2"},
		{ID: "CVE-2024-0001", Severity: v1alpha1.SeverityMedium, Package: "zlib-dev", Installed: "1.2.11", Fix: "1.2.12"},
	}
}

func TestFindingsNameTheWorstVulnerabilities(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	runRequirement(t, v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: 0}}, []requirementCase{
		{"the worst first, those with a fix before those without", affected(0, libraries()...),
			"vulnerabilities: 5 vulnerabilities, allowed 0 (worst: RHSA-2022:4991 xz-libs 5.2.4-3.el8 → To upgrade the affected software, CVE-2024-0002 busybox 1.36.1 (no fix), CVE-2024-0001 zlib-dev 1.2.11 → 1.2.12 and 1 more)"},
		{"an identifier stands for all packages that have it", affected(0, libraries()[0], libraries()[4]),
			"vulnerabilities: 2 vulnerabilities, allowed 0 (worst: CVE-2024-0001 zlib-dev 1.2.11 → 1.2.12)"},
		{"what isn't listed is among the others", affected(9, libraries()[1]),
			"vulnerabilities: 10 vulnerabilities, allowed 0 (worst: CVE-2024-0002 busybox 1.36.1 (no fix) and 9 more)"},
		{"without a list there is nothing to name", with(func(r *policy.Record) {
			r.Scan.Vulnerabilities, r.Scan.Unlisted = new(3), "HSS is down"
		}), "vulnerabilities: 3 vulnerabilities, allowed 0"},
		{"an empty list names none", affected(3), "vulnerabilities: 3 vulnerabilities, allowed 0"},
		{"a list that nothing is left of names none", with(func(r *policy.Record) {
			r.Scan.Vulnerabilities, r.Scan.Found = new(3), []policy.Vulnerability{}
		}), "vulnerabilities: 3 vulnerabilities, allowed 0"},
		{"long texts are cut", affected(0, policy.Vulnerability{ID: long, Severity: v1alpha1.SeverityHigh, Package: long, Installed: long, Fix: long}),
			"vulnerabilities: 1 vulnerability, allowed 0 (worst: " + strings.Join([]string{long[:39] + "…", long[:39] + "…", long[:39] + "…", "→", long[:39] + "…"}, " ") + ")"},
		{"no text steps out of the line", affected(0, policy.Vulnerability{ID: "CVE-1\n- x", Severity: v1alpha1.SeverityHigh, Package: "a; b [policy p]", Installed: "\x1b[2J1", Fix: "\u202e2\u2028"}),
			"vulnerabilities: 1 vulnerability, allowed 0 (worst: CVE-1 - x a, b (policy p) (2J1 → 2)"},
		{"what has no name is still told of", affected(0, policy.Vulnerability{Package: "curl"}),
			"vulnerabilities: 1 vulnerability, allowed 0 (worst: unnamed curl (no fix))"},
	})
	bySeverity := v1alpha1.Requirements{SeverityLevel: &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityMedium}}
	high := func(r policy.Record) policy.Record {
		r.Severity = v1alpha1.SeverityHigh
		return r
	}
	runRequirement(t, bySeverity, []requirementCase{
		{"a severity level that is too high names them too", high(affected(0, libraries()[:2]...)),
			"severityLevel: severity High, allowed Medium (worst: CVE-2024-0002 busybox 1.36.1 (no fix), CVE-2024-0001 zlib 1.2.11 → 1.2.12)"},
		{"what architectures share is named once", high(multiArch(affected(0, libraries()[1]).Scan, affected(0, libraries()[1]).Scan)),
			"severityLevel: severity High, allowed Medium (worst: CVE-2024-0002 busybox 1.36.1 (no fix))"},
		{"without a list there is nothing to name", high(with(func(r *policy.Record) { r.Scan.Vulnerabilities = new(3) })), "severityLevel: severity High, allowed Medium"},
	})
	bySeverity.Vulnerabilities = &v1alpha1.VulnerabilityRequirement{Max: 1}
	runRequirement(t, bySeverity, []requirementCase{
		{"they are named once, where they are too many", high(affected(0, libraries()[:2]...)),
			"severityLevel: severity High, allowed Medium\nvulnerabilities: 2 vulnerabilities, allowed 1 (worst: CVE-2024-0002 busybox 1.36.1 (no fix), CVE-2024-0001 zlib 1.2.11 → 1.2.12)"},
		{"or by the severity level, where they are not", high(affected(0, libraries()[1])),
			"severityLevel: severity High, allowed Medium (worst: CVE-2024-0002 busybox 1.36.1 (no fix))"},
	})
}

// multiArch is a record with these scans of its architectures.
func multiArch(amd64, arm64 policy.Scan) policy.Record {
	return with(func(r *policy.Record) {
		r.MultiArch = true
		r.Scan.Vulnerabilities, r.Scan.MaliciousFiles, r.Scan.UnsafeSettings = nil, nil, nil
		r.Architectures = []policy.Architecture{{Digest: amd64Digest, Scan: amd64}, {Digest: arm64Digest, Scan: arm64}}
	})
}

// What HSS's texts hold, a finding stays one line of bounded length that ends as
// it should.
func FuzzVulnerabilityText(f *testing.F) {
	f.Add("CVE-2024-0001", "zlib", "1.2.11", "1.2.12")
	f.Add("a\nb", "; x [policy y]", "\xff\x00", strings.Repeat("ü", 1000))
	p := mustCompile(f, policyOf(v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{Max: 0}}))
	f.Fuzz(func(t *testing.T, id, name, installed, fix string) {
		v := policy.Vulnerability{ID: id, Package: name, Installed: installed, Fix: fix, Severity: v1alpha1.SeverityHigh}
		other := v
		other.ID += "2"
		findings := p.Evaluate(t.Context(), found(affected(0, v, other)), now())
		if len(findings) != 1 {
			t.Fatalf("%d findings", len(findings))
		}
		message := findings[0].Message
		if n := utf8.RuneCountInString(message); n > 600 || !utf8.ValidString(message) {
			t.Errorf("%d characters: %q", n, message)
		}
		if strings.ContainsFunc(message, unicode.IsControl) || strings.ContainsAny(message, ";[]\u2028") || !strings.HasSuffix(message, ")") {
			t.Errorf("not one clean line: %q", message)
		}
	})
}
