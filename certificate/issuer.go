package certificate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Certificates start a little in the past, for clocks that lag.
const (
	servingLifetime = 90 * 24 * time.Hour
	backdate        = 5 * time.Minute
)

// ErrNoAuthority says that there's nothing yet to make certificates from.
var ErrNoAuthority = errors.New("there is no authority yet to make a serving certificate from")

// Issuer makes the serving certificate for its hosts, in memory, from whichever
// authority it is told to use.
type Issuer struct {
	clock clock.PassiveClock
	hosts []string

	mu      sync.Mutex
	root    *Root
	serving *tls.Certificate
	renewAt time.Time
}

// NewIssuer returns an issuer without an authority for hosts, which are DNS
// names and IP addresses; at least one is needed.
func NewIssuer(clk clock.PassiveClock, hosts ...string) (*Issuer, error) {
	if len(hosts) == 0 {
		return nil, errors.New("make serving certificates: no host to make them for")
	}
	return &Issuer{clock: clk, hosts: hosts}, nil
}

// Use makes a certificate from root and serves it from now on. If that fails,
// the one before stays.
func (i *Issuer) Use(root *Root) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.issue(root)
}

// Root returns the authority in use, or nil.
func (i *Issuer) Root() *Root {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.root
}

// GetCertificate returns a serving certificate with at least a third of its
// life before it, as far as the authority's life allows. It is for tls.Config.
func (i *Issuer) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.root == nil {
		return nil, ErrNoAuthority
	}
	if i.clock.Now().Before(i.renewAt) || !i.serving.Leaf.NotAfter.Before(i.root.Expires()) {
		return i.serving, nil
	}
	return i.serving, i.issue(i.root)
}

// issue makes a certificate that doesn't outlive root.
func (i *Issuer) issue(root *Root) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a serving key: %w", err)
	}
	now := i.clock.Now()
	until := now.Add(servingLifetime)
	if root.Expires().Before(until) {
		until = root.Expires()
	}
	template, err := i.template(now, until)
	if err != nil {
		return err
	}
	leaf, err := sign(template, root.certificate, &key.PublicKey, root.key)
	if err != nil {
		return fmt.Errorf("make a serving certificate: %w", err)
	}
	i.root, i.renewAt = root, lastThird(now, until)
	i.serving = &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	return nil
}

func (i *Issuer) template(now, until time.Time) (*x509.Certificate, error) {
	template, err := newTemplate(now, until, i.hosts[0])
	if err != nil {
		return nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, host := range i.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, host)
	}
	return template, nil
}

func newTemplate(now, until time.Time, name string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-backdate),
		NotAfter:     until,
	}, nil
}

func sign(template, parent *x509.Certificate, key *ecdsa.PublicKey, parentKey *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, parentKey)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read what was signed: %w", err)
	}
	return signed, nil
}
