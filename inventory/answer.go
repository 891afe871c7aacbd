package inventory

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
)

// answer is what HSS said of a key. But for its mark it never changes once it
// is stored. Most images have one record, which stands inline.
type answer struct {
	registry *registry
	// asOf is when HSS was asked, stored when its answer was kept, both in
	// nanoseconds since the epoch.
	asOf, stored int64
	// used marks that the answer was used, so that it will be refreshed.
	used atomic.Bool
	// found is false if there are no records. Then first holds only the names.
	found bool
	// doubtful marks that a change was seen which the records don't show in
	// full: the answer serves only while HSS can't be asked.
	doubtful bool
	first    record
	rest     *rest
}

// rest is what few answers have.
type rest struct {
	// digest is the key's, if it has one.
	digest string
	// records are the second and further ones.
	records []record
}

// newAnswer makes the answer for a key.
func newAnswer(k key, records []record, asOf, stored time.Time) *answer {
	a := &answer{registry: k.registry, asOf: asOf.UnixNano(), stored: stored.UnixNano(), found: len(records) > 0}
	if a.found {
		a.first, records = records[0], records[1:]
	} else {
		a.first = nameOnly(k)
	}
	if k.digest != "" || len(records) > 0 {
		a.rest = &rest{digest: strings.Clone(k.digest), records: records}
	}
	return a
}

// nameOnly is a record that says only what a key asks for, whose texts are no
// longer than a reference is.
func nameOnly(k key) record {
	r := record{}
	fields := [texts]string{textNamespace: k.namespace, textName: k.name, textVersion: k.version}
	if err := r.setTexts(&fields); err != nil {
		return record{}
	}
	return r
}

// with returns a copy of the answer with other records.
func (a *answer) with(records []record) *answer {
	return newAnswer(a.key(), records, time.Unix(0, a.asOf), time.Unix(0, a.stored))
}

// each calls f for every record until it returns false.
func (a *answer) each(f func(*record) bool) {
	if !a.found || !f(&a.first) || a.rest == nil {
		return
	}
	for i := range a.rest.records {
		if !f(&a.rest.records[i]) {
			return
		}
	}
}

// records returns the records in a slice of the caller's own.
func (a *answer) records() []record {
	var records []record
	a.each(func(r *record) bool {
		records = append(records, *r)
		return true
	})
	return records
}

// has tells whether any record is as asked for.
func (a *answer) has(what func(*record) bool) bool {
	has := false
	a.each(func(r *record) bool {
		has = what(r)
		return !has
	})
	return has
}

func (a *answer) digest() string {
	if a.rest == nil {
		return ""
	}
	return a.rest.digest
}

// key is what the answer is of.
func (a *answer) key() key {
	k := a.first.key(a.registry)
	if digest := a.digest(); digest != "" {
		k.version, k.digest = "", digest
	}
	return k
}

// key is that of an image of a registry which is named by its tag.
func (r *record) key(of *registry) key {
	return key{
		registry: of, namespace: r.field(textNamespace),
		name: canonical(r.field(textName)), version: r.field(textVersion),
	}
}

// canonical is the name as references spell it.
func canonical(name string) string { return strings.ReplaceAll(name, "$", "/") }

// isOf tells whether the answer is of a key: two keys may have one hash.
func (a *answer) isOf(k key) bool {
	return a.registry == k.registry && a.digest() == k.digest && a.first.field(textNamespace) == k.namespace &&
		(k.digest != "" || a.first.field(textVersion) == k.version) && isSpelling(a.first.field(textName), k.name)
}

// isSpelling tells whether HSS's name is a spelling of a reference's.
func isSpelling(sent, name string) bool {
	return sent == name || (len(sent) == len(name) && strings.Contains(sent, "$") && canonical(sent) == name)
}

// bytes is about how much memory the answer takes in all.
func (a *answer) bytes() int {
	const own, perEntry, perRest = 112, 96, 64
	n := own + perEntry + a.first.bytes()
	if a.rest == nil {
		return n
	}
	n += perRest + len(a.rest.digest)
	for i := range a.rest.records {
		n += recordBytes + a.rest.records[i].bytes()
	}
	return n
}

// isPending tells whether a scan is still to come or under way, for what a
// digest pins, so that HSS will soon say something else.
func (a *answer) isPending(digest string) bool {
	return a.has(func(r *record) bool {
		return (digest == "" || r.holds(digest)) && r.is(pending, digest)
	})
}

// isFound tells whether any record holds a digest, if there is one to hold.
func (a *answer) isFound(digest string) bool {
	return a.found && (digest == "" || (image.IsDigest(digest) && a.has(func(r *record) bool { return r.holds(digest) })))
}

// hasResults tells whether a completed scan speaks for all that a digest pins.
func (a *answer) hasResults(digest string) bool {
	f := policy.Facts{State: policy.StateFound, Records: a.unpack(digest)}
	return f.HasResults()
}

// onlyRecord is a record with what it points to, in one allocation.
type onlyRecord struct {
	records [1]policy.Record
	counts  [3]int
}

// facts says what the answer says of a reference.
func (a *answer) facts(ref *image.Reference, asOf int64) policy.Facts {
	f := policy.Facts{Image: imageOf(ref), State: policy.StateFound, AsOf: time.Unix(0, asOf)}
	f.Records = a.unpack(ref.Digest)
	if len(f.Records) > 0 {
		return f
	}
	f.State = policy.StateNotFound
	k := a.key()
	f.Reason = fmt.Sprintf("HSS project %q has no image %s in registry %q", k.registry.project.name, k, k.registry.Name)
	if a.found {
		f.Reason = fmt.Sprintf("HSS knows %s with %s only, not with %s", k, a.digests(), ref.Digest)
	}
	return f
}

// unpack returns the records that hold a digest, or all of them.
func (a *answer) unpack(digest string) []policy.Record {
	if !a.found {
		return nil
	}
	only := &onlyRecord{}
	a.first.unpack(&only.records[0], &only.counts)
	records := only.records[:]
	if a.rest != nil {
		for i := range a.rest.records {
			var p policy.Record
			a.rest.records[i].unpack(&p, new([3]int))
			records = append(records, p)
		}
	}
	return pin(records, digest)
}

func imageOf(ref *image.Reference) policy.Image {
	i := policy.Image{Host: ref.Host, Path: ref.Path, Tag: ref.Tag, Digest: ref.Digest}
	switch { // String says the same in more allocations
	case ref.Tag == "" && ref.Digest == "":
		i.Reference = ref.Repository()
	case ref.Digest == "":
		i.Reference = ref.Host + "/" + ref.Path + ":" + ref.Tag
	case ref.Tag == "":
		i.Reference = ref.Host + "/" + ref.Path + "@" + ref.Digest
	default:
		i.Reference = ref.Host + "/" + ref.Path + ":" + ref.Tag + "@" + ref.Digest
	}
	return i
}

// digests names the digests of the records, a few of them.
func (a *answer) digests() string {
	const most = 3
	var names []string
	a.each(func(r *record) bool {
		name := "digest " + r.digest()
		if !image.IsDigest(r.digest()) {
			name = "no whole digest"
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		return true
	})
	if more := len(names) - most; more > 0 {
		names = append(names[:most], fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}
