package config_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/config"
)

// valid is a configuration that Validate accepts, changed as told.
func valid(change func(*config.Configuration)) *config.Configuration {
	c := config.Default()
	p, r := config.DefaultProject(), config.DefaultRegistry()
	p.Name, p.Region = "bj4", "cn-north-4"
	r.Name, r.Hosts = "swr", []string{"swr.example.com"}
	c.Projects, c.Registries = []config.Project{p}, []config.Registry{r}
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

func check(t *testing.T, tests map[string]validation) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if d := cmp.Diff(test.wrong, fields(t, valid(test.change).Validate())); d != "" {
				t.Error(d)
			}
		})
	}
}

func project(change func(*config.Project)) func(*config.Configuration) {
	return func(c *config.Configuration) { change(&c.Projects[0]) }
}

func registry(change func(*config.Registry)) func(*config.Configuration) {
	return func(c *config.Configuration) { change(&c.Registries[0]) }
}

func TestHosts(t *testing.T) {
	t.Parallel()
	for host, ok := range map[string]bool{
		"swr.cn-north-4.myhuaweicloud.com": true,
		"localhost":                        true,
		"10.0.0.1":                         true,
		"10.0.0.1:5000":                    true,
		"harbor.example.com:80":            true,
		"harbor.example.com:65535":         true,
		"[fd00::1]":                        true,
		"[fd00::1]:5000":                   true,
		"docker.io":                        true,
		"":                                 false,
		"index.docker.io":                  false,
		"harbor.example.com:443":           false,
		"[fd00::1]:443":                    false,
		"harbor.example.com:":              false,
		"harbor.example.com:0":             false,
		"harbor.example.com:080":           false,
		"harbor.example.com:65536":         false,
		"harbor.example.com:http":          false,
		"Harbor.example.com":               false,
		"https://harbor.example.com":       false,
		"harbor.example.com/prod":          false,
		"harbor.example.com.":              false,
		".example.com":                     false,
		"*.example.com":                    false,
		"harbor example.com":               false,
		"harbor..example.com":              false,
		"-harbor.example.com":              false,
		"[fd00:0::1]":                      false,
		"[::1":                             false,
		"fd00::1":                          false,
		"[10.0.0.1]":                       false,
		"user@harbor.example.com":          false,
		strings.Repeat("a.", 127) + "com":  false,
	} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			err := valid(registry(func(r *config.Registry) { r.Hosts = []string{host} })).Validate()
			if (err == nil) != ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	for endpoint, test := range map[string]struct{ ok, insecure bool }{
		"https://hss.cn-north-4.myhuaweicloud.com":  {true, true},
		"https://hss.cn-north-4.myhuaweicloud.com/": {true, true},
		"https://10.0.0.1:8443":                     {true, true},
		"http://127.0.0.1:8443":                     {true, true},
		"http://127.8.8.8":                          {true, true},
		"http://[::1]:8443":                         {true, true},
		"http://localhost:8443":                     {true, true},
		"http://hss.example.com":                    {false, true},
		"http://localhost.example.com":              {false, true},
		"https://hss.example.com/v5":                {false, false},
		"https://hss.example.com?x=y":               {false, false},
		"https://hss.example.com#x":                 {false, false},
		"https://user@hss.example.com":              {false, false},
		"ftp://hss.example.com":                     {false, false},
		"hss.example.com":                           {false, false},
		"https://":                                  {false, false},
		"https://%zz":                               {false, false},
	} {
		t.Run(endpoint, func(t *testing.T) {
			t.Parallel()
			for insecure, want := range map[bool]bool{false: test.ok, true: test.insecure} {
				err := valid(project(func(p *config.Project) { p.Region, p.Endpoint, p.Insecure = "", endpoint, insecure })).Validate()
				if (err == nil) != want {
					t.Errorf("insecure %v: got %v", insecure, err)
				}
			}
		})
	}
}

