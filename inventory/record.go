package inventory

import (
	"slices"

	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
)

// pin returns the records that hold a digest: whole records whose digest it
// is, and of a record with an architecture of that digest that architecture
// alone. Without a digest it returns all records. What it returns may be
// records itself.
func pin(records []policy.Record, digest string) []policy.Record {
	if digest == "" {
		return records
	}
	if !image.IsDigest(digest) {
		return nil
	}
	other := func(r policy.Record) bool { return r.Digest != digest }
	if !slices.ContainsFunc(records, other) {
		return records
	}
	var pinned []policy.Record
	for i := range records {
		if p, ok := pinRecord(&records[i], digest); ok {
			pinned = append(pinned, p)
		}
	}
	return pinned
}

func pinRecord(r *policy.Record, digest string) (policy.Record, bool) {
	if r.Digest == digest {
		return *r, true
	}
	for _, a := range r.Architectures {
		if a.Digest != digest {
			continue
		}
		p := *r
		p.Architectures, p.PinnedArchitecture, p.LastCompleted = []policy.Architecture{a}, true, nil
		if r.LastCompleted != nil {
			if last, ok := pinRecord(r.LastCompleted, digest); ok {
				p.LastCompleted = &last
			}
		}
		return p, true
	}
	return policy.Record{}, false
}
