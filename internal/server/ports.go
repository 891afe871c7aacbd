package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/time/rate"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
)

// Limits of the ports, which every pod can reach unless a NetworkPolicy forbids it.
// An API server has as many connections as it has requests under way, some
// hundreds, and sends a few hundred bytes of headers. Kubelet and Prometheus send
// one request at a time.
const (
	maxConnections      = 1024
	maxProbeConnections = 64
	// maxScrapes is how many answers with metrics are made at a time.
	maxScrapes     = 4
	maxHeaderBytes = 2 << 10
	// reviewTimeout is longer than any review may take, which is 30 s. It is also for the handshake.
	reviewTimeout = 35 * time.Second
	// idleTimeout is longer than that of the API server, which is 90 s, so that no request meets the end of its
	// connection. It is also for the first request: an API server opens connections that it uses later.
	idleTimeout = 3 * time.Minute
	// probeTimeout is for a request for health or metrics and its answer.
	probeTimeout = 10 * time.Second
	// disabled is the address of a port that is not served.
	disabled = "0"
)

// CertificateSource returns a server's certificate, as GetCertificate of tls.Config.
type CertificateSource = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// NewWebhookServer listens on address, a host:port, and returns the server of
// handler over HTTPS. Options change its TLS configuration at the end.
func NewWebhookServer(
	ctx context.Context, address string, source CertificateSource, handler http.Handler, log *slog.Logger, options ...func(*tls.Config),
) (*manager.Server, error) {
	c := newTLSConfig(source)
	for _, option := range options {
		option(c)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("webhook.bindAddress: %w", err)
	}
	limited := newConnections(listener, maxConnections, false)
	server := newReviewServer(limited, handler, log)
	return &manager.Server{Name: "webhook", Server: server, Listener: tls.NewListener(limited, c), ShutdownTimeout: new(reviewTimeout)}, nil
}

// newReviewServer returns the server of handler on connections that it tracks.
func newReviewServer(limited *connections, handler http.Handler, log *slog.Logger) *http.Server {
	server := &http.Server{
		Handler: handler, MaxHeaderBytes: maxHeaderBytes, ErrorLog: newErrorLog(log.With("component", "webhook")),
		ReadHeaderTimeout: idleTimeout, WriteTimeout: reviewTimeout, IdleTimeout: idleTimeout,
	}
	limited.track(server)
	return server
}

// newTLSConfig allows TLS 1.2 with forward secrecy and TLS 1.3. HTTP/2 is off: the
// API server does not need it, and floods of its frames have overloaded servers.
func newTLSConfig(source CertificateSource) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos:     []string{"http/1.1"},
		GetCertificate: source,
	}
}

// addProbe serves a port for probes, unless it is disabled, over HTTPS if there is a source. One request is answered on
// each connection. When it is full, connections of the client with the most are
// closed, so that one client keeps no other out.
func (g *Server) addProbe(ctx context.Context, name, address string, handler http.Handler, source CertificateSource) error {
	if address == disabled {
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("serve %s: %w", name, err)
	}
	server := &http.Server{
		Handler: handler, MaxHeaderBytes: maxHeaderBytes, ErrorLog: newErrorLog(g.Log.With("component", name)),
		ReadTimeout: probeTimeout, WriteTimeout: probeTimeout,
	}
	server.SetKeepAlivesEnabled(false)
	listener = newConnections(listener, maxProbeConnections, true)
	if source != nil {
		listener = tls.NewListener(listener, newTLSConfig(source))
	}
	return g.manager.Add(&manager.Server{Name: name, Server: server, Listener: listener, ShutdownTimeout: new(probeTimeout)})
}

// addProbes serves the metrics, and the health checks.
func (g *Server) addProbes(ctx context.Context) error {
	scrapes := promhttp.HandlerFor(metrics.Registry, promhttp.HandlerOpts{
		ErrorHandling:     promhttp.HTTPErrorOnError,
		EnableOpenMetrics: true, // the only format with exemplars
	})
	scrapes, source, err := g.protect(scrapes)
	if err != nil {
		return err
	}
	metricsMux := http.NewServeMux()
	metricsMux.Handle("GET /metrics", inTurn(scrapes))
	health := http.NewServeMux()
	for path, checks := range map[string]map[string]healthz.Checker{"/healthz": {"ping": healthz.Ping}, "/readyz": g.readiness()} {
		handler := http.StripPrefix(path, &healthz.Handler{Checks: checks})
		health.Handle("GET "+path, handler)
		health.Handle("GET "+path+"/", handler)
	}
	if err := g.addProbe(ctx, "metrics", g.Config.MetricsBindAddress, metricsMux, source); err != nil {
		return err
	}
	return g.addProbe(ctx, "health", g.Config.HealthBindAddress, health, nil)
}

// protect has the API server check who reads the metrics, and returns the certificate to serve them with, if SecureMetrics
// is set.
func (g *Server) protect(scrapes http.Handler) (http.Handler, CertificateSource, error) {
	if !g.SecureMetrics {
		return scrapes, nil, nil
	}
	filter, err := filters.WithAuthenticationAndAuthorization(g.Cluster, g.manager.GetHTTPClient())
	if err != nil {
		return nil, nil, fmt.Errorf("protect the metrics: %w", err)
	}
	scrapes, err = filter(logr.FromSlogHandler(g.Log.With("component", "metrics").Handler()), scrapes)
	return scrapes, g.certificates.source, err
}

// inTurn makes a few answers at a time, while other requests wait: promhttp's own
// limit would refuse them, so that one client could keep Prometheus out. Each
// answer is buffered, so that a client that does not read holds up no other.
func inTurn(next http.Handler) http.Handler {
	slots := make(chan struct{}, maxScrapes)
	return http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}), probeTimeout, "too many requests for metrics")
}

// errorLog logs some of what net/http reports of connections. Every client that
// reaches the port can cause such lines.
type errorLog struct {
	log       *slog.Logger
	sometimes rate.Sometimes
}

func newErrorLog(to *slog.Logger) *log.Logger {
	return log.New(&errorLog{log: to, sometimes: rate.Sometimes{First: 10, Interval: 10 * time.Second}}, "", 0)
}

// Write logs a line.
func (l *errorLog) Write(line []byte) (int, error) {
	l.sometimes.Do(func() { l.log.Info("connection failed", "error", string(bytes.TrimSpace(line))) })
	return len(line), nil
}
