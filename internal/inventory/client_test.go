package inventory_test

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]inventory.Options{
		`project "bj4" has no client`: {Config: settings()},
		`project "bj4" is to be synchronised or scanned on demand, and its client *inventory_test.echo offers neither`: {
			Config: settings(synchronised), Clients: map[string]inventory.Lister{"bj4": &echo{}},
		},
	} {
		if _, err := inventory.New(o); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestNewClientsNamesEveryProjectThatFails(t *testing.T) {
	t.Parallel()
	empty := write(t, "empty.pem", "nothing")
	c := settings()
	c.Projects = nil
	for n, ca := range []string{"", filepath.Join(t.TempDir(), "none.pem"), empty} {
		p := settings().Projects[0]
		p.Name, p.CAFile = fmt.Sprintf("p%d", n), ca
		c.Projects = append(c.Projects, p)
	}
	clients, err := inventory.NewClients(c, "test")
	if err == nil || clients != nil {
		t.Fatalf("got %v, %v", clients, err)
	}
	for _, want := range []string{`project "p1": reading caFile: `, `project "p2": caFile ` + empty + " holds no PEM certificate"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "p0") {
		t.Errorf("got %v", err)
	}
}

func TestNewClientsTakesEverySourceOfCredentials(t *testing.T) {
	t.Parallel()
	for source, taken := range map[string]bool{
		config.SourceDefault: true, config.SourceEnvironment: true, config.SourceProfile: true, config.SourceFiles: true, config.SourceMetadata: true,
		config.SourcePodIdentity: true, config.SourceTokenFile: true, config.SourceOIDC: true, "Magic": false,
	} {
		clients, err := inventory.NewClients(settings(func(c *config.Configuration) { c.Projects[0].Credentials.Source = source }), "test")
		if (err == nil && clients["bj4"] != nil) != taken || err != nil && !strings.Contains(err.Error(), `unknown source of credentials "Magic"`) {
			t.Errorf("%s: got %v, %v", source, clients, err)
		}
	}
}

func TestTheObserverIsToldEverything(t *testing.T) {
	t.Parallel()
	f, seen, clock := &world{loose: true, rows: []hss.Image{row()}}, &notes{}, clocktesting.NewFakeClock(time.Unix(100_000, 0))
	i := open(t, f, inventory.Options{Clock: clock, Observer: seen})
	i.Facts(t.Context(), reference(t, app))
	i.Facts(t.Context(), reference(t, app))
	i.Facts(t.Context(), reference(t, "nginx"))
	clock.Step(time.Hour)
	f.cutOff(errors.New("down"))
	i.Facts(t.Context(), reference(t, app))
	i.Facts(t.Context(), reference(t, "swr.example.com/prod/other"))
	want := []string{
		"asked bj4 0s failed=false", "looked swr miss", "looked swr hit", "looked  unclaimed",
		"asked bj4 0s failed=true", "looked swr stale", "asked bj4 0s failed=true", "looked swr unavailable",
	}
	wantEqual(t, "observed", want, slices.Clone(seen.seen))
}

func TestCheckReportsWhatHSSAnswers(t *testing.T) {
	in := func(id, region string) hsstest.Option {
		return hsstest.WithIAMProjects(hsstest.IAMProject{ID: id, Name: region})
	}
	for name, test := range map[string]struct {
		options   []hsstest.Option
		secretKey string
		provider  string // that exchanges a service account's token; empty: an access key
		fault     *hsstest.Fault
		id        string
		images    int
		cause     string
		temporary bool
	}{
		"an answer": {options: []hsstest.Option{in("p9", "cn-north-4")}, id: "p9", images: 1},
		"a key that HSS refuses": {secretKey: "wrong", images: -1,
			cause: "IAM refuses the access key HSSTESTACCESSKEY (IAM answered 401 APIGW.0301: Incorrect IAM authentication information: "},
		"a service account that IAM trusts": {options: []hsstest.Option{in("p9", "cn-north-4")}, provider: "cluster", id: "p9", images: 1},
		"a service account that IAM does not know": {provider: "none", images: -1, cause: "IAM refuses the service account's token (issuer i, subject s, audience a, " +
			`valid until 2100-01-01T00:00:00Z) for identity provider "none" (IAM answered 404 IAM.0004: Could not find identity provider: none`},
		"no project in the region": {options: []hsstest.Option{in("p9", "eu-west-101")}, images: -1,
			cause: "region cn-north-4 is not enabled for the account of these credentials, since IAM has no project of that name: enable the region, or set projectID"},
		"several projects in the region": {options: []hsstest.Option{in("a", "cn-north-4"), in("b", "cn-north-4")}, images: -1,
			cause: "the account has 2 projects named cn-north-4 (a, b): set projectID to one of them"},
		"no permission at IAM": {fault: new(hsstest.StatusFault(http.StatusForbidden).ForEndpoint(hsstest.EndpointProjects)), images: -1,
			cause: "cannot find the project ID of region cn-north-4 through IAM: IAM answered 403 "},
		"no permission at HSS": {options: []hsstest.Option{in("p9", "cn-north-4")}, id: "p9", images: -1,
			fault: new(hsstest.ErrorFault(http.StatusBadRequest, "HSS.0013", "No permission.").ForEndpoint(hsstest.EndpointImages)),
			cause: "no permission (HSS answered 400 HSS.0013: No permission."},
		"no such API": {id: hsstest.DefaultProjectID, images: -1,
			fault: new(hsstest.ErrorFault(http.StatusNotFound, "APIGW.0101", "The API does not exist.").ForEndpoint(hsstest.EndpointImages)),
			cause: "this API does not exist here (HSS answered 404 APIGW.0101: The API does not exist."},
		"connections to IAM that break": {fault: new(hsstest.ResetFault().Times(0).ForEndpoint(hsstest.EndpointProjects)), images: -1,
			cause: "cannot reach IAM, which has the project ID: ", temporary: true},
		"connections that break": {fault: new(hsstest.ResetFault().Times(0).ForEndpoint(hsstest.EndpointImages)), id: hsstest.DefaultProjectID, images: -1,
			cause: "cannot reach HSS: ", temporary: true},
		"an overload": {fault: new(hsstest.StatusFault(http.StatusServiceUnavailable).Times(0).ForEndpoint(hsstest.EndpointImages)), id: hsstest.DefaultProjectID, images: -1,
			cause: "HSS answered 503", temporary: true},
	} {
		t.Run(name, func(t *testing.T) {
			trusted := hsstest.IdentityProvider{ID: "cluster", Issuer: "i", Subject: "s", Audience: "a"}
			server := hsstest.NewServer(append(test.options, hsstest.WithIdentityProviders(trusted), hsstest.WithImages(served("app", "1")))...)
			defer server.Close()
			if test.fault != nil {
				server.Inject(*test.fault)
			}
			if test.secretKey == "" {
				test.secretKey = hsstest.DefaultCredential().SecretKey
			}
			t.Setenv("HUAWEICLOUD_SDK_IAM_ENDPOINT", server.URL)
			checks := withClients(t, settings(func(c *config.Configuration) { // of a region, without an ID
				c.Projects[0].Endpoint, c.Projects[0].Credentials = server.URL, credentialFiles(t, test.secretKey)
				if test.provider != "" {
					token := write(t, "token", trusted.Token(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)))
					c.Projects[0].Credentials = config.Credentials{Source: config.SourceOIDC, IdentityProviderID: test.provider, TokenFile: token}
				}
			}), inventory.Options{}).Check(t.Context())
			if len(checks) != 1 {
				t.Fatalf("%d checks, want 1", len(checks))
			}
			got := checks[0]
			if got.Project != "bj4" || got.Region != "cn-north-4" || got.ProjectID != test.id || got.Images != test.images {
				t.Errorf("got %+v", got)
			}
			if (got.Err == nil) != (test.cause == "") || !strings.HasPrefix(got.Cause, test.cause) || got.Temporary != test.temporary {
				t.Errorf("cause %q, temporary %t; want %q, %t", got.Cause, got.Temporary, test.cause, test.temporary)
			}
			if strings.Contains(got.Cause, test.secretKey) || strings.Contains(got.Cause, "\n") {
				t.Errorf("the cause holds the secret key or has two lines: %q", got.Cause)
			}
		})
	}
}

