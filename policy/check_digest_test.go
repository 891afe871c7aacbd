package policy_test

import (
	"testing"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestDigest(t *testing.T) {
	t.Parallel()
	const missing = "digest: names no digest, required by the policy"
	pinned := found(cleanRecord())
	pinned.Image.Digest = digest
	notFound := policy.Facts{Image: image(), State: policy.StateNotFound, Reason: "no such image"}
	for _, c := range []struct {
		name    string
		require v1alpha1.DigestRequirement
		facts   policy.Facts
		want    string
	}{
		{"a tag passes if nothing is said", "", found(cleanRecord()), ""},
		{"a tag passes if a digest is optional", v1alpha1.DigestOptional, found(cleanRecord()), ""},
		{"a tag fails if a digest is required", v1alpha1.DigestRequired, found(cleanRecord()), missing},
		{"a digest passes", v1alpha1.DigestRequired, pinned, ""},
		{"it is told once for several records", v1alpha1.DigestRequired, found(cleanRecord(), cleanRecord()), missing},
		{"it is told beside what HSS doesn't know", v1alpha1.DigestRequired, notFound, "notFound: no such image\n" + missing},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require := v1alpha1.Requirements{Digest: c.require}
			wantLines(t, c.want, evaluate(t, policyOf(require), c.facts))
		})
	}
}
