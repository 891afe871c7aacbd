package server

import (
	"fmt"
	"net/http"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/hssgate/hssgate/internal/audit"
	"github.com/hssgate/hssgate/internal/controller"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	// electionID names the Lease by which the replicas elect the leader.
	electionID = "hssgate"
	// eventSource is the reporter of Events.
	eventSource = "hssgate"
)

// newManager returns the manager of what every replica does.
func (g *Server) newManager() (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, admissionregistrationv1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("make the scheme: %w", err)
		}
	}
	manager, err := ctrl.NewManager(g.Cluster, ctrl.Options{
		Scheme:                  scheme,
		Cache:                   g.cacheOptions(),
		Metrics:                 metricsserver.Options{BindAddress: disabled}, // see addProbes
		HealthProbeBindAddress:  disabled,
		GracefulShutdownTimeout: new(reviewTimeout),
	})
	if err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	return manager, g.certificates.follow(manager)
}

// newLeader returns the manager of what the leader does. It is another one because
// the loss of an election ends a manager, and because a replica must release its
// Lease as soon as it stops.
func (g *Server) newLeader() (ctrl.Manager, error) {
	manager, err := ctrl.NewManager(g.Cluster, ctrl.Options{
		Scheme:                        g.manager.GetScheme(),
		MapperProvider:                func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return g.manager.GetRESTMapper(), nil },
		Metrics:                       metricsserver.Options{BindAddress: disabled},
		HealthProbeBindAddress:        disabled,
		LeaderElection:                g.LeaderElect,
		LeaderElectionID:              electionID,
		LeaderElectionNamespace:       g.Namespace,
		LeaderElectionReleaseOnCancel: true,
		// After a lost election, the same controllers are made again.
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		return nil, fmt.Errorf("prepare the election: %w", err)
	}
	exceptions := &controller.ExceptionStatus{
		Client: manager.GetClient(), Events: manager.GetEventRecorder(eventSource), Clock: clock.RealClock{}, MaxLifetime: g.maxLifetime(),
	}
	if err := exceptions.SetupWithManager(manager); err != nil {
		return nil, err
	}
	if g.Config.Audit.Enabled {
		g.audit.Live, g.audit.Client = manager.GetAPIReader(), manager.GetClient()
		if err := manager.Add(audit.New(g.audit)); err != nil {
			return nil, fmt.Errorf("audit the running pods: %w", err)
		}
	}
	policies := &controller.Status{Client: manager.GetClient(), AuditInterval: g.audit.Interval, HSS: g.hss, ExemptNamespaces: g.exemptNamespaces()}
	for i := range g.Config.Registries {
		policies.RegistryHosts = append(policies.RegistryHosts, g.Config.Registries[i].Hosts...)
	}
	return manager, policies.SetupWithManager(manager)
}

// newAudit returns what the leader audits with, but for its manager's clients. It is
// made once: a replica may become the leader again.
func (g *Server) newAudit(known *inventory.Inventory) audit.Options {
	decider := g.newGate(known.Background())
	decider.Patient = true
	return audit.Options{
		Decide: decider.Decide, ExemptNamespaces: g.exemptNamespaces(), Interval: time.Duration(g.Config.Audit.Interval),
		Reports: audit.Reports(g.Config.Audit.Reports), Ready: g.rules.Ready, Metrics: audit.NewMetrics(metrics.Registry), Clock: clock.RealClock{},
		Log: g.Log.With("component", "audit"),
		State: func() audit.State {
			return audit.State{
				Prompt: [2]any{g.rules.PolicyChanges(), g.hss.Condition().Status}, Patient: [2]any{g.rules.ExceptionChanges(), known.Changes()},
			}
		},
	}
}

// cacheOptions limits the cache to what hssgate may read.
func (g *Server) cacheOptions() cache.Options {
	name := func(of string) fields.Selector { return fields.OneTermEqualSelector("metadata.name", of) }
	only := map[client.Object]cache.ByObject{
		&admissionregistrationv1.ValidatingWebhookConfiguration{}: {Field: name(g.Config.Webhook.ConfigurationName)},
		&admissionregistrationv1.MutatingWebhookConfiguration{}:   {Field: name(g.Config.Webhook.MutatingConfigurationName)},
		controller.NewNamespace():                                 {Transform: keepLabels},
	}
	if secret := g.caSecret(); secret.Name != "" {
		only[&corev1.Secret{}] = cache.ByObject{Namespaces: map[string]cache.Config{secret.Namespace: {FieldSelector: name(secret.Name)}}}
	}
	return cache.Options{ByObject: only}
}

// keepLabels leaves the annotations of namespaces out of the cache: they may have many kilobytes.
func keepLabels(object any) (any, error) {
	if namespace, ok := object.(*metav1.PartialObjectMetadata); ok {
		namespace.Annotations, namespace.ManagedFields = nil, nil
	}
	return object, nil
}
