package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Lifetimes. Certificates start a little in the past, for clocks that lag.
const (
	authorityLifetime = 10 * 365 * 24 * time.Hour
	servingLifetime   = 90 * 24 * time.Hour
	renewBefore       = servingLifetime / 3
	backdate          = 5 * time.Minute
)

// Authority signs serving certificates for the hosts it is made for. Its key
// never leaves memory.
type Authority struct {
	clock       clock.PassiveClock
	hosts       []string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey

	mu      sync.Mutex
	serving *tls.Certificate
}

// NewAuthority makes an ECDSA P-256 authority for hosts, which are DNS names
// and IP addresses; at least one is needed.
func NewAuthority(clk clock.PassiveClock, hosts ...string) (*Authority, error) {
	if len(hosts) == 0 {
		return nil, errors.New("make an authority: no host to make certificates for")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make an authority's key: %w", err)
	}
	template, err := newTemplate(clk.Now(), authorityLifetime, "hssgate authority")
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	certificate, err := sign(template, template, key, key)
	if err != nil {
		return nil, fmt.Errorf("make an authority: %w", err)
	}
	return &Authority{clock: clk, hosts: hosts, certificate: certificate, key: key}, nil
}

// PEM returns the authority's certificate: what a caBundle holds.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// GetCertificate returns a serving certificate with at least a third of its
// life before it. It is for tls.Config.
func (a *Authority) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.serving != nil && a.clock.Now().Before(a.serving.Leaf.NotAfter.Add(-renewBefore)) {
		return a.serving, nil
	}
	serving, err := a.issue()
	if err != nil {
		return nil, err
	}
	a.serving = serving
	return serving, nil
}

func (a *Authority) issue() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a serving key: %w", err)
	}
	template, err := newTemplate(a.clock.Now(), servingLifetime, a.hosts[0])
	if err != nil {
		return nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, host := range a.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, host)
	}
	leaf, err := sign(template, a.certificate, key, a.key)
	if err != nil {
		return nil, fmt.Errorf("make a serving certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func newTemplate(now time.Time, lifetime time.Duration, name string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(lifetime),
	}, nil
}

func sign(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read what was signed: %w", err)
	}
	return signed, nil
}
