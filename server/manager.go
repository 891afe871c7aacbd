package server

import (
	"fmt"
	"net/http"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/hssgate/hssgate/controller"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// drainTimeout is longer than any review may take, which is 30 s.
const drainTimeout = 35 * time.Second

// electionID names the Lease by which the replicas elect one.
const electionID = "hssgate"

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, admissionregistrationv1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("make the scheme: %w", err)
		}
	}
	return scheme, nil
}

// newManager returns the manager of what every replica does.
func (g *Server) newManager() (ctrl.Manager, error) {
	server, err := g.newWebhookServer()
	if err != nil {
		return nil, err
	}
	manager, err := ctrl.NewManager(g.Cluster, ctrl.Options{
		Scheme:                  g.scheme,
		Cache:                   g.cacheOptions(),
		Metrics:                 metricsserver.Options{BindAddress: disabled}, // see addMetrics
		HealthProbeBindAddress:  disabled,                                     // see addHealth
		WebhookServer:           server,
		GracefulShutdownTimeout: new(drainTimeout),
	})
	if err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	if g.clients != nil {
		if err := manager.Add(g.clients); err != nil {
			return nil, fmt.Errorf("follow the authorities of clients: %w", err)
		}
	}
	return manager, g.certificates.follow(manager)
}

// newElected returns the manager of what one replica does for all. It is one of
// its own because the loss of an election ends a manager, and because it is to
// let go of its Lease as soon as the replica is told to stop.
func (g *Server) newElected() (ctrl.Manager, error) {
	manager, err := ctrl.NewManager(g.Cluster, ctrl.Options{
		Scheme:                        g.scheme,
		Cache:                         g.cacheOptions(),
		MapperProvider:                func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return g.manager.GetRESTMapper(), nil },
		Metrics:                       metricsserver.Options{BindAddress: disabled},
		HealthProbeBindAddress:        disabled,
		LeaderElection:                g.LeaderElect,
		LeaderElectionID:              electionID,
		LeaderElectionNamespace:       g.Namespace,
		LeaderElectionReleaseOnCancel: true,
		// It is made anew after an election is lost, with the same controllers.
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		return nil, fmt.Errorf("prepare the election: %w", err)
	}
	if err := g.certificates.lead(manager); err != nil {
		return nil, err
	}
	if err := g.newExceptionStatus(manager).SetupWithManager(manager); err != nil {
		return nil, err
	}
	if g.audit != nil {
		if err := g.audit(manager); err != nil {
			return nil, err
		}
	}
	return manager, g.newStatus(manager).SetupWithManager(manager)
}

// newStatus returns what writes the status of policies.
func (g *Server) newStatus(manager ctrl.Manager) *controller.Status {
	s := &controller.Status{Client: manager.GetClient(), AuditInterval: g.auditInterval, HSS: g.hss, ExemptNamespaces: g.exemptNamespaces()}
	for i := range g.Config.Registries {
		s.RegistryHosts = append(s.RegistryHosts, g.Config.Registries[i].Hosts...)
	}
	return s
}
