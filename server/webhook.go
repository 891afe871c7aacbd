package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/hssgate/hssgate/certificate"
	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/controller"
	"github.com/hssgate/hssgate/webhook"
)

// Reviews are who answers reviews, and who hears of it.
type Reviews struct {
	Decider webhook.Decider
	// Ready returns why no decision can be made yet, or nil. Nil: always ready.
	Ready func() error
	// Metrics counts reviews; nil: nobody counts.
	Metrics *webhook.Metrics
	Log     *slog.Logger
}

// NewHandler returns the handler of ValidatePath within the bounds of a
// configuration.
func NewHandler(c *config.Configuration, r Reviews) *webhook.Handler {
	return webhook.NewHandler(webhook.Options{
		Decider:          r.Decider,
		Ready:            r.Ready,
		DryRun:           c.DryRun,
		MaxReviewBytes:   int64(c.Webhook.MaxReviewBytes),
		MaxInFlightBytes: int64(c.Webhook.MaxInFlightBytes),
		DefaultTimeout:   time.Duration(c.Webhook.DefaultTimeout),
		TimeoutMargin:    time.Duration(c.Webhook.TimeoutMargin),
		Metrics:          r.Metrics,
		Log:              r.Log,
	})
}

// webhookServer is controller-runtime's, with whatever keeps its certificate.
type webhookServer struct {
	ctrlwebhook.Server
	watcher   *certwatcher.CertWatcher
	authority *certificate.Authority
}

func (g *Server) newWebhookServer() (*webhookServer, error) {
	s := &webhookServer{}
	source, err := s.certificates(g)
	if err != nil {
		return nil, err
	}
	s.Server, err = NewWebhookServer(g.Config.Webhook.BindAddress, source)
	if err != nil {
		return nil, fmt.Errorf("webhook.bindAddress: %w", err)
	}
	return s, nil
}

// CertificateSource gives a server its certificate, as tls.Config's
// GetCertificate.
type CertificateSource = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// NewWebhookServer returns controller-runtime's webhook server for address, a
// host:port, over HTTPS only.
func NewWebhookServer(address string, source CertificateSource) (ctrlwebhook.Server, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("address %s: %w", address, err)
	}
	return ctrlwebhook.NewServer(ctrlwebhook.Options{Host: host, Port: port, TLSOpts: []func(*tls.Config){harden, func(c *tls.Config) {
		c.GetCertificate = source
	}}}), nil
}

// harden allows TLS 1.2 with forward secrecy and TLS 1.3. HTTP/2 is off: the
// API server doesn't need it, and its floods have felled servers.
func harden(c *tls.Config) {
	c.MinVersion = tls.VersionTLS12
	c.CipherSuites = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
	c.NextProtos = []string{"http/1.1"}
}

// certificates returns the source of the serving certificate: files that are
// followed as they change, or an authority of hssgate's own.
func (s *webhookServer) certificates(g *Server) (CertificateSource, error) {
	w := g.Config.Webhook
	certFile, keyFile := w.TLSCertFile, w.TLSKeyFile
	if w.CertDir != "" {
		certFile, keyFile = filepath.Join(w.CertDir, "tls.crt"), filepath.Join(w.CertDir, "tls.key")
	}
	var err error
	if certFile != "" {
		if s.watcher, err = certwatcher.New(certFile, keyFile); err != nil {
			return nil, fmt.Errorf("read the serving certificate: %w", err)
		}
		return s.watcher.GetCertificate, nil
	}
	if s.authority, err = certificate.NewAuthority(clock.RealClock{}, g.servingHosts()...); err != nil {
		return nil, err
	}
	if g.CAFile != "" {
		if err := os.WriteFile(g.CAFile, s.authority.PEM(), 0o600); err != nil {
			return nil, fmt.Errorf("write the authority: %w", err)
		}
	}
	return s.authority.GetCertificate, nil
}

func (g *Server) servingHosts() []string {
	if len(g.Config.Webhook.Hosts) > 0 {
		return g.Config.Webhook.Hosts
	}
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if g.Namespace != "" {
		service := "hssgate." + g.Namespace + ".svc"
		hosts = append([]string{service, service + ".cluster.local"}, hosts...)
	}
	return hosts
}

// attach has the manager run what keeps the certificate.
func (s *webhookServer) attach(manager ctrl.Manager, g *Server) error {
	if s.watcher != nil {
		if err := manager.Add(s.watcher); err != nil {
			return fmt.Errorf("follow the serving certificate: %w", err)
		}
		return nil
	}
	if g.Config.Webhook.ConfigurationName == "" {
		return nil
	}
	bundle := &controller.Bundle{
		Client: manager.GetClient(), ConfigurationName: g.Config.Webhook.ConfigurationName,
		Authority: s.authority.PEM(), Clock: clock.RealClock{},
	}
	return bundle.SetupWithManager(manager)
}
