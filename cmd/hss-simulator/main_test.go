package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/util/cert"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
)

// must ends a test that can't go on.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// simulate serves an inventory until the function that it returns is called,
// and returns its URL and the file of its log.
func simulate(t *testing.T, inventory string, flags ...string) (url, log string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	must(t, err)
	out, printed := io.Pipe()
	cmd := newCommand()
	if inventory != "" {
		flags = append(flags, "--inventory", inventory)
	}
	cmd.SetArgs(append([]string{"--listen", "127.0.0.1:0"}, flags...))
	cmd.SetOut(printed)
	cmd.SetErr(file)
	ended := make(chan error, 1)
	go func() {
		err := cmd.ExecuteContext(ctx)
		_, _ = printed.CloseWithError(err), file.Close()
		ended <- err
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	return regexp.MustCompile(`https?://[0-9.:]+`).FindString(line), file.Name(), func() error {
		cancel()
		return <-ended
	}
}

// list returns the versions of the images that HSS at a URL lists.
func list(t *testing.T, url string, key hss.Credentials, transport http.RoundTripper) (versions string) {
	t.Helper()
	client, err := hss.NewClient(hss.Config{Endpoint: url, ProjectID: "p", Credentials: hss.StaticCredentials(key), Transport: transport})
	must(t, err)
	for row, err := range client.All(t.Context(), hss.ListRequest{}) {
		if err != nil {
			return err.Error()
		}
		versions += row.Version
	}
	return versions
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestTheSimulatorServesAFileAndFollowsItsChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "inventory.yaml")
	write(t, path, "images: [{image_name: a, image_version: one}]")
	url, log, stop := simulate(t, path, "--latency", "1ms")
	known := hsstest.DefaultCredential()
	key := hss.Credentials{AccessKey: known.AccessKey, SecretKey: hss.NewSecret(known.SecretKey)}
	if got := list(t, url, key, nil); got != "one" {
		t.Errorf("got %s", got)
	}
	write(t, path, "images: [{image_name: a, image_version: second}]")
	for list(t, url, key, nil) != "second" {
		time.Sleep(10 * time.Millisecond)
	}
	write(t, path, "images: broken beyond repair")
	for text := []byte{}; !bytes.Contains(text, []byte("inventory not reloaded")); time.Sleep(10 * time.Millisecond) {
		var err error
		text, err = os.ReadFile(log)
		must(t, err)
	}
	if got := list(t, url, key, nil); got != "second" {
		t.Errorf("after a broken change: got %s", got)
	}
	must(t, stop())
}

func TestTheSimulatorServesTLSToAnAccessKeyOfItsOwn(t *testing.T) {
	t.Parallel()
	certificate, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	must(t, err)
	certFile, keyFile := filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	write(t, certFile, string(certificate))
	write(t, keyFile, string(key))
	url, _, stop := simulate(t, "../../config/samples/inventory.yaml", "--tls-cert", certFile, "--tls-key", keyFile,
		"--access-key", "AK", "--secret-key", "SK-of-the-test")
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(certificate)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	if got := list(t, url, hss.Credentials{AccessKey: "AK", SecretKey: hss.NewSecret("SK-of-the-test")}, transport); !strings.Contains(got, "1.0") {
		t.Errorf("got %s", got)
	}
	must(t, stop())
}

func TestTheSimulatorBehavesAsAsked(t *testing.T) {
	t.Parallel()
	url, _, stop := simulate(t, "../../config/samples/inventory.yaml", "--behavior", "ids=text,past-end=null", "--behavior", "total=missing")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v5/p/image/registries/images?limit=1", nil)
	must(t, err)
	known := hsstest.DefaultCredential()
	must(t, hss.Sign(r, nil, hss.Credentials{AccessKey: known.AccessKey, SecretKey: hss.NewSecret(known.SecretKey)}, time.Now()))
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	if !bytes.Contains(body, []byte(`"id":"`)) || bytes.Contains(body, []byte("total_num")) {
		t.Errorf("got %s", body)
	}
	must(t, stop())
}

