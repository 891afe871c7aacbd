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

// errStopping says that the replica answers, but wants no new callers.
var errStopping = errors.New("stopping")

// serve runs both managers until ctx ends. Then the elected one stops at once,
// so that another replica takes over, and the webhook goes on for ShutdownDelay,
// unready, before it answers what it has and closes.
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
	err := g.manager.Start(serving)
	stopLeading()
	<-stopped
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// drain says that the replica isn't ready, and stops it after ShutdownDelay.
func (g *Server) drain(stop context.CancelFunc) {
	g.stopping.Store(true)
	g.Log.Info("stopping: no longer ready, and answering until nobody asks", "delay", g.ShutdownDelay)
	time.AfterFunc(g.ShutdownDelay, stop)
}

// notStopping is a readiness check.
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
