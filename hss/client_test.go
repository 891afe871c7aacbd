package hss_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
)

const listPath = "/v5/p1/image/registries/images"

// newClient makes a client of a server, with the credentials of the signature
// tests, that never waits long.
func newClient(t *testing.T, endpoint string, change func(*hss.Config)) *hss.Client {
	t.Helper()
	config := hss.Config{
		Endpoint: endpoint, ProjectID: "p1", Credentials: hss.StaticCredentials(accessKey()),
		Retry: hss.RetryPolicy{BaseDelay: time.Nanosecond, MaxDelay: time.Nanosecond},
	}
	if change != nil {
		change(&config)
	}
	client, err := hss.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// serve answers every request in the same way and counts them.
func serve(t *testing.T, handler http.HandlerFunc) (endpoint string, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

// answer writes a status and a body.
func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "req-1")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func TestListSendsASignedRequest(t *testing.T) {
	t.Parallel()
	var got *http.Request
	endpoint, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		answer(http.StatusOK, `{"total_num":1,"data_list":[{"id":1,"image_name":"app"}]}`)(w, r)
	})
	client := newClient(t, endpoint+"/", func(c *hss.Config) { c.Now = signedAt })
	list, err := client.List(t.Context(), hss.ListRequest{Namespace: "my team", Limit: 200})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&hss.ListResponse{Total: 1, Images: []hss.Image{{ID: "1", Name: "app"}}}, list); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if got.Method != http.MethodGet || got.URL.Path != listPath || got.URL.RawQuery != "limit=200&namespace=my%20team" {
		t.Errorf("asked %s %s?%s", got.Method, got.URL.Path, got.URL.RawQuery)
	}
	for name, want := range map[string]string{
		"Accept": "application/json", "User-Agent": "hssgate", "X-Project-Id": "p1", "X-Sdk-Date": "20260102T030405Z",
	} {
		if got.Header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.Header.Get(name), want)
		}
	}
	if !strings.Contains(got.Header.Get("Authorization"), "SignedHeaders=accept;user-agent;x-project-id;x-sdk-date,") {
		t.Errorf("Authorization is %q", got.Header.Get("Authorization"))
	}
}

func TestListTakesTheProjectFromTheCredentials(t *testing.T) {
	t.Parallel()
	var path string
	endpoint, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.Path
		answer(http.StatusOK, `{"data_list":[]}`)(w, r)
	})
	for project, want := range map[string]string{"from-keys": "", "": "no project ID", "a/../b": "project ID", strings.Repeat("a", 65): "project ID"} {
		credentials := accessKey()
		credentials.ProjectID = project
		client := newClient(t, endpoint, func(c *hss.Config) { c.ProjectID, c.Credentials = "", hss.StaticCredentials(credentials) })
		_, err := client.List(t.Context(), hss.ListRequest{})
		if want == "" && (err != nil || path != "/v5/from-keys/image/registries/images") {
			t.Errorf("asked %s, error %v", path, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("project %q: error is %v, want %q in it", project, err, want)
		}
	}
}

