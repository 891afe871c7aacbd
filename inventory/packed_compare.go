package inventory

import (
	"hash/maphash"
	"slices"
	"unique"
)

// isSame tells whether two records say the same, but for their last completed
// results, which are ours to keep.
func (r *record) isSame(o *record) bool {
	return r.text == o.text && r.ends == o.ends && r.counts == o.counts && r.attributes == o.attributes &&
		r.scannedAt == o.scannedAt && r.updatedAt == o.updatedAt && slices.Equal(r.architectures(), o.architectures())
}

// isSameRow tells whether two records are of one row of HSS's list with one
// digest, which may have changed otherwise.
func (r *record) isSameRow(o *record) bool {
	return r.digest() == o.digest() && r.isSameEntry(o)
}

// isSameEntry is isSameRow, whatever the digests.
func (r *record) isSameEntry(o *record) bool {
	a, b := r.attributes.Value(), o.attributes.Value()
	a.status, a.severity, a.multiArch, a.identity = b.status, b.severity, b.multiArch, b.identity
	return hasID(r.field(textID)) && r.field(textID) == o.field(textID) && a == b
}

// content is a number that differs if isSame would.
func (r *record) content(seed maphash.Seed) uint64 {
	type plain struct {
		text                 string
		ends                 [texts - 1]uint16
		counts               counts
		attributes           unique.Handle[attributes]
		scannedAt, updatedAt int64
	}
	h := maphash.Comparable(seed, plain{r.text, r.ends, r.counts, r.attributes, r.scannedAt, r.updatedAt})
	for _, a := range r.architectures() {
		h = h*31 + maphash.Comparable(seed, a)
	}
	return h
}
