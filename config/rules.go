package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/hssgate/hssgate/internal/image"
)

// configuration checks every field by its tags, and then what they don't say: most of it
// is about more than one field.
func (c *checker) configuration(o *Configuration, document *yaml.Node) {
	c.visit("", document, reflect.ValueOf(o).Elem(), "")
	var projects []string
	for i := range o.Projects {
		field, p := fmt.Sprintf("projects[%d]", i), &o.Projects[i]
		c.project(field, p)
		c.credentials(field+".credentials", &p.Credentials)
		projects = append(projects, p.Name)
	}
	for i := range o.Registries {
		field, r := fmt.Sprintf("registries[%d]", i), &o.Registries[i]
		c.registry(field, r, projects)
		c.types(field, r)
		c.path(field, r)
		c.claims(field, r, o.Registries[:i])
	}
	longest := max(o.Cache.FreshFor, o.Cache.NotFoundFor)
	c.mustf(o.Cache.MaxStaleness >= longest, "cache.maxStaleness", "must be at least as long as freshFor and notFoundFor (%s), not %s", longest, o.Cache.MaxStaleness)
	c.webhook(&o.Webhook)
}

func (c *checker) project(field string, p *Project) {
	c.mustf(p.Region != "" || p.Endpoint != "", field, "region or endpoint must be given")
	if p.Endpoint != "" {
		c.endpoint(field+".endpoint", p.Endpoint, p.Insecure)
	}
	c.mustf(p.Region != "" || p.Credentials.Source != SourceOIDC, field+".region", "must be given for source OIDC, which calls the region's IAM")
	isRegion := len(p.Region) <= 63 && regexp.MustCompile(`^([a-z]{2}(-[a-z0-9]+)+)?$`).MatchString(p.Region)
	c.mustf(isRegion, field+".region", "must be a region's ID such as cn-north-4, not %q", shorten(p.Region))
	isID := regexp.MustCompile(`^[0-9A-Za-z_-]{0,64}$`).MatchString(p.ProjectID)
	c.mustf(isID, field+".projectID", "must have up to 64 letters, digits, dashes and underscores, not %q", shorten(p.ProjectID))
}

