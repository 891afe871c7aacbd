package policy_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// longest is the longest lifetime that the tests grant.
const longest = 30 * day

// exception is one of an hour ago that ends in a day, with changes.
func exception(change ...func(*v1alpha1.ImageScanException)) *v1alpha1.ImageScanException {
	e := &v1alpha1.ImageScanException{
		ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "base-image", CreationTimestamp: metav1.NewTime(ago(time.Hour))},
		Spec: v1alpha1.ImageScanExceptionSpec{
			Images: []string{"registry.example.com/team/**"}, Policies: []string{"production"},
			Reason: "waits for\u2028the base image", ExpiresAt: metav1.NewTime(now().Add(day)),
		},
	}
	for _, f := range change {
		f(e)
	}
	return e
}

func excepting(images ...string) func(*v1alpha1.ImageScanException) {
	return func(e *v1alpha1.ImageScanException) { e.Spec.Images = images }
}

func endingIn(d time.Duration) func(*v1alpha1.ImageScanException) {
	return func(e *v1alpha1.ImageScanException) { e.Spec.ExpiresAt = metav1.NewTime(now().Add(d)) }
}

func isGrace(e *v1alpha1.ImageScanException) {
	e.Labels = map[string]string{v1alpha1.GraceLabel: "production"}
}

// ignored has identifiers ignored until some time from now.
func ignored(until time.Duration, ids ...string) (all []v1alpha1.IgnoredVulnerability) {
	for _, id := range ids {
		all = append(all, v1alpha1.IgnoredVulnerability{ID: id, Reason: "not reachable", ExpiresAt: metav1.NewTime(now().Add(until))})
	}
	return all
}

func clusterWide(e *v1alpha1.ImageScanException) {
	e.Kind, e.Namespace = v1alpha1.ClusterImageScanExceptionKind, ""
}

func onlyFor(ids ...string) func(*v1alpha1.ImageScanException) {
	return func(e *v1alpha1.ImageScanException) { e.Spec.Vulnerabilities = ids }
}

func mustCompileException(tb testing.TB, e *v1alpha1.ImageScanException) *policy.Exception {
	tb.Helper()
	compiled, problems := policy.CompileException(e, longest)
	must(tb, problems.ToAggregate())
	return compiled
}

func TestExceptionsCoverWhatTheyName(t *testing.T) {
	t.Parallel()
	app := &policy.Image{Host: "registry.example.com", Path: "team/app", Tag: "1"}
	pinned := &policy.Image{Host: "registry.example.com", Path: "team/app", Digest: digest}
	type testCase struct {
		images []string
		policy string
		image  *policy.Image
		want   bool
	}
	each(t, map[string]testCase{
		"a glob covers an image":                         {[]string{"registry.example.com/team/*"}, "production", app, true},
		"a glob covers an image with a digest, too":      {[]string{"registry.example.com/team/*"}, "production", pinned, true},
		"another policy is not excused":                  {[]string{"**"}, "staging", app, false},
		"a policy's name is no prefix":                   {[]string{"**"}, "product", app, false},
		"another image isn't covered":                    {[]string{"registry.example.com/team/other"}, "production", app, false},
		"another host isn't covered":                     {[]string{"example.com/team/app"}, "production", app, false},
		"a digest covers the reference that names it":    {[]string{digest}, "production", pinned, true},
		"a digest covers no reference by tag":            {[]string{digest}, "production", app, false},
		"another digest covers nothing":                  {[]string{otherDigest}, "production", pinned, false},
		"one of several that fits is enough":             {[]string{"docker.io/nginx", otherDigest, digest}, "production", pinned, true},
		"Docker Hub's short names are globs of the same": {[]string{"docker.io/nginx"}, "production", &policy.Image{Host: "docker.io", Path: "library/nginx"}, true},
	}, func(t *testing.T, tt testCase) {
		e := mustCompileException(t, exception(excepting(tt.images...)))
		if got := e.Covers(tt.policy, tt.image); got != tt.want || e.Namespace() != "prod" || e.Name() != "base-image" || e.Reason() != "waits for the base image" {
			t.Errorf("exception %+v: covers is %t, want %t", e, got, tt.want)
		}
	})
}

