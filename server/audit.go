package server

import (
	"fmt"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/hssgate/hssgate/audit"
	"github.com/hssgate/hssgate/inventory"
)

// prepareAudit makes ready what the elected replica audits with. It is made
// once: a replica may be elected again.
func (g *Server) prepareAudit(known *inventory.Inventory) {
	if !g.Config.Audit.Enabled {
		return
	}
	judge, counts := g.newGate(known.Background()), audit.NewMetrics(metrics.Registry)
	judge.Patient = true
	triggers := []audit.Trigger{
		{Name: "policies", Prompt: true, Value: func() any { return g.policies.Index() }},
		{Name: "hss", Prompt: true, Value: func() any { return g.hss.Reachable() }},
		{Name: "exceptions", Value: func() any { return g.exceptions.State(time.Now()) }},
		{Name: "graces", Value: func() any { return g.histories.Worsened() }},
		{Name: "images", Value: func() any { return known.Changes() }},
	}
	g.auditInterval = time.Duration(g.Config.Audit.Interval)
	g.audit = func(manager ctrl.Manager) error {
		err := manager.Add(&audit.Auditor{
			Decider: judge, Live: manager.GetAPIReader(), Client: manager.GetClient(), ExemptNamespaces: g.exemptNamespaces(),
			Interval: time.Duration(g.Config.Audit.Interval), Events: g.Config.Audit.Events, Reports: audit.Reports(g.Config.Audit.Reports),
			Triggers: triggers, Ready: g.canDecide, Metrics: counts, Clock: clock.RealClock{}, Log: g.Log.With("component", "audit"),
		})
		if err != nil {
			return fmt.Errorf("audit the running pods: %w", err)
		}
		return nil
	}
}
