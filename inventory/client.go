package inventory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
)

// Wrap returns a transport in place of the one that a project's client uses,
// such as one that traces.
type Wrap func(project string, base http.RoundTripper) http.RoundTripper

// NewClients makes the HSS client of every project of a configuration, by the
// project's name. It reads certificates, but no credentials, and asks nothing.
// The clients keep to the projects' budgets of requests; how many requests are
// under way at one time, an [Inventory] bounds. What one of them learns of a
// refused key, all of them know.
func NewClients(c *config.Configuration, userAgent string, wrap ...Wrap) (map[string]Lister, error) {
	clients, keys := map[string]Lister{}, hss.NewKeyGuard()
	var failed []error
	for i := range c.Projects {
		p := &c.Projects[i]
		client, err := newClient(p, identifyingFields(c, p.Name), keys, userAgent, wrap)
		if err != nil {
			failed = append(failed, fmt.Errorf("project %q: %w", p.Name, err))
			continue
		}
		clients[p.Name] = client
	}
	if len(failed) > 0 {
		return nil, errors.Join(failed...)
	}
	return clients, nil
}

func newClient(p *config.Project, identifying []string, keys *hss.KeyGuard, userAgent string, wrap []Wrap) (*hss.Client, error) {
	endpoint := p.Endpoint
	if endpoint == "" {
		var err error
		if endpoint, err = hss.RegionEndpoint(p.Region); err != nil {
			return nil, err
		}
	}
	transport, err := newTransport(p.CAFile, p.MaxConcurrent)
	if err != nil {
		return nil, err
	}
	for _, w := range wrap {
		transport = w(p.Name, transport)
	}
	credentials, err := newCredentials(p.Credentials)
	if err != nil {
		return nil, err
	}
	var iam string
	if p.Region != "" {
		if iam, err = hss.IAMEndpoint(p.Region, nil); err != nil {
			return nil, err
		}
	}
	return hss.NewClient(hss.Config{
		Endpoint:       endpoint,
		AllowInsecure:  p.Insecure,
		ProjectID:      p.ProjectID,
		Region:         p.Region,
		IAMEndpoint:    iam,
		Credentials:    credentials,
		Transport:      transport,
		UserAgent:      userAgent,
		AttemptTimeout: time.Duration(p.RequestTimeout),
		Budget:         newBudget(p),
		Keys:           keys,
		Retry:          hss.RetryPolicy{Failed: func(ctx context.Context, err error) { urgencyOf(ctx).failed(err) }},

		IdentifyingFields: identifying,
	})
}

// identifyingFields are the fields of a row that only some registries are told
// apart by, as far as any of the project is.
func identifyingFields(c *config.Configuration, project string) []string {
	var fields []string
	for i := range c.Registries {
		r := &c.Registries[i]
		if r.Project != project {
			continue
		}
		for name, value := range map[string]string{"registry_id": r.RegistryID, "instance_id": r.InstanceID, "instance_name": r.InstanceName} {
			if value != "" {
				fields = append(fields, name)
			}
		}
	}
	return fields
}

// newTransport is a transport of the project's own, which trusts the
// certificates in caFile or, without one, the system's, and keeps as many
// connections as there are calls at one time.
func newTransport(caFile string, connections int) (http.RoundTripper, error) {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, fmt.Errorf("http.DefaultTransport is a %T, not an *http.Transport", http.DefaultTransport)
	}
	t := base.Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = connections, connections
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("reading caFile: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("caFile %s holds no PEM certificate", caFile)
	}
	return t, nil
}

// newCredentials makes the source that the configuration names.
func newCredentials(c config.Credentials) (hss.CredentialSource, error) {
	switch c.Source {
	case config.SourceDefault:
		return hss.DefaultCredentials(), nil
	case config.SourceEnvironment:
		return hss.EnvironmentCredentials(nil), nil
	case config.SourceProfile:
		return hss.ProfileCredentials(c.ProfileFile, nil), nil
	case config.SourceFiles:
		return hss.FileCredentials(c.AccessKeyFile, c.SecretKeyFile, c.SecurityTokenFile), nil
	case config.SourceMetadata:
		return hss.CachedCredentials(hss.MetadataCredentials("", nil), hss.CacheOptions{}), nil
	case config.SourcePodIdentity:
		return hss.CachedCredentials(hss.PodIdentityCredentials(nil, nil), hss.CacheOptions{}), nil
	case config.SourceTokenFile:
		return hss.TokenFile(c.TokenFile), nil
	case config.SourceTokenEnvironment:
		return hss.TokenEnvironment(c.TokenVariable, nil), nil
	default:
		return nil, fmt.Errorf("unknown source of credentials %q", c.Source)
	}
}