func TestListChecksBeforeItSends(t *testing.T) {
	t.Parallel()
	endpoint, asked := serve(t, answer(http.StatusOK, `{"data_list":[]}`))
	errSource := errors.New("no keys")
	failing := newClient(t, endpoint, func(c *hss.Config) {
		c.Credentials = sourceFunc(func(context.Context) (hss.Credentials, error) { return hss.Credentials{}, errSource })
	})
	if _, err := failing.List(t.Context(), hss.ListRequest{}); !errors.Is(err, errSource) {
		t.Errorf("error is %v, want that of the source", err)
	}
	if _, err := newClient(t, endpoint, nil).List(t.Context(), hss.ListRequest{Limit: 1000}); err == nil {
		t.Error("an invalid request is not refused")
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestAnswersThatAreNoList(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		status int
		body   string
		want   hss.Error // what matters of it
		text   string
	}{
		{"an empty 200", 200, "", hss.Error{StatusCode: 200}, "HSS answered 200: an empty answer (request req-1)"},
		{"a 200 without a list", 200, `{"total_num":0}`, hss.Error{StatusCode: 200}, "HSS answered 200: no list: the answer has no data_list"},
		{"a 200 with a null list", 200, `{"data_list":null}`, hss.Error{StatusCode: 200}, "no list: the answer has no data_list"},
		{"a 200 with an error object", 200, `{"error_code":"HSS.0011","error_msg":"gone"}`, hss.Error{StatusCode: 200, Code: "HSS.0011"}, "HSS answered 200 HSS.0011: gone"},
		{"a 200 with HTML", 200, "<html><head><TITLE>Log in &amp; pay</TITLE></head>", hss.Error{StatusCode: 200}, `a page of HTML in place of JSON, titled "Log in & pay"`},
		{"a 200 with HTML without a title", 200, "  <p>hello", hss.Error{StatusCode: 200}, "a page of HTML in place of JSON"},
		{"a 200 with text", 200, "OK", hss.Error{StatusCode: 200}, "no list: the answer is not JSON from byte 0 on"},
		{"a 200 with two documents", 200, `{"data_list":[]}{}`, hss.Error{StatusCode: 200}, "no list: the answer goes on after its end"},
		{"HSS's own error", 400, `{"error_code":"HSS.0001","error_description":"limit","error_msg":"invalid parameter"}`,
			hss.Error{StatusCode: 400, Code: "HSS.0001"}, "HSS answered 400 HSS.0001: invalid parameter: limit (request req-1)"},
		{"HSS's own error without a message", 400, `{"error_code":"HSS.0010","error_description":"access denied"}`,
			hss.Error{StatusCode: 400, Code: "HSS.0010"}, "HSS answered 400 HSS.0010: access denied"},
		{"the gateway's error", 404, `{"error_msg":"The API does not exist","error_code":"APIGW.0101","request_id":"other"}`,
			hss.Error{StatusCode: 404, Code: "APIGW.0101"}, "HSS answered 404 APIGW.0101: The API does not exist (request req-1)"},
		{"an empty error", 403, "", hss.Error{StatusCode: 403}, "HSS answered 403: an empty answer"},
		{"an error of HTML", 403, "<!DOCTYPE html><title>403 Forbidden</title>", hss.Error{StatusCode: 403}, `titled "403 Forbidden"`},
		{"an error of text with control characters", 418, "I am\x1b[31m a\r\n\tteapot\x00", hss.Error{StatusCode: 418}, "HSS answered 418: I am [31m a teapot (request"},
		{"an error of another shape", 400, `{"fault":{"code":"x"}}`, hss.Error{StatusCode: 400}, `{"fault":{"code":"x"}}`},
		{"no content", 204, "", hss.Error{StatusCode: 204}, "HSS answered 204"},
		{"a conflict", 409, `{"error_code":7}`, hss.Error{StatusCode: 409, Code: "7"}, "HSS answered 409 7"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			endpoint, asked := serve(t, answer(tc.status, tc.body))
			list, err := newClient(t, endpoint, nil).List(t.Context(), hss.ListRequest{})
			var got *hss.Error
			if list != nil || !errors.As(err, &got) {
				t.Fatalf("list %v, error %v; want an *Error", list, err)
			}
			if got.StatusCode != tc.want.StatusCode || got.Code != tc.want.Code || got.RequestID != "req-1" || got.Retryable {
				t.Errorf("error is %+v", *got)
			}
			if !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error is %q, want %q in it", err, tc.text)
			}
			if n := asked.Load(); n != 1 {
				t.Errorf("asked %d times, want once", n)
			}
		})
	}
}

