package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/hssgate/hssgate/certificate"
	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/webhook"
)

// Reviews are who answers reviews, and who hears of it.
type Reviews struct {
	Decider webhook.Decider
	// Ready returns why no decision can be made yet, or nil. Nil: always ready.
	Ready func() error
	// Metrics counts reviews; nil: nobody counts.
	Metrics *webhook.Metrics
	// Recorder hears of what was let past policies; nil: nobody does.
	Recorder webhook.Recorder
	// Scanner asks for scans of images that HSS has none of; nil: nobody does.
	Scanner webhook.Scanner
	// Tracer makes spans of reviews; nil: nobody traces.
	Tracer trace.Tracer
	// Version is hssgate's.
	Version string
	Log     *slog.Logger
}

// newIntake returns the bounds of what is read and decided at one time. An
// intake lets one review be there in excess.
func newIntake(c *config.Configuration) *webhook.Intake {
	return webhook.NewIntake(webhook.IntakeOptions{
		MaxBytes:    max(1, int64(c.Webhook.MaxInFlightBytes-c.Webhook.MaxReviewBytes)),
		MaxUnderWay: max(webhook.DefaultMaxUnderWay, int64(c.Webhook.MaxReviewBytes)),
	})
}

// NewHandler returns the handler of ValidatePath within the bounds of a
// configuration.
func NewHandler(c *config.Configuration, r Reviews) *webhook.Handler {
	return webhook.NewHandler(webhook.Options{
		Decider:        r.Decider,
		Ready:          r.Ready,
		DryRun:         c.DryRun,
		Version:        r.Version,
		MaxReviewBytes: int64(c.Webhook.MaxReviewBytes),
		Intake:         newIntake(c),
		DefaultTimeout: time.Duration(c.Webhook.DefaultTimeout),
		TimeoutMargin:  time.Duration(c.Webhook.TimeoutMargin),
		Metrics:        r.Metrics,
		Recorder:       r.Recorder,
		Scanner:        r.Scanner,
		Tracer:         r.Tracer,
		Log:            r.Log,
	})
}

// newWebhookServer returns the server, which serves once the manager starts it.
func (g *Server) newWebhookServer() (ctrlwebhook.Server, error) {
	server, err := NewWebhookServer(g.Config.Webhook.BindAddress, g.certificates.source, g.requireClients)
	if err != nil {
		return nil, fmt.Errorf("webhook.bindAddress: %w", err)
	}
	return server, nil
}

// requireClients lets in only the clients that the configuration names, if it
// names any.
func (g *Server) requireClients(c *tls.Config) {
	if g.clients != nil {
		g.clients.Require(c)
	}
}

func (g *Server) newClients() (*certificate.Clients, error) {
	w := &g.Config.Webhook
	if w.ClientCAFile == "" {
		return nil, nil //nolint:nilnil // whoever can connect may ask
	}
	return certificate.NewClients(w.ClientCAFile, w.ClientNames, g.Log.With("component", "clients"))
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