// endpoint checks the address of HSS. A value that may hold a password is not
// repeated.
func (c *checker) endpoint(field, value string, insecure bool) {
	u, err := url.Parse(value)
	switch {
	case err != nil, u.Host == "", u.Scheme != "https" && u.Scheme != "http":
		c.failf(field, "must be an https:// address such as https://hss.cn-north-4.myhuaweicloud.com")
	case u.User != nil:
		c.failf(field, "must hold no user and no password: credentials say where those are")
	case strings.Trim(u.Path, "/") != "", u.RawQuery != "", u.Fragment != "":
		c.failf(field, "must end after the host: %s://%s", u.Scheme, u.Host)
	case u.Scheme == "http" && !insecure && !isLoopback(u.Hostname()):
		c.failf(field, "must use https, not http; if you trust the network, set insecure: true")
	}
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func (c *checker) credentials(field string, k *Credentials) {
	for _, f := range []struct {
		name, value string
		sources     []string
		required    string // the source for which it must be given
	}{
		{"accessKeyFile", k.AccessKeyFile, []string{SourceFiles}, SourceFiles},
		{"secretKeyFile", k.SecretKeyFile, []string{SourceFiles}, SourceFiles},
		{"securityTokenFile", k.SecurityTokenFile, []string{SourceFiles}, ""},
		{"profileFile", k.ProfileFile, []string{SourceProfile}, ""},
		{"tokenFile", k.TokenFile, []string{SourceTokenFile, SourceOIDC}, SourceTokenFile},
		{"identityProviderID", k.IdentityProviderID, []string{SourceOIDC}, ""},
	} {
		switch used := slices.Contains(f.sources, k.Source); {
		case c.failed[field+".source"]: // it may be a key: no message repeats it
		case !used && f.value != "":
			c.failf(field+"."+f.name, "is only used by source %s, and source is %s", strings.Join(f.sources, " or "), k.Source)
		case f.required == k.Source && f.value == "":
			c.failf(field+"."+f.name, "must be given for source %s", k.Source)
		}
	}
}

func (c *checker) registry(field string, r *Registry, projects []string) {
	for i, host := range r.Hosts {
		c.host(fmt.Sprintf("%s.hosts[%d]", field, i), host)
	}
	for i, n := range r.Namespaces {
		c.mustf(n != "" && !strings.ContainsAny(n, "/ {}*"), fmt.Sprintf("%s.namespaces[%d]", field, i),
			"must be one whole namespace, without slashes and wildcards, not %q", shorten(n))
	}
	switch known := strings.Join(projects, ", "); {
	case r.Project == "" && len(projects) > 1:
		c.failf(field+".project", "must be given if there are several projects: one of %s", known)
	case r.Project == "" && len(projects) == 1:
		r.Project = projects[0]
	case r.Project != "" && !slices.Contains(projects, r.Project):
		c.failf(field+".project", "must be the name of a project (%s), not %q", known, shorten(r.Project))
	}
}

// host refuses what no image reference is read as.
func (c *checker) host(field, value string) {
	switch ref, err := image.Parse(value + "/namespace/name"); {
	case strings.Contains(value, "/"):
		c.failf(field, "must be a host without scheme and path, such as swr.cn-north-4.myhuaweicloud.com, not %q", shorten(value))
	case err != nil, len(value) > validation.DNS1123SubdomainMaxLength:
		c.failf(field, "must be the exact host of image references, with the port if it is not 443, not %q", shorten(value))
	case ref.Path != "namespace/name":
		c.failf(field, "must have a port, such as %s:443: without a dot or a port it is read as a path on docker.io", shorten(value))
	case ref.Host != value:
		c.failf(field, "must be %s, which is how references to %q are read", shorten(ref.Host), shorten(value))
	}
}

// types checks what distinguishes the registry's rows from those of others.
// Without it the record of one Harbor could decide for an image of another.
func (c *checker) types(field string, r *Registry) {
	for _, t := range []string{TypeInstance, TypeHarbor, TypeJFrog} {
		if !slices.Contains(r.ImageTypes, t) {
			continue
		}
		c.mustf(len(r.ImageTypes) == 1, field+".imageTypes", "%s must stand alone, not among %s: make it a registry of its own", t, strings.Join(r.ImageTypes, ", "))
		if t == TypeInstance {
			c.mustf(r.InstanceID != "", field, "instanceID must be given for image type %s: two instances may hold the same names", t)
		} else {
			c.mustf(r.RegistryID+r.RegistryName != "", field, "registryName or registryID must be given for image type %s: two registries may hold the same names", t)
		}
	}
}

// path checks the template that maps paths to namespaces and names.
func (c *checker) path(field string, r *Registry) {
	segments := strings.Split(r.Path, "/")
	last := len(segments) - 1
	spaces := 0
	for i, s := range segments {
		switch {
		case s == "{namespace}":
			spaces++
		case s == "{name}" && i == last, s == "*":
		case !regexp.MustCompile(`^[a-z0-9]+([._-]+[a-z0-9]+)*$`).MatchString(s):
			c.failf(field+".path", "must consist of {namespace}, *, fixed segments and, as the last, {name}; %q is none of these", shorten(s))
			return
		}
	}
	switch {
	case segments[last] != "{name}":
		c.failf(field+".path", "must end with {name}, not with %q", shorten(segments[last]))
	case spaces > 1:
		c.failf(field+".path", "must hold {namespace} once, not %d times", spaces)
	case spaces == 0 && len(r.Namespaces) != 1:
		c.failf(field+".namespaces", "must hold just one namespace, since path has no {namespace}, not %d", len(r.Namespaces))
	}
}

// claims refuses a host of an earlier registry that could answer for the same image.
func (c *checker) claims(field string, r *Registry, earlier []Registry) {
	for i, host := range r.Hosts {
		for j := range earlier {
			if slices.Contains(earlier[j].Hosts, host) && !disjoint(r, &earlier[j]) {
				c.failf(fmt.Sprintf("%s.hosts[%d]", field, i),
					"%s is claimed by registry %q already: give both registries different namespaces, or paths that differ in a fixed segment",
					shorten(host), shorten(earlier[j].Name))
			}
		}
	}
}

// disjoint reports whether no path can belong to both registries: either their
// paths differ in a fixed segment, or they have the same path and no namespace
// in common.
func disjoint(a, b *Registry) bool {
	x, y := strings.Split(a.Path, "/"), strings.Split(b.Path, "/")
	for i := range min(len(x), len(y)) {
		if isFixed(x[i]) && isFixed(y[i]) && x[i] != y[i] {
			return true
		}
	}
	if a.Path != b.Path || !strings.Contains(a.Path, "{namespace}") || len(a.Namespaces) == 0 || len(b.Namespaces) == 0 {
		return false
	}
	return !slices.ContainsFunc(a.Namespaces, func(n string) bool { return slices.Contains(b.Namespaces, n) })
}

func isFixed(segment string) bool {
	return segment != "*" && !strings.HasPrefix(segment, "{")
}

func (c *checker) webhook(w *Webhook) {
	c.mustf(len(w.ClientNames) == 0 || w.ClientCAFile != "", "webhook.clientNames", "needs clientCAFile: without it clients have no names")
	for i, name := range w.ClientNames {
		c.mustf(name != "", fmt.Sprintf("webhook.clientNames[%d]", i), "must be the common name or a DNS name of a client's certificate, not empty")
	}
	c.mustf(len(w.Hosts) == 0 || w.OwnCertificates(), "webhook.hosts", "must be left out if certificates are given: they say what hosts they are for")
	for i, host := range w.Hosts {
		isHost := net.ParseIP(host) != nil || len(validation.IsDNS1123Subdomain(host)) == 0
		c.mustf(isHost, fmt.Sprintf("webhook.hosts[%d]", i), "must be a DNS name or an IP address, not %q", shorten(host))
	}
	c.mustf(w.MutatingConfigurationName == "" || w.ConfigurationName != "", "webhook.mutatingConfigurationName",
		"needs configurationName: images are pinned only where pods are evaluated")
	if w.CASecret != "" {
		const field = "webhook.caSecret"
		c.mustf(len(validation.IsDNS1123Subdomain(w.CASecret)) == 0, field, "must be the name of a Secret, not %q", shorten(w.CASecret))
		c.mustf(w.OwnCertificates(), field, "must be left out if certificates are given: then hssgate makes none")
		c.mustf(w.ConfigurationName != "", field, "needs configurationName: the API server gets the CA from there")
	}
}
