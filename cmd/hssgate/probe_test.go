package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// answersProbe admits every review.
func answersProbe(w http.ResponseWriter, r *http.Request) {
	var review struct {
		Request struct {
			UID string `json:"uid"`
		} `json:"request"`
	}
	_ = json.NewDecoder(r.Body).Decode(&review)
	_, _ = io.WriteString(w, `{"response":{"uid":"`+review.Request.UID+`","allowed":true}}`)
}

// probed starts a webhook that closes its first connections, and returns its address and
// the file of its CA.
func probed(t *testing.T, closed int32, answer http.HandlerFunc) (url, ca string) {
	t.Helper()
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(answer)
	server.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateNew && connections.Add(1) <= closed {
			_ = c.Close()
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL, write(t, "ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
}

func TestAProbeTriesAgainWhileTheWebhookCannotBeReached(t *testing.T) {
	t.Parallel()
	url, ca := probed(t, 2, answersProbe)
	if stdout, _, err := run(t, "probe", "--url", url, "--ca-file", ca, "--timeout", "5m"); err != nil || stdout != url+" answers\n" {
		t.Errorf("got %q, %v", stdout, err)
	}
}

func TestAProbeDoesNotRepeatAWrongAnswer(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	url, ca := probed(t, 0, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(http.StatusTeapot)
	})
	calls{
		"a status that is no answer to a review": {[]string{"--ca-file", ca}, exitFailure, "HTTP status 418"},
		"a certificate of another CA":            {nil, exitFailure, "certificate"},
	}.check(t, "probe", "--timeout", "5m", "--url", url)
	if got := requests.Load(); got != 1 {
		t.Errorf("%d requests were answered, want 1", got)
	}
}

const probeComment = `hssgate v1.2.3 evaluates pods of namespace "team-a": dry-run mode, nothing is denied`

// dryRunAnswer is one answer of an API server to a dry run.
type dryRunAnswer struct {
	status           int
	warning, message string
}

func TestAProbeThroughTheAPIServer(t *testing.T) {
	t.Parallel()
	created := dryRunAnswer{status: http.StatusCreated}
	commented := dryRunAnswer{status: http.StatusCreated, warning: probeComment}
	for name, tt := range map[string]struct {
		answers []dryRunAnswer
		want    string
		fails   string
	}{
		"the comment is there":                      {answers: []dryRunAnswer{commented}, want: probeComment},
		"the comment comes with a denial":           {answers: []dryRunAnswer{{http.StatusForbidden, probeComment, "denied by policy"}}, want: probeComment},
		"the comment comes at the second attempt":   {answers: []dryRunAnswer{created, commented}, want: probeComment},
		"the API server does not call the webhook":  {answers: []dryRunAnswer{created}, fails: "without calling hssgate"},
		"the API server cannot reach the webhook":   {answers: []dryRunAnswer{{http.StatusInternalServerError, "", `failed calling webhook "pods.hssgate.io": connection refused`}}, fails: "connection refused"},
		"the namespace is exempt":                   {answers: []dryRunAnswer{{http.StatusCreated, `hssgate v1.2.3 does not evaluate pods of namespace "team-a": it is exempt`, ""}}, fails: "it is exempt"},
		"hssgate is not ready, and says so":         {answers: []dryRunAnswer{{http.StatusCreated, "hssgate cannot evaluate this object: not ready", ""}}, fails: "not ready"},
		"the user has no right to create such pods": {answers: []dryRunAnswer{{http.StatusForbidden, "", "pods is forbidden"}}, fails: "pods is forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Once all answers are used, time is up.
			ctx, timeIsUp := context.WithCancel(t.Context())
			defer timeIsUp()
			server := httptest.NewServer(dryRuns(tt.answers, timeIsUp))
			defer server.Close()
			stdout, _, err := runReading(ctx, "", "probe", "--api-server", "-n", "team-a", "--kubeconfig", kubeconfig(t, server.URL), "--timeout", "5m")
			if tt.fails == "" && (err != nil || stdout != tt.want+"\n") {
				t.Errorf("got %q, %v, want %q", stdout, err, tt.want)
			}
			if tt.fails != "" && (codeOf(err) != exitFailure || !strings.Contains(err.Error(), tt.fails)) {
				t.Errorf("got %v, want %q", err, tt.fails)
			}
		})
	}
}