func TestTheIdentityProviderOfTheEnvironment(t *testing.T) {
	trusted := hsstest.IdentityProvider{ID: "cluster", Issuer: "i", Subject: "s", Audience: "a"}
	server := hsstest.NewServer(hsstest.WithIdentityProviders(trusted), hsstest.WithImages(served("app", "1")))
	defer server.Close()
	token := write(t, "token", trusted.Token(time.Now().Add(time.Hour)))
	const provider, file, key, secret = "HUAWEICLOUD_SDK_IDP_ID", "HUAWEICLOUD_SDK_ID_TOKEN_FILE", "HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"
	known := hsstest.DefaultCredential()
	for name, test := range map[string]struct {
		credentials config.Credentials
		variables   map[string]string
		project     string
		cause       string
	}{
		"for source OIDC":                       {config.Credentials{Source: "OIDC"}, map[string]string{provider: "cluster", file: token}, "of-the-environment", ""},
		"for source Environment":                {config.Credentials{Source: "Environment"}, map[string]string{provider: "cluster", file: token}, "of-the-environment", ""},
		"for source Default":                    {config.Credentials{Source: "Default"}, map[string]string{provider: "cluster", file: token}, "of-the-environment", ""},
		"before an access key, as for the SDK":  {config.Credentials{Source: "Environment"}, map[string]string{provider: "cluster", file: token, key: "OTHER", secret: "other"}, "of-the-environment", ""},
		"beside the configuration's token":      {config.Credentials{Source: "OIDC", TokenFile: token}, map[string]string{provider: "cluster"}, "of-the-environment", ""},
		"behind that of the configuration":      {config.Credentials{Source: "OIDC", TokenFile: token, IdentityProviderID: "cluster"}, map[string]string{provider: "other", file: "none"}, hsstest.DefaultProjectID, ""},
		"not set, beside an access key":         {config.Credentials{Source: "Environment"}, map[string]string{key: known.AccessKey, secret: known.SecretKey}, "of-the-environment", ""},
		"without a token":                       {config.Credentials{Source: "Default"}, map[string]string{provider: "cluster"}, "", "OIDC: an identity provider is configured, but no token: set tokenFile or " + file},
		"a token without it":                    {config.Credentials{Source: "OIDC", TokenFile: token}, nil, "", "OIDC: a token is configured, but no identity provider: set identityProviderID or " + provider},
		"for source OIDC, without any variable": {config.Credentials{Source: "OIDC"}, nil, "", "no credentials found: looked in the environment (" + provider + ")"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variable := range []string{provider, file, key, secret} {
				t.Setenv(variable, test.variables[variable])
			}
			t.Setenv("HUAWEICLOUD_SDK_PROJECT_ID", "of-the-environment")
			t.Setenv("HUAWEICLOUD_SDK_IAM_ENDPOINT", server.URL)
			got := withClients(t, settings(func(c *config.Configuration) {
				c.Projects[0].Endpoint, c.Projects[0].Credentials = server.URL, test.credentials
			}), inventory.Options{}).Check(t.Context())[0]
			if got.ProjectID != test.project || (got.Cause == "") != (test.cause == "") || !strings.Contains(got.Cause, test.cause) {
				t.Errorf("project %q, cause %q; want %q, %q", got.ProjectID, got.Cause, test.project, test.cause)
			}
		})
	}
}

