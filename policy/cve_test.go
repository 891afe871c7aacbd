package policy_test

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	log4Shell = "CVE-2021-44228"
	advisory  = "RHSA-2021:5137"
)

// cve is a CVE of a score in tenths, unless that is 0, which was published some time ago, unless that is 0.
func cve(id string, tenths int, age time.Duration) policy.CVE {
	c := policy.CVE{ID: id}
	if tenths > 0 {
		c.CVSS = new(v1alpha1.Score(float64(tenths) / 10))
	}
	if age != 0 {
		c.PublishedAt = ago(age)
	}
	return c
}

// log4j is a vulnerability of a package, with a fix.
func log4j(id string, cves ...policy.CVE) policy.Vulnerability {
	return policy.Vulnerability{ID: id, Severity: v1alpha1.SeverityHigh, Package: "log4j", Installed: "2.14", Fix: "2.17", CVEs: cves}
}

func TestScores(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"7": "7.0", "7.0": "7.0", "7.5": "7.5", "0": "0.0", "10": "10.0", "7.1": "7.1"} {
		// As the API server's clients read it, and as files are read.
		var read, converted v1alpha1.VulnerabilityRequirement
		var unstructured map[string]any
		must(t, yaml.Unmarshal([]byte("minCVSS: "+text), &read))
		must(t, yaml.Unmarshal([]byte("minCVSS: "+text), &unstructured))
		must(t, runtime.DefaultUnstructuredConverter.FromUnstructured(unstructured, &converted))
		if read.MinCVSS.String() != want || read.MinCVSS != converted.MinCVSS {
			t.Errorf("%s is read as %s, and converted to %s; want %s", text, read.MinCVSS, converted.MinCVSS, want)
		}
		sent, err := strconv.ParseFloat(want, 32)
		must(t, err)
		if s, ok := v1alpha1.NewScore(sent); ok && s != read.MinCVSS {
			t.Errorf("%s is not the same as HSS's %v", text, sent)
		}
		if again, err := json.Marshal(read.MinCVSS); err != nil || string(again) != want {
			t.Errorf("%s is written as %s, %v; want %s", text, again, err, want)
		}
	}
	for sent, want := range map[float64]string{7.1: "7.1", float64(float32(7.1)): "7.1", float64(float32(6.9)): "6.9", 7: "7.0", 10: "10.0", 6.95: "7.0"} {
		if s, ok := v1alpha1.NewScore(sent); !ok || s.String() != want {
			t.Errorf("HSS's %v is %s, %t; want %s", sent, s, ok, want)
		}
	}
	for _, sent := range []float64{0, -1, 10.1, math.NaN(), math.Inf(1)} {
		if s, ok := v1alpha1.NewScore(sent); ok {
			t.Errorf("HSS's %v is %s, want unknown", sent, s)
		}
	}
}

