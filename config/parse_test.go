package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

func TestAMinimalFileGetsEveryDefault(t *testing.T) {
	t.Parallel()
	got, err := config.Parse("config.yaml", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	project, registry := config.DefaultProject(), config.DefaultRegistry()
	project.Name, project.Region = "bj4", "cn-north-4"
	registry.Name, registry.Project = "swr", "bj4"
	registry.Hosts = []string{"swr.cn-north-4.myhuaweicloud.com"}
	want.Projects, want.Registries = []config.Project{project}, []config.Registry{registry}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if err := got.Validate(); err != nil {
		t.Errorf("what Parse returns is not valid: %v", err)
	}
}

func TestEveryFieldIsRead(t *testing.T) {
	t.Parallel()
	got, err := config.Load(filepath.Join("testdata", "full.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := &config.Configuration{
		APIVersion: config.APIVersion, Kind: config.Kind,
		Projects: []config.Project{{
			Name: "a", Endpoint: "http://hss.example.com:8080", Insecure: true, ProjectID: "00123456789012345678901234567890",
			EnterpriseProjectID: "0",
			Credentials: config.Credentials{
				Source: config.SourceFiles, AccessKeyFile: "/k/ak", SecretKeyFile: "/k/sk", SecurityTokenFile: "/k/st",
			},
			CAFile: "/k/ca.pem", RequestsPerSecond: 2.5, Burst: 3, MaxConcurrent: 4, BackgroundPercent: 50, MaxWaiting: 5,
			RequestTimeout: config.Duration(time.Second), LookupTimeout: config.Duration(2 * time.Second),
			Sync: config.Sync{
				Enabled: true, FullInterval: config.Duration(2 * time.Hour),
				Interval: config.Duration(30 * time.Second), Overlap: config.Duration(10 * time.Minute),
			},
			ScanOnDemand: config.ScanOnDemand{
				Enabled: true, MaxPerHour: 5, MaxPerDay: 50, RepeatAfter: config.Duration(time.Hour), SyncInterval: config.Duration(time.Minute),
			},
		}, {
			Name: "b", Region: "eu-west-101", EnterpriseProjectID: "all_granted_eps",
			Credentials:       config.Credentials{Source: config.SourceTokenEnvironment, TokenVariable: "HSS_TOKEN"},
			RequestsPerSecond: 20, Burst: 40, MaxConcurrent: 16, BackgroundPercent: 30, MaxWaiting: 1000,
			RequestTimeout: config.Duration(10 * time.Second), LookupTimeout: config.Duration(30 * time.Second),
			VulnerabilityDetails: true,
			Sync: config.Sync{
				FullInterval: config.Duration(time.Hour), Interval: config.Duration(time.Minute), Overlap: config.Duration(15 * time.Minute),
			},
			ScanOnDemand: config.ScanOnDemand{
				MaxPerHour: 20, MaxPerDay: 100, RepeatAfter: config.Duration(24 * time.Hour), SyncInterval: config.Duration(10 * time.Minute),
			},
		}},
		ScanClaimsConfigMap: "scans",
		Registries: []config.Registry{{
			Name: "r", Hosts: []string{"harbor.example.com:8443", "[::1]:5000"}, Project: "b",
			ImageTypes: []string{"harbor"}, Namespaces: []string{"team"}, RegistryType: "Harbor",
			RegistryName: "office", RegistryID: "17", InstanceID: "i", InstanceName: "n",
			Path: "proxy/*/{name}", NestedNames: []string{"dollar"},
		}},
		Cache: config.Cache{
			MaxImages: 5, MaxBytes: 1 << 20, MaxVulnerabilityBytes: 2 << 20, WarmUpTimeout: config.Duration(6 * time.Second),
			FreshFor: config.Duration(time.Minute), NotFoundFor: config.Duration(2 * time.Second),
			PendingFor: config.Duration(3 * time.Second), ErrorFor: config.Duration(4 * time.Second),
			WaitWhenStale: config.Duration(5 * time.Second), MaxStaleness: config.Duration(time.Hour),
		},
		Webhook: config.Webhook{
			BindAddress: "127.0.0.1:1", TLSCertFile: "/c", TLSKeyFile: "/k",
			ConfigurationName: "hssgate",
			AuthorityLifetime: config.Duration(24 * time.Hour), AuthorityPropagation: config.Duration(2 * time.Second),
			ClientCAFile: "/ca", ClientNames: []string{"kube-apiserver"},
			DefaultTimeout: config.Duration(5 * time.Second), TimeoutMargin: config.Duration(time.Second),
			MaxReviewBytes: 1 << 20, MaxInFlightBytes: 2 << 30,
		},
		HealthBindAddress: ":2", MetricsBindAddress: "0",
		ShutdownDelay: config.Duration(12 * time.Second),
		Exceptions:    config.Exceptions{MaxLifetime: config.Duration(168 * time.Hour)},
		Audit:         config.Audit{Interval: config.Duration(7 * time.Minute), Reports: "PolicyReports"},
		Logging:       config.Logging{Level: "debug", Format: "text"},
		Tracing: config.Tracing{
			Endpoint: "https://collector.example.com/otlp", SamplingRatio: 0.5, HeadersFile: "/h", CAFile: "/ca", Timeout: config.Duration(2 * time.Second),
		},
		DryRun: true, ExemptNamespaces: []string{"kube-system", "cni"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTheSampleIsValid(t *testing.T) {
	t.Parallel()
	if _, err := config.Load(filepath.Join("samples", "config.yaml")); err != nil {
		t.Error(err)
	}
}

func TestADefaultConfigurationNeedsOnlyProjectsAndRegistries(t *testing.T) {
	t.Parallel()
	err := config.Default().Validate()
	want := "projects: must hold at least one project\nregistries: must hold at least one registry"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestFilesThatAreNoConfiguration(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ file, want string }{
		"an empty file":       {"", "c.yaml: the file is empty: it must hold one document with apiVersion config.hssgate.io/v1alpha1 and kind Configuration"},
		"only a comment":      {"# nothing\n", "c.yaml: the file is empty: it must hold one document with apiVersion config.hssgate.io/v1alpha1 and kind Configuration"},
		"a scalar":            {"hello\n", "c.yaml:1: must be a mapping of fields, not a string"},
		"a list":              {"- a\n", "c.yaml:1: must be a mapping of fields, not a list"},
		"no YAML":             {header + "projects: [\n", "c.yaml:3: not YAML: did not find expected node content"},
		"no YAML, by a tab":   {header + "cache:\n\tmaxImages: 1\n", "c.yaml:4: not YAML: found character that cannot start any token"},
		"a second document":   {minimal + "---\nkind: Configuration\n", "c.yaml:9: a second document begins here: the file must hold one document only"},
		"garbage after it":    {minimal + "---\n}\n", "c.yaml:9: not YAML: did not find expected node content"},
		"anchors and aliases": {minimal + "webhook: &w {}\n", "c.yaml:9: webhook: anchors and aliases are not allowed: write the value out"},
		"more than 4 MiB":     {"#" + strings.Repeat("x", 4<<20), "c.yaml: the file is larger than 4Mi"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Parse("c.yaml", []byte(test.file))
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got\n%v\nwant\n%s", err, test.want)
			}
		})
	}
}

func TestWrongFieldsNameTheirLine(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ add, want string }{
		"an unknown field that resembles one": {"loging: {}", `c.yaml:9: unknown field "loging"; did you mean "logging"?`},
		"an unknown field that resembles none": {
			"webhook:\n  xyzzy: 1", `c.yaml:10: unknown field "xyzzy" in webhook; allowed are authorityLifetime, authorityPropagation, authoritySecret, bindAddress, certDir, clientCAFile, clientNames, configurationName, defaultTimeout, hosts, maxInFlightBytes, maxReviewBytes, mutatingConfigurationName, timeoutMargin, tlsCertFile, tlsKeyFile`,
		},
		"an unknown field in another case": {"DryRun: true", `c.yaml:9: unknown field "DryRun"; did you mean "dryRun"?`},
		"a field that is given twice":      {"dryRun: true\ndryRun: true", `c.yaml:10: field "dryRun" is given twice, first in line 9`},
		"a merge key":                      {"cache:\n  <<: {maxImages: 1}", `c.yaml:10: unknown field "<<" in cache; allowed are errorFor, freshFor, maxBytes, maxImages, maxStaleness, maxVulnerabilityBytes, notFoundFor, pendingFor, waitWhenStale, warmUpTimeout`},
		"a string for a boolean":           {`dryRun: "true"`, `c.yaml:9: dryRun: must be true or false, not a string`},
		"yes for a boolean":                {"dryRun: yes", `c.yaml:9: dryRun: must be true or false, not a string`},
		"a boolean for a string":           {"logging: {level: true}", `c.yaml:9: logging.level: must be a string (in quotes, if it reads as something else), not true or false`},
		"a fraction for a whole number":    {"cache: {maxImages: 1.5}", `c.yaml:9: cache.maxImages: must be a whole number, not a number`},
		"a number beyond all bounds":       {"cache: {maxImages: 99999999999999999999}", `c.yaml:9: cache.maxImages: must be a whole number, not a number`},
		"a number for a duration":          {"cache: {freshFor: 5}", `c.yaml:9: cache.freshFor: must be a duration such as 500ms, 30s or 24h, not "5"`},
		"a mapping for a duration":         {"cache: {freshFor: {}}", `c.yaml:9: cache.freshFor: must be a single value, not a mapping`},
		"a mapping for a string":           {"logging: {level: {}}", `c.yaml:9: logging.level: must be a string (in quotes, if it reads as something else), not a mapping`},
		"a list for a mapping":             {"cache: []", `c.yaml:9: cache: must be a mapping of fields, not a list`},
		"a size of no size":                {"webhook: {maxReviewBytes: 1MB}", `c.yaml:9: webhook.maxReviewBytes: must be a size in bytes such as 65536, 64Ki or 16Mi, not "1MB"`},
		"a size beyond all bounds":         {"webhook: {maxReviewBytes: 99999999999Gi}", `c.yaml:9: webhook.maxReviewBytes: must be a size in bytes such as 65536, 64Ki or 16Mi, not "99999999999Gi"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Parse("c.yaml", []byte(minimal+test.add+"\n"))
			if err == nil || err.Error() != test.want {
				t.Errorf("got\n%v\nwant\n%s", err, test.want)
			}
		})
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
		if err == nil || !strings.Contains(err.Error(), "c.yaml:6: projects[0].credentials."+key+" must not stand in the file: put the ") {
			t.Errorf("%s: got %v", key, err)
		}
		if err != nil && strings.Contains(err.Error(), "HUSH") {
			t.Errorf("%s: the error repeats the secret: %v", key, err)
		}
	}
	for _, credentials := range []string{"HUSHHUSH", "[HUSHHUSH]", "{source: HUSHHUSH}", "{source: TokenEnvironment, tokenVariable: HUSH-HUSH}"} {
		file := strings.Replace(minimal, "  region:", "  credentials: "+credentials+"\n  region:", 1)
		_, err := config.Parse("c.yaml", []byte(file))
		if err == nil || strings.Contains(err.Error(), "HUSH") {
			t.Errorf("%s: got %v", credentials, err)
		}
	}
}

func TestNullLeavesTheDefault(t *testing.T) {
	t.Parallel()
	c, err := config.Parse("c.yaml", []byte(minimal+"cache: ~\nlogging: {level: , format: text}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Cache != config.Default().Cache || c.Logging != (config.Logging{Level: "info", Format: "text"}) {
		t.Errorf("got %+v, %+v", c.Cache, c.Logging)
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
	f.Add([]byte(minimal + "cache: {maxImages: 0x10}\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("--- ~\n--- !!binary x\n"))
	for _, name := range []string{"full.yaml", "wrong.yaml"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
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
