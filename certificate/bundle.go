package certificate

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"time"
)

// maxBundle bounds a bundle: enough for the replicas that share it, and no
// growth with every restart.
const maxBundle = 8

// AddToBundle returns the PEM bundle with the authority in it. One that has it
// is left as it is, so that replicas that share it come to rest. To others it
// is added last; what has expired or can't be read is dropped, and the oldest
// beyond 8.
func AddToBundle(bundle, authority []byte, now time.Time) []byte {
	var kept [][]byte
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		one := pem.EncodeToMemory(block)
		if bytes.Equal(one, authority) {
			return bundle
		}
		if isCurrent(block, now) {
			kept = append(kept, one)
		}
	}
	kept = append(kept, authority)
	return bytes.Join(kept[max(0, len(kept)-maxBundle):], nil)
}

func isCurrent(block *pem.Block, now time.Time) bool {
	certificate, err := x509.ParseCertificate(block.Bytes)
	return err == nil && now.Before(certificate.NotAfter)
}
