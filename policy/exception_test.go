package policy_test

import (
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

// longest is the longest lifetime that the tests grant.
const longest = 30 * day

// exception is one of an hour ago that ends in a day, changed as told.
func exception(change ...func(*v1alpha1.ImageScanException)) *v1alpha1.ImageScanException {
	e := &v1alpha1.ImageScanException{
		ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "base-image", CreationTimestamp: metav1.NewTime(ago(time.Hour))},
		Spec: v1alpha1.ImageScanExceptionSpec{
			Images: []string{"registry.example.com/team/**"}, Policies: []string{"production"},
			Reason: "waits for the base image", ExpiresAt: metav1.NewTime(now().Add(day)),
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

func onlyFor(ids ...string) func(*v1alpha1.ImageScanException) {
	return func(e *v1alpha1.ImageScanException) { e.Spec.Vulnerabilities = ids }
}

func mustCompileException(tb testing.TB, e *v1alpha1.ImageScanException) *policy.Exception {
	tb.Helper()
	compiled, err := policy.CompileException(e, longest)
	if err != nil {
		tb.Fatal(err)
	}
	return compiled
}

func TestExceptionsCoverWhatTheyName(t *testing.T) {
	t.Parallel()
	app := &policy.Image{Host: "registry.example.com", Path: "team/app", Tag: "1"}
	pinned := &policy.Image{Host: "registry.example.com", Path: "team/app", Digest: digest}
	tests := map[string]struct {
		images []string
		policy string
		image  *policy.Image
		want   bool
	}{
		"a glob covers an image":                         {[]string{"registry.example.com/team/*"}, "production", app, true},
		"a glob covers an image with a digest, too":      {[]string{"registry.example.com/team/*"}, "production", pinned, true},
		"another policy is not let past":                 {[]string{"**"}, "staging", app, false},
		"a policy's name is no prefix":                   {[]string{"**"}, "product", app, false},
		"another image isn't covered":                    {[]string{"registry.example.com/team/other"}, "production", app, false},
		"another host isn't covered":                     {[]string{"example.com/team/app"}, "production", app, false},
		"a digest covers the reference that names it":    {[]string{digest}, "production", pinned, true},
		"a digest covers no reference by tag":            {[]string{digest}, "production", app, false},
		"another digest covers nothing":                  {[]string{otherDigest}, "production", pinned, false},
		"one of several that fits is enough":             {[]string{"docker.io/nginx", otherDigest, digest}, "production", pinned, true},
		"Docker Hub's short names are globs of the same": {[]string{"docker.io/nginx"}, "production", &policy.Image{Host: "docker.io", Path: "library/nginx"}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := mustCompileException(t, exception(excepting(tt.images...))).Covers(tt.policy, tt.image); got != tt.want {
				t.Errorf("Covers = %t, want %t", got, tt.want)
			}
		})
	}
}

func TestExceptionsEnd(t *testing.T) {
	t.Parallel()
	old := func(e *v1alpha1.ImageScanException) { e.CreationTimestamp = metav1.NewTime(ago(longest - time.Minute)) }
	older := func(e *v1alpha1.ImageScanException) { e.CreationTimestamp = metav1.NewTime(ago(longest)) }
	unseen := func(e *v1alpha1.ImageScanException) { e.CreationTimestamp = metav1.Time{} }
	tests := map[string]struct {
		exception *v1alpha1.ImageScanException
		until     time.Time
		active    bool
	}{
		"one that ends tomorrow is active":                {exception(), now().Add(day), true},
		"one that ended a second ago isn't":               {exception(endingIn(-time.Second)), ago(time.Second), false},
		"one that ends now isn't":                         {exception(endingIn(0)), now(), false},
		"one that is too long ends by the longest":        {exception(endingIn(100 * day)), ago(time.Hour).Add(longest), true},
		"one that is too long and old is about to end":    {exception(endingIn(100*day), old), now().Add(time.Minute), true},
		"one that is too long and older has ended":        {exception(endingIn(100*day), older), now(), false},
		"one that no API server has seen has its own end": {exception(endingIn(100*day), unseen), now().Add(100 * day), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := mustCompileException(t, tt.exception)
			if !e.Until().Equal(tt.until) || e.Active(now()) != tt.active {
				t.Errorf("until %s and active %t, want %s and %t", e.Until(), e.Active(now()), tt.until, tt.active)
			}
		})
	}
}

func TestAnInvalidExceptionLetsNothingPast(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]*v1alpha1.ImageScanException{
		"nil":              nil,
		"empty":            {},
		"one bad image":    exception(excepting("**", "sha256:abc")),
		"without an end":   exception(func(e *v1alpha1.ImageScanException) { e.Spec.ExpiresAt = metav1.Time{} }),
		"without a reason": exception(func(e *v1alpha1.ImageScanException) { e.Spec.Reason = " " }),
		"a bad identifier": exception(onlyFor("openssl")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compiled, err := policy.CompileException(e, longest)
			if err == nil {
				t.Error("it compiles")
			}
			image := &policy.Image{Host: "registry.example.com", Path: "team/app", Digest: digest}
			if compiled.Active(now()) || compiled.Covers("production", image) {
				t.Error("it lets an image past")
			}
		})
	}
}

