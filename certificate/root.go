package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// PEM types of what the package reads and writes.
const (
	certificateType = "CERTIFICATE"
	keyType         = "PRIVATE KEY"
)

// Root is an authority: a certificate that an API server trusts, and the key
// that signs serving certificates. Printed, it shows no key.
type Root struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewRoot makes an ECDSA P-256 authority that is valid for lifetime.
func NewRoot(now time.Time, lifetime time.Duration) (*Root, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make an authority's key: %w", err)
	}
	template, err := newTemplate(now, now.Add(lifetime), "hssgate authority")
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	certificate, err := sign(template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make an authority: %w", err)
	}
	return &Root{certificate: certificate, key: key}, nil
}

// ParseRoot reads what PEM and KeyPEM have written. What others have made, it
// refuses.
func ParseRoot(certificatePEM, keyPEM []byte) (*Root, error) {
	certificate, err := parseAuthority(certificatePEM)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(certificate.PublicKey) {
		return nil, errors.New("the key isn't the certificate's")
	}
	return &Root{certificate: certificate, key: key}, nil
}

func parseAuthority(data []byte) (*x509.Certificate, error) {
	der, err := onlyBlock(data, certificateType)
	if err != nil {
		return nil, fmt.Errorf("the certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("the certificate: %w", err)
	}
	if err := certificate.CheckSignatureFrom(certificate); err != nil {
		return nil, fmt.Errorf("the certificate is no authority that signs itself: %w", err)
	}
	return certificate, nil
}

// parseKey keeps what it was given out of its errors.
func parseKey(data []byte) (*ecdsa.PrivateKey, error) {
	der, err := onlyBlock(data, keyType)
	if err != nil {
		return nil, fmt.Errorf("the key: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("the key: it isn't in PKCS #8")
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("the key: it isn't an ECDSA P-256 key")
	}
	return key, nil
}

func onlyBlock(data []byte, kind string) ([]byte, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("it isn't a PEM block of type %s", kind)
	}
	if second, _ := pem.Decode(rest); second != nil {
		return nil, errors.New("there is more than one PEM block")
	}
	return block.Bytes, nil
}

// PEM returns the certificate: what a caBundle holds.
func (r *Root) PEM() []byte { return encode(r.certificate) }

func encode(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificateType, Bytes: c.Raw})
}

// KeyPEM returns the key, which is a secret, in PKCS #8.
func (r *Root) KeyPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(r.key)
	if err != nil {
		return nil, fmt.Errorf("encode an authority's key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyType, Bytes: der}), nil
}

// Expires returns the end of the authority's life.
func (r *Root) Expires() time.Time { return r.certificate.NotAfter }

// ValidAt reports whether the authority's life has begun and not ended.
func (r *Root) ValidAt(now time.Time) bool { return isValid(r.certificate, now) }

func isValid(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && now.Before(c.NotAfter)
}

// renewAt is when a third of the authority's life is left.
func (r *Root) renewAt() time.Time {
	return lastThird(r.certificate.NotBefore.Add(backdate), r.certificate.NotAfter)
}

func lastThird(from, until time.Time) time.Time { return until.Add(-until.Sub(from) / 3) }

// Equal reports whether both are the same authority.
func (r *Root) Equal(other *Root) bool {
	if r == nil || other == nil {
		return r == other
	}
	return r.certificate.Equal(other.certificate)
}

// Fingerprint tells authorities apart: the first 16 digits of the certificate's
// SHA-256.
func (r *Root) Fingerprint() string { return fingerprint(r.certificate) }

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:8])
}

// String names the authority without its key.
func (r *Root) String() string {
	if r == nil {
		return "no authority"
	}
	return fmt.Sprintf("authority %s, valid until %s", r.Fingerprint(), r.Expires().UTC().Format(time.RFC3339))
}

// Format prints String, whatever the verb.
func (r *Root) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// LogValue is String.
func (r *Root) LogValue() slog.Value { return slog.StringValue(r.String()) }