func TestVulnerabilitiesCountByTheirScores(t *testing.T) {
	t.Parallel()
	const (
		from9 = "vulnerabilities: 1 vulnerability, allowed 0 (of CVSS 9.0 or more"
		shown = "CVE-2021-44228 (CVSS 10.0) log4j 2.14 → 2.17)"
	)
	require := v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{MinCVSS: 9}}
	runRequirement(t, require, map[string]requirementCase{
		"a lower score does not count":            {affected(0, log4j(log4Shell, cve(log4Shell, 89, 0))), ""},
		"the least score counts":                  {affected(0, log4j(log4Shell, cve(log4Shell, 90, 0))), from9 + "; 1 in all; worst: CVE-2021-44228 (CVSS 9.0) log4j 2.14 → 2.17)"},
		"a higher score counts":                   {affected(0, log4j(log4Shell, cve(log4Shell, 100, 0))), from9 + "; 1 in all; worst: " + shown},
		"an unknown score counts":                 {affected(0, log4j(log4Shell, cve(log4Shell, 0, 0))), from9 + "; 1 in all; of unknown score: 1; worst: CVE-2021-44228 log4j 2.14 → 2.17)"},
		"a CVE without details counts":            {affected(0, log4j(log4Shell)), from9 + "; 1 in all; of unknown score: 1; worst: CVE-2021-44228 log4j 2.14 → 2.17)"},
		"an advisory without CVEs counts":         {affected(0, log4j(advisory)), from9 + "; 1 in all; of unknown score: 1; worst: RHSA-2021:5137 log4j 2.14 → 2.17)"},
		"an advisory counts by its worst CVE":     {affected(0, log4j(advisory, cve(log4Shell, 100, 0), cve("CVE-2021-45046", 37, 0))), from9 + "; 1 in all; worst: CVE-2021-44228 and 1 more (RHSA-2021:5137, CVSS 10.0) log4j 2.14 → 2.17)"},
		"one unknown score of an advisory's":      {affected(0, log4j(advisory, cve("CVE-2021-45046", 0, 0), cve("CVE-2021-45105", 37, 0))), from9 + "; 1 in all; of unknown score: 1; worst: CVE-2021-45046 and 1 more (RHSA-2021:5137) log4j 2.14 → 2.17)"},
		"an advisory whose CVEs are all mild":     {affected(0, log4j(advisory, cve("CVE-2021-45046", 89, 0), cve("CVE-2021-45105", 37, 0))), ""},
		"those that are not listed count":         {affected(1, log4j(log4Shell, cve(log4Shell, 10, 0))), from9 + "; 2 in all)"},
		"without a list all count":                {unlisted(1, "HSS is down"), "vulnerabilities: 1 vulnerability, allowed 0 (all count, since they are not known one by one: HSS is down)"},
		"the worst by score come first":           {affected(0, log4j("CVE-2020-1", cve("CVE-2020-1", 91, 0)), log4j("CVE-2020-2", cve("CVE-2020-2", 95, 0))), "vulnerabilities: 2 vulnerabilities, allowed 0 (of CVSS 9.0 or more; 2 in all; worst: CVE-2020-2 (CVSS 9.5) log4j 2.14 → 2.17, CVE-2020-1 (CVSS 9.1) log4j 2.14 → 2.17)"},
		"architectures are counted by themselves": {with(architectures(affected(0).Scan, affected(0, log4j(log4Shell, cve(log4Shell, 100, 0))).Scan)), "vulnerabilities: architecture sha256:bbbbbbbbbbbb…: 1 vulnerability, allowed 0 (of CVSS 9.0 or more; 1 in all; worst: " + shown},
	})
}

func TestVulnerabilitiesCountByTheirAge(t *testing.T) {
	t.Parallel()
	require := v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{OlderThan: metav1.Duration{Duration: 30 * day}, FixableOnly: true}}
	const counts = "vulnerabilities: 1 vulnerability, allowed 0 (published more than 30 days ago, with a fix; 1 in all; worst: "
	unfixed := log4j(log4Shell, cve(log4Shell, 100, 60*day))
	unfixed.Fix = ""
	runRequirement(t, require, map[string]requirementCase{
		"a new one does not count":             {affected(0, log4j(log4Shell, cve(log4Shell, 100, 30*day))), ""},
		"an old one counts":                    {affected(0, log4j(log4Shell, cve(log4Shell, 100, 30*day+1))), counts + "CVE-2021-44228 (CVSS 10.0) log4j 2.14 → 2.17)"},
		"an unknown time counts":               {affected(0, log4j(log4Shell, cve(log4Shell, 100, 0))), counts + "CVE-2021-44228 (CVSS 10.0) log4j 2.14 → 2.17)"},
		"a time in the future counts":          {affected(0, log4j(log4Shell, cve(log4Shell, 100, -day))), counts + "CVE-2021-44228 (CVSS 10.0) log4j 2.14 → 2.17)"},
		"a clock that is a little fast":        {affected(0, log4j(log4Shell, cve(log4Shell, 100, -time.Minute))), ""},
		"unknown CVEs count":                   {affected(0, log4j(advisory)), counts + "RHSA-2021:5137 log4j 2.14 → 2.17)"},
		"an advisory is as old as its oldest":  {affected(0, log4j(advisory, cve("CVE-2021-1", 50, day), cve("CVE-2020-1", 40, 90*day))), counts + "CVE-2021-1 and 1 more (RHSA-2021:5137, CVSS 5.0) log4j 2.14 → 2.17)"},
		"one unknown time of an advisory's":    {affected(0, log4j(advisory, cve("CVE-2021-1", 50, day), cve("CVE-2020-1", 40, 0))), counts + "CVE-2021-1 and 1 more (RHSA-2021:5137, CVSS 5.0) log4j 2.14 → 2.17)"},
		"an advisory whose CVEs are all new":   {affected(0, log4j(advisory, cve("CVE-2021-1", 50, day), cve("CVE-2020-1", 40, 2*day))), ""},
		"an old one without a fix is left out": {affected(0, unfixed), ""},
	})
}

