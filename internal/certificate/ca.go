// Package certificate makes the CA and the serving certificates of hssgate, and verifies the certificates of clients.
package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// caLifetime outlives most clusters. A CA is replaced by hand (docs/certificates.md).
	caLifetime = 10 * 365 * 24 * time.Hour
	// backdate is for clocks that lag.
	backdate = 5 * time.Minute

	certificateType = "CERTIFICATE"
	keyType         = "PRIVATE KEY"
)

// CA is a self-signed certificate that signs serving certificates. Printing it shows no key, which is behind a pointer.
type CA struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// NewCA makes an ECDSA P-256 CA that is valid for ten years.
func NewCA(now time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key of a CA: %w", err)
	}
	template := newTemplate("hssgate CA", now, now.Add(caLifetime))
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	certificate, err := sign(template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	return &CA{certificate: certificate, key: key}, nil
}

// ParseCA reads the results of PEM and KeyPEM. Its errors repeat nothing of the key.
func ParseCA(certificatePEM, keyPEM []byte) (*CA, error) {
	pair, err := tls.X509KeyPair(certificatePEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("read the CA: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	switch {
	case !ok:
		return nil, errors.New("key: cannot sign")
	case len(pair.Certificate) != 1:
		return nil, fmt.Errorf("certificate: must be one, has %d", len(pair.Certificate))
	}
	if err := pair.Leaf.CheckSignatureFrom(pair.Leaf); err != nil {
		return nil, fmt.Errorf("certificate: not a self-signed CA: %w", err)
	}
	return &CA{certificate: pair.Leaf, key: key}, nil
}

// newTemplate returns a template without a serial number: the signature adds a random one.
func newTemplate(name string, now, until time.Time) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-backdate), NotAfter: until}
}

func sign(template, parent *x509.Certificate, key *ecdsa.PublicKey, parentKey crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, parentKey)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return x509.ParseCertificate(der)
}

// PEM returns the certificate, as a caBundle holds it.
func (c *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificateType, Bytes: c.certificate.Raw})
}

// KeyPEM returns the key, which is a secret, in PKCS #8.
func (c *CA) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		return nil, fmt.Errorf("encode the key of a CA: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyType, Bytes: der}), nil
}

// NotBefore returns the start of the CA's validity.
func (c *CA) NotBefore() time.Time { return c.certificate.NotBefore }

// ValidAt reports whether the CA is valid at a time.
func (c *CA) ValidAt(now time.Time) bool {
	return !now.Before(c.certificate.NotBefore) && now.Before(c.certificate.NotAfter)
}

// Equal reports whether both are the same CA, or both nil.
func (c *CA) Equal(other *CA) bool {
	if c == nil || other == nil {
		return c == other
	}
	return c.certificate.Equal(other.certificate)
}

// String describes the CA without its key: by the first 16 digits of its SHA-256, and its end.
func (c *CA) String() string {
	if c == nil {
		return "none"
	}
	sum := sha256.Sum256(c.certificate.Raw)
	return fmt.Sprintf("CA %x, valid until %s", sum[:8], c.certificate.NotAfter.UTC().Format(time.RFC3339))
}

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