func TestLongAnswersAreShortenedAndSecretsTakenOut(t *testing.T) {
	t.Parallel()
	const token = "TOKEN-that-is-echoed"
	endpoint, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, "header %s refused %s", r.Header.Get("X-Auth-Token"), strings.Repeat("长", 100_000))
	})
	client := newClient(t, endpoint, func(c *hss.Config) {
		c.Credentials = hss.StaticCredentials(hss.Credentials{Token: hss.NewSecret(token)})
	})
	_, err := client.List(t.Context(), hss.ListRequest{})
	if err == nil || strings.Contains(err.Error(), token) || !strings.Contains(err.Error(), "header [redacted] refused 长") {
		t.Errorf("error is %v", err)
	}
	if n := len([]rune(err.Error())); n > 400 {
		t.Errorf("the error has %d characters", n)
	}
}

func TestResponsesAreBounded(t *testing.T) {
	t.Parallel()
	page := `{"data_list":[` + strings.Repeat(`{"scannable":true},`, 199) + `{}]}`
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"one that tells its length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(page)))
			_, _ = w.Write([]byte(page))
		}, "the answer has 3799 bytes, at most 1024 are read"},
		{"one in chunks", func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			_, _ = w.Write([]byte(page))
		}, "the answer has more than the 1024 bytes that are read"},
		{"one that is small until it is unpacked", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			packed := gzip.NewWriter(w)
			_, _ = packed.Write([]byte(page))
			_ = packed.Close()
		}, "the answer has more than the 1024 bytes that are read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			endpoint, asked := serve(t, tc.handler)
			client := newClient(t, endpoint, func(c *hss.Config) { c.MaxResponseBytes = 1024 })
			if _, err := client.List(t.Context(), hss.ListRequest{}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q in it", err, tc.want)
			}
			if n := asked.Load(); n != 1 {
				t.Errorf("asked %d times, want once", n)
			}
			if _, err := newClient(t, endpoint, nil).List(t.Context(), hss.ListRequest{}); err != nil {
				t.Errorf("within the default bound: %v", err)
			}
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	other, followed := serve(t, answer(http.StatusOK, `{"data_list":[]}`))
	for _, location := range []string{other + "/?secret=1", "/elsewhere", ":bad:"} {
		endpoint, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusTemporaryRedirect)
		})
		_, err := newClient(t, endpoint, nil).List(t.Context(), hss.ListRequest{})
		var got *hss.Error
		if !errors.As(err, &got) || got.StatusCode != http.StatusTemporaryRedirect || !strings.Contains(err.Error(), "not followed") {
			t.Errorf("%s: error is %v", location, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the query: %v", err)
		}
	}
	if followed.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