// write puts a file into a folder of the test's own.
func write(tb testing.TB, name, content string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// patience bounds what takes real time, on a machine however slow, and is never spent when all is well.
const patience = 5 * time.Minute

// withClients makes an inventory whose clients are the real ones.
func withClients(tb testing.TB, c *config.Configuration, o inventory.Options) *inventory.Inventory {
	tb.Helper()
	clients, err := inventory.NewClients(c, "hssgate/test")
	if err != nil {
		tb.Fatal(err)
	}
	o.Config, o.Clients = c, clients
	i, err := inventory.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(i.Close)
	return i
}

// credentialFiles are the files of an access key.
func credentialFiles(tb testing.TB, secretKey string) config.Credentials {
	tb.Helper()
	return config.Credentials{
		Source: config.SourceFiles, AccessKeyFile: write(tb, "ak", hsstest.DefaultCredential().AccessKey), SecretKeyFile: write(tb, "sk", secretKey),
	}
}

// against makes an inventory whose clients are the real ones and ask server.
func against(tb testing.TB, server *hsstest.Server, change ...func(*config.Configuration)) *inventory.Inventory {
	tb.Helper()
	c := settings(func(c *config.Configuration) {
		p := &c.Projects[0]
		p.Region, p.Endpoint, p.ProjectID, p.RequestTimeout = "", server.URL, "p1", time.Minute
		p.Credentials = credentialFiles(tb, hsstest.DefaultCredential().SecretKey)
	})
	for _, f := range change {
		f(c)
	}
	return withClients(tb, c, inventory.Options{LookupTimeout: patience, MaxConcurrent: 2})
}

func served(name, version string) hsstest.Image {
	return hsstest.Image{
		Namespace: "prod", ImageName: name, ImageVersion: version, ImageDigest: digest("a"), ImageType: "private_image",
		ScanStatus: "success", SeverityLevel: "Low", VulNum: hsstest.Count(3), LatestScanTime: time.UnixMilli(1_000_000),
	}
}

func TestNewClientsTrustsTheConfiguredCertificates(t *testing.T) {
	t.Parallel()
	h := hsstest.NewHandler(hsstest.WithImages(served("app", "1")))
	secure := httptest.NewUnstartedServer(h)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	server := &hsstest.Server{Handler: h, URL: secure.URL}
	if got, _ := within(t, against(t, server), patience, app); got.State != policy.StateUnavailable || !strings.Contains(got.Reason, "certificate") {
		t.Errorf("without caFile got %v: %s", got.State, got.Reason)
	}
	ca := write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))
	i := against(t, server, func(c *config.Configuration) { c.Projects[0].CAFile = ca })
	if got, _ := within(t, i, patience, app); got.State != policy.StateFound {
		t.Errorf("with caFile got %v: %s", got.State, got.Reason)
	}
}

