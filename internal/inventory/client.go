package inventory

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/internal/lookup"
	"github.com/hssgate/hssgate/policy"
)

// Wrap returns a transport in place of the one that a project's client uses, such as one that traces.
type Wrap func(project string, base http.RoundTripper) http.RoundTripper

// NewClients returns the HSS client of every project of a configuration, by the project's name. It reads certificates,
// but no credentials, and sends no request. The clients keep to requestsPerSecond; an [Inventory] bounds how many requests
// are in flight. A key that HSS refuses for one of them is paused for all.
func NewClients(c *config.Configuration, userAgent string, wrap ...Wrap) (map[string]Lister, error) {
	clients, keys := map[string]Lister{}, hss.NewKeyGuard()
	var failed []error
	for i := range c.Projects {
		p := &c.Projects[i]
		client, err := newClient(p, wrap, hss.Config{UserAgent: userAgent, Keys: keys, IdentifyingFields: identifyingFields(c, p)})
		if err != nil {
			failed = append(failed, fmt.Errorf("project %q: %w", p.Name, err))
		}
		clients[p.Name] = client
	}
	if len(failed) > 0 {
		return nil, errors.Join(failed...)
	}
	return clients, nil
}

// newClient returns the client of a project, with what is set of its configuration.
func newClient(p *config.Project, wrap []Wrap, c hss.Config) (_ *hss.Client, err error) {
	if c.Transport, err = newTransport(p.CAFile); err != nil {
		return nil, err
	}
	for _, w := range wrap {
		c.Transport = w(p.Name, c.Transport)
	}
	c.Endpoint, c.AllowInsecure, c.ProjectID, c.Region, c.AttemptTimeout = p.Endpoint, p.Insecure, p.ProjectID, p.Region, p.RequestTimeout
	c.Budget, c.Retry = lookup.NewBudget(p.RequestsPerSecond), lookup.MayRetry
	if c.Credentials, err = newCredentials(p.Credentials, c); err != nil {
		return nil, err
	}
	return hss.NewClient(c)
}

// identifyingFields returns the fields of a row by which a registry of the project is identified besides its name.
func identifyingFields(c *config.Configuration, p *config.Project) (fields []string) {
	for i := range c.Registries {
		r := &c.Registries[i]
		for field, id := range map[string]string{"registry_id": r.RegistryID, "instance_id": r.InstanceID} {
			if r.Project == p.Name && id != "" {
				fields = append(fields, field)
			}
		}
	}
	return fields
}

// newTransport returns a transport of the project's own, which trusts the certificates in caFile or, without one, the
// system's, and keeps as many connections as there are calls at one time.
func newTransport(caFile string) (http.RoundTripper, error) {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, fmt.Errorf("http.DefaultTransport is a %T, not an *http.Transport", http.DefaultTransport)
	}
	t := base.Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = lookup.MaxConcurrent, lookup.MaxConcurrent
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

// newCredentials returns the source that the configuration names. It calls IAM, if it does, as client says.
func newCredentials(c config.Credentials, client hss.Config) (hss.CredentialSource, error) {
	oidc := hss.OIDCCredentials(c.IdentityProviderID, c.TokenFile, client) // of the environment for other sources
	source := map[string]hss.CredentialSource{
		config.SourceDefault: hss.ChainCredentials(oidc, hss.DefaultCredentials()), config.SourceEnvironment: hss.ChainCredentials(oidc, hss.EnvironmentCredentials()),
		config.SourceProfile: hss.ProfileCredentials(c.ProfileFile), config.SourceFiles: hss.FileCredentials(c.AccessKeyFile, c.SecretKeyFile, c.SecurityTokenFile),
		config.SourceMetadata: hss.MetadataCredentials(), config.SourcePodIdentity: hss.PodIdentityCredentials(), config.SourceTokenFile: hss.TokenFile(c.TokenFile),
		config.SourceOIDC: oidc,
	}[c.Source]
	if source == nil {
		return nil, fmt.Errorf("unknown source of credentials %q", c.Source)
	}
	return source, nil
}

// ProjectCheck is the result of one signed call to the HSS of a project.
type ProjectCheck struct {
	// Project and Region are the configuration's; Region may be empty.
	Project, Region string
	// ProjectID is the configured one, that of the credentials, or the one that IAM has for the region; empty if none was found.
	ProjectID string
	// Images is how many images HSS lists; -1: it does not say.
	Images int
	// Err is why HSS could not be used, or nil, and Fault whose trouble that is.
	Err   error
	Fault policy.Cause
	// Cause is Err in plain words: what is wrong and what to do, in one line and without secrets. Empty without Err.
	Cause string
	// Temporary reports whether the same call may succeed a little later without anyone changing anything: no complete
	// answer came, or HSS was overloaded.
	Temporary bool
}