func TestForbiddenVulnerabilities(t *testing.T) {
	t.Parallel()
	other := log4j("CVE-2020-1", cve("CVE-2020-1", 100, 0))
	mild := log4j(log4Shell)
	mild.Severity, mild.Fix = v1alpha1.SeverityLow, ""
	nothing := with(func(r *policy.Record) { r.Scan.Vulnerabilities = nil })
	const may = "forbiddenVulnerabilities: may have forbidden CVE-2021-44228: "
	runRequirement(t, v1alpha1.Requirements{ForbiddenVulnerabilities: []string{log4Shell}}, map[string]requirementCase{
		"an image without vulnerabilities":          {unlisted(0, ""), ""},
		"an image with others":                      {affected(0, other), ""},
		"by its CVE ID, whatever severity and fix":  {affected(0, other, mild), "forbiddenVulnerabilities: has forbidden CVE-2021-44228 (worst: CVE-2021-44228 log4j 2.14 (no fix))"},
		"by a CVE of an advisory":                   {affected(0, log4j(advisory, cve("CVE-2020-2", 50, 0), cve(log4Shell, 40, 0))), "forbiddenVulnerabilities: has forbidden CVE-2021-44228 (worst: CVE-2020-2 and 1 more (RHSA-2021:5137, CVSS 5.0) log4j 2.14 → 2.17)"},
		"an advisory with other CVEs":               {affected(0, log4j(advisory, cve("CVE-2020-2", 50, 0))), ""},
		"an advisory without CVEs may be it":        {affected(0, log4j(advisory)), may + "CVEs are unknown: worst: RHSA-2021:5137 log4j 2.14 → 2.17"},
		"one without an identifier may be it":       {affected(0, log4j("")), may + "CVEs are unknown: worst: unnamed log4j 2.14 → 2.17"},
		"one that is counted and not listed may be": {affected(1, other), may + "HSS counts 2 vulnerabilities and lists 1"},
		"without a list it may have it":             {unlisted(1, "HSS is down"), may + "its vulnerabilities are not known one by one: HSS is down"},
		"without a reason, too":                     {unlisted(1, ""), may + "its vulnerabilities are not known one by one"},
		"without a number it may have it":           {nothing, may + "the number of its vulnerabilities is unknown"},
		"in one architecture":                       {with(architectures(affected(0).Scan, affected(0, mild).Scan)), "forbiddenVulnerabilities: architecture sha256:bbbbbbbbbbbb…: has forbidden CVE-2021-44228 (worst: CVE-2021-44228 log4j 2.14 (no fix))"},
	})
	runRequirement(t, v1alpha1.Requirements{ForbiddenVulnerabilities: []string{advisory}}, map[string]requirementCase{
		"an advisory by its own identifier":   {affected(0, log4j(advisory)), "forbiddenVulnerabilities: has forbidden RHSA-2021:5137 (worst: RHSA-2021:5137 log4j 2.14 → 2.17)"},
		"another one is not it, with no CVEs": {affected(0, log4j("RHSA-2022:1")), ""},
		"a CVE that it is about is not it":    {affected(0, log4j(log4Shell)), ""},
		"without a list, that is not known":   {unlisted(1, ""), "forbiddenVulnerabilities: may have forbidden RHSA-2021:5137: its vulnerabilities are not known one by one"},
	})
	many := v1alpha1.Requirements{ForbiddenVulnerabilities: []string{"CVE-2021-1", "CVE-2021-2", "CVE-2021-3", "CVE-2021-4", "CVE-2021-5"}}
	runRequirement(t, many, map[string]requirementCase{
		"a message names a few": {unlisted(1, ""), "forbiddenVulnerabilities: may have forbidden CVE-2021-1, CVE-2021-2, CVE-2021-3 and 2 more: its vulnerabilities are not known one by one"},
	})
}

