package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

// clientsInterval is how often the file of authorities is read again. A mounted
// Secret or ConfigMap takes longer than that to reach its files.
const clientsInterval = 10 * time.Second

// Clients lets in only clients with a certificate of authorities that a file
// holds, and follows the file.
type Clients struct {
	file    string
	names   []string
	log     *slog.Logger
	content []byte
	pool    atomic.Pointer[x509.CertPool]
}

// NewClients reads the authorities (PEM) in file. Only clients with one of the
// names, as common name or DNS name, are let in; without names, all of them.
func NewClients(file string, names []string, log *slog.Logger) (*Clients, error) {
	c := &Clients{file: file, names: names, log: log}
	if err := c.reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Start follows the file until ctx ends. While it can't be read, or holds no
// authority, the last good ones count.
func (c *Clients) Start(ctx context.Context) error {
	ticker := time.NewTicker(clientsInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := c.reload(); err != nil {
			c.log.Error("the authorities of clients stay as they were", "error", err)
		}
	}
}

// NeedLeaderElection is false: every replica lets clients in.
func (*Clients) NeedLeaderElection() bool { return false }

func (c *Clients) reload() error {
	content, err := os.ReadFile(c.file)
	if err != nil {
		return fmt.Errorf("read the authorities of clients: %w", err)
	}
	if bytes.Equal(content, c.content) {
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return fmt.Errorf("read the authorities of clients: %s holds no certificate in PEM", c.file)
	}
	c.content = content
	c.pool.Store(pool)
	c.log.Info("authorities of clients", "file", c.file, "count", len(fingerprints(content)))
	return nil
}

// Require changes a server's configuration, complete otherwise, so that a
// handshake without such a certificate fails.
func (c *Clients) Require(server *tls.Config) {
	server.ClientAuth = tls.RequireAndVerifyClientCert
	server.VerifyConnection = c.verify
	// A session that is resumed would be of an authority of before.
	server.SessionTicketsDisabled = true
	base := server.Clone()
	server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := base.Clone()
		now.ClientCAs = c.pool.Load()
		return now, nil
	}
}

var errUnknownClient = errors.New("webhook.clientNames doesn't name this client")

func (c *Clients) verify(state tls.ConnectionState) error {
	if len(c.names) == 0 {
		return nil
	}
	client := state.PeerCertificates[0]
	for _, name := range append([]string{client.Subject.CommonName}, client.DNSNames...) {
		if slices.Contains(c.names, name) {
			return nil
		}
	}
	c.log.Warn("a client was refused", "commonName", client.Subject.CommonName, "dnsNames", client.DNSNames, "reason", errUnknownClient)
	return errUnknownClient
}
