package hss_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/hss"
)

// sourceFunc is a source of credentials.
type sourceFunc func(context.Context) (hss.Credentials, error)

func (f sourceFunc) Credentials(ctx context.Context) (hss.Credentials, error) { return f(ctx) }

func TestSigningTransportSignsACopy(t *testing.T) {
	t.Parallel()
	var gotBody, gotAuth string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		gotBody, gotAuth = string(body), r.Header.Get("Authorization")
	}))
	defer server.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v5", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	transport := &hss.SigningTransport{Source: hss.StaticCredentials(accessKey()), Now: signedAt}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if gotBody != "{}" || !strings.HasPrefix(gotAuth, "SDK-HMAC-SHA256 Access=AKEXAMPLE, ") {
		t.Errorf("server got body %q, Authorization %q", gotBody, gotAuth)
	}
	if len(request.Header) != 0 {
		t.Errorf("the caller's request was changed: %v", request.Header)
	}
}

func TestSigningTransportFailsBeforeSending(t *testing.T) {
	t.Parallel()
	errSource := errors.New("no key")
	failing := sourceFunc(func(context.Context) (hss.Credentials, error) { return hss.Credentials{}, errSource })
	empty := sourceFunc(func(context.Context) (hss.Credentials, error) { return hss.Credentials{}, nil })
	for _, tc := range []struct {
		name   string
		source hss.CredentialSource
		body   io.Reader
		want   string
	}{
		{"without a source", nil, nil, "no source of credentials"},
		{"when the source fails", failing, nil, "getting credentials: no key"},
		{"when the credentials are empty", empty, nil, "signing: "},
		{"when the body cannot be read", empty, io.MultiReader(strings.NewReader("x"), failingReader{}), "reading the request's body"},
		{"when the body is too large", empty, io.LimitReader(zeros{}, 17<<20), "larger than 16777216 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1:1/", tc.body)
			if err != nil {
				t.Fatal(err)
			}
			response, err := (&hss.SigningTransport{Source: tc.source, Base: unreachable{t}}).RoundTrip(request)
			if err == nil {
				_ = response.Body.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q in it", err, tc.want)
			}
		})
	}
}

// unreachable fails the test if anything is sent.
type unreachable struct{ t *testing.T }

func (u unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	u.t.Error("a request was sent")
	return nil, errors.New("sent")
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("broken pipe") }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestSigningTransportAsksTheSourceEveryTime(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	asked := 0
	source := sourceFunc(func(context.Context) (hss.Credentials, error) { asked++; return accessKey(), nil })
	client := &http.Client{Transport: &hss.SigningTransport{Source: source, Base: http.DefaultTransport}, Timeout: time.Minute}
	for range 3 {
		response, err := client.Do(newRequest(t, server.URL))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	if asked != 3 {
		t.Errorf("the source was asked %d times, want 3", asked)
	}
}