// indexOf is an index of images that have a vulnerability by one of HSS's.
func indexOf(t *testing.T, id string, v policy.Vulnerability, images ...policy.AffectedImage) *policy.Affected {
	t.Helper()
	a := policy.NewAffected(id, now())
	must(t, a.Add(v, images))
	return a
}

func TestAnIndexShowsWhetherAnImageHasAForbiddenVulnerability(t *testing.T) {
	t.Parallel()
	p := mustCompile(t, policyOf(v1alpha1.Requirements{ForbiddenVulnerabilities: []string{log4Shell, advisory}}))
	elsewhere := policy.AffectedImage{ImageID: "other", Name: "elsewhere", Version: "1", Digest: otherDigest}
	record := func(change func(*policy.Record)) policy.Record {
		r := unlisted(1, "HSS is down")
		r.ImageID = "mine"
		change(&r)
		return r
	}
	same := func(*policy.Record) {}
	r := record(same)
	mine := policy.AffectedImage{ImageID: "mine", Name: r.Name, Version: r.Version, Digest: r.Digest}
	byArm := policy.AffectedImage{Name: "elsewhere", Version: "1", Digest: arm64Digest}
	multi := record(architectures(scan(1, 0, 0), scan(1, 0, 0)))
	pinnedTo := func(n int) policy.Record {
		pinned := multi
		pinned.Architectures, pinned.PinnedArchitecture = multi.Architectures[n:n+1], true
		return pinned
	}
	const (
		has     = "has forbidden CVE-2021-44228, RHSA-2021:5137 (listed by HSS as RHSA-2021:1)"
		may     = "may have forbidden CVE-2021-44228, RHSA-2021:5137: its vulnerabilities are not known one by one: HSS is down"
		mayBare = "may have forbidden CVE-2021-44228, RHSA-2021:5137: its vulnerabilities are not known one by one"
	)
	tests := map[string]struct {
		image  policy.AffectedImage
		record policy.Record
		want   string
	}{
		"other images have it":                              {elsewhere, r, ""},
		"the image has it":                                  {mine, r, has},
		"by its digest alone":                               {policy.AffectedImage{Name: "elsewhere", Version: "1", Digest: r.Digest}, r, has},
		"by its ID alone":                                   {policy.AffectedImage{ImageID: "mine", Name: "elsewhere", Version: "1"}, r, has},
		"by its name alone it may":                          {policy.AffectedImage{Name: r.Name, Version: r.Version}, r, may},
		"by a name with a host, and a tag":                  {policy.AffectedImage{Name: "swr.example.com/prod/" + r.Name + ":" + r.Version, Version: r.Version, Digest: otherDigest}, r, may},
		"by a name without a version":                       {policy.AffectedImage{Name: r.Name, Digest: otherDigest}, r, may},
		"in another version":                                {policy.AffectedImage{Name: r.Name, Version: r.Version + "1", Digest: otherDigest}, r, ""},
		"by what is no digest":                              {policy.AffectedImage{Name: "elsewhere", Version: "1", Digest: "latest"}, record(func(r *policy.Record) { r.Digest = "latest" }), may},
		"by the digest of an architecture":                  {byArm, multi, "architecture sha256:bbbbbbbbbbbb…: " + has + "\narchitecture sha256:aaaaaaaaaaaa…: " + mayBare + "\n" + may},
		"the reference pins that architecture":              {byArm, pinnedTo(1), has},
		"the reference pins another one":                    {byArm, pinnedTo(0), ""},
		"the whole has it, and an architecture may":         {mine, pinnedTo(0), mayBare},
		"the scan is as late as the index":                  {elsewhere, record(func(r *policy.Record) { r.ScannedAt = ago(29 * time.Minute) }), may},
		"and the index has the image":                       {mine, record(func(r *policy.Record) { r.ScannedAt = ago(29 * time.Minute) }), may},
		"the index is later than the scan":                  {elsewhere, record(func(r *policy.Record) { r.ScannedAt = ago(31 * time.Minute) }), ""},
		"the time of the scan is not known":                 {mine, record(func(r *policy.Record) { r.ScannedAt = time.Time{} }), may},
		"a list decides over the index":                     {elsewhere, affected(0, log4j(log4Shell)), "has forbidden CVE-2021-44228 (worst: CVE-2021-44228 log4j 2.14 → 2.17)"},
		"the index decides over a list":                     {policy.AffectedImage{Name: "elsewhere", Version: "1", Digest: r.Digest}, affected(0, log4j("CVE-2020-1")), has},
		"both show it":                                      {policy.AffectedImage{Name: "elsewhere", Version: "1", Digest: r.Digest}, affected(0, log4j("RHSA-2021:1")), "has forbidden CVE-2021-44228, RHSA-2021:5137 (worst: RHSA-2021:1 log4j 2.14 → 2.17)"},
		"an advisory of the index, listed":                  {elsewhere, affected(0, log4j("RHSA-2021:1")), "has forbidden CVE-2021-44228 (worst: RHSA-2021:1 log4j 2.14 → 2.17)"},
		"an advisory that the index lacks":                  {elsewhere, affected(0, log4j("RHSA-2022:1")), ""},
		"HSS counts more than it lists, and others have it": {elsewhere, affected(1, log4j("CVE-2020-1")), ""},
		"HSS counts none":                                   {mine, unlisted(0, ""), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := found(tt.record)
			for _, id := range []string{log4Shell, advisory} {
				f.Affected = append(f.Affected, indexOf(t, id, policy.Vulnerability{ID: "RHSA-2021:1"}, tt.image))
			}
			wantEqual(t, "findings", tt.want, forbiddenFindings(t, p, f))
			if f.Affected = f.Affected[:1]; tt.want == "" && *tt.record.Scan.Vulnerabilities > 0 && tt.record.Scan.Found == nil && forbiddenFindings(t, p, f) == "" {
				t.Error("passes with the index of one of two")
			}
		})
	}
	for name, image := range map[string]policy.AffectedImage{
		"no name": {Digest: digest, Version: "1", ImageID: "1"}, "neither version nor digest": {Name: "app", ImageID: "1"},
	} {
		if err := policy.NewAffected(log4Shell, now()).Add(policy.Vulnerability{ID: log4Shell}, []policy.AffectedImage{image}); err == nil {
			t.Errorf("an index of an image with %s, which may be any", name)
		}
	}
	a := policy.NewAffected(log4Shell, now())
	for n := range 65 {
		if err := a.Add(policy.Vulnerability{ID: strconv.Itoa(n)}, nil); (err == nil) != (n < 64) {
			t.Errorf("vulnerability %d of an index: %v", n, err)
		}
	}
}