// dryRuns answers the creation of pods by dry runs.
func dryRuns(answers []dryRunAnswer, exhausted func()) http.Handler {
	var n atomic.Int32
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := int(n.Add(1)) - 1
		if r.Method != http.MethodPost || r.URL.Path != "/api/v1/namespaces/team-a/pods" || r.URL.Query().Get("dryRun") != "All" {
			http.Error(w, "no dry run of a new pod: "+r.Method+" "+r.URL.String(), http.StatusBadRequest)
			return
		}
		if i >= len(answers) {
			exhausted()
			return
		}
		a := answers[i]
		w.Header().Set("Content-Type", "application/json")
		if a.warning != "" {
			w.Header().Set("Warning", fmt.Sprintf("299 - %q", a.warning))
		}
		w.WriteHeader(a.status)
		if a.status == http.StatusCreated {
			_, _ = io.WriteString(w, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"hssgate-probe-x"}}`)
			return
		}
		_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":%q,"code":%d}`, a.message, a.status)
	})
}

// probeConfig writes a configuration of one project that has a region and no
// project ID. HSS and IAM are both at url.
func probeConfig(t *testing.T, url string) string {
	t.Helper()
	t.Setenv("HUAWEICLOUD_SDK_IAM_ENDPOINT", url)
	t.Setenv("HUAWEICLOUD_SDK_AK", hsstest.DefaultCredential().AccessKey)
	t.Setenv("HUAWEICLOUD_SDK_SK", hsstest.DefaultCredential().SecretKey)
	return write(t, "config.yaml", fmt.Sprintf(`apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects: [{name: bj4, region: cn-north-4, endpoint: %q, credentials: {source: Environment}}]
registries: [{name: swr, hosts: [swr.example.com]}]
`, url))
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
			out, _, err := run(t, "probe", "--hss", "--config", probeConfig(t, server.URL), "--timeout", "5m")
			if !strings.HasPrefix(out, test.want) || strings.Count(out, "\n") != 1 || strings.Contains(out, secret) || codeOf(err) != test.code {
				t.Errorf("got %q and %v, want %q and exit code %d", out, err, test.want, test.code)
			}
			if n := server.Stats().Endpoints[hsstest.EndpointImages].Requests; test.requests > 0 && n != test.requests {
				t.Errorf("%d requests, want %d", n, test.requests)
			}
		})
	}
}

func TestAProbeSaysWhatHSSAnsweredBeforeItHung(t *testing.T) {
	server := hsstest.NewServer()
	defer server.Close()
	server.Inject(hsstest.StatusFault(http.StatusBadGateway).Times(1))
	server.Inject(hsstest.HangFault().Times(0))
	calls{
		"of HSS": {[]string{"--hss", "--config", probeConfig(t, server.URL), "--timeout", "3s"}, exitFailure, "502"},
	}.check(t, "probe")
}

func TestAProbeNamesTheConfiguredProjectWithoutCredentials(t *testing.T) {
	path := probeConfig(t, "http://127.0.0.1:9")
	rewrite(t, path, strings.Replace(readFile(t, path), "region: cn-north-4", "region: cn-north-4, projectID: p1", 1))
	t.Setenv("HUAWEICLOUD_SDK_AK", "")
	calls{
		"of HSS": {[]string{"--hss", "--config", path, "--timeout", "1m"}, exitFailure, "project ID p1): "},
	}.check(t, "probe")
}

func TestAProbeEndsAtItsTimeout(t *testing.T) {
	server := hsstest.NewServer()
	address := server.URL
	server.Close()
	calls{
		"of a webhook": {[]string{"--url", strings.Replace(address, "http:", "https:", 1), "--timeout", "1ms"}, exitFailure, "tried until the timeout"},
		"of HSS":       {[]string{"--hss", "--config", probeConfig(t, address), "--timeout", "2s"}, exitFailure, "connection refused"},
	}.check(t, "probe")
}
