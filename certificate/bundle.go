package certificate

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"time"
)

// maxBundle bounds a bundle: enough for the replicas that share it, and no
// growth with every restart.
const maxBundle = 8

// AddToBundle returns the PEM bundle with the authority in it. One that has it,
// and nothing that has to go, is left as it is, so that replicas that share it
// come to rest. To others it is added last; what has expired or can't be read is
// dropped, and the oldest beyond 8.
func AddToBundle(bundle, authority []byte, now time.Time) []byte {
	return MergeBundle(bundle, [][]byte{authority}, now, nil)
}

// MergeBundle is AddToBundle for several authorities. Others, known by their
// fingerprint, are dropped if drop says so; nil drops none.
func MergeBundle(bundle []byte, authorities [][]byte, now time.Time, drop func(fingerprint string) bool) []byte {
	var ours, others [][]byte
	complete := true
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		one := pem.EncodeToMemory(block)
		switch {
		case slices.ContainsFunc(ours, func(a []byte) bool { return bytes.Equal(a, one) }):
			complete = false
		case slices.ContainsFunc(authorities, func(a []byte) bool { return bytes.Equal(a, one) }):
			ours = append(ours, one)
		case stays(block, now, drop):
			others = append(others, one)
		default:
			complete = false
		}
	}
	if complete && len(ours) == len(authorities) {
		return bundle
	}
	others = others[max(0, len(others)+len(authorities)-maxBundle):]
	return bytes.Join(append(others, authorities...), nil)
}

func stays(block *pem.Block, now time.Time, drop func(string) bool) bool {
	certificate, err := x509.ParseCertificate(block.Bytes)
	return err == nil && now.Before(certificate.NotAfter) && (drop == nil || !drop(fingerprint(certificate)))
}

// fingerprints returns those of the certificates in a bundle.
func fingerprints(bundle []byte) map[string]bool {
	found := map[string]bool{}
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
			found[fingerprint(certificate)] = true
		}
	}
	return found
}
