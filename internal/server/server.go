// Package server puts the parts of hssgate together: the policies and exceptions
// of the cluster, what HSS knows of images, the gate, and the webhook that serves
// its decisions. "hssgate serve" runs it.
//
// The order of the parts is in [Server.Run], that of the end in [Server.serve].
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/internal/audit"
	"github.com/hssgate/hssgate/internal/certificate"
	"github.com/hssgate/hssgate/internal/controller"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/internal/scan"
	"github.com/hssgate/hssgate/internal/tracing"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/webhook"
)

// Paths of the webhooks, which the webhook configurations name.
const (
	// ValidatePath is for pods and workloads.
	ValidatePath = "/validate"
	// PinPath is of the mutating webhook that pins the images of pods.
	PinPath = "/mutate"
	// ValidatePolicyPath is for policies.
	ValidatePolicyPath = "/validate-policy"
	// ValidateExceptionPath is for exceptions.
	ValidateExceptionPath = "/validate-exception"
)

// Server is one replica of hssgate. Run it once.
type Server struct {
	Config *config.Configuration
	// Cluster is how to reach the API server.
	Cluster *rest.Config
	Log     *slog.Logger
	// UserAgent names hssgate and its version in requests to HSS.
	UserAgent string
	// CAFile, if set, is where the CA of hssgate's own certificates is written, in PEM.
	CAFile string
	// SecureMetrics serves metrics over HTTPS, to users who may get /metrics.
	SecureMetrics bool
	// LeaderElect elects one of several replicas as the leader, which audits and
	// writes the status of policies.
	LeaderElect bool
	// ShutdownDelay is how long reviews are still answered after Run's context has ended.
	ShutdownDelay time.Duration
	// Namespace is the one that hssgate runs in, which is exempt; empty outside a cluster.
	Namespace string

	certificates *certificates
	manager      ctrl.Manager
	rules        *controller.Rules
	hss          *controller.HSS
	uses         *controller.ExceptionUses
	warmUp       *warmUp
	// traces and tracer are nil unless the environment names a collector of traces.
	traces trace.TracerProvider
	tracer trace.Tracer
	// audit is what the leader audits with, if it does.
	audit audit.Options
	// stopping is set when Run's context has ended, closed ShutdownDelay later.
	stopping, closed atomic.Bool
	// leading is held while this replica does what the leader does.
	leading sync.Mutex
}

// Run serves until ctx ends, which is no error.
func (g *Server) Run(ctx context.Context) error {
	if g.LeaderElect && g.Namespace == "" {
		return errors.New("--leader-elect: hssgate does not know its namespace: set POD_NAMESPACE")
	}
	var err error
	if g.manager, err = g.newManager(); err != nil {
		return err
	}
	if g.certificates, err = g.newCertificates(); err != nil {
		return err
	}
	endTracing, err := g.startTracing(ctx)
	if err != nil {
		return err
	}
	defer endTracing()
	known, err := g.newInventory()
	if err != nil {
		return err
	}
	defer known.Close() // last: reviews need it until the webhook has closed
	if err := g.followCluster(ctx); err != nil {
		return err
	}
	decider := g.newGate(known)
	g.warmUp = &warmUp{
		live: g.manager.GetAPIReader(), references: decider.References, lookUp: known.Warm, decidable: g.rules.Ready, log: g.Log.With("component", "warm-up"),
	}
	g.hss = controller.NewHSS(known.Check, g.Log.With("component", "inventory"))
	g.uses = &controller.ExceptionUses{Live: g.manager.GetAPIReader(), Client: g.manager.GetClient(), Log: g.Log.With("component", "exceptions")}
	for _, runnable := range []manager.Runnable{g.warmUp, g.hss, g.uses} {
		if err := g.manager.Add(runnable); err != nil {
			return err
		}
	}
	if g.Config.Audit.Enabled {
		g.audit = g.newAudit(known)
	}
	if err := g.addWebhook(ctx, known, decider); err != nil {
		return err
	}
	if err := g.addProbes(ctx); err != nil {
		return err
	}
	metrics.Registry.MustRegister(state(g.version(), g.certificates.source, g.rules.Policies, known.Stats), scanCounts(known.ScanCounts))
	return g.serve(ctx)
}

// startTracing creates the tracer if the environment names a collector, and returns
// a function that sends the remaining spans.
func (g *Server) startTracing(ctx context.Context) (end func(), err error) {
	log := g.Log.With("component", "tracing")
	provider, err := tracing.NewProvider(ctx, g.version(), log)
	if provider == nil {
		return func() {}, err
	}
	g.traces, g.tracer = provider, provider.Tracer(tracing.Name)
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("remaining traces not sent", "error", err)
		}
	}, nil
}

