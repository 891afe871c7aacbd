package certificate

import (
	"time"

	"k8s.io/utils/clock"
)

// memoryLifetime is that of an authority that isn't kept: longer than any
// process lives.
const memoryLifetime = 10 * 365 * 24 * time.Hour

// Authority signs serving certificates for the hosts it is made for. Its key
// never leaves memory.
type Authority struct{ *Issuer }

// NewAuthority makes an ECDSA P-256 authority for hosts, which are DNS names
// and IP addresses; at least one is needed.
func NewAuthority(clk clock.PassiveClock, hosts ...string) (*Authority, error) {
	issuer, err := NewIssuer(clk, hosts...)
	if err != nil {
		return nil, err
	}
	root, err := NewRoot(clk.Now(), memoryLifetime)
	if err != nil {
		return nil, err
	}
	return &Authority{issuer}, issuer.Use(root)
}

// PEM returns the authority's certificate: what a caBundle holds.
func (a *Authority) PEM() []byte { return a.Root().PEM() }