func TestValidateException(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		exception *v1alpha1.ImageScanException
		isNew     bool
		want      string
	}{
		"a good one passes":                        {exception(), true, ""},
		"the longest passes":                       {exception(endingIn(longest)), true, ""},
		"a new one can't be past":                  {exception(endingIn(-time.Second)), true, `spec.expiresAt: Invalid value: "2026-03-01T11:59:59Z": is past: it is now 2026-03-01T12:00:00Z`},
		"an old one can be ended":                  {exception(endingIn(-time.Second)), false, ""},
		"a new one can't be too long":              {exception(endingIn(longest + time.Second)), true, `spec.expiresAt: Invalid value: "2026-03-31T12:00:01Z": is 720h0m1s after its creation, allowed 720h, that is until 2026-03-31T12:00:00Z: to prolong an exception, grant a new one`},
		"an old one can't be prolonged further":    {exception(endingIn(longest)), false, "is 721h after its creation, allowed 720h, that is until 2026-03-31T11:00:00Z"},
		"a claimed time of creation doesn't count": {exception(endingIn(2*longest), func(e *v1alpha1.ImageScanException) { e.CreationTimestamp = metav1.NewTime(now().Add(longest)) }), true, "is 1440h after its creation"},
		"a bad image is named":                     {exception(excepting("**", digest, "docker.io")), true, `spec.images[2]: Invalid value: "docker.io"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			errs := policy.ValidateException(tt.exception, tt.isNew, now(), longest)
			if tt.want == "" && len(errs) > 0 || tt.want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), tt.want)) {
				t.Errorf("problems: %v\nwant: %s", errs, tt.want)
			}
		})
	}
}

// What the schema refuses is refused here, and what it accepts passes.
func TestExceptionSamplesAreJudgedAsBySchema(t *testing.T) {
	t.Parallel()
	for kind, valid := range map[string]bool{"valid": true, "invalid": false} {
		paths, err := filepath.Glob("v1alpha1/testdata/exceptions/" + kind + "/*.yaml")
		if err != nil || len(paths) == 0 {
			t.Fatalf("no samples: %v", err)
		}
		for _, path := range paths {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var e v1alpha1.ImageScanException
			if err := yaml.UnmarshalStrict(content, &e); err != nil {
				continue // a time that is none
			}
			if _, err := policy.CompileException(&e, longest); (err == nil) != valid {
				t.Errorf("%s: %v, valid should be %t", path, err, valid)
			}
		}
	}
}

// affectedBy has one vulnerability for each identifier.
func affectedBy(ids ...string) policy.Facts {
	s := scan(len(ids), 0, 0)
	for _, id := range ids {
		s.Found = append(s.Found, policy.Vulnerability{ID: id, Severity: v1alpha1.SeverityHigh, Package: "openssl"})
	}
	r := cleanRecord()
	r.Scan = s
	return found(r)
}

func TestAnExceptionForVulnerabilitiesExcusesWhatTheyExplain(t *testing.T) {
	t.Parallel()
	const one, two = "CVE-2024-1234", "CVE-2024-5678"
	unlisted := affectedBy(one)
	unlisted.Records[0].Scan.Found = nil
	uncounted := affectedBy(one)
	*uncounted.Records[0].Scan.Vulnerabilities = 2
	layered := affectedBy(one, two, one, two, one, two)
	*layered.Records[0].Scan.Vulnerabilities = 4
	malicious := affectedBy(one)
	malicious.Records[0].Scan.MaliciousFiles = new(1)
	rescan := affectedBy(one)
	rescan.Records[0].MultiArch = true
	rescan.Records[0].Architectures = []policy.Architecture{{Digest: amd64Digest, Scan: affectedBy(one).Records[0].Scan}, {Digest: arm64Digest, Scan: affectedBy(two).Records[0].Scan}}
	tests := map[string]struct {
		facts policy.Facts
		ids   []string
		check policy.Check
		want  bool
	}{
		"the only one":                      {affectedBy(one), []string{one}, policy.CheckVulnerabilities, true},
		"one of two":                        {affectedBy(one, two), []string{one}, policy.CheckVulnerabilities, false},
		"both":                              {affectedBy(one, two), []string{one, two}, policy.CheckVulnerabilities, true},
		"twice, in two packages":            {affectedBy(one, one), []string{one}, policy.CheckVulnerabilities, true},
		"without a list, nothing is":        {unlisted, []string{one}, policy.CheckVulnerabilities, false},
		"more counted than listed":          {uncounted, []string{one}, policy.CheckVulnerabilities, false},
		"malicious files are no such thing": {malicious, []string{one}, policy.CheckMaliciousFiles, false},
		"beside malicious files, it is":     {malicious, []string{one}, policy.CheckVulnerabilities, true},
		"in several layers":                 {layered, []string{one, two}, policy.CheckVulnerabilities, true},
		"one of two in several layers":      {layered, []string{one}, policy.CheckVulnerabilities, false},
		"each architecture counts":          {rescan, []string{one}, policy.CheckVulnerabilities, false},
		"an image that HSS doesn't know":    {policy.Facts{State: policy.StateNotFound}, []string{one}, policy.CheckNotFound, false},
		"none named: whatever it is":        {malicious, nil, policy.CheckMaliciousFiles, true},
	}
	p := mustCompile(t, policyOf(strict()))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := len(p.Evaluate(t.Context(), tt.facts, now()))
			excuses := mustCompileException(t, exception(onlyFor(tt.ids...))).Excuses(t.Context(), p, tt.facts, now())
			if got := excuses(tt.check); got != tt.want {
				t.Errorf("excuses %s = %t, want %t", tt.check, got, tt.want)
			}
			if after := len(p.Evaluate(t.Context(), tt.facts, now())); after != before || before == 0 {
				t.Errorf("the facts were changed: %d findings before, %d after", before, after)
			}
		})
	}
}

// HSS tells one severity level for all that it found. It is explained by named
// vulnerabilities only if nothing else can be the reason.
func TestAnExceptionForVulnerabilitiesExcusesTheSeverityThatTheyExplain(t *testing.T) {
	t.Parallel()
	const one, two = "CVE-2024-1234", "CVE-2024-5678"
	high := func(f policy.Facts, change ...func(*policy.Record)) policy.Facts {
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
	tests := map[string]struct {
		facts policy.Facts
		want  bool
	}{
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
	}
	ignoring := v1alpha1.Requirements{
		SeverityLevel:         &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityMedium},
		Vulnerabilities:       &v1alpha1.VulnerabilityRequirement{Max: 100},
		IgnoreVulnerabilities: []string{one},
	}
	p, ignores := mustCompile(t, policyOf(strict())), mustCompile(t, policyOf(ignoring))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			excuses := mustCompileException(t, exception(onlyFor(one))).Excuses(t.Context(), p, tt.facts, now())
			if got := excuses(policy.CheckSeverityLevel); got != tt.want {
				t.Errorf("the exception excuses it: %t, want %t", got, tt.want)
			}
			if got := len(ignores.Evaluate(t.Context(), tt.facts, now())) == 0; got != tt.want {
				t.Errorf("the policy that ignores it is met: %t, want %t", got, tt.want)
			}
		})
	}
}

func TestExceptionsTellWhatTheyAre(t *testing.T) {
	t.Parallel()
	e := mustCompileException(t, exception(onlyFor("CVE-2024-1234"), func(e *v1alpha1.ImageScanException) { e.Spec.Reason = "a\u2028b" }))
	got := []any{e.Namespace(), e.Name(), e.Reason(), e.Vulnerabilities()}
	if diff := cmp.Diff([]any{"prod", "base-image", "a b", []string{"CVE-2024-1234"}}, got); diff != "" {
		t.Errorf("exception (-want +got):\n%s", diff)
	}
}

func TestExceptionsOfAPolicy(t *testing.T) {
	t.Parallel()
	for written, want := range map[v1alpha1.Permission]bool{"": true, v1alpha1.PermissionAllow: true, v1alpha1.PermissionForbid: false, "Maybe": false} {
		p := policyOf(strict())
		p.Spec.Exceptions = written
		if compiled, _ := policy.Compile(p); compiled.AllowsExceptions() != want {
			t.Errorf("exceptions: %q allows exceptions: %t, want %t", written, !want, want)
		}
	}
}

// Whatever is written, a compiled exception covers only what it seems to.
func FuzzException(f *testing.F) {
	for _, image := range []string{"**", "registry.example.com/*", digest, "sha256:*", "SHA256:" + digest[7:], "a/b", "registry.example.com/team/app:1", "\x00"} {
		f.Add(image, "registry.example.com", "team/app", digest)
	}
	f.Fuzz(func(t *testing.T, pattern, host, path, named string) {
		image := &policy.Image{Host: host, Path: path, Digest: named}
		e, err := policy.CompileException(exception(excepting(pattern)), longest)
		covers := e.Covers("production", image)
		switch {
		case err != nil && covers:
			t.Errorf("%q is invalid and covers %+v", pattern, image)
		case covers && !strings.Contains(pattern, "*") && pattern != named && !strings.HasSuffix(pattern, path[strings.LastIndex(path, "/")+1:]):
			t.Errorf("%q has no wildcard and covers %+v", pattern, image)
		case strings.HasPrefix(pattern, "sha256:") && covers && pattern != named:
			t.Errorf("digest %q covers %+v", pattern, image)
		}
	})
}
