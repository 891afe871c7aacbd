package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// electedRetry is the pause before a replica that lost its election, or failed
// at what the elected one does, stands for it again.
const electedRetry = 5 * time.Second

var (
	// errStopping is why the check "stopping" fails: the replica still serves,
	// and load balancers are to send nothing new.
	errStopping = errors.New("stopping")
	// errClosed is why the check "webhook" fails at the end.
	errClosed = errors.New("the webhook's port is closed")
)

// serve runs both managers until ctx ends. Then the elected one stops at once,
// so that another replica takes over, and the webhook goes on for ShutdownDelay
// before it answers what it has and closes.
//
// The manager of the webhook has a context that doesn't end with ctx: reviews
// in flight must see none that is cancelled, since that would deny them.
func (g *Server) serve(ctx context.Context) error {
	leading, stopLeading := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		g.lead(leading)
	}()
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	// It always runs: a manager that fails ends no context.
	defer context.AfterFunc(ctx, func() { g.drain(stop) })()
	go g.reportReady(ctx)
	err := g.manager.Start(serving)
	stopLeading()
	<-stopped
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
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

// notStopping is the check for load balancers that know a replica by /readyz
// alone. The chart's readiness probe excludes it.
func (g *Server) notStopping(*http.Request) error {
	if g.stopping.Load() {
		return errStopping
	}
	return nil
}

// moveOn closes each connection after its answer while the replica stops: an
// API server would go on asking over those that it has.
func (g *Server) moveOn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.stopping.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// lead does what one replica does for all, whenever this is the elected one,
// until ctx ends. To lose the election is no reason to stop answering reviews.
func (g *Server) lead(ctx context.Context) {
	err := g.elected.Start(ctx)
	for ctx.Err() == nil {
		g.Log.Warn("this replica no longer stands for election", "error", err, "retryAfter", electedRetry)
		select {
		case <-ctx.Done():
			return
		case <-time.After(electedRetry):
		}
		err = g.leadAgain(ctx)
	}
}

func (g *Server) leadAgain(ctx context.Context) error {
	elected, err := g.newElected()
	if err != nil {
		return err
	}
	return elected.Start(ctx)
}