func (g *Server) newInventory() (*inventory.Inventory, error) {
	trace := func(project string, base http.RoundTripper) http.RoundTripper {
		if g.traces == nil {
			return base
		}
		return tracing.NewTransport(g.traces, project, base)
	}
	clients, err := inventory.NewClients(g.Config, g.UserAgent, newRequestMetrics(metrics.Registry), trace)
	if err != nil {
		return nil, fmt.Errorf("prepare to ask HSS: %w", err)
	}
	observer := newLookupMetrics(metrics.Registry, g.Log.With("component", "inventory"))
	known, err := inventory.New(inventory.Options{Config: g.Config, Clients: clients, Observer: observer, Language: g.language()})
	if err != nil {
		return nil, fmt.Errorf("prepare to ask HSS: %w", err)
	}
	return known, g.manager.Add(known)
}

// followCluster keeps policies, exceptions and namespaces up to date. They are read from the start, so that the
// first review need not wait for them, and missing kinds are found at once.
func (g *Server) followCluster(ctx context.Context) error {
	reader := g.manager.GetCache()
	for _, o := range []client.Object{&v1alpha1.ImageScanPolicy{}, &v1alpha1.ImageScanException{}, &v1alpha1.ClusterImageScanException{}, controller.NewNamespace()} {
		_, err := reader.GetInformer(ctx, o)
		if meta.IsNoMatchError(err) {
			kind, _ := g.manager.GetClient().GroupVersionKindFor(o)
			return fmt.Errorf("the cluster has no %s: apply charts/hssgate/files/crds first", kind)
		}
		if err != nil {
			return fmt.Errorf("reach the cluster: %w", err)
		}
	}
	g.rules = controller.NewRules(reader, g.Config.MaxExceptionLifetime)
	g.rules.Language = g.language()
	return g.rules.SetupWithManager(g.manager)
}

// newGate returns the gate that decides by what known has of images.
func (g *Server) newGate(known gate.Facts) *gate.Gate {
	return &gate.Gate{
		Policies: g.rules.Policies, Exceptions: g.rules.Exceptions, NamespaceLabels: controller.NamespaceLabels(g.manager.GetCache(), g.manager.GetAPIReader()),
		Facts: known, Clock: clock.RealClock{}, ExemptNamespaces: g.exemptNamespaces(), Language: g.language(),
	}
}

func (g *Server) language() language.Language { return language.Language(g.Config.Messages.Language) }

// addWebhook serves all reviews on the webhook's port.
func (g *Server) addWebhook(ctx context.Context, known *inventory.Inventory, decider *gate.Gate) error {
	w, log := &g.Config.Webhook, g.Log.With("component", "webhook")
	pods := NewHandler(g.Config, webhook.Options{
		Decider: decider, Ready: g.rules.Ready, Metrics: webhook.NewMetrics(metrics.Registry), ExceptionUsed: g.uses.Excepted,
		RequestScans: g.newScanner(known), Tracer: g.tracer, Version: g.version(), Log: log,
	})
	resources := webhook.NewResources(webhook.ResourceOptions{
		// Where someone else fills in caBundles, there may be another webhook that pins.
		PinningMissing: w.ConfigurationName != "" && w.MutatingConfigurationName == "", MaxExceptionLifetime: g.Config.MaxExceptionLifetime, Clock: clock.RealClock{}, Log: log,
	})
	mux := http.NewServeMux()
	mux.Handle(ValidatePath, pods)
	mux.Handle(PinPath, pods.Pinning())
	mux.Handle(ValidatePolicyPath, resources)
	mux.Handle(ValidateExceptionPath, resources)
	var options []func(*tls.Config)
	if w.ClientCAFile != "" {
		clients, err := certificate.NewClients(w.ClientCAFile, w.ClientNames, g.Log.With("component", "clients"))
		if err != nil {
			return err
		}
		options = append(options, clients.Require)
	}
	server, err := NewWebhookServer(ctx, w.BindAddress, g.certificates.source, g.closeWhileStopping(mux), g.Log, options...)
	if err != nil {
		return err
	}
	return g.manager.Add(server)
}

// newScanner returns what requests scans, or nil if no project scans on demand.
func (g *Server) newScanner(known *inventory.Inventory) func(context.Context, []image.Reference) []string {
	if !g.Config.ScansOnDemand() {
		return nil
	}
	return scan.New(scan.Options{Inventory: known, Clock: clock.RealClock{}, Language: g.language(), Observe: observeScans(metrics.Registry, g.Log.With("component", "scans"))}).Want
}

// NewHandler returns the handler of ValidatePath with the settings of a
// configuration.
func NewHandler(c *config.Configuration, o webhook.Options) *webhook.Handler {
	o.DryRun, o.MaxInFlightBytes, o.Language = c.DryRun, int64(c.Webhook.MaxInFlightBytes), language.Language(c.Messages.Language)
	return webhook.NewHandler(o)
}

// exemptNamespaces returns the namespaces that no policy applies to.
func (g *Server) exemptNamespaces() []string {
	exempt := slices.Clone(g.Config.ExemptNamespaces)
	if g.Namespace != "" {
		exempt = append(exempt, g.Namespace)
	}
	return exempt
}

func (g *Server) version() string { return strings.TrimPrefix(g.UserAgent, "hssgate/") }