func forbiddenFindings(t *testing.T, p *policy.Policy, f *policy.Facts) string {
	t.Helper()
	var all []string
	for _, one := range p.Evaluate(t.Context(), f, now()) {
		if one.Check == policy.CheckForbidden {
			all = append(all, one.Message)
		}
	}
	return strings.Join(all, "\n")
}

// An exception covers what the index shows as it covers what a list shows.
func TestExceptionsByAnIndexAreThoseByAList(t *testing.T) {
	t.Parallel()
	one, two := log4j(advisory, cve(log4Shell, 100, 0), cve("CVE-2021-45046", 90, 0)), log4j("RHSA-2021:1", cve(log4Shell, 100, 0))
	tests := map[string]struct {
		forbidden []string
		has       []policy.Vulnerability
		names     []string
		excuses   bool
	}{
		"the CVE itself":                     {[]string{log4Shell}, []policy.Vulnerability{log4j(log4Shell)}, []string{log4Shell}, true},
		"the only CVE of the advisory":       {[]string{log4Shell}, []policy.Vulnerability{two}, []string{log4Shell}, true},
		"one of two CVEs of the advisory":    {[]string{log4Shell}, []policy.Vulnerability{one}, []string{log4Shell}, false},
		"both CVEs of the advisory":          {[]string{log4Shell, "CVE-2021-45046"}, []policy.Vulnerability{one}, []string{log4Shell, "CVE-2021-45046"}, true},
		"one of two forbidden CVEs":          {[]string{log4Shell, "CVE-2021-45046"}, []policy.Vulnerability{one, two}, []string{log4Shell}, false},
		"the advisory":                       {[]string{log4Shell}, []policy.Vulnerability{one}, []string{advisory}, true},
		"all advisories":                     {[]string{log4Shell}, []policy.Vulnerability{one, two}, []string{advisory, "RHSA-2021:1"}, true},
		"one of two advisories":              {[]string{log4Shell}, []policy.Vulnerability{one, two}, []string{advisory}, false},
		"another CVE":                        {[]string{log4Shell}, []policy.Vulnerability{one}, []string{"CVE-2020-1"}, false},
		"one forbidden advisory of two":      {[]string{advisory, "RHSA-2021:1"}, []policy.Vulnerability{one, two}, []string{advisory}, false},
		"both forbidden, by all their CVEs":  {[]string{advisory, "RHSA-2021:1"}, []policy.Vulnerability{one, two}, []string{log4Shell, "CVE-2021-45046"}, true},
		"an advisory that the image has not": {[]string{log4Shell}, []policy.Vulnerability{one}, []string{"RHSA-2021:1"}, false},
	}
	for name, tt := range tests {
		p := mustCompile(t, policyOf(v1alpha1.Requirements{ForbiddenVulnerabilities: tt.forbidden}))
		e := mustCompileException(t, exception(onlyFor(tt.names...)))
		listed, indexed := found(affected(0, tt.has...)), found(unlisted(len(tt.has), "HSS is down"))
		r := &indexed.Records[0]
		for _, id := range tt.forbidden {
			a := policy.NewAffected(id, now())
			for _, v := range []policy.Vulnerability{one, two, log4j(log4Shell)} {
				images := []policy.AffectedImage{{Name: "elsewhere", Version: "1", Digest: otherDigest}}
				if slices.ContainsFunc(tt.has, func(o policy.Vulnerability) bool { return o.ID == v.ID }) {
					images = append(images, policy.AffectedImage{Name: r.Name, Version: r.Version, Digest: r.Digest})
				}
				if v.ID == id || slices.ContainsFunc(v.CVEs, func(c policy.CVE) bool { return c.ID == id }) {
					must(t, a.Add(v, images))
				}
			}
			indexed.Affected = append(indexed.Affected, a)
		}
		for by, f := range map[string]*policy.Facts{"a list": listed, "an index": indexed} {
			findings := p.Evaluate(t.Context(), f, now())
			if got := e.Excuses(t.Context(), p, f, now())(policy.CheckForbidden); got != tt.excuses || p.NeedsVulnerabilities(findings) || e.NeedsVulnerabilities(t.Context(), p, f, findings, now()) {
				t.Errorf("%s, by %s: excuses: %t, want %t, without a list: %v", name, by, got, tt.excuses, findings)
			}
		}
	}
}

