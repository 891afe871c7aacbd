package inventory

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hssgate/hssgate/policy"
)

// answer is what HSS said of a key. It never changes once it is stored.
type answer struct {
	records []policy.Record
	asOf    time.Time
}

// weight is how many of the cache's images an answer counts for.
func (a *answer) weight() uint32 {
	n := 0
	for i := range a.records {
		n += 1 + len(a.records[i].Architectures)
	}
	return uint32(max(1, min(n, 1<<20))) //nolint:gosec // bounded just here
}

// fill completes facts with what the answer says of their image's digest.
func (a *answer) fill(f *policy.Facts, k key) {
	f.AsOf = a.asOf
	f.Records = pin(a.records, f.Image.Digest)
	if len(f.Records) > 0 {
		f.State = policy.StateFound
		return
	}
	f.State = policy.StateNotFound
	f.Reason = fmt.Sprintf("HSS project %q has no image %s in registry %q", k.registry.project.name, k, k.registry.Name)
	if len(a.records) > 0 {
		f.Reason = fmt.Sprintf("HSS knows %s with %s only, not with %s", k, digestsOf(a.records), f.Image.Digest)
	}
}

// digestsOf names the digests of records, a few of them.
func digestsOf(records []policy.Record) string {
	const most = 3
	var names []string
	for i := range records {
		name := "digest " + records[i].Digest
		if !isDigest(records[i].Digest) {
			name = "no whole digest"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if more := len(names) - most; more > 0 {
		names = append(names[:most], fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}
