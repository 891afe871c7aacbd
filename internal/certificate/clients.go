package certificate

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
)

// Clients accepts only clients with a certificate from the CAs in a file, which is read again at every
// handshake: it may be of a mounted Secret or ConfigMap.
type Clients struct {
	file  string
	names []string
	log   *slog.Logger

	mu      sync.Mutex
	content []byte
	pool    *x509.CertPool
}

// NewClients reads the CAs (PEM) in file. Only clients with one of the names, as common name or DNS name,
// are accepted; without names, all of them.
func NewClients(file string, names []string, log *slog.Logger) (*Clients, error) {
	c := &Clients{file: file, names: names, log: log}
	_, err := c.cas()
	return c, err
}

// cas returns the CAs in the file. While it can't be read, or holds no CA, those are the last good ones.
func (c *Clients) cas() (*x509.CertPool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	content, err := os.ReadFile(c.file)
	if err != nil {
		return c.pool, fmt.Errorf("read the client CAs: %w", err)
	}
	if bytes.Equal(content, c.content) {
		return c.pool, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return c.pool, fmt.Errorf("read the client CAs: %s holds no certificate in PEM", c.file)
	}
	c.content, c.pool = content, pool
	c.log.Info("client CAs read", "file", c.file, "count", len(parseBundle(content)))
	return pool, nil
}

// Require changes a complete TLS configuration so that a handshake without such a certificate fails.
func (c *Clients) Require(server *tls.Config) {
	server.ClientAuth = tls.RequireAndVerifyClientCert
	server.VerifyConnection = c.verify
	// A resumed session could be of a CA that is gone.
	server.SessionTicketsDisabled = true
	base := server.Clone()
	server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pool, err := c.cas()
		if err != nil {
			c.log.Error("client CAs not read again: the ones before stay in use", "error", err)
		}
		now := base.Clone()
		now.ClientCAs = pool
		return now, nil
	}
}

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
	err := errors.New("webhook.clientNames doesn't name this client")
	c.log.Warn("client refused", "commonName", client.Subject.CommonName, "dnsNames", client.DNSNames, "reason", err)
	return err
}