func TestExceptionsEnd(t *testing.T) {
	t.Parallel()
	old := func(e *v1alpha1.ImageScanException) { e.CreationTimestamp = metav1.NewTime(ago(longest - time.Minute)) }
	older := func(e *v1alpha1.ImageScanException) { e.CreationTimestamp = metav1.NewTime(ago(longest)) }
	unseen := func(e *v1alpha1.ImageScanException) { e.CreationTimestamp = metav1.Time{} }
	type testCase struct {
		exception *v1alpha1.ImageScanException
		until     time.Time
		active    bool
	}
	each(t, map[string]testCase{
		"one that ends tomorrow is active":                {exception(), now().Add(day), true},
		"one that ended a second ago isn't":               {exception(endingIn(-time.Second)), ago(time.Second), false},
		"one that ends now isn't":                         {exception(endingIn(0)), now(), false},
		"one that is too long ends by the longest":        {exception(endingIn(100 * day)), ago(time.Hour).Add(longest), true},
		"one that is too long and old is about to end":    {exception(endingIn(100*day), old), now().Add(time.Minute), true},
		"one that is too long and older has ended":        {exception(endingIn(100*day), older), now(), false},
		"one that no API server has seen has its own end": {exception(endingIn(100*day), unseen), now().Add(100 * day), true},
	}, func(t *testing.T, tt testCase) {
		e := mustCompileException(t, tt.exception)
		if !e.Until().Equal(tt.until) || e.Active(now()) != tt.active {
			t.Errorf("until %s and active %t, want %s and %t", e.Until(), e.Active(now()), tt.until, tt.active)
		}
	})
}

func TestAnInvalidExceptionAdmitsNothing(t *testing.T) {
	t.Parallel()
	each(t, map[string]*v1alpha1.ImageScanException{
		"empty":            {},
		"one bad image":    exception(excepting("**", "a//b")),
		"without an end":   exception(func(e *v1alpha1.ImageScanException) { e.Spec.ExpiresAt = metav1.Time{} }),
		"without a reason": exception(func(e *v1alpha1.ImageScanException) { e.Spec.Reason = "" }),
		"a grace for all":  exception(excepting(digest), clusterWide, isGrace),
	}, func(t *testing.T, e *v1alpha1.ImageScanException) {
		compiled, err := policy.CompileException(e, longest)
		if err == nil {
			t.Error("it compiles")
		}
		image := &policy.Image{Host: "registry.example.com", Path: "team/app", Digest: digest}
		if compiled.Active(now()) || compiled.Covers("production", image) {
			t.Error("it admits an image")
		}
	})
}

// affectedBy has one vulnerability for each identifier.
func affectedBy(ids ...string) *policy.Facts {
	var all []policy.Vulnerability
	for _, id := range ids {
		all = append(all, policy.Vulnerability{ID: id, Severity: v1alpha1.SeverityHigh, Package: "openssl"})
	}
	return found(affected(0, all...))
}

func TestAnExceptionForVulnerabilitiesExcusesWhatTheyExplain(t *testing.T) {
	t.Parallel()
	const one, two = "CVE-2024-1234", "CVE-2024-5678"
	uncounted, layered, malicious := affectedBy(one), affectedBy(one, two, one, two, one, two), affectedBy(one)
	uncounted.Records[0].Scan.Vulnerabilities, layered.Records[0].Scan.Vulnerabilities = new(2), new(4)
	malicious.Records[0].Scan.MaliciousFiles = new(1)
	several := found(with(architectures(affectedBy(one).Records[0].Scan, affectedBy(two).Records[0].Scan)))
	type testCase struct {
		facts *policy.Facts
		ids   []string
		check policy.Check
		want  bool
	}
	p := mustCompile(t, policyOf(strict()))
	each(t, map[string]testCase{
		"the only one":                      {affectedBy(one), []string{one}, policy.CheckVulnerabilities, true},
		"one of two":                        {affectedBy(one, two), []string{one}, policy.CheckVulnerabilities, false},
		"both":                              {affectedBy(one, two), []string{one, two}, policy.CheckVulnerabilities, true},
		"twice, in two packages":            {affectedBy(one, one), []string{one}, policy.CheckVulnerabilities, true},
		"without a list, nothing is":        {found(unlisted(1, "")), []string{one}, policy.CheckVulnerabilities, false},
		"more counted than listed":          {uncounted, []string{one}, policy.CheckVulnerabilities, false},
		"malicious files are no such thing": {malicious, []string{one}, policy.CheckMaliciousFiles, false},
		"beside malicious files, it is":     {malicious, []string{one}, policy.CheckVulnerabilities, true},
		"in several layers":                 {layered, []string{one, two}, policy.CheckVulnerabilities, true},
		"one of two in several layers":      {layered, []string{one}, policy.CheckVulnerabilities, false},
		"each architecture counts":          {several, []string{one}, policy.CheckVulnerabilities, false},
		"an image that HSS doesn't know":    {&policy.Facts{State: policy.StateNotFound}, []string{one}, policy.CheckNotFound, false},
		"none named: whatever it is":        {malicious, nil, policy.CheckMaliciousFiles, true},
	}, func(t *testing.T, tt testCase) {
		before := len(p.Evaluate(t.Context(), tt.facts, now()))
		excuses := mustCompileException(t, exception(onlyFor(tt.ids...))).Excuses(t.Context(), p, tt.facts, now())
		wantEqual(t, "excused", tt.want, excuses(tt.check))
		if after := len(p.Evaluate(t.Context(), tt.facts, now())); after != before || before == 0 {
			t.Errorf("the facts were changed: %d findings before, %d after", before, after)
		}
	})
}

