package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/config"
)

const header = "apiVersion: config.hssgate.io/v1alpha1\nkind: Configuration\n"

const minimal = header + `projects:
- name: bj4
  region: cn-north-4
registries:
- name: swr
  hosts: [swr.cn-north-4.myhuaweicloud.com]
`

// parsed returns the minimal configuration.
func parsed() *config.Configuration {
	c, err := config.Parse("config.yaml", []byte(minimal))
	if err != nil {
		panic(err)
	}
	return c
}

func TestAMinimalFileGetsEveryDefault(t *testing.T) {
	t.Parallel()
	got, want := parsed(), config.Default()
	want.Projects = []config.Project{{
		Name: "bj4", Region: "cn-north-4", EnterpriseProjectID: "all_granted_eps", Credentials: config.Credentials{Source: config.SourceDefault},
		RequestsPerSecond: 50, RequestTimeout: 10 * time.Second, ScanOnDemand: config.ScanOnDemand{MaxPerHour: 20},
	}}
	want.Registries = []config.Registry{{
		Name: "swr", Project: "bj4", Hosts: []string{"swr.cn-north-4.myhuaweicloud.com"}, Path: "{namespace}/{name}",
		ImageTypes: []string{"private_image", "shared_image"}, NestedNames: []string{"slash", "dollar"},
	}}
	equal(t, "configuration", want, got)
	must(t, got.Validate())
}

func TestEveryFieldIsRead(t *testing.T) {
	t.Parallel()
	got, err := config.Load(filepath.Join("testdata", "full.yaml"))
	must(t, err)
	want := config.Default()
	a, b, r := parsed().Projects[0], parsed().Projects[0], parsed().Registries[0]
	a.Region = ""
	a.Name, a.Endpoint, a.Insecure, a.ProjectID, a.EnterpriseProjectID = "a", "http://hss.example.com:8080", true, "00123456789012345678901234567890", "0"
	a.Credentials.Source, a.Credentials.AccessKeyFile, a.Credentials.SecretKeyFile, a.Credentials.SecurityTokenFile = config.SourceFiles, "/k/ak", "/k/sk", "/k/st"
	a.CAFile, a.RequestsPerSecond, a.RequestTimeout = "/k/ca.pem", 2.5, time.Second
	a.SyncInterval = 30 * time.Second
	a.ScanOnDemand = config.ScanOnDemand{Enabled: true, MaxPerHour: 5}
	b.Name, b.Region, b.Credentials.Source = "b", "eu-west-101", config.SourceMetadata
	r.Name, r.Hosts, r.Project = "r", []string{"harbor.example.com:8443", "[::1]:5000"}, "b"
	r.ImageTypes, r.Namespaces, r.RegistryType = []string{"harbor"}, []string{"team"}, "Harbor"
	r.RegistryName, r.RegistryID, r.InstanceID = "office", "17", "i"
	r.Path, r.NestedNames = "proxy/*/{name}", []string{"dollar"}
	want.Projects, want.Registries = []config.Project{a, b}, []config.Registry{r}
	want.Cache.MaxBytes, want.Cache.FreshFor, want.Cache.NotFoundFor = 1<<20, time.Minute, 2*time.Second
	want.Cache.WaitWhenStale, want.Cache.MaxStaleness = 5*time.Second, time.Hour
	w := &want.Webhook
	w.BindAddress, w.CertDir, w.ConfigurationName, w.MaxInFlightBytes = "127.0.0.1:1", "/c", "hssgate", 2<<30
	w.ClientCAFile, w.ClientNames = "/ca", []string{"kube-apiserver"}
	want.HealthBindAddress, want.MetricsBindAddress = ":2", "0"
	want.MaxExceptionLifetime = 168 * time.Hour
	want.Audit = config.Audit{Interval: 7 * time.Minute, Reports: "PolicyReports"}
	want.DryRun, want.ExemptNamespaces = true, []string{"kube-system", "cni"}
	equal(t, "configuration", want, got)
}

