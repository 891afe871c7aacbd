package server

import (
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/hssgate/hssgate/internal/audit"
	"github.com/hssgate/hssgate/internal/controller"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

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
	return manager, nil
}

func (g *Server) newStatus() *controller.Status {
	s := &controller.Status{
		Client: g.manager.GetClient(), Events: g.manager.GetEventRecorder("hssgate"), Clock: clock.RealClock{}, Log: g.Log.With("component", "status"),
		Rules: g.rules, HSS: g.hss, AuditInterval: g.audit.Interval, ExemptNamespaces: g.exemptNamespaces(),
	}
	for i := range g.Config.Registries {
		s.RegistryHosts = append(s.RegistryHosts, g.Config.Registries[i].Hosts...)
	}
	return s
}

func (g *Server) newAudit(known *inventory.Inventory) audit.Options {
	decider := g.newGate(known.Background())
	decider.Patient = true
	return audit.Options{
		Decide: decider.Decide, Live: g.manager.GetAPIReader(), Client: g.manager.GetClient(), Policies: g.rules.Policies, ExemptNamespaces: g.exemptNamespaces(),
		Interval: g.Config.Audit.Interval, Reports: g.Config.Audit.Reports, Ready: g.rules.Ready,
		Metrics: audit.NewMetrics(metrics.Registry), Clock: clock.RealClock{}, Log: g.Log.With("component", "audit"),
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