func TestAddressesToListenOn(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		":8081": true, "127.0.0.1:8081": true, "[::1]:8081": true, ":0": true, "localhost:1": true, "0": true,
		"": false, "8081": false, ":": false, ":65536": false, ":-1": false, ":http": false, "a b:1": false, "::1:1": false, ":00": false,
	} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			err := valid(func(c *config.Configuration) { c.HealthBindAddress = address }).Validate()
			if (err == nil) != ok {
				t.Errorf("got %v", err)
			}
		})
	}
	if err := valid(func(c *config.Configuration) { c.Webhook.BindAddress = "0" }).Validate(); err == nil {
		t.Error("the webhook itself can be switched off")
	}
}

func TestProjects(t *testing.T) {
	t.Parallel()
	wrong := func(field string) []string { return []string{"projects[0]." + field} }
	check(t, map[string]validation{
		"a name of 63 characters":  {project(func(p *config.Project) { p.Name = strings.Repeat("a", 63) }), nil},
		"a name of 64 characters":  {project(func(p *config.Project) { p.Name = strings.Repeat("a", 64) }), wrong("name")},
		"no name":                  {project(func(p *config.Project) { p.Name = "" }), wrong("name")},
		"no region":                {project(func(p *config.Project) { p.Region = "" }), []string{"projects[0]"}},
		"a region in capitals":     {project(func(p *config.Project) { p.Region = "CN-north-4" }), wrong("region")},
		"a region that's a host":   {project(func(p *config.Project) { p.Region = "cn-north-4.evil.com" }), wrong("region")},
		"a region of the future":   {project(func(p *config.Project) { p.Region = "zz-somewhere-else-12" }), nil},
		"a project ID":             {project(func(p *config.Project) { p.ProjectID = "0a1b2c" }), nil},
		"a project ID with slash":  {project(func(p *config.Project) { p.ProjectID = "../x" }), wrong("projectID")},
		"a long enterprise ID":     {project(func(p *config.Project) { p.EnterpriseProjectID = strings.Repeat("x", 257) }), wrong("enterpriseProjectID")},
		"an enterprise ID in ä":    {project(func(p *config.Project) { p.EnterpriseProjectID = strings.Repeat("ä", 256) }), nil},
		"a control character":      {project(func(p *config.Project) { p.EnterpriseProjectID = "a\nb" }), wrong("enterpriseProjectID")},
		"a slow budget":            {project(func(p *config.Project) { p.RequestsPerSecond = 0.01 }), nil},
		"a budget below nothing":   {project(func(p *config.Project) { p.RequestsPerSecond = -1 }), wrong("requestsPerSecond")},
		"a budget of no number":    {project(func(p *config.Project) { p.RequestsPerSecond = math.NaN() }), wrong("requestsPerSecond")},
		"a boundless budget":       {project(func(p *config.Project) { p.RequestsPerSecond = math.Inf(1) }), wrong("requestsPerSecond")},
		"a burst above its bound":  {project(func(p *config.Project) { p.Burst = 1001 }), wrong("burst")},
		"a request without time":   {project(func(p *config.Project) { p.RequestTimeout = 0 }), wrong("requestTimeout")},
		"a look-up of its request": {project(func(p *config.Project) { p.LookupTimeout = p.RequestTimeout }), nil},
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
		"the default":                {with(config.Credentials{Source: "Default"}), nil},
		"the environment":            {with(config.Credentials{Source: "Environment"}), nil},
		"metadata":                   {with(config.Credentials{Source: "Metadata"}), nil},
		"pod identity":               {with(config.Credentials{Source: "PodIdentity"}), nil},
		"a profile":                  {with(config.Credentials{Source: "Profile"}), nil},
		"a profile in a file":        {with(config.Credentials{Source: "Profile", ProfileFile: "/p"}), nil},
		"files":                      {with(config.Credentials{Source: "Files", AccessKeyFile: "/a", SecretKeyFile: "/s"}), nil},
		"a token's file":             {with(config.Credentials{Source: "TokenFile", TokenFile: "/t"}), nil},
		"a token's variable":         {with(config.Credentials{Source: "TokenEnvironment", TokenVariable: "HSS_TOKEN"}), nil},
		"no source":                  {with(config.Credentials{}), wrong("source")},
		"a source in small letters":  {with(config.Credentials{Source: "files"}), wrong("source")},
		"files that are not named":   {with(config.Credentials{Source: "Files"}), wrong("accessKeyFile", "secretKeyFile")},
		"a token that isn't named":   {with(config.Credentials{Source: "TokenFile"}), wrong("tokenFile")},
		"files for another source":   {with(config.Credentials{Source: "Metadata", SecretKeyFile: "/s"}), wrong("secretKeyFile")},
		"a profile for the default":  {with(config.Credentials{Source: "Default", ProfileFile: "/p"}), wrong("profileFile")},
		"a variable that's no name":  {with(config.Credentials{Source: "TokenEnvironment", TokenVariable: "MIIF+/="}), wrong("tokenVariable")},
		"a variable of another kind": {with(config.Credentials{Source: "TokenFile", TokenFile: "/t", TokenVariable: "T"}), wrong("tokenVariable")},
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
		"a fixed segment":            {path("v2/{namespace}/{name}"), nil},
		"any segment":                {path("*/*/{namespace}/{name}"), nil},
		"no namespace in the path":   {path("{name}", "docker-local"), nil},
		"no namespace at all":        {path("{name}"), wrong(".namespaces")},
		"two for a path of none":     {path("{name}", "a", "b"), wrong(".namespaces")},
		"an empty path":              {path(""), wrong(".path")},
		"a slash in front":           {path("/{namespace}/{name}"), wrong(".path")},
		"a slash behind":             {path("{namespace}/{name}/"), wrong(".path")},
		"no name":                    {path("{namespace}"), wrong(".path")},
		"a name in the middle":       {path("{name}/{namespace}"), wrong(".path")},
		"a namespace twice":          {path("{namespace}/{namespace}/{name}"), wrong(".path")},
		"a placeholder unknown":      {path("{organisation}/{name}"), wrong(".path")},
		"a part of a segment":        {path("pre-{namespace}/{name}"), wrong(".path")},
		"a segment in capitals":      {path("V2/{namespace}/{name}"), wrong(".path")},
		"a namespace with a slash":   {path("{namespace}/{name}", "a/b"), wrong(".namespaces[0]")},
		"a namespace that's a glob":  {path("{namespace}/{name}", "a*"), wrong(".namespaces[0]")},
		"an empty namespace":         {path("{namespace}/{name}", ""), wrong(".namespaces[0]")},
		"only private images":        {types("private_image"), nil},
		"only shared images":         {types("shared_image"), nil},
		"an unknown type":            {types("private"), wrong(".imageTypes[0]")},
		"a type twice":               {types("private_image", "private_image"), wrong(".imageTypes[1]")},
		"an instance without a name": {types("instance_image"), wrong("")},
		"a harbor without a name":    {types("harbor"), wrong("")},
		"a jfrog without a name":     {types("jfrog"), wrong("")},
		"a jfrog with an ID": {
			registry(func(r *config.Registry) { r.ImageTypes, r.RegistryID = []string{"jfrog"}, "7" }), nil,
		},
		"an instance with a name": {
			registry(func(r *config.Registry) { r.ImageTypes, r.InstanceName = []string{"instance_image"}, "prod" }), nil,
		},
		"a harbor among others": {
			registry(func(r *config.Registry) {
				r.ImageTypes, r.RegistryName = []string{"harbor", "private_image"}, "x"
			}), wrong(".imageTypes"),
		},
		"a project that isn't there": {registry(func(r *config.Registry) { r.Project = "x" }), wrong(".project")},
		"a name that's too long":     {registry(func(r *config.Registry) { r.RegistryName = strings.Repeat("x", 129) }), wrong(".registryName")},
		"no spelling":                {registry(func(r *config.Registry) { r.NestedNames = nil }), wrong(".nestedNames")},
		"the same host twice": {
			registry(func(r *config.Registry) { r.Hosts = []string{"a.com", "a.com"} }), wrong(".hosts[1]"),
		},
		"no project named, of two": {
			func(c *config.Configuration) {
				p := c.Projects[0]
				p.Name = "other"
				c.Projects = append(c.Projects, p)
			}, wrong(".project"),
		},
	})
}

