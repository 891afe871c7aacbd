package inventory_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/inventory"
)

// inRegion makes an inventory of one project that has a region and no ID. HSS
// and IAM are served by server.
func inRegion(t *testing.T, server *hsstest.Server, secretKeyFile string) (*inventory.Inventory, *notes) {
	t.Helper()
	t.Setenv("HUAWEICLOUD_SDK_IAM_ENDPOINT", server.URL)
	c, err := config.Parse("test.yaml", fmt.Appendf(nil, `
apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects:
- name: bj4
  region: cn-north-4
  endpoint: %s
  credentials: {source: Files, accessKeyFile: %s, secretKeyFile: %s}
registries:
- name: swr
  hosts: [swr.example.com]
`, server.URL, write(t, "ak", hsstest.DefaultCredential().AccessKey), secretKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	clients, err := inventory.NewClients(c, "hssgate/test")
	if err != nil {
		t.Fatal(err)
	}
	seen := &notes{}
	i, err := inventory.New(inventory.Options{Config: c, Clients: clients, Observer: seen})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i, seen
}

func TestCheckReportsWhatHSSAnswers(t *testing.T) {
	const secretKey = "hsstest-secret-key"
	in := func(id, region string) hsstest.Option {
		return hsstest.WithIAMProjects(hsstest.IAMProject{ID: id, Name: region})
	}
	for name, test := range map[string]struct {
		options   []hsstest.Option
		secretKey string
		fault     *hsstest.Fault
		id        string
		images    int
		cause     string
		temporary bool
	}{
		"an answer": {options: []hsstest.Option{in("p9", "cn-north-4")}, id: "p9", images: 1},
		"a key that HSS refuses": {secretKey: "wrong", images: -1,
			cause: "IAM refuses the access key HSSTESTACCESSKEY (IAM answered 401 APIGW.0301: Incorrect IAM authentication information: "},
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
			server := hsstest.NewServer(append(test.options, hsstest.WithImages(served("app", "1")))...)
			defer server.Close()
			if test.fault != nil {
				server.Inject(*test.fault)
			}
			if test.secretKey == "" {
				test.secretKey = secretKey
			}
			i, _ := inRegion(t, server, write(t, "sk", test.secretKey))
			checks := i.Check(t.Context())
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

func TestCheckReportsMissingCredentials(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	for name, test := range map[string]struct {
		credentials config.Credentials
		want        string
	}{
		"no variables": {config.Credentials{Source: config.SourceEnvironment}, "no credentials found: environment: HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK are not configured"},
		"no file":      {config.Credentials{Source: config.SourceTokenFile, TokenFile: missing}, "getting credentials: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HUAWEICLOUD_SDK_AK", "")
			t.Setenv("HUAWEICLOUD_SDK_SK", "")
			server := hsstest.NewServer()
			defer server.Close()
			i := against(t, server, func(c *config.Configuration) { c.Projects[0].Credentials = test.credentials })
			if got := i.Check(t.Context())[0]; !strings.HasPrefix(got.Cause, test.want) || got.Temporary {
				t.Errorf("got %q, temporary %t; want %q", got.Cause, got.Temporary, test.want)
			}
		})
	}
}

func TestRefusedCredentialsAreReportedOnceAndSoIsTheEnd(t *testing.T) {
	server := hsstest.NewServer()
	defer server.Close()
	secretKey := write(t, "sk", "wrong")
	i, seen := inRegion(t, server, secretKey)
	for range 5 {
		i.Check(t.Context())
	}
	got := seen.only("credentials")
	if len(got) != 1 || !strings.HasPrefix(got[0], "credentials bj4 IAM refuses the access key HSSTESTACCESSKEY (IAM answered 401 APIGW.0301: ") ||
		!strings.HasSuffix(got[0], ": check that the secret key belongs to it and that it is enabled") {
		t.Errorf("got %q", got)
	}
	if err := os.WriteFile(secretKey, []byte(hsstest.DefaultCredential().SecretKey), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if c := i.Check(t.Context())[0]; c.Err != nil {
			t.Error(c.Cause)
		}
	}
	if got := seen.only("credentials"); len(got) != 2 || got[1] != "credentials bj4 " {
		t.Errorf("once the key is right: %q", got)
	}
}
