package inventory

import (
	"slices"

	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
)

// pin returns the records that hold a digest: whole records whose digest it
// is, and of a record with architectures of that digest those alone. Without a digest it returns all records. What it returns may be
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
		pinned = append(pinned, pinRecord(&records[i], digest)...)
	}
	return pinned
}

// pinRecord returns what a digest pins of a record: all of it, or one record for
// each of its architectures that has the digest. Several may, and all count.
func pinRecord(r *policy.Record, digest string) []policy.Record {
	if r.Digest == digest {
		return []policy.Record{*r}
	}
	var last []policy.Record
	if r.LastCompleted != nil {
		last = pinRecord(r.LastCompleted, digest)
	}
	var pinned []policy.Record
	add := func(a policy.Architecture) {
		p := *r
		p.Architectures, p.PinnedArchitecture, p.LastCompleted = []policy.Architecture{a}, true, nil
		if n := len(pinned); len(last) > 0 {
			p.LastCompleted = &last[min(n, len(last)-1)]
		}
		pinned = append(pinned, p)
	}
	for _, a := range r.Architectures {
		if a.Digest == digest {
			add(a)
		}
	}
	for n := len(pinned); n > 0 && n < len(last); n++ { // each of the last results counts, too
		add(pinned[0].Architectures[0])
	}
	return pinned
}
