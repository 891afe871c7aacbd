package server

import (
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/hssgate/hssgate/controller"
	"github.com/hssgate/hssgate/webhook"
)

// eventSource is what Events say that they come from.
const eventSource = "hssgate"

func (g *Server) followExceptions() error {
	g.exceptions = controller.NewExceptions(g.manager.GetCache(), g.maxLifetime())
	return g.exceptions.SetupWithManager(g.manager)
}

func (g *Server) followHistories() error {
	g.histories = controller.NewHistories(g.manager.GetCache(), g.Log.With("component", "histories"))
	return g.histories.SetupWithManager(g.manager)
}

func (g *Server) maxLifetime() time.Duration { return time.Duration(g.Config.Exceptions.MaxLifetime) }

// canDecide returns what reviews still wait for. Exceptions and histories count,
// too: without them pods would be denied that are let past.
func (g *Server) canDecide() error {
	if err := g.policies.Ready(); err != nil {
		return err
	}
	if err := g.exceptions.Ready(); err != nil {
		return err
	}
	return g.histories.Ready()
}

func (g *Server) exceptionValidator() webhook.ExceptionValidator {
	return webhook.ExceptionValidator{MaxLifetime: g.maxLifetime(), Clock: clock.RealClock{}}
}

func (g *Server) newExceptionStatus(manager ctrl.Manager) *controller.ExceptionStatus {
	return &controller.ExceptionStatus{
		Client: manager.GetClient(), Events: manager.GetEventRecorder(eventSource), Clock: clock.RealClock{}, MaxLifetime: g.maxLifetime(),
	}
}

// newRecorder returns the count of the uses of exceptions.
func (g *Server) newRecorder() (webhook.Recorder, error) {
	uses := controller.NewExceptionUses(g.manager.GetAPIReader(), g.manager.GetClient(), clock.RealClock{}, g.Log.With("component", "exceptions"))
	return uses, uses.SetupWithManager(g.manager)
}
