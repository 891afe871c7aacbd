package hss_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
)

const metadataKeys = `{"credential":{"access":"AK","secret":"hunter2","securitytoken":"STS","expires_at":"2026-01-02T09:04:05.123000Z"}}`

// metadata is a metadata service.
type metadata struct {
	tokenStatus int
	token       string // the one that is handed out and wanted; empty: none is wanted
	keyStatus   int
	keys        string
	calls       []string
}

func (m *metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.calls = append(m.calls, r.Method+" "+r.URL.Path+" "+r.Header.Get("X-Metadata-Token")+r.Header.Get("X-Metadata-Token-Ttl-Seconds"))
	switch {
	case r.Method == http.MethodPut && r.URL.Path == "/meta-data/latest/api/token":
		w.WriteHeader(m.tokenStatus)
		_, _ = io.WriteString(w, m.token+"\n")
	case r.URL.Path != "/openstack/latest/securitykey":
		w.WriteHeader(http.StatusNotFound)
	case r.Header.Get("X-Metadata-Token") != m.token:
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "bad token "+r.Header.Get("X-Metadata-Token"))
	default:
		w.WriteHeader(m.keyStatus)
		_, _ = io.WriteString(w, m.keys)
	}
}

// start serves m and returns a source that asks it.
func (m *metadata) start(t *testing.T) hss.CredentialSource {
	t.Helper()
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	return hss.MetadataCredentials(server.URL+"/", nil)
}

func temporary() hss.Credentials {
	c := key("AK", "hunter2", "STS", "")
	c.Expires = time.Date(2026, 1, 2, 9, 4, 5, 0, time.UTC)
	return c
}

func TestMetadataTokenIsKeptAndRenewed(t *testing.T) {
	t.Parallel()
	service := &metadata{tokenStatus: 200, token: "T1", keyStatus: 200, keys: metadataKeys}
	source := service.start(t)
	expect(t, source, temporary())
	expect(t, source, temporary())
	service.token = "T2"
	expect(t, source, temporary())
	want := []string{
		"PUT /meta-data/latest/api/token 21600", "GET /openstack/latest/securitykey T1",
		"GET /openstack/latest/securitykey T1",
		"GET /openstack/latest/securitykey T1", "PUT /meta-data/latest/api/token 21600", "GET /openstack/latest/securitykey T2",
	}
	if diff := cmp.Diff(want, service.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestMetadataAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		service metadata
		want    any
	}{
		{"a service that knows no tokens", metadata{tokenStatus: 404, keyStatus: 200, keys: metadataKeys}, "answered 401"},
		{"a service that hands out no token", metadata{tokenStatus: 500, token: "x"}, "token: answered 500: x"},
		{"a node without an agency", metadata{tokenStatus: 200, token: "T", keyStatus: 404, keys: "Please configure Cloud Service Agency first"},
			"security key: answered 404: Please configure Cloud Service Agency first (has the node an agency?)"},
		{"an empty refusal", metadata{tokenStatus: 200, token: "T", keyStatus: 503}, "security key: answered 503: no reason given"},
		{"no JSON", metadata{tokenStatus: 200, token: "T", keyStatus: 200, keys: "hunter2"}, "the answer is not the JSON that was expected"},
		{"no keys", metadata{tokenStatus: 200, token: "T", keyStatus: 200, keys: "{}"}, "the answer holds no keys"},
		{"half the keys", metadata{tokenStatus: 200, token: "T", keyStatus: 200, keys: `{"credential":{"secret":"hunter2"}}`}, "the answer lacks the access key"},
		{"no expiry", metadata{tokenStatus: 200, token: "T", keyStatus: 200, keys: `{"credential":{"access":"AK","secret":"hunter2","securitytoken":"STS"}}`},
			"the keys' time of expiry"},
		{"an answer without end", metadata{tokenStatus: 200, token: "T", keyStatus: 200, keys: strings.Repeat(" ", 300<<10)}, "the answer has more than 262144 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.service.tokenStatus == 404 {
				tc.service.token = "wanted"
			}
			expect(t, tc.service.start(t), tc.want)
		})
	}
}

// Every machine is asked for a metadata service, also where nobody meant to use one.
func TestWhereNobodySetUpCredentialsThatIsWhatIsTold(t *testing.T) {
	t.Parallel()
	service := &metadata{tokenStatus: 403, token: "denied"}
	source := hss.ChainCredentials(hss.EnvironmentCredentials(env(nil)), hss.PodIdentityCredentials(env(nil), nil),
		hss.CachedCredentials(service.start(t), hss.CacheOptions{}))
	_, err := source.Credentials(t.Context())
	want := "no credentials found: looked in the environment (HUAWEICLOUD_SDK_AK), the pod's identity, the node's metadata service ("
	if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), "token: answered 403: denied)") {
		t.Errorf("got %v, want %q first", err, want)
	}
	if !errors.As(err, new(*hss.NoCredentialsError)) {
		t.Errorf("got a %T", err)
	}
}