func TestRegistriesMayShareAHostOnlyIfTheyCanBeToldApart(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		first, second config.Registry
		disjoint      bool
	}{
		"different namespaces":         {config.Registry{Path: "{namespace}/{name}", Namespaces: []string{"a"}}, config.Registry{Path: "{namespace}/{name}", Namespaces: []string{"b"}}, true},
		"a namespace in common":        {config.Registry{Path: "{namespace}/{name}", Namespaces: []string{"a", "b"}}, config.Registry{Path: "{namespace}/{name}", Namespaces: []string{"b"}}, false},
		"one takes every namespace":    {config.Registry{Path: "{namespace}/{name}"}, config.Registry{Path: "{namespace}/{name}", Namespaces: []string{"b"}}, false},
		"both take every namespace":    {config.Registry{Path: "{namespace}/{name}"}, config.Registry{Path: "{namespace}/{name}"}, false},
		"different fixed segments":     {config.Registry{Path: "x/{namespace}/{name}"}, config.Registry{Path: "y/{namespace}/{name}"}, true},
		"different ones further on":    {config.Registry{Path: "*/x/{namespace}/{name}"}, config.Registry{Path: "{namespace}/y/{name}"}, true},
		"a fixed segment and any":      {config.Registry{Path: "x/{namespace}/{name}"}, config.Registry{Path: "*/{namespace}/{name}"}, false},
		"a fixed segment and a name":   {config.Registry{Path: "x/{name}", Namespaces: []string{"a"}}, config.Registry{Path: "{name}", Namespaces: []string{"b"}}, false},
		"namespaces of no path":        {config.Registry{Path: "{name}", Namespaces: []string{"a"}}, config.Registry{Path: "{name}", Namespaces: []string{"b"}}, false},
		"namespaces of another place":  {config.Registry{Path: "{namespace}/*/{name}", Namespaces: []string{"a"}}, config.Registry{Path: "*/{namespace}/{name}", Namespaces: []string{"b"}}, false},
		"the same fixed segment":       {config.Registry{Path: "x/{namespace}/{name}"}, config.Registry{Path: "x/{namespace}/{name}"}, false},
		"the same, and own namespaces": {config.Registry{Path: "x/{namespace}/{name}", Namespaces: []string{"a"}}, config.Registry{Path: "x/{namespace}/{name}", Namespaces: []string{"b"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := config.Disjoint(&test.first, &test.second); got != test.disjoint {
				t.Errorf("got %v", got)
			}
			if got := config.Disjoint(&test.second, &test.first); got != test.disjoint {
				t.Errorf("the other way round got %v", got)
			}
			c := valid(func(c *config.Configuration) {
				a, b := c.Registries[0], c.Registries[0]
				a.Path, a.Namespaces = test.first.Path, test.first.Namespaces
				b.Path, b.Namespaces, b.Name = test.second.Path, test.second.Namespaces, "second"
				c.Registries = []config.Registry{a, b}
			})
			if err := c.Validate(); (err == nil) != test.disjoint {
				t.Errorf("Validate says %v", err)
			}
		})
	}
}

