package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/certificate"
	"github.com/hssgate/hssgate/internal/controller"
)

// certificates hold the serving certificate and what keeps it current.
type certificates struct {
	source CertificateSource
	// files, if set, are read again when they change.
	files manager.Runnable
	// replica, if set, keeps what the API server trusts.
	replica *controller.Certificates
}

// follow has the manager of every replica keep the certificate current.
func (c *certificates) follow(manager ctrl.Manager) error {
	switch {
	case c.files != nil:
		return manager.Add(c.files)
	case c.replica != nil:
		c.replica.Client = manager.GetClient()
		return c.replica.SetupWithManager(manager)
	}
	return nil
}

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
	if c.replica != nil {
		if err := c.replica.Ready(); err != nil {
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
	return &certificates{source: watcher.GetCertificate, files: watcher}, nil
}

// ownCertificates come from the CA in a Secret or, without one, from a CA of this process.
func (g *Server) ownCertificates() (*certificates, error) {
	w := &g.Config.Webhook
	newIssuer := certificate.NewSelfSigned
	if w.CASecret != "" {
		newIssuer = certificate.NewIssuer
	}
	issuer, err := newIssuer(clock.RealClock{}, g.servingHosts()...)
	if err != nil {
		return nil, err
	}
	if g.CAFile != "" {
		if err := os.WriteFile(g.CAFile, issuer.CA().PEM(), 0o600); err != nil {
			return nil, fmt.Errorf("write the CA: %w", err)
		}
	}
	c := &certificates{source: issuer.GetCertificate}
	if w.ConfigurationName != "" {
		c.replica = &controller.Certificates{
			Secret: g.caSecret(), Configurations: controller.WebhookConfigurations{Validating: w.ConfigurationName, Mutating: w.MutatingConfigurationName},
			Issuer: issuer, Clock: clock.RealClock{}, Log: g.Log.With("component", "certificates"),
		}
	}
	return c, nil
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
