package server

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// addChecks makes the replica ready once it can decide and be reached. It stays
// ready until the webhook closes, but for the check "stopping".
func (g *Server) addChecks(ctx context.Context) error {
	g.readiness = map[string]healthz.Checker{
		"policies":    func(*http.Request) error { return g.policies.Ready() },
		"exceptions":  func(*http.Request) error { return g.exceptions.Ready() },
		"histories":   func(*http.Request) error { return g.histories.Ready() },
		"certificate": func(*http.Request) error { return g.certificates.valid(time.Now()) },
		"webhook":     g.serving(),
		"warm-up":     g.warmUp.ready,
		"stopping":    g.notStopping,
	}
	return g.addHealth(ctx)
}

// serving returns the check of the webhook's port.
func (g *Server) serving() healthz.Checker {
	opened := once(g.listening)
	return func(r *http.Request) error {
		if g.closed.Load() {
			return errClosed
		}
		return opened(r)
	}
}

// readyPoll is how often a starting replica checks whether it is ready.
const readyPoll = 200 * time.Millisecond

// isReady reports whether every readiness check passes.
func (g *Server) isReady() bool {
	for _, check := range g.readiness {
		if check(nil) != nil {
			return false
		}
	}
	return true
}

// reportReady logs once that the replica is ready, unless ctx ends before.
func (g *Server) reportReady(ctx context.Context) {
	begun := time.Now()
	err := wait.PollUntilContextCancel(ctx, readyPoll, true, func(context.Context) (bool, error) { return g.isReady(), nil })
	if err == nil {
		g.Log.Info("ready", "took", time.Since(begun).Round(time.Millisecond).String(), "policies", g.policies.Index().Count())
	}
}

// listening is asked for only when there's a certificate: without one each
// question is a failed handshake in the log.
func (g *Server) listening(r *http.Request) error {
	if _, err := g.certificates.source(nil); err != nil {
		return err
	}
	return g.manager.GetWebhookServer().StartedChecker()(r)
}

// once asks check until it has succeeded: what listens goes on listening until
// the end, and each question is a TLS connection.
func once(check healthz.Checker) healthz.Checker {
	var succeeded atomic.Bool
	return func(r *http.Request) error {
		if succeeded.Load() {
			return nil
		}
		err := check(r)
		succeeded.Store(err == nil)
		return err
	}
}