func TestIgnoredByCVE(t *testing.T) {
	t.Parallel()
	two := []policy.CVE{cve(log4Shell, 100, 0), cve("CVE-2021-45046", 90, 0)}
	ignoring := func(ids ...string) v1alpha1.Requirements {
		return v1alpha1.Requirements{Vulnerabilities: &v1alpha1.VulnerabilityRequirement{}, IgnoreVulnerabilities: ignored(day, ids...)}
	}
	const counts = "vulnerabilities: 1 vulnerability, allowed 0 (worst: CVE-2021-44228 and 1 more (RHSA-2021:5137, CVSS 10.0) log4j 2.14 → 2.17)"
	runRequirement(t, ignoring(log4Shell), map[string]requirementCase{
		"one of an advisory's CVEs leaves it": {affected(0, log4j(advisory, two...)), counts},
		"the only one leaves it out":          {affected(0, log4j(advisory, two[0])), ""},
		"an advisory without CVEs counts":     {affected(0, log4j(advisory)), "vulnerabilities: 1 vulnerability, allowed 0 (worst: RHSA-2021:5137 log4j 2.14 → 2.17)"},
	})
	runRequirement(t, ignoring(log4Shell, "CVE-2021-45046"), map[string]requirementCase{
		"all of an advisory's CVEs leave it out": {affected(0, log4j(advisory, two...)), ""},
	})
	runRequirement(t, ignoring(advisory), map[string]requirementCase{
		"the advisory itself leaves it out": {affected(0, log4j(advisory, two...)), ""},
	})
	forbidding := ignoring(advisory, log4Shell)
	forbidding.ForbiddenVulnerabilities = []string{log4Shell}
	const forbidden = "forbiddenVulnerabilities: has forbidden CVE-2021-44228 (worst: CVE-2021-44228 and 1 more (RHSA-2021:5137, CVSS 10.0) log4j 2.14 → 2.17)"
	runRequirement(t, forbidding, map[string]requirementCase{
		"what is forbidden cannot be ignored": {affected(0, log4j(advisory, two...)), counts + "\n" + forbidden},
	})
	p := mustCompile(t, policyOf(v1alpha1.Requirements{ForbiddenVulnerabilities: []string{log4Shell}}))
	f := found(affected(0, log4j(advisory, two...)))
	for ids, want := range map[[2]string]bool{{log4Shell, "CVE-2021-45046"}: true, {log4Shell, "CVE-2020-1"}: false, {advisory, ""}: true} {
		e := mustCompileException(t, exception(onlyFor(ids[:]...)))
		if got := e.Excuses(t.Context(), p, f, now())(policy.CheckForbidden); got != want {
			t.Errorf("an exception for %q excuses: %t, want %t", ids, got, want)
		}
	}
}