func TestScanOnDemand(t *testing.T) {
	t.Parallel()
	scans := func(change func(*config.ScanOnDemand)) func(*config.Configuration) {
		return project(func(p *config.Project) { change(&p.ScanOnDemand) })
	}
	check(t, map[string]validation{
		"switched on":             {scans(func(s *config.ScanOnDemand) { s.Enabled = true }), nil},
		"all of a day at once":    {scans(func(s *config.ScanOnDemand) { s.MaxPerHour, s.MaxPerDay = 1000, 1000 }), nil},
		"none an hour":            {scans(func(s *config.ScanOnDemand) { s.MaxPerHour = 0 }), []string{"projects[0].scanOnDemand.maxPerHour"}},
		"more an hour than a day": {scans(func(s *config.ScanOnDemand) { s.MaxPerHour = 101 }), []string{"projects[0].scanOnDemand.maxPerHour"}},
		"too many a day":          {scans(func(s *config.ScanOnDemand) { s.MaxPerDay = 1001 }), []string{"projects[0].scanOnDemand.maxPerDay"}},
		"asked again too soon":    {scans(func(s *config.ScanOnDemand) { s.RepeatAfter = config.Duration(time.Minute) }), []string{"projects[0].scanOnDemand.repeatAfter"}},
		"synchronised too often":  {scans(func(s *config.ScanOnDemand) { s.SyncInterval = config.Duration(time.Second) }), []string{"projects[0].scanOnDemand.syncInterval"}},
		"a ConfigMap":             {func(c *config.Configuration) { c.ScanClaimsConfigMap = "hssgate-scans" }, nil},
		"no ConfigMap's name":     {func(c *config.Configuration) { c.ScanClaimsConfigMap = "a/b" }, []string{"scanClaimsConfigMap"}},
	})
}

