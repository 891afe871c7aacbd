package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hssgate/hssgate/internal/image"
)

// Affected is all that HSS has of one vulnerability in the images of a project: a
// reverse index. It shows which images have the vulnerability, and which do not, without
// the lists of what the images have. It does not change once all is added.
type Affected struct {
	// ID is a CVE ID, or the identifier of an advisory.
	ID string

	asOf time.Time
	// listed are the vulnerabilities of HSS that are the one, or have it as one of their CVEs.
	listed []Vulnerability
	// contents are by which of listed images with an ID or a digest are affected, and names
	// images with a name and a version. Several may have a name: it is not documented how HSS
	// writes it in the index, so only the last segment counts, without a tag.
	contents map[string]places
	names    map[[2]string]places
	// leftOut are those of listed that do not count.
	leftOut places
}

// places is a set of places in a list of at most maxPlaces.
type places uint64

const maxPlaces = 64

// AffectedImage is an image that has the vulnerability, as far as HSS shows it.
type AffectedImage struct{ ImageID, Name, Version, Digest string }

// NewAffected returns an index of what HSS lists at a time, which is to be added.
func NewAffected(id string, asOf time.Time) *Affected {
	return &Affected{ID: id, asOf: asOf, contents: map[string]places{}, names: map[[2]string]places{}}
}

// Add adds images that have a vulnerability of HSS. It fails if one of them may be any.
func (a *Affected) Add(v Vulnerability, images []AffectedImage) error {
	at := slices.IndexFunc(a.listed, func(known Vulnerability) bool { return known.ID == v.ID })
	if at < 0 {
		at, a.listed = len(a.listed), append(a.listed, v)
	}
	if at == maxPlaces {
		return fmt.Errorf("HSS lists %s by more than %d vulnerabilities", a.ID, maxPlaces)
	}
	for _, one := range images {
		if one.Name == "" || one.Version == "" && !image.IsDigest(one.Digest) {
			return fmt.Errorf("an image with %s is listed without its name, or without version and digest", a.ID)
		}
		a.names[[2]string{LastSegment(one.Name), one.Version}] |= 1 << at
		for _, key := range []string{one.ImageID, one.Digest} {
			if key != "" {
				a.contents[key] |= 1 << at
			}
		}
	}
	return nil
}

// LastSegment returns the last segment of an image's name, without a tag: it is not
// documented how HSS writes names in its lists of affected images.
func LastSegment(name string) string {
	name, _, _ = strings.Cut(name[strings.LastIndexAny(name, "/$")+1:], ":")
	return name
}

// indexLag is how much later than a scan an index must be to have its result: clocks
// differ, and HSS may take some time to sum up.
const indexLag = 2 * clockTolerance

// isOf reports whether the index is later than the scan of a record. It is optional.
func (a *Affected) isOf(r *Record) bool {
	return a != nil && !r.ScannedAt.IsZero() && r.ScannedAt.Add(indexLag).Before(a.asOf)
}

// excludes reports whether no scan of a record found the vulnerability. Whatever may be
// the image counts: any of its IDs and digests, and its name.
func (a *Affected) excludes(r *Record) bool {
	if !a.isOf(r) {
		return false
	}
	name := LastSegment(r.Name)
	by := a.contents[r.ImageID] | a.contents[r.Digest] | a.names[[2]string{name, r.Version}] | a.names[[2]string{name, ""}]
	for i := range r.Architectures {
		by |= a.contents[r.Architectures[i].ImageID] | a.contents[r.Architectures[i].Digest]
	}
	return by&^a.leftOut == 0
}

// found returns the vulnerabilities of HSS by which what a scan is of has the one: the
// architecture, or the record itself without one. A name does not show that.
func (a *Affected) found(r *Record, of *Architecture) (found []Vulnerability) {
	if !a.isOf(r) {
		return nil
	}
	id, digest := r.ImageID, r.Digest
	if of != nil {
		id, digest = of.ImageID, of.Digest
	}
	by := a.contents[id]
	if has := a.contents[digest]; has != 0 && image.IsDigest(digest) {
		by |= has
	}
	by &^= a.leftOut
	for i := range a.listed {
		if by&(1<<i) != 0 {
			found = append(found, a.listed[i])
		}
	}
	return found
}

// lists reports whether a vulnerability of HSS is the one, or has it as one of its CVEs.
func (a *Affected) lists(id string) bool {
	return slices.ContainsFunc(a.listed, func(v Vulnerability) bool { return v.ID == id })
}

// without returns the index as if some vulnerabilities of HSS had not been found.
func (a *Affected) without(leftOut func(*Vulnerability) bool) *Affected {
	without := *a
	for i := range a.listed {
		if leftOut(&a.listed[i]) {
			without.leftOut |= 1 << i
		}
	}
	return &without
}

// Size returns about how much memory the index takes, in bytes.
func (a *Affected) Size() int {
	const each = 160
	if a == nil {
		return 0
	}
	return each * (1 + len(a.contents) + len(a.names))
}