func TestExpressionsReadFindings(t *testing.T) {
	t.Parallel()
	severe := affected(0, log4j(advisory, cve(log4Shell, 100, 10*day)))
	unknown := affected(0, log4j(advisory, cve(log4Shell, 0, 0)))
	const (
		one    = "image.findings.exists(f, f.cvss >= 9.0 && f.fixed)"
		fields = "image.findings.all(f, f.id == 'RHSA-2021:5137' && f.cves == ['CVE-2021-44228'] && f.severity == 'High' && f.package == 'log4j' && " +
			"f.installed == '2.14' && f.fix == '2.17' && f.fixed && f.cvss == 10.0 && now - f.publishedAt == duration('240h'))"
	)
	tests := map[string]struct {
		expression string
		record     policy.Record
		passes     bool
	}{
		"every field":                      {fields, severe, true},
		"one that is severe":               {one, severe, true},
		"none of them":                     {"!" + one, severe, false},
		"an unknown score is absent":       {"!" + one, unknown, false},
		"and can be tested for":            {"image.findings.all(f, !has(f.cvss))", unknown, true},
		"an unknown time is absent":        {"image.findings.all(f, f.publishedAt < now)", unknown, false},
		"an image without vulnerabilities": {"!" + one, unlisted(0, ""), true},
		"without a list there are none":    {"!" + one, unlisted(1, ""), false},
		"nor if more are counted":          {"!image.findings.exists(f, f.cvss >= 9.0)", affected(1, log4j(log4Shell, cve(log4Shell, 10, 0))), false},
		"of an architecture":               {"image.architectures.exists(a, a.findings.exists(f, f.fixed))", with(architectures(affected(0).Scan, severe.Scan)), true},
		"a CVE in a list of some":          {"image.findings.exists(f, f.cves.exists(c, c in ['CVE-2021-44228', 'CVE-2022-22965']))", severe, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := mustCompile(t, policyOf(expressions(tt.expression)))
			if got := p.Evaluate(t.Context(), found(tt.record), now()); (len(got) == 0) != tt.passes {
				t.Errorf("passes: %t: %v", len(got) == 0, got)
			}
			if !p.NeedsVulnerabilities(nil) {
				t.Error("needs no list")
			}
		})
	}
	if p := mustCompile(t, policyOf(expressions("image.vulnerabilities == 0"))); p.NeedsVulnerabilities(nil) {
		t.Error("an expression that reads no findings needs a list")
	}
	tooMuch := policyOf(expressions("image.architectures.all(a, a.findings.all(f, image.findings.all(g, f.id != g.id)))"))
	if _, errs := policy.Compile(tooMuch); len(errs) == 0 {
		t.Error("loops in loops cost nothing")
	}
}

