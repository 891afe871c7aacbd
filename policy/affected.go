package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hssgate/hssgate/internal/image"
)

// Affected is all that HSS has of one vulnerability in the images of a project: a
// reverse index. It shows that an image does not have the vulnerability, without the
// list of what the image has. It does not change.
type Affected struct {
	// ID is a CVE ID, or the identifier of an advisory.
	ID string
	// Advisories are the identifiers by which HSS lists the vulnerability, all of them.
	Advisories []string

	asOf   time.Time
	images map[string]struct{} // the keys of those that have it
}

// AffectedImage is an image that has the vulnerability, as far as HSS shows it.
type AffectedImage struct{ ImageID, Name, Version, Digest string }

// NewAffected returns an index of everything that HSS listed at a time. It fails if
// one of the images may be any.
func NewAffected(id string, asOf time.Time, advisories []string, images []AffectedImage) (*Affected, error) {
	a := &Affected{ID: id, Advisories: advisories, asOf: asOf, images: map[string]struct{}{}}
	for i := range images {
		one := &images[i]
		if one.Name == "" || one.Version == "" && !image.IsDigest(one.Digest) {
			return nil, fmt.Errorf("an image with %s is listed without its name, or without version and digest", id)
		}
		for _, key := range keysOf(one.Name, one.Version, one.ImageID, one.Digest) {
			a.images[key] = struct{}{}
		}
	}
	return a, nil
}

// keysOf returns what an image is recognised by. Any of them is enough: it is not
// documented how HSS writes each of them in the index. So of the name only the last
// segment counts, without a tag.
func keysOf(name, version, id, digest string) []string {
	name = name[strings.LastIndexAny(name, "/$")+1:]
	name, _, _ = strings.Cut(name, ":")
	keys := []string{"name " + name + ":" + version}
	if id != "" {
		keys = append(keys, "id "+id)
	}
	if digest != "" {
		keys = append(keys, "digest "+digest)
	}
	return keys
}

// indexLag is how much later than a scan an index must be to have its result: clocks
// differ, and HSS may take some time to sum up.
const indexLag = 2 * clockTolerance

// isOf reports whether the index is later than the scan of a record. It is optional.
func (a *Affected) isOf(r *Record) bool {
	return a != nil && !r.ScannedAt.IsZero() && r.ScannedAt.Add(indexLag).Before(a.asOf)
}

// excludes reports whether no scan of a record found the vulnerability.
func (a *Affected) excludes(r *Record) bool {
	if !a.isOf(r) {
		return false
	}
	keys := append(keysOf(r.Name, r.Version, r.ImageID, r.Digest), keysOf(r.Name, "", "", "")...)
	for i := range r.Architectures {
		keys = append(keys, keysOf(r.Name, r.Version, r.Architectures[i].ImageID, r.Architectures[i].Digest)...)
	}
	return !slices.ContainsFunc(keys, func(key string) bool { _, has := a.images[key]; return has })
}

// Size returns about how much memory the index takes, in bytes.
func (a *Affected) Size() int {
	const each = 48
	if a == nil {
		return 0
	}
	n := len(a.ID)
	for key := range a.images {
		n += each + len(key)
	}
	return n
}