func TestAMistypedKeyOfManyProjectsIsNotLocked(t *testing.T) {
	t.Parallel()
	server := hsstest.NewServer()
	t.Cleanup(server.Close)
	failed := func(secretKey string) (failed int) {
		i := against(t, server, func(c *config.Configuration) {
			c.Projects[0].Credentials = credentialFiles(t, secretKey)
			for n := range 6 {
				c.Projects = append(c.Projects, c.Projects[0])
				c.Projects[n+1].Name, c.Projects[n+1].ProjectID = fmt.Sprint("p", n), fmt.Sprint("id", n)
			}
		})
		for _, check := range i.Check(t.Context()) {
			if check.Err != nil {
				failed++
			}
		}
		return failed
	}
	if n := failed("mistyped"); n != 7 || server.Stats().Requests != 2 {
		t.Errorf("with a mistyped key, %d projects fail after %d requests, want 7 after 2", n, server.Stats().Requests)
	}
	wantEqual(t, "projects that fail with the right key, which may be locked", 0, failed(hsstest.DefaultCredential().SecretKey))
}

func TestTheRealClientAsksAServerThatMatchesLooselyAndRepeatsRows(t *testing.T) {
	t.Parallel()
	rows := []hsstest.Image{served("app", "1"), served("my-app", "1"), served("app", "1.1"), served("team$app", "1")}
	for n := range 450 {
		rows = append(rows, served("app", fmt.Sprintf("1-%d", n)))
	}
	dev := served("app", "1")
	dev.Namespace = "prod-dev"
	harbor := served("app", "1")
	harbor.ImageType = "harbor"
	rows = append(rows, dev, harbor)
	server := hsstest.NewServer(hsstest.WithImages(rows...),
		hsstest.WithBehavior(hsstest.Behavior{Filters: "substring", Paging: "repeated"}))
	defer server.Close()
	i := against(t, server)
	for ref, want := range map[string]string{
		app:                                                    "app:1",
		app + "@" + digest("a"):                                "app:1",
		"swr.example.com/prod/app:1-449":                       "app:1-449",
		"swr.example.com/prod/team/app:1":                      "team$app:1",
		"swr.example.com/prod/pp:1":                            "",
		"swr.example.com/rod/app:1":                            "",
		app + "@" + digest("b"):                                "",
		"swr.example.com/prod/my-app@" + digest("a"):           "my-app:1",
		"swr.example.com/prod/app:" + strings.Repeat("1", 100): "",
	} {
		got, _ := within(t, i, patience, ref)
		var names []string
		for _, r := range got.Records {
			names = append(names, r.Name+":"+r.Version)
		}
		if names := strings.Join(names, " "); names != want || (got.State != policy.StateFound && got.State != policy.StateNotFound) {
			t.Errorf("%s: got %q, want %q (%v: %s)", ref, names, want, got.State, got.Reason)
		}
	}
}