// Check makes one signed call for every project, side by side, and returns a result for each, in the order of the
// configuration. It is bound by the same limits as look-ups.
func (i *Inventory) Check(ctx context.Context) []ProjectCheck {
	checks := make([]ProjectCheck, len(i.projects))
	var all sync.WaitGroup
	for n, p := range i.projects {
		all.Go(func() { checks[n] = i.check(ctx, p) })
	}
	all.Wait()
	return checks
}

// check makes the call for one project. A file does not say how many images there are.
func (i *Inventory) check(ctx context.Context, p *project) ProjectCheck {
	c := ProjectCheck{Project: p.Name, Region: p.Region, ProjectID: p.ProjectID, Images: hss.UnknownTotal}
	var last error
	_, c.Err = p.calls.Call(ctx, lookup.Admissions, p.calls.Images, func(ctx context.Context) (err error) {
		if p.hss == nil {
			return nil
		}
		defer func() { last = err }()
		id, err := p.hss.ProjectID(ctx)
		if err != nil {
			return err
		}
		c.ProjectID = id
		page, err := p.hss.List(ctx, hss.ListRequest{EnterpriseProjectID: p.EnterpriseProjectID, Limit: 1})
		if err == nil {
			c.Images = page.Total
		}
		return err
	})
	if ctx.Err() != nil && last != nil {
		c.Err = last // it has the answers before, of which the end of the time says nothing
	}
	if c.Err != nil {
		cause, advice := Explain(c.Err, c.ProjectID)
		c.Cause = strings.TrimSuffix(cause+": "+advice, ": ")
		c.Fault = p.calls.Classify(c.Err)
		c.Temporary = lookup.Temporary(c.Err)
	}
	return c
}

// Explain returns why the HSS of a project could not be used, in one line, and what to do, which may be in the cause or not known.
func Explain(err error, projectID string) (cause, advice string) {
	cause, advice = explain(err, projectID)
	return strings.Join(strings.Fields(cause), " "), advice
}

func explain(err error, projectID string) (cause, advice string) {
	err = lookup.LastAnswer(err)
	refused, isRefused := errors.AsType[*hss.RefusedError](err)
	answer, answered := errors.AsType[*hss.Error](err)
	switch _, atIAM := errors.AsType[*hss.ProjectError](err); {
	case isRefused:
		return explainRefusal(refused)
	case atIAM && answered && answer.Forbidden():
		return err.Error(), "allow the action iam:projects:listProjects, or set projectID"
	case atIAM && !answered && hss.Temporary(err):
		return "cannot reach IAM, which has the project ID: " + err.Error(), "open the way to it, or set projectID"
	case atIAM:
		return err.Error(), ""
	case answered && (answer.StatusCode == http.StatusNotFound || strings.HasSuffix(answer.Code, ".0101")):
		return fmt.Sprintf("this API does not exist here (%s)", answer), "check region and endpoint; not every region has it"
	case answered && answer.Forbidden():
		return fmt.Sprintf("no permission (%s)", answer), fmt.Sprintf("grant HSS ReadOnlyAccess in project %s, or correct projectID", projectID)
	case hss.Temporary(err) && !answered:
		return "cannot reach HSS: " + err.Error(), ""
	}
	return strings.TrimPrefix(lookup.Reason(language.English, err), "HSS could not be called: "), ""
}

// explainRefusal returns which key is refused, by whom, and what to do.
func explainRefusal(r *hss.RefusedError) (cause, advice string) {
	key, advice := "the access key "+r.AccessKey, "check that the secret key belongs to it and that it is enabled"
	switch {
	case r.ServiceAccount != "":
		key, advice = r.ServiceAccount, "check identityProviderID, and that the identity provider has this issuer, this audience as its client ID, "+
			"the cluster's keys (kubectl get --raw /openid/v1/jwks) and a rule for this subject"
	case r.AccessKey == "":
		key, advice = "the token", "renew it"
	}
	if r.Err.ClockSkew != 0 || strings.HasSuffix(r.Err.Code, ".0303") {
		advice = "set the clock of the node"
	}
	return fmt.Sprintf("%s refuses %s (%s)", cmp.Or(r.Err.Service, "HSS"), key, r.Err), advice
}
