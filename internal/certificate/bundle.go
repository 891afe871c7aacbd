package certificate

import (
	"crypto/x509"
	"encoding/pem"
	"slices"
	"time"
)

// maxBundle bounds a caBundle, so that it doesn't grow with every restart of replicas with CAs of their own.
const maxBundle = 8

// MergeBundle returns a caBundle with the CAs, and with what else it held and has not expired if others are
// kept. It keeps the order, so that replicas that share a caBundle don't overwrite each other for ever.
func MergeBundle(bundle []byte, cas []*CA, now time.Time, keepOthers bool) []byte {
	var certificates []*x509.Certificate
	for _, c := range parseBundle(bundle) {
		if isOneOf(c, cas) || keepOthers && now.Before(c.NotAfter) {
			certificates = append(certificates, c)
		}
	}
	for _, ca := range cas {
		if !slices.ContainsFunc(certificates, ca.certificate.Equal) {
			certificates = append(certificates, ca.certificate)
		}
	}
	for excess := len(certificates) - maxBundle; excess > 0; excess-- {
		oldest := slices.IndexFunc(certificates, func(c *x509.Certificate) bool { return !isOneOf(c, cas) })
		if oldest < 0 {
			break
		}
		certificates = slices.Delete(certificates, oldest, oldest+1)
	}
	var merged []byte
	for _, c := range certificates {
		merged = append(merged, pem.EncodeToMemory(&pem.Block{Type: certificateType, Bytes: c.Raw})...)
	}
	return merged
}

// Trusts reports whether a caBundle holds a CA.
func Trusts(bundle []byte, ca *CA) bool {
	return slices.ContainsFunc(parseBundle(bundle), ca.certificate.Equal)
}

// parseBundle returns each certificate once, and leaves out what can't be read.
func parseBundle(bundle []byte) []*x509.Certificate {
	var all []*x509.Certificate
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && !slices.ContainsFunc(all, c.Equal) {
			all = append(all, c)
		}
	}
	return all
}

func isOneOf(c *x509.Certificate, cas []*CA) bool {
	return slices.ContainsFunc(cas, func(ca *CA) bool { return ca.certificate.Equal(c) })
}