func TestTheSimulatorExchangesAServiceAccountsToken(t *testing.T) {
	t.Parallel()
	url, _, stop := simulate(t, "../../config/samples/inventory.yaml", "--identity-provider", "id=my-cluster,issuer=https://cluster,subject=system:serviceaccount:a:b,audience=hssgate")
	token := filepath.Join(t.TempDir(), "token")
	payload := fmt.Sprintf(`{"aud":["hssgate"],"exp":%d,"iss":"https://cluster","sub":"system:serviceaccount:a:b"}`, time.Now().Add(time.Hour).Unix()) // as kubectl create token makes it
	write(t, token, "e30."+base64.RawURLEncoding.EncodeToString([]byte(payload))+".c2lnbmF0dXJl")
	config := hss.Config{Endpoint: url, ProjectID: "p", IAMEndpoint: url}
	for provider, want := range map[string]string{"my-cluster": "", "other": "Could not find identity provider: other"} {
		config.Credentials = hss.OIDCCredentials(provider, token, config)
		client, err := hss.NewClient(config)
		must(t, err)
		if _, err := client.List(t.Context(), hss.ListRequest{}); (err == nil) != (want == "") || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: got error %v, want %q", provider, err, want)
		}
	}
	must(t, stop())
}

func TestTheSimulatorReplaysARecord(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "record.json")
	write(t, path, `{"version":"hssgate.io/record/v1","time":"2020-01-01T00:00:00Z","exchanges":[
		{"request":"GET /v5/{project_id}/image/registries/images?limit=200","status":200,"json":{"total_num":1,"data_list":[{"id":1,"image_name":"a","image_version":"first","latest_scan_time":1577836800000}]}},
		{"request":"GET /v5/{project_id}/image/registries/images?limit=200","status":200,"json":{"total_num":1,"data_list":[{"id":1,"image_name":"a","image_version":"then"}]}}]}`)
	url, _, stop := simulate(t, "", "--replay", path)
	key := hss.Credentials{AccessKey: "ANY", SecretKey: hss.NewSecret("any")}
	for _, want := range []string{"first", "then", "first"} {
		if got := list(t, url, key, nil); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	client, err := hss.NewClient(hss.Config{Endpoint: url, ProjectID: "other", Credentials: hss.StaticCredentials(key)})
	must(t, err)
	if _, err = client.List(t.Context(), hss.ListRequest{ImageName: "x"}); err == nil || !strings.Contains(err.Error(), "the record holds no answer to GET /v5/{project_id}/image/registries/images?image_name=x") {
		t.Errorf("another request: got %v", err)
	}
	_, err = client.List(t.Context(), hss.ListRequest{Limit: hss.MaxLimit})
	must(t, err)
	if page, err := client.List(t.Context(), hss.ListRequest{Limit: hss.MaxLimit}); err != nil || time.Since(page.Images[0].LatestScanTime).Abs() > time.Minute {
		t.Errorf("got %v and %v, want times as if it were recorded now", page, err)
	}
	must(t, stop())
}

func TestWrongFlagsAreErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"without inventory":              {nil, "[inventory replay]"},
		"with a record that is none":     {[]string{"--replay", "../../config/samples/inventory.yaml"}, "record ../../config/samples/inventory.yaml: "},
		"with a record and an inventory": {[]string{"--replay", "x", "--inventory", "x"}, "[replay inventory]"},
		"with half a certificate":        {[]string{"--inventory", "x", "--tls-cert", "y"}, "[tls-cert tls-key]"},
		"with half a credential":         {[]string{"--inventory", "x", "--access-key", "y"}, "[access-key secret-key]"},
		"with a latency without a unit":  {[]string{"--inventory", "x", "--latency", "5"}, "--latency"},
		"with a switch that is none":     {[]string{"--inventory", "x", "--behavior", "id=text"}, `unknown switch "id", allowed: filters, ids,`},
		"with a value that is none":      {[]string{"--inventory", "x", "--behavior", "ids=string"}, `ids is "string", allowed: number, text`},
		"with a behavior without value":  {[]string{"--inventory", "x", "--behavior", "ids"}, `"ids" is no switch, allowed: name=value`},
		"with half an identity provider": {[]string{"--inventory", "../../config/samples/inventory.yaml", "--identity-provider", "id=a,issuer=b,subject=c"}, "id=…,issuer=…,subject=…,audience=…"},
		"with an argument":               {[]string{"now"}, `"now"`},
		"with an inventory that is none": {[]string{"--inventory", "no-such.yaml"}, "no-such.yaml"},
		"with an address that is none":   {[]string{"--inventory", "../../config/samples/inventory.yaml", "--listen", "nowhere"}, "listen: "},
		"with a missing certificate":     {[]string{"--inventory", "../../config/samples/inventory.yaml", "--listen", "127.0.0.1:0", "--tls-cert", "no-such.crt", "--tls-key", "y"}, "no-such.crt"},
	} {
		cmd := newCommand()
		cmd.SetArgs(tt.args)
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want %q in it", name, err, tt.want)
		}
	}
}
