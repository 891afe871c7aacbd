package server

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/hssgate/hssgate/controller"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/webhook"
)

// newScanner returns who asks for scans, or nil if nobody does.
func (g *Server) newScanner(known *inventory.Inventory) webhook.Scanner {
	if !g.Config.ScansOnDemand() {
		return nil
	}
	log := g.Log.With("component", "scans")
	options := inventory.ScanOptions{Observer: newScanMetrics(metrics.Registry, log)}
	switch name := g.Config.ScanClaimsConfigMap; {
	case name == "":
		log.Warn("scanClaimsConfigMap is not set, so what was asked to be scanned is remembered by each replica alone, until it ends")
	case g.Namespace == "":
		log.Warn("hssgate runs outside a cluster, so what was asked to be scanned is remembered by this replica alone, until it ends")
	default:
		options.Book = &controller.Notebook{
			Live: g.manager.GetAPIReader(), Client: g.manager.GetClient(),
			Name: client.ObjectKey{Namespace: g.Namespace, Name: name},
		}
	}
	return known.NewScans(options)
}

// scanMetrics counts what came of wanting images scanned, and logs it.
type scanMetrics struct {
	log      *slog.Logger
	outcomes *prometheus.CounterVec
}

var _ inventory.ScanObserver = (*scanMetrics)(nil)

func newScanMetrics(registry prometheus.Registerer, log *slog.Logger) *scanMetrics {
	m := &scanMetrics{log: log, outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hssgate_scans_wanted_total",
		Help: "Attempts to have HSS scan an image that a pod needs, by what came of it: HSS was asked (asked), did not confirm it (unconfirmed), " +
			"was asked to synchronise a registry (synchronised), had been asked already (held), refused (refused), or could not be asked (failed); " +
			"the bounds are used up (exhausted), or there is nothing to scan (needless).",
	}, []string{"project", "outcome"})}
	registry.MustRegister(m.outcomes)
	return m
}

// Scan counts an attempt, and logs what costs money or did not work.
func (m *scanMetrics) Scan(project, image string, outcome inventory.ScanOutcome, note string) {
	m.outcomes.WithLabelValues(project, string(outcome)).Inc()
	level := slog.LevelInfo
	switch outcome {
	case inventory.ScanUnconfirmed, inventory.ScanRefused, inventory.ScanExhausted, inventory.ScanFailed:
		level = slog.LevelWarn
	case inventory.ScanHeld, inventory.ScanNeedless:
		level = slog.LevelDebug
	case inventory.ScanAsked, inventory.ScanSynchronised:
	}
	m.log.Log(context.Background(), level, "scan wanted", "project", project, "image", image, "outcome", outcome, "note", note)
}
