package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

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
	// ValidatePolicyPath is for the policies themselves.
	ValidatePolicyPath = "/validate-policy"
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
	// policies.
	LeaderElect bool
	// Namespace is the one that hssgate runs in, which is never judged; empty
	// outside a cluster.
	Namespace string

	manager  ctrl.Manager
	policies *controller.Policies
}

// Run serves until ctx ends, which is no error.
func (g *Server) Run(ctx context.Context) error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, admissionregistrationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return fmt.Errorf("make the scheme: %w", err)
		}
	}
	var err error
	if g.manager, err = g.newManager(scheme); err != nil {
		return err
	}
	known, err := g.newInventory()
	if err != nil {
		return err
	}
	defer known.Close()
	for _, step := range []func() error{g.requireCRD, g.followPolicies, func() error { return g.register(scheme, known) }, g.addChecks} {
		if err := step(); err != nil {
			return err
		}
	}
	if err := g.manager.Start(ctx); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func (g *Server) newManager(scheme *runtime.Scheme) (ctrl.Manager, error) {
	server, err := g.newWebhookServer()
	if err != nil {
		return nil, err
	}
	onlyOwn := cache.ByObject{Field: fields.OneTermEqualSelector("metadata.name", g.Config.Webhook.ConfigurationName)}
	manager, err := ctrl.NewManager(g.Cluster, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         cache.Options{ByObject: map[client.Object]cache.ByObject{&admissionregistrationv1.ValidatingWebhookConfiguration{}: onlyOwn}},
		Metrics:                       metricsserver.Options{BindAddress: g.Config.MetricsBindAddress},
		HealthProbeBindAddress:        g.Config.HealthBindAddress,
		WebhookServer:                 server.Server,
		LeaderElection:                g.LeaderElect,
		LeaderElectionID:              "hssgate",
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	return manager, server.attach(manager, g)
}

// requireCRD tells at once what would otherwise show as a cache that never
// fills.
func (g *Server) requireCRD() error {
	kind := v1alpha1.GroupVersion.WithKind("ImageScanPolicy")
	_, err := g.manager.GetRESTMapper().RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		return fmt.Errorf("the cluster has no %s: apply charts/hssgate/files/crds first", kind)
	}
	if err != nil {
		return fmt.Errorf("reach the cluster: %w", err)
	}
	return nil
}

func (g *Server) newInventory() (*inventory.Inventory, error) {
	clients, err := inventory.NewClients(g.Config, g.UserAgent)
	if err != nil {
		return nil, fmt.Errorf("prepare to ask HSS: %w", err)
	}
	known, err := inventory.New(inventory.Options{Config: g.Config, Clients: clients, Observer: newLookupMetrics(metrics.Registry)})
	if err != nil {
		return nil, fmt.Errorf("prepare to ask HSS: %w", err)
	}
	return known, nil
}

func (g *Server) followPolicies() error {
	g.policies = controller.NewPolicies(g.manager.GetCache())
	if err := g.policies.SetupWithManager(g.manager); err != nil {
		return err
	}
	return (&controller.Status{Client: g.manager.GetClient()}).SetupWithManager(g.manager)
}

func (g *Server) register(scheme *runtime.Scheme, known gate.Facts) error {
	exempt := slices.Clone(g.Config.ExemptNamespaces)
	if g.Namespace != "" {
		exempt = append(exempt, g.Namespace)
	}
	handler := NewHandler(g.Config, Reviews{
		Decider: &gate.Gate{
			Policies: g.policies, Facts: known, Clock: clock.RealClock{}, ExemptNamespaces: exempt,
			Namespaces: &controller.Namespaces{Cache: g.manager.GetCache(), Live: g.manager.GetAPIReader()},
		},
		Ready:   g.policies.Ready,
		Metrics: webhook.NewMetrics(metrics.Registry),
		Log:     g.Log.With("component", "webhook"),
	})
	server := g.manager.GetWebhookServer()
	server.Register(ValidatePath, handler)
	server.Register(ValidatePolicyPath, admission.WithValidator[*v1alpha1.ImageScanPolicy](scheme, webhook.PolicyValidator{}))
	return nil
}

func (g *Server) addChecks() error {
	ready := map[string]healthz.Checker{
		"policies": func(*http.Request) error { return g.policies.Ready() },
		"webhook":  g.manager.GetWebhookServer().StartedChecker(),
	}
	for name, check := range ready {
		if err := g.manager.AddReadyzCheck(name, check); err != nil {
			return fmt.Errorf("add readiness check: %w", err)
		}
	}
	if err := g.manager.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add health check: %w", err)
	}
	return nil
}