func TestDetailsAreNeededWhereTheyMatter(t *testing.T) {
	t.Parallel()
	counting := func(v v1alpha1.VulnerabilityRequirement, ids ...string) v1alpha1.Requirements {
		return v1alpha1.Requirements{Vulnerabilities: &v, IgnoreVulnerabilities: ignored(day, ids...)}
	}
	bare, known := found(affected(0, log4j(advisory))), found(affected(0, log4j(advisory, cve(log4Shell, 100, day))))
	both := policy.CVENeeds{CVEs: true, Times: true}
	tests := map[string]struct {
		require     v1alpha1.Requirements
		bare, known policy.CVENeeds
	}{
		"no policy":                   {counting(v1alpha1.VulnerabilityRequirement{FixableOnly: true}), policy.CVENeeds{}, policy.CVENeeds{}},
		"scores":                      {counting(v1alpha1.VulnerabilityRequirement{MinCVSS: 7}), policy.CVENeeds{CVEs: true}, policy.CVENeeds{}},
		"times":                       {counting(v1alpha1.VulnerabilityRequirement{OlderThan: metav1.Duration{Duration: 1}}), policy.CVENeeds{Times: true}, policy.CVENeeds{}},
		"CVEs that are ignored":       {counting(v1alpha1.VulnerabilityRequirement{}, "CVE-2020-1"), policy.CVENeeds{CVEs: true}, policy.CVENeeds{}},
		"advisories that are ignored": {counting(v1alpha1.VulnerabilityRequirement{}, "RHSA-2020:1"), policy.CVENeeds{}, policy.CVENeeds{}},
		"CVEs that are forbidden":     {v1alpha1.Requirements{ForbiddenVulnerabilities: []string{"CVE-2020-1"}}, policy.CVENeeds{CVEs: true}, policy.CVENeeds{}},
		"expressions":                 {expressions("image.findings.all(f, f.publishedAt < now && f.cvss < 1.0)"), both, policy.CVENeeds{}},
	}
	for name, tt := range tests {
		p := mustCompile(t, policyOf(tt.require))
		wantEqual(t, name+": unknown", tt.bare, p.CVENeeds(bare, p.Evaluate(t.Context(), bare, now())))
		wantEqual(t, name+": known", tt.known, p.CVENeeds(known, p.Evaluate(t.Context(), known, now())))
	}
}
