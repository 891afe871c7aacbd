package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
)

// Bounds of the webhook's port. An API server has as many connections as it has
// requests under way, some hundreds, and sends a few hundred bytes of headers.
const (
	maxConnections = 1024
	maxHeaderBytes = 2 << 10
	// headTimeout is for the handshake, and for the head of a request.
	headTimeout = 10 * time.Second
	// requestTimeout is longer than any review may take, which is 30 s.
	requestTimeout = 35 * time.Second
	// idleTimeout is longer than that of the API server, so that no request
	// meets the end of its connection.
	idleTimeout = 3 * time.Minute
	// closeTimeout is how long an end waits for the last answers.
	closeTimeout = time.Minute
)

// webhookServer is a controller-runtime webhook server that bears with whoever
// can reach its port.
type webhookServer struct {
	ctrlwebhook.Server

	address string
	mux     *http.ServeMux
	tls     *tls.Config
	started atomic.Bool
}

// NewWebhookServer returns a webhook server for address, a host:port, over HTTPS
// only. Options change its TLS configuration at the end.
func NewWebhookServer(address string, source CertificateSource, options ...func(*tls.Config)) (ctrlwebhook.Server, error) {
	_, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if _, err := strconv.ParseUint(portText, 10, 16); err != nil {
		return nil, fmt.Errorf("address %s: %w", address, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: source}
	harden(c)
	for _, option := range options {
		option(c)
	}
	mux := http.NewServeMux()
	handlers := ctrlwebhook.NewServer(ctrlwebhook.Options{WebhookMux: mux})
	return &webhookServer{Server: handlers, address: address, mux: mux, tls: c}, nil
}

// Register has a handler answer what is sent to a path. controller-runtime would
// count it once more, which takes as long as a decision does: hssgate's own
// metrics tell more.
func (s *webhookServer) Register(path string, handler http.Handler) { s.mux.Handle(path, handler) }

// Start serves until ctx ends, and then until the requests under way have their
// answers.
func (s *webhookServer) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("serve the webhook: %w", err)
	}
	bounded := newConnections(listener, maxConnections)
	server := s.newServer(ctx, bounded)
	closed := make(chan error, 1)
	defer context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		closed <- server.Shutdown(ctx)
	})()
	s.started.Store(true)
	if err := server.Serve(tls.NewListener(bounded, s.tls)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the webhook: %w", err)
	}
	return <-closed
}

func (s *webhookServer) newServer(ctx context.Context, bounded *connections) *http.Server {
	return &http.Server{
		Handler:     bounded.watch(s.mux),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: bounded.remember, ConnState: bounded.follow,
		MaxHeaderBytes:    maxHeaderBytes,
		ReadHeaderTimeout: headTimeout, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout, IdleTimeout: idleTimeout,
		ErrorLog: log.New(newSparingLog("webhook"), "", 0),
	}
}

// StartedChecker returns a check whether the server answers.
func (s *webhookServer) StartedChecker() healthz.Checker {
	return func(r *http.Request) error {
		if !s.started.Load() {
			return errors.New("the webhook server has not been started yet")
		}
		ctx := context.Background() //nolint:contextcheck // who asks without a request has no other
		if r != nil {
			ctx = r.Context()
		}
		dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: headTimeout}, Config: &tls.Config{
			InsecureSkipVerify: true, //nolint:gosec // it asks whether somebody answers, not who
		}}
		conn, err := dialer.DialContext(ctx, "tcp", s.address)
		if err != nil {
			return fmt.Errorf("the webhook server cannot be reached: %w", err)
		}
		return conn.Close()
	}
}

// sparingLog takes what net/http has to say of connections, and logs some of it:
// whoever reaches the port can have it say something.
type sparingLog struct {
	component  string
	limiter    *rate.Limiter
	suppressed atomic.Int64
}

func newSparingLog(component string) *sparingLog {
	const burst = 10
	return &sparingLog{component: component, limiter: rate.NewLimiter(rate.Every(10*time.Second), burst)}
}

// Write logs a line.
func (l *sparingLog) Write(line []byte) (int, error) {
	if !l.limiter.Allow() {
		l.suppressed.Add(1)
		return len(line), nil
	}
	slog.Info("a connection failed", "component", l.component, "error", string(bytes.TrimSpace(line)), "notLogged", l.suppressed.Swap(0))
	return len(line), nil
}