func TestMetadataWithoutTokensWorks(t *testing.T) {
	t.Parallel()
	for _, status := range []int{404, 405, 503} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				w.WriteHeader(status)
				return
			}
			_, _ = io.WriteString(w, metadataKeys)
		}))
		expect(t, hss.MetadataCredentials(server.URL, nil), temporary())
		server.Close()
	}
}

func TestMetadataThatIsOutOfReach(t *testing.T) {
	t.Parallel()
	errDown := errors.New("no route to host")
	down := transportFunc(func(*http.Request) (*http.Response, error) { return nil, errDown })
	expect(t, hss.MetadataCredentials("", down), "metadata service at http://169.254.169.254: ")
	_, err := hss.MetadataCredentials("", down).Credentials(t.Context())
	if !errors.Is(err, errDown) {
		t.Errorf("error is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	service := &metadata{tokenStatus: 200, token: "T", keyStatus: 200, keys: metadataKeys}
	if _, err := service.start(t).Credentials(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// podAgent is the agent of CCE's pod identity; it wants the token TOKEN.
func podAgent(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	switch {
	case r.Method != http.MethodPost || string(body) != "{}" || r.Header.Get("Content-Type") != "application/json; charset=utf-8":
		w.WriteHeader(http.StatusBadRequest)
	case r.URL.Path == "/redirect":
		http.Redirect(w, r, "/keys", http.StatusTemporaryRedirect)
	case r.Header.Get("Authorization") != "TOKEN":
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, "token %s is unknown", r.Header.Get("Authorization"))
	default:
		_, _ = io.WriteString(w, `{"credentials":{"accessKeyId":"AK","secretAccessKey":"hunter2","securityToken":"STS","expiration":"2026-01-02T09:04:05Z"}}`)
	}
}

func TestPodIdentity(t *testing.T) {
	t.Parallel()
	agent := httptest.NewServer(http.HandlerFunc(podAgent))
	t.Cleanup(agent.Close)
	dir := t.TempDir()
	good, bad := write(t, filepath.Join(dir, "good"), "TOKEN\n"), write(t, filepath.Join(dir, "bad"), "hunter2")
	for _, tc := range []struct {
		name, uri, file string
		want            any
	}{
		{"keys for a token", agent.URL + "/keys", good, temporary()},
		{"a token that is refused, and taken out of the answer", agent.URL + "/keys", bad, "answered 403: token [redacted] is unknown"},
		{"a redirect, not followed", agent.URL + "/redirect", good, "answered 307"},
		{"a token that is missing", agent.URL, filepath.Join(dir, "none"), "pod identity: token: stat"},
		{"no address", "", good, "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE is set, but HC_CONTAINER_CREDENTIALS_FULL_URI is not"},
		{"no token file", agent.URL, "", "HC_CONTAINER_CREDENTIALS_FULL_URI is set, but HC_CONTAINER_AUTHORIZATION_TOKEN_FILE is not"},
		{"nothing", "", "", "HC_CONTAINER_CREDENTIALS_FULL_URI and HC_CONTAINER_AUTHORIZATION_TOKEN_FILE are not configured"},
		{"an address out on the internet in the clear", "http://8.8.8.8/keys", good, "it must be https, or http to a private, link-local or loopback address"},
		{"a name in the clear", "http://agent.example.com/keys", good, "it must be https"},
		{"an address that is no URL", "http://[::1", good, "HC_CONTAINER_CREDENTIALS_FULL_URI: parse"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			source := hss.PodIdentityCredentials(env(map[string]string{
				"HC_CONTAINER_CREDENTIALS_FULL_URI": tc.uri, "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": tc.file,
			}), http.DefaultTransport)
			expect(t, source, tc.want)
		})
	}
}

func TestPodIdentityAnswersThatHoldNoKeys(t *testing.T) {
	t.Parallel()
	errDown := errors.New("connection refused")
	token := write(t, filepath.Join(t.TempDir(), "token"), "TOKEN")
	for body, want := range map[string]string{"": "is not the JSON", `{"credentials":null}`: "holds no keys", "down": "connection refused"} {
		transport := transportFunc(func(*http.Request) (*http.Response, error) {
			if body == "down" {
				return nil, errDown
			}
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body))}, nil
		})
		expect(t, hss.PodIdentityCredentials(env(map[string]string{
			"HC_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1", "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": token,
		}), transport), want)
	}
}
