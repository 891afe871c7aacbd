package server

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// Bounds of the ports for probes and metrics, which any pod can reach unless a
// NetworkPolicy forbids it. Kubelet and Prometheus have one request at a time.
const (
	maxProbeConnections = 64
	// maxAnswering is how many answers with metrics are made at one time.
	maxAnswering = 4
	// probeTimeout is for a request and its answer.
	probeTimeout = 10 * time.Second
	// disabled is the address of a port that isn't served.
	disabled = "0"
)

// newProbeServer returns a server that answers one GET on each connection. Of
// too many connections, those of the client with the most are closed, so that
// one client keeps no other out.
func newProbeServer(ctx context.Context, name, address string, handler http.Handler) (*manager.Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w", name, err)
	}
	bounded := newConnections(listener, maxProbeConnections)
	bounded.bySource = true
	server := &http.Server{
		Handler: onlyGet(handler), MaxHeaderBytes: maxHeaderBytes,
		ReadTimeout: probeTimeout, WriteTimeout: probeTimeout,
		ErrorLog: log.New(newSparingLog(name), "", 0),
	}
	server.SetKeepAlivesEnabled(false)
	return &manager.Server{Name: name, Server: server, Listener: bounded, ShutdownTimeout: new(probeTimeout)}, nil
}

// onlyGet refuses requests that have a body.
func onlyGet(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			http.Error(w, "only GET is allowed", http.StatusMethodNotAllowed)
		case r.ContentLength != 0:
			http.Error(w, "no body is allowed", http.StatusRequestEntityTooLarge)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// inTurn has a few answers made at a time. Others wait while they are connected:
// promhttp's MaxRequestsInFlight would refuse them, so that one client could keep
// Prometheus out. An answer that its client doesn't read holds up no other.
func inTurn(next http.Handler) http.Handler {
	slots := make(chan struct{}, maxAnswering)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
		case <-r.Context().Done():
			return
		}
		made := answer{ResponseWriter: w, code: http.StatusOK}
		func() {
			defer func() { <-slots }()
			next.ServeHTTP(&made, r)
		}()
		w.WriteHeader(made.code)
		_, _ = w.Write(made.body.Bytes()) // a client that left gets none
	})
}

// answer is one that is made before it is sent.
type answer struct {
	http.ResponseWriter

	code int
	body bytes.Buffer
}

// WriteHeader notes the code.
func (a *answer) WriteHeader(code int) { a.code = code }

// Write adds to the body.
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

// addMetrics serves /metrics.
func (g *Server) addMetrics(ctx context.Context) error {
	if g.Config.MetricsBindAddress == disabled {
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(metrics.Registry, promhttp.HandlerOpts{
		ErrorHandling:     promhttp.HTTPErrorOnError,
		EnableOpenMetrics: true, // which alone has exemplars
	}))
	server, err := newProbeServer(ctx, "metrics", g.Config.MetricsBindAddress, inTurn(mux))
	if err != nil {
		return err
	}
	return g.manager.Add(server)
}

// addHealth serves /healthz and /readyz.
func (g *Server) addHealth(ctx context.Context) error {
	if g.Config.HealthBindAddress == disabled {
		return nil
	}
	mux := http.NewServeMux()
	for path, checks := range map[string]map[string]healthz.Checker{"/healthz": {"ping": healthz.Ping}, "/readyz": g.readiness} {
		handler := http.StripPrefix(path, &healthz.Handler{Checks: checks})
		mux.Handle(path, handler)
		mux.Handle(path+"/", handler)
	}
	server, err := newProbeServer(ctx, "health", g.Config.HealthBindAddress, mux)
	if err != nil {
		return err
	}
	return g.manager.Add(server)
}