// HSS reports one severity level for all that it found. Vulnerabilities explain it only if nothing else can be the reason.
func TestAnExceptionForVulnerabilitiesExcusesTheSeverityThatTheyExplain(t *testing.T) {
	t.Parallel()
	const one, two = "CVE-2024-1234", "CVE-2024-5678"
	high := func(f *policy.Facts, change ...func(*policy.Record)) *policy.Facts {
		r := &f.Records[0]
		if r.Severity = v1alpha1.SeverityHigh; !r.MultiArch {
			r.Scan.UnsafeSettings = new(0)
		}
		for _, c := range change {
			c(r)
		}
		return f
	}
	secondIs := func(s v1alpha1.Severity) func(*policy.Record) {
		return func(r *policy.Record) { r.Scan.Found[1].Severity = s }
	}
	arch := func(ids ...string) policy.Scan {
		s := affectedBy(ids...).Records[0].Scan
		s.UnsafeSettings = new(0)
		return s
	}
	type testCase struct {
		facts *policy.Facts
		want  bool
	}
	ignoring := v1alpha1.Requirements{
		SeverityLevel:         &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityMedium},
		Vulnerabilities:       &v1alpha1.VulnerabilityRequirement{Max: 100},
		IgnoreVulnerabilities: ignored(day, one),
	}
	p, ignores := mustCompile(t, policyOf(strict())), mustCompile(t, policyOf(ignoring))
	each(t, map[string]testCase{
		"the only one":                    {high(affectedBy(one)), true},
		"one of two that are as bad":      {high(affectedBy(one, two)), false},
		"beside one that is allowed":      {high(affectedBy(one, two), secondIs(v1alpha1.SeverityMedium)), true},
		"beside one of unknown severity":  {high(affectedBy(one, two), secondIs("Urgent")), false},
		"beside unsafe settings":          {high(affectedBy(one), func(r *policy.Record) { r.Scan.UnsafeSettings = new(1) }), false},
		"beside malicious files":          {high(affectedBy(one), func(r *policy.Record) { r.Scan.MaliciousFiles = new(1) }), false},
		"without a number of files":       {high(affectedBy(one), func(r *policy.Record) { r.Scan.MaliciousFiles = nil }), false},
		"beside one that isn't listed":    {high(affectedBy(one), func(r *policy.Record) { r.Scan.Vulnerabilities = new(2) }), false},
		"without a list":                  {high(affectedBy(one), func(r *policy.Record) { r.Scan.Found = nil }), false},
		"a mild one explains nothing":     {high(affectedBy(one), func(r *policy.Record) { r.Scan.Found[0].Severity = v1alpha1.SeverityLow }), false},
		"an unknown level is unexplained": {high(affectedBy(one), func(r *policy.Record) { r.Severity = "Terrible" }), false},
		"none is there":                   {high(affectedBy()), false},
		"all architectures":               {high(found(multiArch(arch(one), arch(one)))), true},
		"one architecture of two":         {high(found(multiArch(arch(one), arch(two)))), false},
		"the architecture that is pinned, since the level is that of all": {high(found(multiArch(arch(one), arch(one))), func(r *policy.Record) {
			r.Architectures, r.PinnedArchitecture = r.Architectures[:1], true
		}), false},
	}, func(t *testing.T, tt testCase) {
		excuses := mustCompileException(t, exception(onlyFor(one))).Excuses(t.Context(), p, tt.facts, now())
		wantEqual(t, "the exception excuses it", tt.want, excuses(policy.CheckSeverityLevel))
		wantEqual(t, "the policy that ignores it is met", tt.want, len(ignores.Evaluate(t.Context(), tt.facts, now())) == 0)
	})
}