func TestScansOnDemandIfAnyProjectIsAsked(t *testing.T) {
	t.Parallel()
	c := &config.Configuration{Projects: []config.Project{{}, {}}}
	if c.ScansOnDemand() {
		t.Error("scans are asked for by default")
	}
	c.Projects[1].ScanOnDemand.Enabled = true
	if !c.ScansOnDemand() {
		t.Error("scans are not asked for")
	}
}

func TestSynchronisationAndShares(t *testing.T) {
	t.Parallel()
	check(t, map[string]validation{
		"switched on":              {project(func(p *config.Project) { p.Sync.Enabled = true }), nil},
		"an interval of the whole": {project(func(p *config.Project) { p.Sync.Interval = p.Sync.FullInterval }), nil},
		"an interval beyond it": {
			project(func(p *config.Project) { p.Sync.Interval = p.Sync.FullInterval + 1 }), []string{"projects[0].sync.interval"},
		},
		"whole lists too often": {
			project(func(p *config.Project) { p.Sync.FullInterval = config.Duration(4 * time.Minute) }), []string{"projects[0].sync.fullInterval"},
		},
		"an overlap of one look-up": {project(func(p *config.Project) { p.Sync.Overlap = p.LookupTimeout }), nil},
		"an overlap below that": {
			project(func(p *config.Project) { p.Sync.Overlap = p.LookupTimeout - 1 }), []string{"projects[0].sync.overlap"},
		},
		"wrong even while it is off": {
			project(func(p *config.Project) { p.Sync = config.Sync{} }),
			[]string{"projects[0].sync.fullInterval", "projects[0].sync.interval", "projects[0].sync.overlap"},
		},
		"all for the background":     {project(func(p *config.Project) { p.BackgroundPercent = 100 }), nil},
		"nothing for the background": {project(func(p *config.Project) { p.BackgroundPercent = 0 }), []string{"projects[0].backgroundPercent"}},
		"more than all":              {project(func(p *config.Project) { p.BackgroundPercent = 101 }), []string{"projects[0].backgroundPercent"}},
		"nobody may wait":            {project(func(p *config.Project) { p.MaxWaiting = 0 }), []string{"projects[0].maxWaiting"}},
	})
}

