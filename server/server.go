package server

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/hssgate/hssgate/certificate"
	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/controller"
	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/webhook"
)

// Paths of the webhooks, which a webhook configuration names.
const (
	// ValidatePath is for pods and workloads.
	ValidatePath = "/validate"
	// PinPath is of the mutating webhook that pins the images of pods.
	PinPath = "/mutate"
	// ValidatePolicyPath is for the policies themselves.
	ValidatePolicyPath = "/validate-policy"
	// ValidateExceptionPath is for the exceptions from them.
	ValidateExceptionPath = "/validate-exception"
)

// Server is a gate before a cluster. Run it once.
type Server struct {
	Config *config.Configuration
	// Cluster is how to reach the API server.
	Cluster *rest.Config
	Log     *slog.Logger
	// UserAgent is what HSS is told of who asks.
	UserAgent string
	// CAFile, if set, is where the authority of hssgate's own certificates is
	// written, in PEM.
	CAFile string
	// LeaderElect elects one of several replicas, which writes the status of
	// policies and renews certificates.
	LeaderElect bool
	// ShutdownDelay is how long reviews are still answered when Run's context
	// has ended.
	ShutdownDelay time.Duration
	// Namespace is the one that hssgate runs in, which is never judged; empty
	// outside a cluster.
	Namespace string

	scheme       *runtime.Scheme
	certificates *certificates
	clients      *certificate.Clients
	// manager runs what every replica does, elected what one does for all.
	manager, elected ctrl.Manager
	policies         *controller.Policies
	namespaces       *controller.Namespaces
	exceptions       *controller.Exceptions
	histories        *controller.Histories
	// tracer is nil unless the configuration says where spans are sent.
	tracer trace.Tracer
	// audit adds the audit of running pods to the elected one's manager.
	audit func(ctrl.Manager) error
	// hss reports whether HSS answers.
	hss *controller.HSS
	// auditInterval is 0 if there is no audit.
	auditInterval time.Duration
	warmUp        *warmUp
	// stopping is set when Run's context has ended, closed ShutdownDelay later.
	stopping, closed atomic.Bool
	// readiness holds the readiness checks.
	readiness map[string]healthz.Checker
}

// Run serves until ctx ends, which is no error.
func (g *Server) Run(ctx context.Context) error {
	var err error
	if g.scheme, err = newScheme(); err != nil {
		return err
	}
	if g.certificates, err = g.newCertificates(); err != nil {
		return err
	}
	measureCertificate(metrics.Registry, g.certificates.source)
	if g.clients, err = g.newClients(); err != nil {
		return err
	}
	if g.manager, err = g.newManager(); err != nil {
		return err
	}
	endTracing, err := g.startTracing(ctx)
	if err != nil {
		return err
	}
	defer endTracing()
	known, err := g.newInventory(ctx)
	if err != nil {
		return err
	}
	// Last: until the webhook has closed, reviews ask it.
	defer known.Close()
	steps := []func() error{g.requireCRDs, g.followPolicies, g.followExceptions, g.followHistories, func() error { return g.register(ctx, known) }, func() error { return g.addChecks(ctx) }, func() error { return g.addMetrics(ctx) }, g.elect}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return g.serve(ctx)
}

// requireCRDs tells at once what would otherwise show as a cache that never
// fills.
func (g *Server) requireCRDs() error {
	for _, name := range []string{"ImageScanPolicy", "ImageScanException", "ImageScanHistory"} {
		kind := v1alpha1.GroupVersion.WithKind(name)
		_, err := g.manager.GetRESTMapper().RESTMapping(kind.GroupKind(), kind.Version)
		if meta.IsNoMatchError(err) {
			return fmt.Errorf("the cluster has no %s: apply charts/hssgate/files/crds first", kind)
		}
		if err != nil {
			return fmt.Errorf("reach the cluster: %w", err)
		}
	}
	return nil
}

