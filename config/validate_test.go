package config_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/config"
)

// valid is a configuration that Validate accepts, changed as told.
func valid(change func(*config.Configuration)) *config.Configuration {
	c := parsed()
	c.Registries[0].Project, c.Registries[0].Hosts = "", []string{"swr.example.com"}
	change(c)
	return c
}

// fields are those that an error complains about.
func fields(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var e *config.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *config.Error", err)
	}
	var names []string
	for _, p := range e.Problems {
		names = append(names, p.Field)
	}
	return names
}

type validation struct {
	change func(*config.Configuration)
	wrong  []string
}

// check validates each configuration. Those of testdata/wrong.yaml are wrong in other ways.
func check(t *testing.T, tests map[string]validation) {
	t.Helper()
	for name, test := range tests {
		equal(t, name, test.wrong, fields(t, valid(test.change).Validate()))
	}
}

func project(change func(*config.Project)) func(*config.Configuration) {
	return func(c *config.Configuration) { change(&c.Projects[0]) }
}

func registry(change func(*config.Registry)) func(*config.Configuration) {
	return func(c *config.Configuration) { change(&c.Registries[0]) }
}

// validity checks which values a configuration may have.
func validity(t *testing.T, ok bool, with func(value string) *config.Configuration, values ...string) {
	t.Helper()
	for _, value := range values {
		if err := with(value).Validate(); (err == nil) != ok {
			t.Errorf("%q: got %v", value, err)
		}
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	with := func(host string) *config.Configuration {
		return valid(registry(func(r *config.Registry) { r.Hosts = []string{host} }))
	}
	validity(t, true, with, "swr.cn-north-4.myhuaweicloud.com", "localhost", "10.0.0.1", "10.0.0.1:5000", "harbor.example.com:80",
		"harbor.example.com:65535", "[fd00::1]", "[fd00::1]:5000", "docker.io", "registry:5000", "registry:443")
	validity(t, false, with, "", "registry", "index.docker.io", "harbor.example.com:443", "[fd00::1]:443", "harbor.example.com:", "harbor.example.com:0",
		"harbor.example.com:080", "harbor.example.com:65536", "harbor.example.com:http", "Harbor.example.com", "https://harbor.example.com",
		"harbor.example.com/prod", "harbor.example.com.", ".example.com", "*.example.com", "harbor example.com", "harbor..example.com",
		"-harbor.example.com", "[fd00:0::1]", "[::1", "fd00::1", "[10.0.0.1]", "user@harbor.example.com", strings.Repeat("a.", 127)+"com")
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	with := func(insecure bool) func(string) *config.Configuration {
		return func(endpoint string) *config.Configuration {
			return valid(project(func(p *config.Project) { p.Region, p.Endpoint, p.Insecure = "", endpoint, insecure }))
		}
	}
	remote := []string{"http://hss.example.com", "http://localhost.example.com"}
	validity(t, false, with(false), remote...)
	validity(t, true, with(true), remote...)
	for _, insecure := range []bool{false, true} {
		validity(t, true, with(insecure), "https://hss.cn-north-4.myhuaweicloud.com", "https://hss.cn-north-4.myhuaweicloud.com/", "https://10.0.0.1:8443",
			"http://127.0.0.1:8443", "http://127.8.8.8", "http://[::1]:8443", "http://localhost:8443")
		validity(t, false, with(insecure), "https://hss.example.com/v5", "https://hss.example.com?x=y", "https://hss.example.com#x",
			"https://user@hss.example.com", "ftp://hss.example.com", "hss.example.com", "https://", "https://%zz")
	}
}

func TestAddressesToListenOn(t *testing.T) {
	t.Parallel()
	health := func(address string) *config.Configuration {
		return valid(func(c *config.Configuration) { c.HealthBindAddress = address })
	}
	webhook := func(address string) *config.Configuration {
		return valid(func(c *config.Configuration) { c.Webhook.BindAddress = address })
	}
	for _, with := range []func(string) *config.Configuration{health, webhook} {
		validity(t, true, with, ":8081", "127.0.0.1:8081", "[::1]:8081", ":0", "localhost:1")
		validity(t, false, with, "", "8081", ":", ":65536", ":-1", ":http", "a b:1", "::1:1", ":00")
	}
	validity(t, true, health, "0")
	validity(t, false, webhook, "0") // the webhook itself can't be switched off
}

func TestProjects(t *testing.T) {
	t.Parallel()
	wrong := func(field string) []string { return []string{"projects[0]." + field} }
	check(t, map[string]validation{
		"a name of 63 characters": {project(func(p *config.Project) { p.Name = strings.Repeat("a", 63) }), nil},
		"no name":                 {project(func(p *config.Project) { p.Name = "" }), wrong("name")},
		"no region":               {project(func(p *config.Project) { p.Region = "" }), []string{"projects[0]"}},
		"a region that's a host":  {project(func(p *config.Project) { p.Region = "cn-north-4.evil.com" }), wrong("region")},
		"a region of the future":  {project(func(p *config.Project) { p.Region = "zz-somewhere-else-12" }), nil},
		"a long enterprise ID":    {project(func(p *config.Project) { p.EnterpriseProjectID = strings.Repeat("x", 257) }), wrong("enterpriseProjectID")},
		"an enterprise ID in ä":   {project(func(p *config.Project) { p.EnterpriseProjectID = strings.Repeat("ä", 256) }), nil},
		"a control character":     {project(func(p *config.Project) { p.EnterpriseProjectID = "a\nb" }), wrong("enterpriseProjectID")},
		"a slow budget":           {project(func(p *config.Project) { p.RequestsPerSecond = 0.01 }), nil},
		"a budget below nothing":  {project(func(p *config.Project) { p.RequestsPerSecond = -1 }), wrong("requestsPerSecond")},
		"a budget of no number":   {project(func(p *config.Project) { p.RequestsPerSecond = math.NaN() }), wrong("requestsPerSecond")},
		"a boundless budget":      {project(func(p *config.Project) { p.RequestsPerSecond = math.Inf(1) }), wrong("requestsPerSecond")},
		"a request without time":  {project(func(p *config.Project) { p.RequestTimeout = 0 }), wrong("requestTimeout")},
		"too many scans":          {project(func(p *config.Project) { p.ScanOnDemand.MaxPerHour = 1001 }), wrong("scanOnDemand.maxPerHour")},
		"no scans":                {project(func(p *config.Project) { p.ScanOnDemand.MaxPerHour = 0 }), wrong("scanOnDemand.maxPerHour")},
	})
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	with := func(c config.Credentials) func(*config.Configuration) {
		return project(func(p *config.Project) { p.Credentials = c })
	}
	wrong := func(names ...string) []string {
		for i := range names {
			names[i] = "projects[0].credentials." + names[i]
		}
		return names
	}
	check(t, map[string]validation{
		"a profile in a file":       {with(config.Credentials{Source: "Profile", ProfileFile: "/p"}), nil},
		"a token's file":            {with(config.Credentials{Source: "TokenFile", TokenFile: "/t"}), nil},
		"a service account's token": {with(config.Credentials{Source: "OIDC", TokenFile: "/t", IdentityProviderID: "p"}), nil},
		"those of the environment":  {with(config.Credentials{Source: "OIDC"}), nil},
		"no source":                 {with(config.Credentials{}), wrong("source")},
		"a token that isn't named":  {with(config.Credentials{Source: "TokenFile"}), wrong("tokenFile")},
		"a profile for the default": {with(config.Credentials{Source: "Default", ProfileFile: "/p"}), wrong("profileFile")},
	})
}

func TestRegistries(t *testing.T) {
	t.Parallel()
	wrong := func(field string) []string { return []string{"registries[0]" + field} }
	path := func(p string, namespaces ...string) func(*config.Configuration) {
		return registry(func(r *config.Registry) { r.Path, r.Namespaces = p, namespaces })
	}
	types := func(types ...string) func(*config.Configuration) {
		return registry(func(r *config.Registry) { r.ImageTypes = types })
	}
	check(t, map[string]validation{
		"a fixed segment":           {path("v2/{namespace}/{name}"), nil},
		"any segment":               {path("*/*/{namespace}/{name}"), nil},
		"no namespace in the path":  {path("{name}", "docker-local"), nil},
		"no namespace at all":       {path("{name}"), wrong(".namespaces")},
		"an empty path":             {path(""), wrong(".path")},
		"a slash in front":          {path("/{namespace}/{name}"), wrong(".path")},
		"a slash behind":            {path("{namespace}/{name}/"), wrong(".path")},
		"no name":                   {path("{namespace}"), wrong(".path")},
		"a placeholder unknown":     {path("{organisation}/{name}"), wrong(".path")},
		"a part of a segment":       {path("pre-{namespace}/{name}"), wrong(".path")},
		"a segment in capitals":     {path("V2/{namespace}/{name}"), wrong(".path")},
		"a namespace that's a glob": {path("{namespace}/{name}", "a*"), wrong(".namespaces[0]")},
		"an empty namespace":        {path("{namespace}/{name}", ""), wrong(".namespaces[0]")},
		"an unknown type":           {types("private"), wrong(".imageTypes[0]")},
		"a type twice":              {types("private_image", "private_image"), wrong(".imageTypes[1]")},
		"a jfrog without a name":    {types("jfrog"), wrong("")},
		"a jfrog with an ID":        {registry(func(r *config.Registry) { r.ImageTypes, r.RegistryID = []string{"jfrog"}, "7" }), nil},
		"an instance with its ID":   {registry(func(r *config.Registry) { r.ImageTypes, r.InstanceID = []string{"instance_image"}, "prod" }), nil},
		"a name that's too long":    {registry(func(r *config.Registry) { r.RegistryName = strings.Repeat("x", 129) }), wrong(".registryName")},
		"no spelling":               {registry(func(r *config.Registry) { r.NestedNames = nil }), wrong(".nestedNames")},
	})
}

func TestRegistriesMayShareAHostOnlyIfTheyCanBeToldApart(t *testing.T) {
	t.Parallel()
	const path = "{namespace}/{name}"
	for name, test := range map[string]struct {
		first, second string // the path, and the namespaces after it
		disjoint      bool
	}{
		"different namespaces":         {path + " a", path + " b", true},
		"a namespace in common":        {path + " a b", path + " b", false},
		"one takes every namespace":    {path, path + " b", false},
		"both take every namespace":    {path, path, false},
		"different fixed segments":     {"x/" + path, "y/" + path, true},
		"different ones further on":    {"*/x/" + path, "{namespace}/y/{name}", true},
		"a fixed segment and any":      {"x/" + path, "*/" + path, false},
		"a fixed segment and a name":   {"x/{name} a", "{name} b", false},
		"namespaces of no path":        {"{name} a", "{name} b", false},
		"namespaces of another place":  {"{namespace}/*/{name} a", "*/" + path + " b", false},
		"the same fixed segment":       {"x/" + path, "x/" + path, false},
		"the same, and own namespaces": {"x/" + path + " a", "x/" + path + " b", true},
	} {
		c := valid(func(c *config.Configuration) {
			c.Registries = append(c.Registries, c.Registries[0])
			for i, text := range []string{test.first, test.second} {
				r := &c.Registries[i]
				r.Name, r.Path, r.Namespaces = fmt.Sprint("r", i), strings.Fields(text)[0], strings.Fields(text)[1:]
			}
		})
		err := c.Validate()
		slices.Reverse(c.Registries)
		if reversed := c.Validate(); (err == nil) != test.disjoint || (reversed == nil) != test.disjoint {
			t.Errorf("%s: got %v, and the other way round %v", name, err, reversed)
		}
	}
}

func TestCacheAndWebhook(t *testing.T) {
	t.Parallel()
	cache := func(change func(*config.Cache)) func(*config.Configuration) {
		return func(c *config.Configuration) { change(&c.Cache) }
	}
	webhook := func(change func(*config.Webhook)) func(*config.Configuration) {
		return func(c *config.Configuration) { change(&c.Webhook) }
	}
	secret := func(name, configuration string) func(*config.Configuration) {
		return webhook(func(w *config.Webhook) { w.CASecret, w.ConfigurationName = name, configuration })
	}
	wrong := func(field string) []string { return []string{field} }
	check(t, map[string]validation{
		"no wait for HSS if stale":              {cache(func(c *config.Cache) { c.WaitWhenStale = 0 }), nil},
		"a cache of 4Gi":                        {cache(func(c *config.Cache) { c.MaxBytes = 4 << 30 }), nil},
		"staleness of freshness":                {cache(func(c *config.Cache) { c.MaxStaleness = c.FreshFor }), nil},
		"a folder of certificates":              {webhook(func(w *config.Webhook) { w.CertDir = "/certs" }), nil},
		"reviews that fill all":                 {webhook(func(w *config.Webhook) { w.MaxInFlightBytes = 32 << 20 }), nil},
		"a CA in a Secret":                      {secret("hssgate-ca", "hssgate"), nil},
		"a CA without a webhook configuration":  {secret("hssgate-ca", ""), wrong("webhook.caSecret")},
		"no name of a Secret":                   {secret("namespace/name", "hssgate"), wrong("webhook.caSecret")},
		"pinning beside evaluation":             {webhook(func(w *config.Webhook) { w.MutatingConfigurationName, w.ConfigurationName = "a", "b" }), nil},
		"pinning without evaluation":            {webhook(func(w *config.Webhook) { w.MutatingConfigurationName = "a" }), wrong("webhook.mutatingConfigurationName")},
		"clients of a CA, whatever their names": {webhook(func(w *config.Webhook) { w.ClientCAFile = "/ca" }), nil},
	})
}