const grace = 7 * day

func graced(change ...func(*v1alpha1.ImageScanPolicySpec)) *v1alpha1.ImageScanPolicy {
	p := policyOf(strict())
	p.Spec.Grace = &v1alpha1.Grace{Period: metav1.Duration{Duration: grace}}
	for _, f := range change {
		f(&p.Spec)
	}
	return p
}

func TestWhatHasResultsAndWhatHasWorsened(t *testing.T) {
	t.Parallel()
	rescan := status("waiting_for_scan")
	multi := func(first, second v1alpha1.ScanStatus) func(*policy.Record) {
		return architectures(scanOf(first, 0), scanOf(second, 0))
	}
	type testCase struct {
		record              policy.Record
		allow               bool
		hasResults, worsens bool
	}
	each(t, map[string]testCase{
		"a completed scan":                        {with(), false, true, false},
		"one with more vulnerabilities":           {with(vulnerable(3)), false, true, true},
		"one with malicious files":                {with(func(r *policy.Record) { r.Scan = scan(0, 0, 1) }), false, true, true},
		"one that has become old":                 {with(func(r *policy.Record) { r.ScannedAt = ago(9 * day) }), false, true, true},
		"a scan that failed":                      {with(status("failed")), false, false, true},
		"an image that was never scanned":         {with(status("unscan")), false, false, false},
		"one pushed after its scan":               {with(func(r *policy.Record) { r.UpdatedAt = ago(0) }), false, false, false},
		"one that is scanned again":               {with(rescan), false, true, false},
		"one whose first scan is under way":       {with(rescan, func(r *policy.Record) { r.Severity = "" }), true, false, false},
		"several architectures":                   {with(multi("success", "success")), false, true, false},
		"several, of which one was never scanned": {with(multi("success", "unscan")), true, false, false},
		"one architecture of several":             {with(pinned(scan(0, 0, 0)), status("failed")), false, true, false},
		"an architecture whose scan failed":       {with(multi("success", "failed")), false, false, true},
		"several that are all scanned again":      {with(multi("waiting_for_scan", "waiting_for_scan"), rescan), false, true, false},
	}, func(t *testing.T, tt testCase) {
		p := mustCompile(t, graced(func(s *v1alpha1.ImageScanPolicySpec) {
			if tt.allow {
				s.When.NotScanned = v1alpha1.ActionAllow
			}
		}))
		f := found(tt.record)
		wantEqual(t, "HasResults", tt.hasResults, f.HasResults())
		wantEqual(t, "Worsened", tt.worsens, f.Worsened(p.Evaluate(t.Context(), f, now())))
	})
	p := mustCompile(t, graced())
	for _, state := range []policy.State{policy.StateNotFound, policy.StateUnavailable, 0} {
		f := &policy.Facts{State: state}
		if f.HasResults() || f.Worsened(p.Evaluate(t.Context(), f, now())) {
			t.Errorf("state %d: an unknown image has results or has worsened", state)
		}
	}
}