func (g *Server) newInventory(ctx context.Context) (*inventory.Inventory, error) {
	clients, err := inventory.NewClients(g.Config, g.UserAgent, newRequestMetrics(metrics.Registry).wrap, g.traceCalls)
	if err != nil {
		return nil, fmt.Errorf("prepare to ask HSS: %w", err)
	}
	observer := newLookupMetrics(metrics.Registry, g.Log.With("component", "inventory"))
	known, err := inventory.New(inventory.Options{Config: g.Config, Clients: clients, Observer: observer})
	if err != nil {
		return nil, fmt.Errorf("prepare to ask HSS: %w", err)
	}
	metrics.Registry.MustRegister(newInventoryMetrics(known.Stats))
	go checkProjects(ctx, known.Check, g.Log.With("component", "inventory"))
	return known, nil
}

func (g *Server) followPolicies() error {
	g.policies = controller.NewPolicies(g.manager.GetCache())
	metrics.Registry.MustRegister(newPolicyMetrics(g.policies.Index), newBuildInfo(g.UserAgent))
	return g.policies.SetupWithManager(g.manager)
}

func (g *Server) register(ctx context.Context, known *inventory.Inventory) error {
	g.namespaces = &controller.Namespaces{Cache: g.manager.GetCache(), Live: g.manager.GetAPIReader()}
	if err := g.namespaces.SetupWithManager(ctx, g.manager); err != nil {
		return err
	}
	recorder, err := g.newRecorder()
	if err != nil {
		return err
	}
	judge := g.newGate(known)
	handler := NewHandler(g.Config, Reviews{
		Decider:  judge,
		Ready:    g.canDecide,
		Metrics:  webhook.NewMetrics(metrics.Registry),
		Recorder: recorder,
		Scanner:  g.newScanner(known),
		Tracer:   g.tracer,
		Version:  strings.TrimPrefix(g.UserAgent, "hssgate/"),
		Log:      g.Log.With("component", "webhook"),
	})
	server := g.manager.GetWebhookServer()
	server.Register(ValidatePath, g.moveOn(handler))
	server.Register(PinPath, g.moveOn(handler.Pinning(judge)))
	policies := admission.WithValidator[*v1alpha1.ImageScanPolicy](g.scheme, webhook.PolicyValidator{NoPinning: g.lacksPinning()})
	server.Register(ValidatePolicyPath, g.moveOn(webhook.NewGuard(policies)))
	exceptions := admission.WithValidator[*v1alpha1.ImageScanException](g.scheme, g.exceptionValidator())
	server.Register(ValidateExceptionPath, g.moveOn(webhook.NewGuard(exceptions)))
	if err := g.manager.Add(known); err != nil {
		return fmt.Errorf("keep what is known of images fresh: %w", err)
	}
	g.hss = controller.NewHSS(checkHSS(known), clock.RealClock{})
	g.prepareAudit(known)
	return g.prepareWarmUp(known, judge)
}

// lacksPinning tells whether it is known that no webhook pins. Where someone else
// fills in caBundles, it isn't known.
func (g *Server) lacksPinning() bool {
	w := &g.Config.Webhook
	return w.ConfigurationName != "" && w.MutatingConfigurationName == ""
}

// newGate returns the gate that asks known what HSS knows.
func (g *Server) newGate(known gate.Knowledge) *gate.Gate {
	return &gate.Gate{
		Policies: g.policies, Facts: known, Vulnerabilities: known, Clock: clock.RealClock{}, ExemptNamespaces: g.exemptNamespaces(), Namespaces: g.namespaces,
		Exceptions: g.exceptions, Histories: g.histories,
	}
}

// exemptNamespaces are those that are never judged.
func (g *Server) exemptNamespaces() []string {
	exempt := slices.Clone(g.Config.ExemptNamespaces)
	if g.Namespace != "" {
		exempt = append(exempt, g.Namespace)
	}
	return exempt
}

// elect makes the replica stand for election once it serves.
func (g *Server) elect() (err error) {
	g.elected, err = g.newElected()
	return err
}