// counting is an HSS that counts how often its counts of scans are read.
type counting struct {
	*world

	read int
	err  error
}

func (c *counting) ScanStatistics(context.Context, hss.ScanStatisticsRequest) (hss.ScanStatistics, error) {
	c.read++
	return hss.ScanStatistics{RegistryScans: new(c.read)}, c.err
}

func TestScansAreCountedEveryHourWhenSomeoneLooks(t *testing.T) {
	t.Parallel()
	w, seen := &counting{world: &world{}}, &notes{}
	clients(t, w, inventory.Options{Observer: seen}, func(t *testing.T, i *inventory.Inventory) {
		forbidden, down := &hss.Error{StatusCode: http.StatusForbidden}, &hss.Error{StatusCode: http.StatusServiceUnavailable, Retryable: true}
		time.Sleep(24 * time.Hour)
		wantEqual(t, "reads before anyone looks", 0, w.read)
		for _, step := range []struct {
			name  string
			after time.Duration
			err   error
			want  string
		}{
			{"at first", 0, nil, "bj4 1"}, {"within the hour", 59 * time.Minute, nil, "bj4 1"}, {"after it", 2 * time.Minute, nil, "bj4 2"},
			{"without permission", time.Hour, forbidden, ""}, {"still without it", time.Hour, forbidden, ""}, {"with permission", time.Hour, nil, "bj4 5"},
			{"in an outage", time.Hour, down, ""}, {"soon after it", 5 * time.Minute, nil, "bj4 7"},
		} {
			time.Sleep(step.after)
			w.err = step.err
			i.ScanCounts()
			synctest.Wait()
			got := ""
			for _, c := range i.ScanCounts() {
				got += fmt.Sprint(c.Project, " ", *c.RegistryScans)
			}
			wantEqual(t, step.name, step.want, got)
		}
	})
	wantEqual(t, "observed", []string{"scans not counted bj4", "scans not counted bj4"}, slices.Clone(seen.seen))
}