func TestNewClientChecksItsConfiguration(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*hss.Config)
		want   string // empty: accepted
	}{
		{"https", func(*hss.Config) {}, ""},
		{"http to this machine by address", func(c *hss.Config) { c.Endpoint = "http://[::1]:80" }, ""},
		{"http to this machine by name", func(c *hss.Config) { c.Endpoint = "http://LocalHost:8080/base/" }, ""},
		{"http elsewhere", func(c *hss.Config) { c.Endpoint = "http://hss.example.com" }, "must be https"},
		{"http elsewhere, if that is allowed", func(c *hss.Config) { c.Endpoint, c.AllowInsecure = "http://hss.example.com", true }, ""},
		{"a name that begins like this machine's", func(c *hss.Config) { c.Endpoint = "http://localhost.example.com" }, "must be https"},
		{"another scheme", func(c *hss.Config) { c.Endpoint = "ftp://hss.example.com" }, "must be https"},
		{"no scheme", func(c *hss.Config) { c.Endpoint = "hss.example.com" }, "has no host"},
		{"no endpoint", func(c *hss.Config) { c.Endpoint = "" }, "has no host"},
		{"a port alone", func(c *hss.Config) { c.Endpoint = "https://:443" }, "has no host"},
		{"a password before a port that is none", func(c *hss.Config) { c.Endpoint = "https://u:hunter2@h:x" }, "must not contain a user name"},
		{"a password before no host", func(c *hss.Config) { c.Endpoint = "https://u:hunter2@" }, "must not contain a user name"},
		{"a password with a slash", func(c *hss.Config) { c.Endpoint = "https://u:hunter2/3@h" }, "must not contain a user name"},
		{"an endpoint with a password", func(c *hss.Config) { c.Endpoint = "https://u:hunter2@h" }, "must not contain a user name"},
		{"an endpoint with a query", func(c *hss.Config) { c.Endpoint = "https://h/?a=b" }, "must not have a query"},
		{"an endpoint that is no URL", func(c *hss.Config) { c.Endpoint = "https://h:port" }, "endpoint: parse"},
		{"no credentials", func(c *hss.Config) { c.Credentials = nil }, "no source of credentials"},
		{"a project with a slash", func(c *hss.Config) { c.ProjectID = "a/b" }, "project ID"},
		{"a project of letters elsewhere", func(c *hss.Config) { c.ProjectID = "项目" }, "project ID"},
		{"a negative bound", func(c *hss.Config) { c.MaxResponseBytes = -1 }, "negative bound"},
		{"a negative delay", func(c *hss.Config) { c.Retry.BaseDelay = -1 }, "negative retry bound"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			config := hss.Config{Endpoint: "https://hss.cn-north-4.myhuaweicloud.com", Credentials: hss.StaticCredentials(accessKey())}
			tc.change(&config)
			_, err := hss.NewClient(config)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error is %v, want %q in it", err, tc.want)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func TestRegionEndpoints(t *testing.T) {
	t.Parallel()
	for region, want := range map[string]string{
		"cn-north-4": "https://hss.cn-north-4.myhuaweicloud.com", "my-kualalumpur-1": "https://hss.my-kualalumpur-1.myhuaweicloud.com",
		"eu-west-101": "https://hss.eu-west-101.myhuaweicloud.eu",
		"":            "", "cn": "", "CN-NORTH-4": "", "cn-north-4.evil.com": "", "cn-north-4/": "", "cn--4": "", strings.Repeat("a-", 40) + "a": "",
	} {
		got, err := hss.RegionEndpoint(region)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q gives %q, %v; want %q", region, got, err, want)
		}
	}
}

// budget counts and may refuse.
type budget struct {
	asked atomic.Int32
	err   error
}

func (b *budget) Wait(context.Context) error {
	b.asked.Add(1)
	return b.err
}

func TestBudgetIsAskedBeforeEveryAttempt(t *testing.T) {
	t.Parallel()
	endpoint, asked := serve(t, answer(http.StatusServiceUnavailable, ""))
	spent := &budget{}
	client := newClient(t, endpoint, func(c *hss.Config) { c.Budget, c.Retry.MaxAttempts = spent, 3 })
	if _, err := client.List(t.Context(), hss.ListRequest{}); err == nil || !strings.HasPrefix(err.Error(), "after 3 attempts: HSS answered 503") {
		t.Errorf("error is %v", err)
	}
	if spent.asked.Load() != 3 || asked.Load() != 3 {
		t.Errorf("budget asked %d times, server %d times, want 3 and 3", spent.asked.Load(), asked.Load())
	}
	spent.err = errors.New("nothing left")
	if _, err := client.List(t.Context(), hss.ListRequest{}); !errors.Is(err, spent.err) {
		t.Errorf("error is %v, want that of the budget", err)
	}
	if asked.Load() != 3 {
		t.Error("a request was sent without a budget")
	}
}

func TestUntrustedCertificatesAreNotTriedAgain(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(answer(http.StatusOK, `{"data_list":[]}`))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	spent := &budget{}
	_, err := newClient(t, server.URL, func(c *hss.Config) { c.Budget = spent }).List(t.Context(), hss.ListRequest{})
	if err == nil || !strings.Contains(err.Error(), "certificate") || spent.asked.Load() != 1 {
		t.Errorf("error is %v after %d attempts, want one about the certificate after 1", err, spent.asked.Load())
	}
	trusting := newClient(t, server.URL, func(c *hss.Config) { c.Transport = server.Client().Transport })
	if _, err := trusting.List(t.Context(), hss.ListRequest{}); err != nil {
		t.Error(err)
	}
}
