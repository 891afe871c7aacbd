package gate_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// lists returns vulnerabilities by repository, and notes the calls.
type lists struct {
	*inventory
	found map[string][]policy.Vulnerability
	mu    sync.Mutex
	calls []string
}

func (l *lists) list(ctx context.Context, ref image.Reference, f policy.Facts, needed bool) policy.Facts {
	wait := "for ever"
	if deadline, ok := ctx.Deadline(); ok {
		wait = time.Until(deadline).String()
	}
	if ctx.Err() != nil {
		wait = "not at all"
	}
	l.mu.Lock()
	l.calls = append(l.calls, fmt.Sprintf("%s needed=%t waits %s", ref.Path, needed, wait))
	l.mu.Unlock()
	f.Records = slices.Clone(f.Records)
	s := &f.Records[0].Scan
	found, ok := l.found[ref.Path]
	switch {
	case ctx.Err() != nil:
		s.Unlisted = "HSS did not answer in time"
	case !ok:
		s.Unlisted = "HSS answered 500"
	default:
		s.Found = found
	}
	return f
}

// The vulnerabilities of prod/two, which has these two.
func twoFound() []policy.Vulnerability {
	return []policy.Vulnerability{
		{ID: "CVE-2024-1111", Severity: v1alpha1.SeverityHigh, Package: "openssl", Installed: "1.1.1k", Fix: "1.1.1n"},
		{ID: "CVE-2024-2222", Severity: v1alpha1.SeverityLow, Package: "busybox", Installed: "1.36"},
	}
}

// listing is a gate that knows prod/two and prod/unlisted, each of severity Medium with two vulnerabilities.
func listing(t *testing.T, all ...*v1alpha1.ImageScanPolicy) (*gate.Gate, *lists) {
	t.Helper()
	g, inv := newGate(t, all...)
	inv.facts["prod/two"], inv.facts["prod/unlisted"] = scanned("Medium", 2), scanned("Medium", 2)
	l := &lists{inventory: inv, found: map[string][]policy.Vulnerability{"prod/two": twoFound()}}
	inv.list = l.list
	return g, l
}

// ignored has identifiers ignored until some time from now.
func ignored(until time.Duration, ids ...string) (all []v1alpha1.IgnoredVulnerability) {
	for _, id := range ids {
		all = append(all, v1alpha1.IgnoredVulnerability{ID: id, Reason: "not reachable", ExpiresAt: metav1.NewTime(now.Add(until))})
	}
	return all
}

func narrowed(change func(*v1alpha1.Requirements)) func(*v1alpha1.ImageScanPolicySpec) {
	return func(s *v1alpha1.ImageScanPolicySpec) { change(&s.Require) }
}

func TestVulnerabilitiesDecideWhereAPolicyOrAnExceptionNeedsThem(t *testing.T) {
	t.Parallel()
	high := narrowed(func(r *v1alpha1.Requirements) { r.Vulnerabilities.MinSeverity = v1alpha1.SeverityHigh })
	fixable := narrowed(func(r *v1alpha1.Requirements) { r.Vulnerabilities.FixableOnly = true })
	one := narrowed(func(r *v1alpha1.Requirements) { r.Vulnerabilities.Max = 1 })
	ignoring := func(ids ...string) func(*v1alpha1.ImageScanPolicySpec) {
		return narrowed(func(r *v1alpha1.Requirements) { r.IgnoreVulnerabilities = ignored(time.Hour, ids...) })
	}
	forTwo := excepting(swr + "**")
	const worst = "worst: CVE-2024-1111 openssl 1.1.1k → 1.1.1n"
	tests := map[string]struct {
		policy    *v1alpha1.ImageScanPolicy
		exception *v1alpha1.ImageScanException
		image     string
		want      gate.Outcome
		says      string
	}{
		"a number that is too high stays so":       {strict("p"), nil, "two:1", gate.Denied, "2 vulnerabilities, allowed 0 (" + worst + ", CVE-2024-2222 busybox 1.36 (no fix))"},
		"those that count are too many":            {strict("p", high), nil, "two:1", gate.Denied, "1 vulnerability, allowed 0 (of severity High; 2 in all; " + worst + ")"},
		"those that count are few enough":          {strict("p", high, one), nil, "two:1", gate.Admitted, ""},
		"those with a fix are few enough":          {strict("p", fixable, one), nil, "two:1", gate.Admitted, ""},
		"those that are ignored don't count":       {strict("p", ignoring("CVE-2024-1111", "CVE-2024-2222")), nil, "two:1", gate.Admitted, ""},
		"those that were ignored do":               {strict("p", narrowed(func(r *v1alpha1.Requirements) { r.IgnoreVulnerabilities = ignored(0, "CVE-2024-1111", "CVE-2024-2222") })), nil, "two:1", gate.Denied, " (no longer ignored: CVE-2024-1111 since 2026-11-23T12:00:00Z, CVE-2024-2222 since 2026-11-23T12:00:00Z)"},
		"all others do":                            {strict("p", ignoring("CVE-2024-2222")), nil, "two:1", gate.Denied, "1 vulnerability, allowed 0 (" + worst + ")"},
		"an exception names both":                  {strict("p"), exception(forTwo, naming("CVE-2024-1111", "CVE-2024-2222")), "two:1", gate.Admitted, "Excepted: "},
		"an exception names one":                   {strict("p"), exception(forTwo, naming("CVE-2024-1111")), "two:1", gate.Denied, "Deny: "},
		"an exception and a policy name one each":  {strict("p", ignoring("CVE-2024-2222")), exception(forTwo, naming("CVE-2024-1111")), "two:1", gate.Admitted, "Excepted: "},
		"without a list all count, and it says so": {strict("p", high, one), nil, "unlisted:1", gate.Denied, "2 vulnerabilities, allowed 1 (all count, since they are not known one by one: HSS answered 500)"},
		"without a list an exception is no use, and it says so": {strict("p"), exception(forTwo, naming("CVE-2024-1111", "CVE-2024-2222")), "unlisted:1", gate.Denied,
			"2 vulnerabilities, allowed 0 (ImageScanException base-image does not apply: the vulnerabilities are not known one by one: HSS answered 500)"},
		"without a list the number is still said": {strict("p"), nil, "unlisted:1", gate.Denied, "— 2 vulnerabilities, allowed 0 [policy p]"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, _ := listing(t, tt.policy)
			if tt.exception != nil {
				withExceptions(t, g, tt.exception)
			}
			d := g.Decide(t.Context(), pod(swr+tt.image))
			if lines := strings.Join(d.Lines(), "\n"); d.Outcome != tt.want || !strings.Contains(lines, tt.says) || tt.says == "" && lines != "" {
				t.Errorf("Outcome = %q, want %q; lines:\n%s\nwant: %s", d.Outcome, tt.want, lines, tt.says)
			}
		})
	}
}