func TestCacheAndWebhook(t *testing.T) {
	t.Parallel()
	check(t, map[string]validation{
		"no wait for HSS if stale": {func(c *config.Configuration) { c.Cache.WaitWhenStale = 0 }, nil},
		"one image":                {func(c *config.Configuration) { c.Cache.MaxImages = 1 }, nil},
		"a cache of 4Gi":           {func(c *config.Configuration) { c.Cache.MaxBytes = 4 << 30 }, nil},
		"a cache beyond 4Gi":       {func(c *config.Configuration) { c.Cache.MaxBytes = 4<<30 + 1 }, []string{"cache.maxBytes"}},
		"lists of 1Mi":             {func(c *config.Configuration) { c.Cache.MaxVulnerabilityBytes = 1 << 20 }, nil},
		"no room for lists":        {func(c *config.Configuration) { c.Cache.MaxVulnerabilityBytes = 0 }, []string{"cache.maxVulnerabilityBytes"}},
		"lists beyond 1Gi":         {func(c *config.Configuration) { c.Cache.MaxVulnerabilityBytes = 1<<30 + 1 }, []string{"cache.maxVulnerabilityBytes"}},
		"no warm-up":               {func(c *config.Configuration) { c.Cache.WarmUpTimeout = 0 }, nil},
		"an endless warm-up":       {func(c *config.Configuration) { c.Cache.WarmUpTimeout = config.Duration(time.Hour) }, []string{"cache.warmUpTimeout"}},
		"stale before it's fresh":  {func(c *config.Configuration) { c.Cache.MaxStaleness = c.Cache.FreshFor - 1 }, []string{"cache.maxStaleness"}},
		"staleness of freshness":   {func(c *config.Configuration) { c.Cache.MaxStaleness = c.Cache.FreshFor }, nil},
		"pending beyond staleness": {
			func(c *config.Configuration) {
				c.Cache.MaxStaleness, c.Cache.PendingFor = c.Cache.FreshFor, c.Cache.FreshFor+1
			}, []string{"cache.maxStaleness"},
		},
		"a certificate without key": {func(c *config.Configuration) { c.Webhook.TLSCertFile = "/c" }, []string{"webhook"}},
		"a key without certificate": {func(c *config.Configuration) { c.Webhook.TLSKeyFile = "/k" }, []string{"webhook"}},
		"a folder of certificates":  {func(c *config.Configuration) { c.Webhook.CertDir = "/certs" }, nil},
		"reviews that fill all":     {func(c *config.Configuration) { c.Webhook.MaxInFlightBytes = c.Webhook.MaxReviewBytes }, nil},
		"a margin of the whole": {
			func(c *config.Configuration) {
				c.Webhook.DefaultTimeout, c.Webhook.TimeoutMargin = config.Duration(time.Second), config.Duration(time.Second)
			}, []string{"webhook.timeoutMargin"},
		},
	})
}

func TestAuthorityAndClients(t *testing.T) {
	t.Parallel()
	webhook := func(change func(*config.Webhook)) func(*config.Configuration) {
		return func(c *config.Configuration) { change(&c.Webhook) }
	}
	check(t, map[string]validation{
		"an authority in a Secret": {webhook(func(w *config.Webhook) {
			w.AuthoritySecret, w.ConfigurationName = "hssgate-authority", "hssgate"
		}), nil},
		"an authority that nobody is told of": {webhook(func(w *config.Webhook) {
			w.AuthoritySecret = "hssgate-authority"
		}), []string{"webhook.authoritySecret"}},
		"an authority that isn't needed": {webhook(func(w *config.Webhook) {
			w.AuthoritySecret, w.ConfigurationName, w.CertDir = "hssgate-authority", "hssgate", "/certs"
		}), []string{"webhook.authoritySecret"}},
		"a webhook that pins beside the one that judges": {webhook(func(w *config.Webhook) {
			w.MutatingConfigurationName, w.ConfigurationName = "hssgate", "hssgate"
		}), nil},
		"a webhook that pins and none that judges": {webhook(func(w *config.Webhook) {
			w.MutatingConfigurationName = "hssgate"
		}), []string{"webhook.mutatingConfigurationName"}},
		"no name of a Secret": {webhook(func(w *config.Webhook) {
			w.AuthoritySecret, w.ConfigurationName = "namespace/name", "hssgate"
		}), []string{"webhook.authoritySecret"}},
		"a propagation beyond the lifetime's tenth": {webhook(func(w *config.Webhook) {
			w.AuthorityLifetime, w.AuthorityPropagation = config.Duration(10*time.Minute), config.Duration(61*time.Second)
		}), []string{"webhook.authorityPropagation"}},
		"clients that any authority vouches for": {webhook(func(w *config.Webhook) {
			w.ClientNames = []string{"kube-apiserver"}
		}), []string{"webhook.clientNames"}},
		"clients of an authority, whatever their names": {webhook(func(w *config.Webhook) { w.ClientCAFile = "/ca" }), nil},
		"no delay": {func(c *config.Configuration) { c.ShutdownDelay = 0 }, nil},
	})
}

