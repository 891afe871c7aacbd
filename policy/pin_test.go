package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestScannedDigest(t *testing.T) {
	t.Parallel()
	clean := scan(0, 0, 0)
	neverScanned := func(r *policy.Record) { r.ScannedAt, r.Severity = time.Time{}, "" }
	pushedSince := func(r *policy.Record) { r.UpdatedAt = ago(time.Hour) }
	for name, c := range map[string]struct {
		facts policy.Facts
		want  policy.PinObstacle
		says  string
	}{
		"a scanned image has one":                              {found(cleanRecord()), "", ""},
		"a bad image has one too":                              {found(with(vulnerable(9))), "", ""},
		"a stale answer has one":                               {policy.Facts{State: policy.StateFound, Stale: true, Records: []policy.Record{cleanRecord()}}, "", ""},
		"two records of one digest agree":                      {found(cleanRecord(), cleanRecord()), "", ""},
		"one of two records of one digest was scanned":         {found(with(status("unscan"), neverScanned), cleanRecord()), "", ""},
		"a multi-architecture image has that of the whole":     {found(with(architectures(clean, clean))), "", ""},
		"a record that is scanned again has the scanned one":   {found(with(status("scanning"))), "", ""},
		"so has one of which only the last result is known":    {found(with(status("waiting_for_scan"), neverScanned, before(architectures(clean, clean)))), "", ""},
		"an architecture that is scanned again was scanned":    {found(with(architectures(clean, pending()), before(architectures(clean, clean)))), "", ""},
		"an unknown image has none":                            {policy.Facts{State: policy.StateNotFound, Reason: "HSS knows no such image"}, policy.PinNotFound, "HSS knows no such image"},
		"one that can't be asked for has none":                 {policy.Facts{State: policy.StateUnavailable, Reason: "HSS did not answer"}, policy.PinUnavailable, "HSS did not answer"},
		"no facts are no digest":                               {policy.Facts{}, policy.PinUnavailable, "no scan result available"},
		"found without a record is no digest":                  {policy.Facts{State: policy.StateFound}, policy.PinUnavailable, "no scan result available"},
		"an image that was never scanned has none":             {found(with(status("unscan"), neverScanned)), policy.PinNotScanned, "never scanned"},
		"nor one that is scanned for the first time":           {found(with(status("scanning"), neverScanned)), policy.PinNotScanned, "no completed scan is known"},
		"nor one whose scan failed":                            {found(failed()), policy.PinNotScanned, "its scan ended with failed"},
		"nor one of an unknown status":                         {found(with(status("odd"))), policy.PinNotScanned, "its scan ended with odd"},
		"nor one that was pushed after its scan":               {found(with(pushedSince)), policy.PinNotScanned, "after its last scan"},
		"nor one that was pushed and is scanned again":         {found(with(pushedSince, status("scanning"))), policy.PinNotScanned, "after its last scan"},
		"the last result of another digest is none of this":    {found(with(status("scanning"), neverScanned, func(r *policy.Record) { last := with(digestOf(otherDigest)); r.LastCompleted = &last })), policy.PinNotScanned, "no completed scan is known"},
		"a row without a digest has none":                      {found(with(digestOf(""))), policy.PinNoDigest, "HSS tells no digest"},
		"a row whose digest is a tag has none":                 {found(with(digestOf("latest"))), policy.PinNoDigest, "what HSS tells for a digest is none: latest"},
		"a cut digest is none":                                 {found(with(digestOf(digest[:70]))), policy.PinNoDigest, "is none: sha256:111"},
		"a longer one is none":                                 {found(with(digestOf(digest + "1"))), policy.PinNoDigest, "is none"},
		"one of another algorithm is none":                     {found(with(digestOf("sha512:" + strings.Repeat("1", 128)))), policy.PinNoDigest, "is none"},
		"one in capitals is none":                              {found(with(digestOf("sha256:" + strings.Repeat("A", 64)))), policy.PinNoDigest, "is none"},
		"one with a line break is none, and stays on one line": {found(with(digestOf(digest[:70] + "\n"))), policy.PinNoDigest, "is none: sha256:" + strings.Repeat("1", 63)},
		"two records of two digests are ambiguous":             {found(cleanRecord(), with(digestOf(otherDigest))), policy.PinAmbiguous, digest + " and " + otherDigest},
		"even if only one of them was scanned":                 {found(cleanRecord(), with(digestOf(otherDigest), status("unscan"), neverScanned)), policy.PinAmbiguous, "several digests"},
		"a record without a digest may be another image":       {found(cleanRecord(), with(digestOf(""))), policy.PinNoDigest, "HSS tells no digest"},
		"an architecture's digest is not the image's":          {found(with(architectures(clean, clean), digestOf(amd64Digest))), policy.PinArchitecture, "one architecture: " + amd64Digest},
		"nor is it in a row that isn't called one of several":  {found(with(architectures(clean, clean), digestOf(arm64Digest), func(r *policy.Record) { r.MultiArch = false })), policy.PinArchitecture, "one architecture"},
		"nor that of another record's architecture":            {found(with(digestOf(arm64Digest)), with(architectures(clean, clean), digestOf(arm64Digest))), policy.PinArchitecture, "one architecture"},
		"one of several without its architectures has none":    {found(with(func(r *policy.Record) { r.MultiArch = true })), policy.PinNotScanned, "none of its architectures"},
		"every architecture must have been scanned":            {found(with(architectures(clean, pending()))), policy.PinNotScanned, "not every architecture has been scanned"},
		"and its scan must have succeeded":                     {found(with(architectures(clean, policy.Scan{Status: "failed"}))), policy.PinNotScanned, "not every architecture has been scanned"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := policy.ScannedDigest(&c.facts)
			if got.Obstacle != c.want || !strings.Contains(got.Message, c.says) || strings.Contains(got.Message, "\n") {
				t.Errorf("got obstacle %q: %s\nwant %q: …%s…", got.Obstacle, got.Message, c.want, c.says)
			}
			if want := (got.Obstacle == ""); (got.Digest == digest) != want || (got.Digest == "") == want {
				t.Errorf("got digest %q with obstacle %q", got.Digest, got.Obstacle)
			}
		})
	}
}

func TestFactsAsPinned(t *testing.T) {
	t.Parallel()
	pinned := found(cleanRecord()).AsPinned()
	if want := image().Reference + "@" + digest; pinned.Image.Digest != digest || pinned.Image.Reference != want {
		t.Errorf("got %+v", pinned.Image)
	}
	for name, facts := range map[string]policy.Facts{
		"what names a digest stays":     pinned,
		"what has none to pin stays":    found(failed()),
		"what HSS doesn't know of does": {Image: image(), State: policy.StateNotFound},
	} {
		if diff := cmp.Diff(facts, facts.AsPinned()); diff != "" {
			t.Errorf("%s: -before +after:\n%s", name, diff)
		}
	}
}

func TestPins(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pin         bool
		enforcement v1alpha1.Enforcement
		want        bool
	}{
		{false, v1alpha1.EnforcementDeny, false},
		{true, "", true},
		{true, v1alpha1.EnforcementDeny, true},
		{true, v1alpha1.EnforcementWarn, true},
		{true, v1alpha1.EnforcementAudit, false},
	} {
		p := policyOf(strict())
		p.Spec.Pin, p.Spec.Enforcement = c.pin, c.enforcement
		if got := mustCompile(t, p).Pins(); got != c.want {
			t.Errorf("pin %t with enforcement %q: Pins is %t, want %t", c.pin, c.enforcement, got, c.want)
		}
	}
}
