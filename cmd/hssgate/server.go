package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
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
	validatePath       = "/validate"
	validatePolicyPath = "/validate-policy"
)

// gateServer wires the parts of serve together.
type gateServer struct {
	config      *config.Configuration
	cluster     *rest.Config
	log         *slog.Logger
	caFile      string
	leaderElect bool
	namespace   string

	manager  ctrl.Manager
	policies *controller.Policies
}

func (g *gateServer) run(ctx context.Context) error {
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

func (g *gateServer) newManager(scheme *runtime.Scheme) (ctrl.Manager, error) {
	server, err := g.newWebhookServer()
	if err != nil {
		return nil, err
	}
	onlyOwn := cache.ByObject{Field: fields.OneTermEqualSelector("metadata.name", g.config.Webhook.ConfigurationName)}
	manager, err := ctrl.NewManager(g.cluster, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         cache.Options{ByObject: map[client.Object]cache.ByObject{&admissionregistrationv1.ValidatingWebhookConfiguration{}: onlyOwn}},
		Metrics:                       metricsserver.Options{BindAddress: g.config.MetricsBindAddress},
		HealthProbeBindAddress:        g.config.HealthBindAddress,
		WebhookServer:                 server.Server,
		LeaderElection:                g.leaderElect,
		LeaderElectionID:              "hssgate",
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	return manager, server.attach(manager, g)
}

// webhookServer is controller-runtime's, with whatever keeps its certificate.
type webhookServer struct {
	ctrlwebhook.Server
	watcher   *certwatcher.CertWatcher
	authority *certificate.Authority
}

func (g *gateServer) newWebhookServer() (*webhookServer, error) {
	s := &webhookServer{}
	getCertificate, err := s.certificates(g)
	if err != nil {
		return nil, err
	}
	host, portText, err := net.SplitHostPort(g.config.Webhook.BindAddress)
	if err != nil {
		return nil, fmt.Errorf("webhook.bindAddress: %w", err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("webhook.bindAddress: %w", err)
	}
	s.Server = ctrlwebhook.NewServer(ctrlwebhook.Options{Host: host, Port: port, TLSOpts: []func(*tls.Config){harden, func(c *tls.Config) {
		c.GetCertificate = getCertificate
	}}})
	return s, nil
}

// harden allows TLS 1.2 with forward secrecy and TLS 1.3. HTTP/2 is off: the
// API server doesn't need it, and its floods have felled servers.
func harden(c *tls.Config) {
	c.MinVersion = tls.VersionTLS12
	c.CipherSuites = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
	c.NextProtos = []string{"http/1.1"}
}

type getCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// certificates returns the source of the serving certificate: files that are
// followed as they change, or an authority of hssgate's own.
func (s *webhookServer) certificates(g *gateServer) (getCertificate, error) {
	w := g.config.Webhook
	certFile, keyFile := w.TLSCertFile, w.TLSKeyFile
	if w.CertDir != "" {
		certFile, keyFile = filepath.Join(w.CertDir, "tls.crt"), filepath.Join(w.CertDir, "tls.key")
	}
	var err error
	if certFile != "" {
		if s.watcher, err = certwatcher.New(certFile, keyFile); err != nil {
			return nil, fmt.Errorf("read the serving certificate: %w", err)
		}
		return s.watcher.GetCertificate, nil
	}
	if s.authority, err = certificate.NewAuthority(clock.RealClock{}, g.servingHosts()...); err != nil {
		return nil, err
	}
	if g.caFile != "" {
		if err := os.WriteFile(g.caFile, s.authority.PEM(), 0o600); err != nil {
			return nil, fmt.Errorf("write the authority: %w", err)
		}
	}
	return s.authority.GetCertificate, nil
}

func (g *gateServer) servingHosts() []string {
	if len(g.config.Webhook.Hosts) > 0 {
		return g.config.Webhook.Hosts
	}
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if g.namespace != "" {
		service := "hssgate." + g.namespace + ".svc"
		hosts = append([]string{service, service + ".cluster.local"}, hosts...)
	}
	return hosts
}

// attach has the manager run what keeps the certificate.
func (s *webhookServer) attach(manager ctrl.Manager, g *gateServer) error {
	if s.watcher != nil {
		if err := manager.Add(s.watcher); err != nil {
			return fmt.Errorf("follow the serving certificate: %w", err)
		}
		return nil
	}
	if g.config.Webhook.ConfigurationName == "" {
		return nil
	}
	bundle := &controller.Bundle{
		Client: manager.GetClient(), ConfigurationName: g.config.Webhook.ConfigurationName,
		Authority: s.authority.PEM(), Clock: clock.RealClock{},
	}
	return bundle.SetupWithManager(manager)
}

// requireCRD tells at once what would otherwise show as a cache that never
// fills.
func (g *gateServer) requireCRD() error {
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

func (g *gateServer) newInventory() (*inventory.Inventory, error) {
	clients, err := inventory.NewClients(g.config, userAgent())
	if err != nil {
		return nil, fmt.Errorf("prepare to ask HSS: %w", err)
	}
	known, err := inventory.New(inventory.Options{Config: g.config, Clients: clients, Observer: newLookupMetrics(metrics.Registry)})
	if err != nil {
		return nil, fmt.Errorf("prepare to ask HSS: %w", err)
	}
	return known, nil
}

func (g *gateServer) followPolicies() error {
	g.policies = controller.NewPolicies(g.manager.GetCache())
	if err := g.policies.SetupWithManager(g.manager); err != nil {
		return err
	}
	return (&controller.Status{Client: g.manager.GetClient()}).SetupWithManager(g.manager)
}

func (g *gateServer) register(scheme *runtime.Scheme, known gate.Facts) error {
	exempt := slices.Clone(g.config.ExemptNamespaces)
	if g.namespace != "" {
		exempt = append(exempt, g.namespace)
	}
	handler := webhook.NewHandler(webhook.Options{
		Decider: &gate.Gate{
			Policies: g.policies, Facts: known, Clock: clock.RealClock{}, ExemptNamespaces: exempt,
			Namespaces: &controller.Namespaces{Cache: g.manager.GetCache(), Live: g.manager.GetAPIReader()},
		},
		Ready:            g.policies.Ready,
		DryRun:           g.config.DryRun,
		MaxReviewBytes:   int64(g.config.Webhook.MaxReviewBytes),
		MaxInFlightBytes: int64(g.config.Webhook.MaxInFlightBytes),
		DefaultTimeout:   time.Duration(g.config.Webhook.DefaultTimeout),
		TimeoutMargin:    time.Duration(g.config.Webhook.TimeoutMargin),
		Metrics:          webhook.NewMetrics(metrics.Registry),
		Log:              component(g.log, "webhook"),
	})
	server := g.manager.GetWebhookServer()
	server.Register(validatePath, handler)
	server.Register(validatePolicyPath, admission.WithValidator[*v1alpha1.ImageScanPolicy](scheme, webhook.PolicyValidator{}))
	return nil
}

func (g *gateServer) addChecks() error {
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
