package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/certificate"
	"github.com/hssgate/hssgate/controller"
)

// retirement is how long an authority stays trusted that is out of use: longer
// than a replica that lags may serve by it.
const retirement = 24 * time.Hour

// CertificateSource gives a server its certificate, as tls.Config's
// GetCertificate.
type CertificateSource = func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// certificates are what the webhook serves by, and what keeps that current.
type certificates struct {
	source CertificateSource
	// ready returns why the API server wouldn't trust the certificate yet.
	ready func() error
	// follow is for every replica's manager, lead for the elected one's.
	follow, lead func(ctrl.Manager) error
}

func (g *Server) newCertificates() (*certificates, error) {
	switch w := &g.Config.Webhook; {
	case !w.OwnCertificates():
		return g.certificatesFromFiles()
	case w.AuthoritySecret != "":
		return g.sharedCertificates()
	default:
		return g.ownCertificates()
	}
}

// valid returns why the API server wouldn't accept the certificate in use at a
// time, or nil.
func (c *certificates) valid(now time.Time) error {
	if err := c.ready(); err != nil {
		return err
	}
	serving, err := c.source(nil)
	if err != nil {
		return err
	}
	if leaf := serving.Leaf; now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return fmt.Errorf("the serving certificate is valid from %s to %s only", leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

func alwaysReady() error { return nil }

func nothingToDo(ctrl.Manager) error { return nil }

// certificatesFromFiles are followed as the files change.
func (g *Server) certificatesFromFiles() (*certificates, error) {
	w := &g.Config.Webhook
	certFile, keyFile := w.TLSCertFile, w.TLSKeyFile
	if w.CertDir != "" {
		certFile, keyFile = filepath.Join(w.CertDir, "tls.crt"), filepath.Join(w.CertDir, "tls.key")
	}
	files, err := newCertificateFiles(certFile, keyFile, g.Log)
	if err != nil {
		return nil, err
	}
	follow := func(manager ctrl.Manager) error { return manager.Add(files) }
	return &certificates{source: files.GetCertificate, ready: alwaysReady, follow: follow, lead: nothingToDo}, nil
}

// ownCertificates come from an authority that no other replica has.
func (g *Server) ownCertificates() (*certificates, error) {
	authority, err := certificate.NewAuthority(clock.RealClock{}, g.servingHosts()...)
	if err != nil {
		return nil, err
	}
	if g.CAFile != "" {
		if err := os.WriteFile(g.CAFile, authority.PEM(), 0o600); err != nil {
			return nil, fmt.Errorf("write the authority: %w", err)
		}
	}
	c := &certificates{source: authority.GetCertificate, ready: alwaysReady, follow: nothingToDo, lead: nothingToDo}
	if name := g.Config.Webhook.ConfigurationName; name != "" {
		bundle := &controller.Bundle{
			ConfigurationName: name, MutatingConfigurationName: g.Config.Webhook.MutatingConfigurationName,
			Authority: authority.PEM(), Clock: clock.RealClock{},
		}
		c.ready = bundle.Ready
		c.follow = func(manager ctrl.Manager) error {
			bundle.Client = manager.GetClient()
			return bundle.SetupWithManager(manager)
		}
	}
	return c, nil
}

// sharedCertificates come from the authority in a Secret.
func (g *Server) sharedCertificates() (*certificates, error) {
	switch {
	case g.Namespace == "":
		return nil, errors.New("webhook.authoritySecret: hssgate doesn't know its namespace: set POD_NAMESPACE")
	case g.CAFile != "":
		return nil, errors.New("--ca-file: webhook.authoritySecret keeps the authority instead")
	}
	issuer, err := certificate.NewIssuer(clock.RealClock{}, g.servingHosts()...)
	if err != nil {
		return nil, err
	}
	shared := &controller.Certificates{
		Secret: g.authoritySecret(), ConfigurationName: g.Config.Webhook.ConfigurationName,
		MutatingConfigurationName: g.Config.Webhook.MutatingConfigurationName, Issuer: issuer,
		Propagation: time.Duration(g.Config.Webhook.AuthorityPropagation),
		Clock:       clock.RealClock{}, Log: g.Log.With("component", "certificates"),
	}
	follow := func(manager ctrl.Manager) error {
		shared.Client = manager.GetClient()
		return shared.SetupWithManager(manager)
	}
	return &certificates{source: issuer.GetCertificate, ready: shared.Ready, follow: follow, lead: g.leadAuthority}, nil
}

func (g *Server) leadAuthority(manager ctrl.Manager) error {
	w := &g.Config.Webhook
	authority := &controller.Authority{
		Client: manager.GetClient(), Secret: g.authoritySecret(), ConfigurationName: w.ConfigurationName,
		MutatingConfigurationName: w.MutatingConfigurationName,
		Rotation: certificate.Rotation{
			Lifetime: time.Duration(w.AuthorityLifetime), Propagation: time.Duration(w.AuthorityPropagation),
			Retirement: min(retirement, time.Duration(w.AuthorityLifetime)/3),
		},
		Clock: clock.RealClock{}, Log: g.Log.With("component", "authority"),
	}
	return authority.SetupWithManager(manager)
}

func (g *Server) authoritySecret() client.ObjectKey {
	return client.ObjectKey{Namespace: g.Namespace, Name: g.Config.Webhook.AuthoritySecret}
}

// onlyAuthority keeps a cache to the one Secret that hssgate may read.
func (g *Server) onlyAuthority() cache.ByObject {
	name := fields.OneTermEqualSelector("metadata.name", g.Config.Webhook.AuthoritySecret)
	return cache.ByObject{Namespaces: map[string]cache.Config{g.Namespace: {FieldSelector: name}}}
}

// cacheOptions keeps the caches to what may be read.
func (g *Server) cacheOptions() cache.Options {
	name := func(of string) fields.Selector { return fields.OneTermEqualSelector("metadata.name", of) }
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	only := map[client.Object]cache.ByObject{
		&admissionregistrationv1.ValidatingWebhookConfiguration{}: {Field: name(g.Config.Webhook.ConfigurationName)},
		&admissionregistrationv1.MutatingWebhookConfiguration{}:   {Field: name(g.Config.Webhook.MutatingConfigurationName)},
		namespace: {Transform: keepLabels},
	}
	if g.Config.Webhook.AuthoritySecret != "" {
		only[&corev1.Secret{}] = g.onlyAuthority()
	}
	return cache.Options{ByObject: only}
}

// keepLabels leaves out of the cache what of a namespace nobody asks for: its
// annotations may have many kilobytes.
func keepLabels(object any) (any, error) {
	if namespace, ok := object.(*metav1.PartialObjectMetadata); ok {
		namespace.Annotations, namespace.ManagedFields = nil, nil
	}
	return object, nil
}

func (g *Server) servingHosts() []string {
	if len(g.Config.Webhook.Hosts) > 0 {
		return g.Config.Webhook.Hosts
	}
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if g.Namespace != "" {
		service := "hssgate." + g.Namespace + ".svc"
		hosts = append([]string{service, service + ".cluster.local"}, hosts...)
	}
	return hosts
}