func TestWhatIsWrongWithAFileIsNamedWithItsLine(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ file, want string }{
		"an empty file":       {"", ": the file is empty: it must hold one document with apiVersion config.hssgate.io/v1alpha1 and kind Configuration"},
		"only a comment":      {"# nothing\n", ": the file is empty: it must hold one document with apiVersion config.hssgate.io/v1alpha1 and kind Configuration"},
		"a scalar":            {"hello\n", ":1: must be a mapping of fields, not a string"},
		"a list":              {"- a\n", ":1: must be a mapping of fields, not a list"},
		"no YAML":             {header + "projects: [\n", ": not YAML: line 3: did not find expected node content"},
		"no YAML, by a tab":   {header + "cache:\n\tmaxBytes: 1\n", ": not YAML: line 4: found character that cannot start any token"},
		"a second document":   {minimal + "---\nkind: Configuration\n", ":9: a second document begins here: the file must hold one document only"},
		"garbage after it":    {minimal + "---\n}\n", ": not YAML: line 9: did not find expected node content"},
		"anchors and aliases": {minimal + "webhook: &w {}\n", ":9: webhook: anchors and aliases are not allowed: write the value out"},
		"an unknown field": {
			minimal + "webhook:\n  xyzzy: 1", `:10: webhook.xyzzy: unknown field; allowed are bindAddress, caSecret, certDir, clientCAFile, clientNames, configurationName, hosts, maxInFlightBytes, mutatingConfigurationName`,
		},
		"an unknown field in another case": {
			minimal + "Cache: {}", `:9: Cache: unknown field; allowed are apiVersion, audit, cache, dryRun, exemptNamespaces, healthBindAddress, kind, maxExceptionLifetime, messages, metricsBindAddress, projects, registries, webhook`,
		},
		"a field given twice":      {minimal + "dryRun: true\ndryRun: true", `:10: dryRun: must be given once, and is in line 9 already`},
		"a merge key":              {minimal + "cache:\n  <<: {maxBytes: 1}", `:10: cache.<<: unknown field; allowed are freshFor, maxBytes, maxStaleness, notFoundFor, waitWhenStale`},
		"a string for a boolean":   {minimal + `dryRun: "true"`, `:9: dryRun: must be true or false, not a string`},
		"yes for a boolean":        {minimal + "dryRun: yes", `:9: dryRun: must be true or false, not a string`},
		"a boolean for a string":   {minimal + "audit: {reports: true}", `:9: audit.reports: must be a string (in quotes, if it reads as something else), not true or false`},
		"a number for a duration":  {minimal + "cache: {freshFor: 5}", `:9: cache.freshFor: must be a duration such as 500ms, 30s or 24h, not "5"`},
		"a mapping for a duration": {minimal + "cache: {freshFor: {}}", `:9: cache.freshFor: must be a single value, not a mapping`},
		"a mapping for a string":   {minimal + "audit: {reports: {}}", `:9: audit.reports: must be a string (in quotes, if it reads as something else), not a mapping`},
		"an unknown language":      {minimal + "messages: {language: fr}", `:9: messages.language: must be one of en, zh-CN, not "fr"`},
		"a list for a mapping":     {minimal + "cache: []", `:9: cache: must be a mapping of fields, not a list`},
		"a size of no size":        {minimal + "webhook: {maxInFlightBytes: 1MB}", `:9: webhook.maxInFlightBytes: must be a size in bytes such as 65536, 64Ki or 16Mi, not "1MB"`},
		"a negative size":          {minimal + "webhook: {maxInFlightBytes: -1}", `:9: webhook.maxInFlightBytes: must be a size in bytes such as 65536, 64Ki or 16Mi, not "-1"`},
		"half a byte":              {minimal + "webhook: {maxInFlightBytes: 0.5}", `:9: webhook.maxInFlightBytes: must be a size in bytes such as 65536, 64Ki or 16Mi, not "0.5"`},
		"a size beyond all bounds": {minimal + "webhook: {maxInFlightBytes: 99999999999Gi}", `:9: webhook.maxInFlightBytes: must be a size in bytes such as 65536, 64Ki or 16Mi, not "99999999999Gi"`},
	} {
		_, err := config.Parse("c.yaml", []byte(test.file))
		if err == nil || err.Error() != "c.yaml"+test.want {
			t.Errorf("%s: got\n%v\nwant\nc.yaml%s", name, err, test.want)
		}
	}
}

func TestEveryProblemIsReportedAtOnceInTheFilesOrder(t *testing.T) {
	t.Parallel()
	_, err := config.Load(filepath.Join("testdata", "wrong.yaml"))
	var e *config.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *config.Error", err)
	}
	golden(t, filepath.Join("testdata", "wrong.txt"), strings.ReplaceAll(err.Error(), e.Name, "wrong.yaml")+"\n")
}

func TestSecretsInTheFileAreRefusedAndNotRepeated(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"secretKey", "accessKey", "securityToken", "token", "sk", "ak", "secret_key", "password"} {
		file := strings.Replace(minimal, "  region:", "  credentials:\n    "+key+": HUSHHUSH\n  region:", 1)
		_, err := config.Parse("c.yaml", []byte(file))
		if err == nil || !strings.Contains(err.Error(), "c.yaml:6: projects[0].credentials."+key+": unknown field; ") || !strings.Contains(err.Error(), "keys and tokens must not stand in the file: ") {
			t.Errorf("%s: got %v", key, err)
		}
		if err != nil && strings.Contains(err.Error(), "HUSH") {
			t.Errorf("%s: the error repeats the secret: %v", key, err)
		}
	}
	for _, credentials := range []string{"HUSHHUSH", "[HUSHHUSH]", "{source: HUSHHUSH}"} {
		file := strings.Replace(minimal, "  region:", "  credentials: "+credentials+"\n  region:", 1)
		_, err := config.Parse("c.yaml", []byte(file))
		if err == nil || strings.Contains(err.Error(), "HUSH") {
			t.Errorf("%s: got %v", credentials, err)
		}
	}
}

func TestNullLeavesTheDefault(t *testing.T) {
	t.Parallel()
	c, err := config.Parse("c.yaml", []byte(minimal+"cache: ~\naudit: {interval: , reports: None}\n"))
	must(t, err)
	if c.Cache != config.Default().Cache || c.Audit.Interval != config.Default().Audit.Interval || c.Audit.Reports != "None" {
		t.Errorf("got %+v, %+v", c.Cache, c.Audit)
	}
}

func TestLoadNamesTheFileThatIsMissing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none.yaml")
	_, err := config.Load(path)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(minimal + "cache: {maxBytes: 0x10}\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("--- ~\n--- !!binary x\n"))
	for _, name := range []string{"full.yaml", "wrong.yaml"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		must(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("f", data)
		if (c == nil) == (err == nil) {
			t.Fatalf("got %v and %v", c, err)
		}
		if err == nil && c.Validate() != nil {
			t.Fatalf("Parse accepts what Validate refuses: %v", c.Validate())
		}
	})
}