func TestGrace(t *testing.T) {
	t.Parallel()
	one, two, nameless := with(), with(digestOf(otherDigest)), with(digestOf(""))
	whole, ofArchitecture := with(architectures(scan(0, 0, 0), scan(0, 0, 0))), with(pinned(scan(0, 0, 0)))
	// granted is a grace for a digest, from its creation for so long.
	granted := func(digest string, created time.Time, lasts time.Duration, change ...func(*v1alpha1.ImageScanException)) *policy.Exception {
		change = append([]func(*v1alpha1.ImageScanException){isGrace, excepting(digest), func(e *v1alpha1.ImageScanException) {
			e.CreationTimestamp, e.Spec.ExpiresAt = metav1.NewTime(created), metav1.NewTime(created.Add(lasts))
		}}, change...)
		compiled, _ := policy.CompileException(exception(change...), time.Hour)
		return compiled
	}
	all := func(e ...*policy.Exception) []*policy.Exception { return e }
	byPeople := func(e *v1alpha1.ImageScanException) { e.Labels = nil }
	ofOther := func(e *v1alpha1.ImageScanException) { e.Spec.Policies = []string{"other"} }
	byGlob := func(e *v1alpha1.ImageScanException) { e.Spec.Images = []string{"**"} }
	ofSome := func(e *v1alpha1.ImageScanException) { e.Spec.Vulnerabilities = []string{"CVE-2024-1234"} }
	invalid := func(e *v1alpha1.ImageScanException) { e.Spec.Reason = "" }
	p := mustCompile(t, graced())
	for name, tt := range map[string]struct {
		exceptions []*policy.Exception
		records    []policy.Record
		want       time.Time
	}{
		"an image by its digest, longer than exceptions may last": {all(granted(digest, ago(2*day), grace)), []policy.Record{one}, ago(2 * day).Add(grace)},
		"one whose grace has ended":                               {all(granted(digest, ago(9*day), grace)), []policy.Record{one}, ago(9 * day).Add(grace)},
		"one that ends sooner than the period":                    {all(granted(digest, ago(day), 2*day)), []policy.Record{one}, ago(-day)},
		"no longer than the policy's period":                      {all(granted(digest, ago(day), 60*day)), []policy.Record{one}, ago(day).Add(grace)},
		"another digest":                                          {all(granted(otherDigest, ago(day), grace)), []policy.Record{one}, time.Time{}},
		"none is granted":                                         {nil, []policy.Record{one}, time.Time{}},
		"an image whose digest is none":                           {all(granted(digest, ago(day), grace)), []policy.Record{with(digestOf("sha256:abc"))}, time.Time{}},
		"an image without a digest":                               {all(granted(digest, ago(day), grace)), []policy.Record{nameless}, time.Time{}},
		"two records: the first end counts":                       {all(granted(digest, ago(day), grace), granted(otherDigest, ago(2*day), grace)), []policy.Record{one, two}, ago(2 * day).Add(grace)},
		"two records, one of which is not covered":                {all(granted(digest, ago(day), grace)), []policy.Record{one, two}, time.Time{}},
		"one architecture of an image that passed":                {all(granted(digest, ago(day), grace)), []policy.Record{ofArchitecture}, ago(day).Add(grace)},
		"one architecture that passed":                            {all(granted(arm64Digest, ago(day), grace)), []policy.Record{ofArchitecture}, ago(day).Add(grace)},
		"one that has both: the longer one counts":                {all(granted(digest, ago(5*day), grace), granted(arm64Digest, ago(day), grace)), []policy.Record{ofArchitecture}, ago(day).Add(grace)},
		"the whole of which one architecture passed":              {all(granted(arm64Digest, ago(day), grace)), []policy.Record{whole}, time.Time{}},
		"an exception that hssgate did not write":                 {all(granted(digest, ago(day), grace, byPeople)), []policy.Record{one}, time.Time{}},
		"a grace of another policy":                               {all(granted(digest, ago(day), grace, ofOther)), []policy.Record{one}, time.Time{}},
		"a glob is no digest":                                     {all(granted(digest, ago(day), grace, byGlob)), []policy.Record{one}, time.Time{}},
		"one that names vulnerabilities is not a grace":           {all(granted(digest, ago(day), grace, ofSome)), []policy.Record{one}, time.Time{}},
		"a grace in every namespace":                              {all(granted(digest, ago(day), grace, clusterWide)), []policy.Record{one}, time.Time{}},
		"an invalid exception":                                    {all(granted(digest, ago(day), grace, invalid)), []policy.Record{one}, time.Time{}},
	} {
		e, got := p.Grace(tt.exceptions, found(tt.records...))
		if !got.Equal(tt.want) || (e == nil) != tt.want.IsZero() {
			t.Errorf("%s: the end is %s, %v, want %s", name, got, e, tt.want)
		}
	}
	if e, _ := mustCompile(t, policyOf(strict())).Grace(all(granted(digest, ago(day), grace)), found(one)); e != nil {
		t.Error("a policy that gives no grace gave one")
	}
}

// A grace admits an image only through Policy.Grace, whose findings the gate limits: an exception covers malware, too.
func TestAGraceIsNoOrdinaryException(t *testing.T) {
	t.Parallel()
	e := mustCompileException(t, exception(isGrace, excepting(digest, "**")))
	if !e.IsGrace() || e.Covers("production", &policy.Image{Host: "h.io", Path: "a", Digest: digest}) {
		t.Errorf("grace: %t, and it covers an image", e.IsGrace())
	}
}
