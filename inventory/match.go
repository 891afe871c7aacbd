package inventory

import (
	"slices"
	"strings"

	"github.com/hssgate/hssgate/hss"
)

// fits compares a row with what was asked for, exactly and in every part that
// is known. HSS's filters are not trusted: they may match by substring, and
// other registries hold the same names.
func (k key) fits(row *hss.Image, name string) bool {
	if row.Namespace != k.namespace || row.Name != name {
		return false
	}
	if k.version != "" && row.Version != k.version {
		return false
	}
	return k.registry.holds(row) && (k.digest == "" || hasDigest(row, k.digest))
}

// holds tells whether a row is of this registry.
func (r *registry) holds(row *hss.Image) bool {
	return slices.Contains(r.ImageTypes, string(row.Type)) &&
		same(r.RegistryType, string(row.RegistryType)) &&
		same(r.RegistryName, row.RegistryName) &&
		same(r.RegistryID, row.RegistryID) &&
		same(r.InstanceID, row.InstanceID) &&
		same(r.InstanceName, row.InstanceName)
}

// same compares what is configured; what is not may be anything.
func same(configured, sent string) bool {
	return configured == "" || configured == sent
}

// hasDigest tells whether a digest is that of a row or of an architecture of it.
func hasDigest(row *hss.Image, digest string) bool {
	if !isDigest(digest) {
		return false
	}
	return row.Digest == digest || slices.ContainsFunc(row.Architectures, func(a hss.AssociatedImage) bool {
		return a.Digest == digest
	})
}

// isDigest tells whether s is a whole sha256 digest. Whatever else HSS sends
// as a digest, a cut one say, proves nothing.
func isDigest(s string) bool {
	const hexDigits = 64
	hex, ok := strings.CutPrefix(s, "sha256:")
	if !ok || len(hex) != hexDigits {
		return false
	}
	for _, c := range []byte(hex) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
