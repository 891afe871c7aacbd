package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// servingLifetime is the validity of a serving certificate, which is renewed at two thirds of it.
const servingLifetime = 90 * 24 * time.Hour

// ErrNoCA means that no serving certificate can be made yet.
var ErrNoCA = errors.New("no CA yet to make a serving certificate from")

// Issuer makes the serving certificate of a process, in memory.
type Issuer struct {
	clock clock.PassiveClock
	hosts []string

	mu      sync.Mutex
	ca      *CA
	serving *tls.Certificate
	renewAt time.Time
}

// NewIssuer returns an issuer without a CA for hosts, which are DNS names and IP addresses; at least one.
func NewIssuer(clk clock.PassiveClock, hosts ...string) *Issuer {
	return &Issuer{clock: clk, hosts: hosts}
}

// NewSelfSigned returns an issuer with a CA that only this process knows.
func NewSelfSigned(clk clock.PassiveClock, hosts ...string) (*Issuer, error) {
	ca, err := NewCA(clk.Now())
	if err != nil {
		return nil, err
	}
	i := NewIssuer(clk, hosts...)
	return i, i.Use(ca)
}

// Use makes a certificate from a CA and serves it from now on. On failure the one before stays.
func (i *Issuer) Use(ca *CA) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.issue(ca)
}

// CA returns the CA in use, or nil.
func (i *Issuer) CA() *CA {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.ca
}

// GetCertificate returns the serving certificate, renewed if it is due. It is for [tls.Config].
func (i *Issuer) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ca == nil {
		return nil, ErrNoCA
	}
	if i.clock.Now().Before(i.renewAt) {
		return i.serving, nil
	}
	return i.serving, i.issue(i.ca)
}

// issue makes a certificate that is valid no longer than the CA.
func (i *Issuer) issue(ca *CA) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a serving key: %w", err)
	}
	now := i.clock.Now()
	until, renewAt := now.Add(servingLifetime), now.Add(servingLifetime*2/3)
	if end := ca.certificate.NotAfter; end.Before(until) {
		until, renewAt = end, end
	}
	template := newTemplate(i.hosts[0], now, until)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, host := range i.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, host)
	}
	leaf, err := sign(template, ca.certificate, &key.PublicKey, ca.key)
	if err != nil {
		return fmt.Errorf("make a serving certificate: %w", err)
	}
	i.ca, i.renewAt = ca, renewAt
	i.serving = &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	return nil
}
