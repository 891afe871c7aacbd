package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// probeConfig writes a configuration of one project that has a region and no
// project ID. HSS and IAM are both at url.
func probeConfig(t *testing.T, url string) string {
	t.Helper()
	t.Setenv("HUAWEICLOUD_SDK_IAM_ENDPOINT", url)
	t.Setenv("HUAWEICLOUD_SDK_AK", hsstest.DefaultCredential().AccessKey)
	t.Setenv("HUAWEICLOUD_SDK_SK", hsstest.DefaultCredential().SecretKey)
	path := filepath.Join(t.TempDir(), "config.yaml")
	content := fmt.Sprintf(`apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects: [{name: bj4, region: cn-north-4, endpoint: %q, credentials: {source: Environment}}]
registries: [{name: swr, hosts: [swr.example.com]}]
`, url)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestProbeOfHSS(t *testing.T) {
	secret := hsstest.DefaultCredential().SecretKey
	image := hsstest.WithImages(hsstest.Image{Namespace: "prod", ImageName: "app"})
	for name, test := range map[string]struct {
		options []hsstest.Option
		fault   *hsstest.Fault
		want    string
		code    int
		// requests are those to HSS itself; 0: any number.
		requests int
	}{
		"HSS answers": {options: []hsstest.Option{image}, requests: 1,
			want: "project bj4 (region cn-north-4, project ID hsstest-project): HSS answers, images: 1\n"},
		"HSS answers in the end": {options: []hsstest.Option{image}, fault: new(hsstest.ResetFault().Times(7).ForEndpoint(hsstest.EndpointImages)), requests: 8,
			want: "project bj4 (region cn-north-4, project ID hsstest-project): HSS answers, images: 1\n"},
		"HSS refuses the key": {options: []hsstest.Option{hsstest.WithCredentials(hsstest.Credential{AccessKey: "OTHER", SecretKey: "other"})}, code: exitFailure,
			want: "project bj4 (region cn-north-4, project ID not known): IAM refuses the access key HSSTESTACCESSKEY ("},
		"no permission": {fault: new(hsstest.ErrorFault(http.StatusBadRequest, "HSS.0013", "No permission.").ForEndpoint(hsstest.EndpointImages)), code: exitFailure, requests: 1,
			want: "project bj4 (region cn-north-4, project ID hsstest-project): no permission (HSS answered 400 HSS.0013: No permission."},
		"no project": {options: []hsstest.Option{hsstest.WithIAMProjects(hsstest.IAMProject{ID: "p", Name: "elsewhere"})}, code: exitFailure,
			want: "project bj4 (region cn-north-4, project ID not known): region cn-north-4 is not enabled for the account"},
	} {
		t.Run(name, func(t *testing.T) {
			server := hsstest.NewServer(test.options...)
			defer server.Close()
			if test.fault != nil {
				server.Inject(*test.fault)
			}
			var out strings.Builder
			cmd := newRootCommand()
			cmd.SetOut(&out)
			cmd.SetArgs([]string{"probe", "--hss", "--config", probeConfig(t, server.URL), "--timeout", "5m"})
			err := execute(t.Context(), cmd)
			if !strings.HasPrefix(out.String(), test.want) || strings.Count(out.String(), "\n") != 1 || strings.Contains(out.String(), secret) {
				t.Errorf("got %q, want %q", out.String(), test.want)
			}
			if (err == nil) != (test.code == 0) || err != nil && exitCode(err) != test.code {
				t.Errorf("error is %v, want exit code %d", err, test.code)
			}
			if n := server.Stats().Endpoints[hsstest.EndpointImages].Requests; test.requests > 0 && n != test.requests {
				t.Errorf("%d requests, want %d", n, test.requests)
			}
		})
	}
}

func TestProbeOfHSSEndsWithItsTimeout(t *testing.T) {
	server := hsstest.NewServer()
	url := server.URL
	server.Close()
	var out strings.Builder
	cmd := newRootCommand()
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"probe", "--hss", "--config", probeConfig(t, url), "--timeout", "2s"})
	err := execute(t.Context(), cmd)
	if err == nil || exitCode(err) != exitFailure || !strings.Contains(out.String(), "connection refused") {
		t.Errorf("got %q, %v", out.String(), err)
	}
}
