package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/certificate"
	"github.com/hssgate/hssgate/internal/controller"
)

// certificates are the serving certificate, which a runnable or a controller of the manager keeps current.
type certificates struct {
	source CertificateSource
	// trusted returns why the API server doesn't trust the certificate yet, or nil; optional.
	trusted func() error
}

// newCertificates returns the serving certificate, and adds what keeps it current to the manager.
func (g *Server) newCertificates() (*certificates, error) {
	switch w := &g.Config.Webhook; {
	case !w.OwnCertificates():
		return g.certificatesFromFiles()
	case w.CASecret != "" && g.Namespace == "":
		return nil, errors.New("webhook.caSecret: hssgate doesn't know its namespace: set POD_NAMESPACE")
	case w.CASecret != "" && g.CAFile != "":
		return nil, errors.New("--ca-file: webhook.caSecret keeps the CA instead")
	default:
		return g.ownCertificates()
	}
}

// valid returns why the API server wouldn't accept the certificate in use at a time, or nil.
func (c *certificates) valid(now time.Time) error {
	if c.trusted != nil {
		if err := c.trusted(); err != nil {
			return err
		}
	}
	serving, err := c.source(nil)
	if err != nil {
		return err
	}
	if leaf := serving.Leaf; now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return fmt.Errorf("the serving certificate is valid from %s to %s only",
			leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// certificatesFromFiles are read again when the files change. While they hold no pair, the last good one is served.
func (g *Server) certificatesFromFiles() (*certificates, error) {
	dir := g.Config.Webhook.CertDir
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	watcher, err := certwatcher.New(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the serving certificate: %w", err)
	}
	readable, err := hss.CheckKeyFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the serving key: %w", err)
	}
	if readable {
		g.Log.Warn("every user of the machine can read a key file", "file", keyFile)
	}
	watcher.RegisterCallback(func(c tls.Certificate) {
		g.Log.Info("serving certificate read", "component", "certificates", "file", certFile, "names", c.Leaf.DNSNames, "validUntil", c.Leaf.NotAfter)
	})
	return &certificates{source: watcher.GetCertificate}, g.manager.Add(watcher)
}

// ownCertificates come from the CA in a Secret or, without one, from a CA of this process.
func (g *Server) ownCertificates() (*certificates, error) {
	issuer := certificate.NewIssuer(clock.RealClock{}, g.servingHosts()...)
	if g.Config.Webhook.CASecret == "" {
		var err error
		if issuer, err = certificate.NewSelfSigned(clock.RealClock{}, g.servingHosts()...); err != nil {
			return nil, err
		}
	}
	if g.CAFile != "" {
		if err := os.WriteFile(g.CAFile, issuer.CA().PEM(), 0o600); err != nil {
			return nil, fmt.Errorf("write the CA: %w", err)
		}
	}
	c := &certificates{source: issuer.GetCertificate}
	if g.Config.Webhook.ConfigurationName == "" {
		return c, nil
	}
	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }
	replica := &controller.Certificates{
		Client: g.manager.GetClient(), Secret: g.caSecret(), Issuer: issuer, Clock: clock.RealClock{}, Log: g.Log.With("component", "certificates"),
		Configurations: []client.Object{&admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: named(g.Config.Webhook.ConfigurationName)}},
	}
	if mutating := g.Config.Webhook.MutatingConfigurationName; mutating != "" {
		replica.Configurations = append(replica.Configurations, &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: named(mutating)})
	}
	c.trusted = replica.Ready
	return c, replica.SetupWithManager(g.manager)
}

// caSecret returns the key of the Secret with the CA; its name is empty if there is none.
func (g *Server) caSecret() client.ObjectKey {
	if g.Config.Webhook.CASecret == "" {
		return client.ObjectKey{}
	}
	return client.ObjectKey{Namespace: g.Namespace, Name: g.Config.Webhook.CASecret}
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