func TestProjectOf(t *testing.T) {
	t.Parallel()
	c := valid(func(*config.Configuration) {})
	if got := c.ProjectOf(&c.Registries[0]); got != &c.Projects[0] {
		t.Errorf("the only project: got %v", got)
	}
	if got := c.ProjectOf(&config.Registry{Project: "x"}); got != nil {
		t.Errorf("no such project: got %v", got)
	}
	c.Projects = append(c.Projects, config.Project{Name: "x"})
	if got := c.ProjectOf(&config.Registry{Project: "x"}); got != &c.Projects[1] {
		t.Errorf("the second project: got %v", got)
	}
	if got := c.ProjectOf(&config.Registry{}); got != nil {
		t.Errorf("none of two: got %v", got)
	}
}

func TestTracing(t *testing.T) {
	t.Parallel()
	with := func(endpoint string, change ...func(*config.Tracing)) func(*config.Configuration) {
		return func(c *config.Configuration) {
			c.Tracing.Endpoint = endpoint
			for _, f := range change {
				f(&c.Tracing)
			}
		}
	}
	headers := func(t *config.Tracing) { t.HeadersFile = "/headers" }
	authority := func(t *config.Tracing) { t.CAFile = "/ca.crt" }
	ratio := func(r float64) func(*config.Tracing) { return func(t *config.Tracing) { t.SamplingRatio = r } }
	timeout := func(d time.Duration) func(*config.Tracing) {
		return func(t *config.Tracing) { t.Timeout = config.Duration(d) }
	}
	wrong := func(field string) []string { return []string{"tracing." + field} }
	check(t, map[string]validation{
		"none":                       {with(""), nil},
		"a collector in the cluster": {with("http://collector.observability:4318"), nil},
		"a collector below a path":   {with("https://collector.example.com/otlp/", headers, authority), nil},
		"headers for this host":      {with("http://127.0.0.1:4318", headers), nil},
		"headers in the clear":       {with("http://collector:4318", headers), wrong("headersFile")},
		"an authority without TLS":   {with("http://collector:4318", authority), wrong("caFile")},
		"headers for nobody":         {with("", headers), wrong("headersFile")},
		"an authority for nobody":    {with("", authority), wrong("caFile")},
		"the path of traces":         {with("http://collector:4318/v1/traces"), wrong("endpoint")},
		"no scheme":                  {with("collector:4318"), wrong("endpoint")},
		"gRPC":                       {with("grpc://collector:4317"), wrong("endpoint")},
		"a password":                 {with("https://user:secret@collector"), wrong("endpoint")},
		"a query":                    {with("https://collector?a=b"), wrong("endpoint")},
		"no part at all":             {with("http://collector:4318", ratio(0)), nil},
		"every review":               {with("http://collector:4318", ratio(1)), nil},
		"more than every review":     {with("http://collector:4318", ratio(1.5)), wrong("samplingRatio")},
		"less than none":             {with("http://collector:4318", ratio(-1)), wrong("samplingRatio")},
		"a part that is no number":   {with("http://collector:4318", ratio(math.NaN())), wrong("samplingRatio")},
		"no time to send":            {with("http://collector:4318", timeout(0)), wrong("timeout")},
		"more time than anybody has": {with("http://collector:4318", timeout(time.Hour)), wrong("timeout")},
	})
}
