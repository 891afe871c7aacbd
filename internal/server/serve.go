package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/leaderelection"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrlelection "sigs.k8s.io/controller-runtime/pkg/leaderelection"

	"github.com/hssgate/hssgate/internal/audit"
)

const (
	// electionID names the Lease by which the replicas elect the leader.
	electionID = "hssgate"
	// These are client-go's times of elections: how long a Lease lasts, until when the
	// leader must have renewed it, and how often a replica tries.
	leaseDuration, renewDeadline, retryPeriod = 15 * time.Second, 10 * time.Second, 2 * time.Second
	// leaderRetry is the pause before a replica that lost its election stands again.
	leaderRetry = 5 * time.Second
)

// serve runs the manager, and what the leader does, until ctx ends. Then the leader
// steps down at once, so that another replica takes over, and the webhook answers for
// ShutdownDelay before it closes. Its manager has a context that does not end with ctx:
// a review under way would be denied if it saw its context cancelled.
func (g *Server) serve(ctx context.Context) error {
	standing, stopStanding := context.WithCancel(ctx)
	var leader sync.WaitGroup
	leader.Go(func() { g.stand(standing) })
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { g.drain(stop) })()
	go g.reportReady(ctx)
	err := g.manager.Start(serving)
	stopStanding()
	leader.Wait()
	g.leading.Lock()
	defer g.leading.Unlock()
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// stand stands for election, and does what the leader does whenever this replica is
// elected, until ctx ends. It answers reviews also when it loses the election.
func (g *Server) stand(ctx context.Context) {
	if !g.LeaderElect {
		g.lead(ctx)
		return
	}
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		err := g.leadOnce(ctx)
		if ctx.Err() == nil {
			g.Log.Warn("this replica no longer stands for election", "error", err, "retryAfter", leaderRetry)
		}
	}, leaderRetry)
}

// leadOnce leads from the time that this replica is elected until it is no longer.
func (g *Server) leadOnce(ctx context.Context) error {
	lock, err := ctrlelection.NewResourceLock(g.Cluster, g.manager, ctrlelection.Options{
		LeaderElection: true, LeaderElectionID: electionID, LeaderElectionNamespace: g.Namespace, RenewDeadline: renewDeadline,
	})
	if err != nil {
		return fmt.Errorf("prepare the election: %w", err)
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: electionID, Lock: lock, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: g.lead, OnStoppedLeading: func() {}},
	})
	if err != nil {
		return fmt.Errorf("prepare the election: %w", err)
	}
	elector.Run(ctx)
	return errors.New("the election is lost")
}

// lead does what the leader does until ctx ends, once the election before is done with. What
// an audit remembers ends with it: meanwhile another replica may lead.
func (g *Server) lead(ctx context.Context) {
	g.leading.Lock()
	defer g.leading.Unlock()
	var tasks sync.WaitGroup
	tasks.Go(func() { _ = g.newStatus().Start(ctx) })
	if g.Config.Audit.Enabled {
		tasks.Go(func() { _ = audit.New(g.audit).Start(ctx) })
	}
	tasks.Wait()
}

// drain fails the check "stopping" at once, and closes the webhook after
// ShutdownDelay. All other checks pass until then: a Service whose replicas all
// terminate sends requests to those that are ready, and to none if none is.
func (g *Server) drain(stop context.CancelFunc) {
	g.stopping.Store(true)
	g.Log.Info("draining: reviews are answered until the webhook closes", "delay", g.ShutdownDelay)
	time.AfterFunc(g.ShutdownDelay, func() {
		g.closed.Store(true)
		stop()
	})
}

// closeWhileStopping closes each connection after its answer while the replica stops:
// otherwise an API server would keep using it.
func (g *Server) closeWhileStopping(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.stopping.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// readiness returns the checks of /readyz. The replica is ready once it can decide,
// until the webhook closes. Only the check "stopping" fails before, for load
// balancers; the chart's probe excludes it.
func (g *Server) readiness() map[string]healthz.Checker {
	failsOnce := func(reached *atomic.Bool, reason string) healthz.Checker {
		return func(*http.Request) error {
			if reached.Load() {
				return errors.New(reason)
			}
			return nil
		}
	}
	return map[string]healthz.Checker{
		"policies":    func(*http.Request) error { return g.rules.Ready() },
		"certificate": func(*http.Request) error { return g.certificates.valid(time.Now()) },
		"warm-up":     g.warmUp.ready,
		"webhook":     failsOnce(&g.closed, "the webhook's port is closed"),
		"stopping":    failsOnce(&g.stopping, "stopping"),
	}
}

// reportReady logs once that the replica is ready, unless ctx ends before.
func (g *Server) reportReady(ctx context.Context) {
	begun := time.Now()
	isReady := func(context.Context) (bool, error) {
		ready := true
		for _, check := range g.readiness() {
			ready = ready && check(nil) == nil
		}
		return ready, nil
	}
	if wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, isReady) == nil {
		g.Log.Info("ready", "took", time.Since(begun).Round(time.Millisecond).String(), "policies", countByEnforcement(g.rules.Policies()))
	}
}
