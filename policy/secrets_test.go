package policy_test

import (
	"strings"
	"testing"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func forSecrets(least v1alpha1.SecretSeverity) v1alpha1.Requirements {
	return v1alpha1.Requirements{Secrets: &v1alpha1.SecretRequirement{Max: 1, MinSeverity: least}}
}

// listed is a record whose secrets are known.
func listed(secrets ...policy.Secret) policy.Record {
	all := &policy.Secrets{}
	for _, one := range secrets {
		all.Add(one)
	}
	return with(func(r *policy.Record) { r.Scan.Listed = &policy.Listed{Secrets: all} })
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	high, low := policy.Secret{Name: "key", Severity: "High", Path: "/a"}, policy.Secret{Name: "token", Severity: "Low", Path: "/b"}
	odd := policy.Secret{Name: "odd", Severity: "low ", Path: "/c"}
	rescanned := with(status(v1alpha1.ScanStatusScanning), func(r *policy.Record) { r.Scan.Listed = &policy.Listed{SecretsUnknown: "being\nscanned"} })
	for name, test := range map[string]struct {
		least  v1alpha1.SecretSeverity
		state  policy.State
		record policy.Record
		want   string
	}{
		"as many as allowed":                    {"", policy.StateFound, listed(high), ""},
		"more than allowed, one of them twice":  {"", policy.StateFound, listed(high, high), "2 secrets, allowed 1 (worst: key in /a and 1 more)"},
		"mild ones are left out":                {"Medium", policy.StateFound, listed(high, low), ""},
		"an unknown severity is the worst":      {"Critical", policy.StateFound, listed(odd, odd, high), "2 secrets of severity Critical or worse, allowed 1 (worst: odd in /c and 1 more)"},
		"not looked up":                         {"", policy.StateFound, cleanRecord(), "number of secrets unknown, allowed 1"},
		"looked up in vain":                     {"", policy.StateFound, rescanned, "number of secrets unknown, allowed 1 (being scanned)"},
		"an outage, in which some rows came":    {"", policy.StateUnavailable, cleanRecord(), ""},
		"a scan that failed has no list either": {"", policy.StateFound, failed(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := mustCompile(t, policyOf(forSecrets(test.least)))
			var got []string
			for _, f := range p.Evaluate(t.Context(), &policy.Facts{State: test.state, Records: []policy.Record{test.record}}, now()) {
				if f.Check == policy.CheckSecrets {
					got = append(got, f.Message)
				}
			}
			if strings.Join(got, "|") != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	t.Run("an invalid severity excludes nothing", func(t *testing.T) {
		t.Parallel()
		p, problems := policy.Compile(policyOf(forSecrets("critical")))
		findings := p.Evaluate(t.Context(), &policy.Facts{State: policy.StateFound, Records: []policy.Record{listed(low, low)}}, now())
		if len(problems) != 1 || problems[0].Field != "spec.require.secrets.minSeverity" || len(findings) != 1 {
			t.Errorf("problems: %v, findings: %v", problems, findings)
		}
	})
}

// A secret may be why HSS gives an image its severity level, which ignored vulnerabilities then do not explain.
func TestSecretsExplainASeverityLevel(t *testing.T) {
	t.Parallel()
	r := v1alpha1.Requirements{
		SeverityLevel: &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityLow}, Vulnerabilities: &v1alpha1.VulnerabilityRequirement{},
		IgnoreVulnerabilities: ignored(day, "CVE-2024-0001"),
	}
	for name, secrets := range map[string][]policy.Secret{"none": nil, "one": {{Name: "key", Severity: "Critical"}}} {
		record := listed(secrets...)
		record.Severity, record.Scan.Vulnerabilities, record.Scan.UnsafeSettings = "High", new(1), new(0)
		record.Scan.Found = []policy.Vulnerability{{ID: "CVE-2024-0001", Severity: "High"}}
		findings := mustCompile(t, policyOf(r)).Evaluate(t.Context(), &policy.Facts{State: policy.StateFound, Records: []policy.Record{record}}, now())
		if denied := len(findings) > 0; denied != (len(secrets) > 0) {
			t.Errorf("%s: %v", name, findings)
		}
	}
}