func TestVulnerabilitiesAreLookedUpOnlyWhereTheyMatter(t *testing.T) {
	t.Parallel()
	high := narrowed(func(r *v1alpha1.Requirements) { r.Vulnerabilities.MinSeverity = v1alpha1.SeverityHigh })
	bySeverity := narrowed(func(r *v1alpha1.Requirements) { r.Vulnerabilities = nil })
	malicious := narrowed(func(r *v1alpha1.Requirements) {
		*r = v1alpha1.Requirements{UnsafeSettings: &v1alpha1.CountRequirement{Max: 0}, Digest: v1alpha1.DigestRequired}
	})
	forTwo := excepting(swr + "**")
	// A second's time less what is kept for evaluating.
	const verdict, denial = "875ms", "500ms"
	tests := map[string]struct {
		policies  []*v1alpha1.ImageScanPolicy
		exception *v1alpha1.ImageScanException
		request   gate.Request
		patient   bool
		want      []string
	}{
		"a clean image":                           {all(strict("p", high)), nil, pod(swr + "clean:1"), false, nil},
		"an image that HSS doesn't know":          {all(strict("p", high)), nil, pod(swr + "unknown:1"), false, nil},
		"a reference that can't be read":          {all(strict("p", high)), nil, pod("Not/An:Image"), false, nil},
		"an image that fails by something else":   {all(strict("p", malicious)), nil, pod(swr + "two:1"), false, nil},
		"an image that is denied":                 {all(strict("p")), nil, pod(swr + "two:1"), false, []string{"prod/two needed=false waits " + denial}},
		"an image that is denied by its severity": {all(strict("p", bySeverity)), nil, pod(swr + "high:1"), false, []string{"prod/high needed=false waits " + denial}},
		"an image whose verdict depends on them":  {all(strict("p", high)), nil, pod(swr + "two:1"), false, []string{"prod/two needed=true waits " + verdict}},
		"once for all policies and containers":    {all(strict("a"), strict("b", high), strict("c", enforcement("Audit"))), nil, pod(swr+"two:1", swr+"two:1", swr+"clean:1"), false, []string{"prod/two needed=true waits " + verdict}},
		"an image that is warned of":              {all(strict("p", enforcement("Warn"))), nil, pod(swr + "two:1"), false, []string{"prod/two needed=false waits not at all"}},
		"a template whose pods would be denied":   {all(strict("p")), nil, template(swr + "two:1"), false, []string{"prod/two needed=false waits not at all"}},
		"an exception that names some":            {all(strict("p")), exception(forTwo, naming("CVE-2024-1111")), pod(swr + "two:1"), false, []string{"prod/two needed=true waits " + verdict}},
		"an exception that names none":            {all(strict("p")), exception(forTwo), pod(swr + "two:1"), false, []string{"prod/two needed=false waits " + denial}},
		"an exception for another image":          {all(strict("p")), exception(naming("CVE-2024-1111")), pod(swr + "two:1"), false, []string{"prod/two needed=false waits " + denial}},
		"no admission waits for an audit":         {all(strict("p", enforcement("Audit"))), nil, pod(swr + "two:1"), true, []string{"prod/two needed=false waits " + verdict}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g, l := listing(t, tt.policies...)
				g.Patient = tt.patient
				if tt.exception != nil {
					withExceptions(t, g, tt.exception)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				g.Decide(ctx, tt.request)
				wantEqual(t, "calls", tt.want, l.calls)
			})
		})
	}
}
