package inventory

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
)

// fits compares a row with what was asked for, exactly and in every part that
// is known. HSS's filters are not trusted: they may match by substring, and
// other registries hold the same names.
//
// A row that can't be read fits if it may be one that does: then the answer
// can't be had, as none may be given without it.
func (k key) fits(row *hss.Image, name string) bool {
	m := k.misfit(row, name)
	if row.Unreadable == "" {
		return m == misfit{}
	}
	unknownDigests := row.MultiArch && len(row.Architectures) == 0
	return row.Anonymous() || m == misfit{} || (m.part == partDigest && unknownDigests)
}

// partDigest is the part that is compared last.
const partDigest = "digest"

// unreadable is why nothing can be concluded from a row.
func unreadable(row *hss.Image) error {
	if row.Anonymous() {
		return fmt.Errorf("HSS sent a row that can't be read and may be of any image: %s", row.Unreadable)
	}
	return fmt.Errorf("HSS's row for %s/%s:%s can't be read: %s", row.Namespace, row.Name, row.Version, row.Unreadable)
}

// misfit is the part in which a row is another than was asked for. The zero
// value is that of a row that fits.
type misfit struct{ part, sent, wanted string }

// misfit returns the first part in which a row does not fit.
func (k key) misfit(row *hss.Image, name string) misfit {
	switch {
	case row.Namespace != k.namespace:
		return misfit{"namespace", row.Namespace, k.namespace}
	case row.Name != name:
		return misfit{"image name", row.Name, name}
	case k.version != "" && row.Version != k.version:
		return misfit{"version", row.Version, k.version}
	}
	if m := k.registry.misfit(row); m != (misfit{}) {
		return m
	}
	if k.digest != "" && !hasDigest(row, k.digest) {
		return misfit{partDigest, row.Digest, k.digest}
	}
	return misfit{}
}

// holds tells whether a row is of this registry.
func (r *registry) holds(row *hss.Image) bool { return r.misfit(row) == misfit{} }

// misfit returns the first part that shows a row to be of another registry.
func (r *registry) misfit(row *hss.Image) misfit {
	switch {
	case !slices.Contains(r.ImageTypes, string(row.Type)):
		return misfit{"image type", string(row.Type), strings.Join(r.ImageTypes, " or ")}
	case !same(r.RegistryType, string(row.RegistryType)):
		return misfit{"registry type", string(row.RegistryType), r.RegistryType}
	case !same(r.RegistryName, row.RegistryName):
		return misfit{"registry name", row.RegistryName, r.RegistryName}
	case !same(r.RegistryID, row.RegistryID):
		return misfit{"registry id", row.RegistryID, r.RegistryID}
	case !same(r.InstanceID, row.InstanceID):
		return misfit{"instance id", row.InstanceID, r.InstanceID}
	case !same(r.InstanceName, row.InstanceName):
		return misfit{"instance name", row.InstanceName, r.InstanceName}
	}
	return misfit{}
}

// same compares what is configured; what is not may be anything.
func same(configured, sent string) bool {
	return configured == "" || configured == sent
}

// hasDigest tells whether a digest is that of a row or of an architecture of it.
func hasDigest(row *hss.Image, digest string) bool {
	if !image.IsDigest(digest) {
		return false
	}
	return row.Digest == digest || slices.ContainsFunc(row.Architectures, func(a hss.AssociatedImage) bool {
		return a.Digest == digest
	})
}
