package inventory

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
)

// NewClients makes the HSS client of every project of a configuration, by the
// project's name. It reads certificates, but no credentials, and asks nothing.
func NewClients(c *config.Configuration, userAgent string) (map[string]Lister, error) {
	clients := map[string]Lister{}
	var failed []error
	for i := range c.Projects {
		p := &c.Projects[i]
		client, err := newClient(p, userAgent)
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

func newClient(p *config.Project, userAgent string) (*hss.Client, error) {
	endpoint := p.Endpoint
	if endpoint == "" {
		var err error
		if endpoint, err = hss.RegionEndpoint(p.Region); err != nil {
			return nil, err
		}
	}
	transport, err := newTransport(p.CAFile)
	if err != nil {
		return nil, err
	}
	credentials, err := newCredentials(p.Credentials)
	if err != nil {
		return nil, err
	}
	return hss.NewClient(hss.Config{
		Endpoint:       endpoint,
		AllowInsecure:  p.Insecure,
		ProjectID:      p.ProjectID,
		Credentials:    credentials,
		Transport:      &boundedTransport{base: transport, slots: semaphore.NewWeighted(int64(p.MaxConcurrent))},
		UserAgent:      userAgent,
		AttemptTimeout: time.Duration(p.RequestTimeout),
		Budget:         rate.NewLimiter(rate.Limit(p.RequestsPerSecond), p.Burst),
	})
}

// newTransport is a transport of the project's own, which trusts the
// certificates in caFile or, without one, the system's.
func newTransport(caFile string) (http.RoundTripper, error) {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, fmt.Errorf("http.DefaultTransport is a %T, not an *http.Transport", http.DefaultTransport)
	}
	t := base.Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(caFile) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("reading caFile: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("caFile %s holds no PEM certificate", caFile)
	}
	return t, nil
}

// boundedTransport bounds the calls under way at one time, each until its
// answer has been read.
type boundedTransport struct {
	base  http.RoundTripper
	slots *semaphore.Weighted
}

// RoundTrip waits for a slot and sends the request.
func (t *boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.slots.Acquire(r.Context(), 1); err != nil {
		return nil, fmt.Errorf("waiting for an earlier call to HSS to end: %w", err)
	}
	release := sync.OnceFunc(func() { t.slots.Release(1) })
	response, err := t.base.RoundTrip(r)
	if err != nil {
		release()
		return nil, err
	}
	response.Body = &boundedBody{ReadCloser: response.Body, release: release}
	return response, nil
}

// boundedBody gives the slot back when it is closed.
type boundedBody struct {
	io.ReadCloser
	release func()
}

// Close closes the body.
func (b *boundedBody) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
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
