package tracing_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/hssgate/hssgate/internal/tracing"
)

// answering is a transport that answers what it is told to, and keeps the request.
type answering struct {
	response *http.Response
	err      error
	request  *http.Request
}

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.request = r
	return a.response, a.err
}

// broken is a body that breaks off.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func answer(status int, body io.Reader) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"X-Request-Id": {"abc-123"}}, Body: io.NopCloser(body)}
}

func TestACallToHSSIsASpan(t *testing.T) {
	t.Parallel()
	//nolint:bodyclose // each is closed below
	for name, tt := range map[string]struct {
		answering
		status string // of the span
		has    map[string]string
	}{
		"a list":                {answering{response: answer(200, strings.NewReader("{}"))}, "", map[string]string{"hss.request_id": "abc-123", "http.response.status_code": "200"}},
		"a refusal":             {answering{response: answer(401, strings.NewReader("{}"))}, "401", map[string]string{"hss.request_id": "abc-123", "http.response.status_code": "401"}},
		"an answer that breaks": {answering{response: answer(200, broken{})}, "connection reset", map[string]string{"hss.request_id": "abc-123"}},
		"no answer":             {answering{err: errors.New("no such host")}, "no such host", map[string]string{}},
		"an echo":               {answering{err: errors.New(`malformed HTTP response "secret-token"`)}, `malformed HTTP response "[redacted]"`, map[string]string{}},
		"an echoed id": {
			answering{response: &http.Response{StatusCode: 200, Header: http.Header{"X-Request-Id": {"secret-token"}}, Body: io.NopCloser(strings.NewReader("{}"))}},
			"", map[string]string{"hss.request_id": "[redacted]"},
		},
	} {
		spans := tracetest.NewInMemoryExporter()
		transport := tracing.NewTransport(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)), "main", &tt.answering)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://hss.example.com/v5/p/image?image_name=app", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "SDK-HMAC-SHA256 secret")
		r.Header.Set("X-Auth-Token", "secret-token")
		before := r.Header.Clone()
		response, err := transport.RoundTrip(r)
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: error %v", name, err)
		}
		if response != nil {
			if n := len(spans.GetSpans()); n > 0 {
				t.Errorf("%s: the span has ended before the body", name)
			}
			_, _ = io.ReadAll(response.Body)
			_, _ = response.Body.Close(), response.Body.Close()
		}
		if diff := cmp.Diff(before, tt.request.Header); diff != "" {
			t.Errorf("%s: HSS is told more:\n%s", name, diff)
		}
		tt.has["hss.project"], tt.has["server.address"], tt.has["http.request.method"] = "main", "hss.example.com", "GET"
		tt.has["url.full"] = "https://hss.example.com/v5/p/image?image_name=app"
		check(t, name, spans.GetSpans().Snapshots(), tt.has, tt.status)
	}
}

// check checks that there is one span, and what it tells.
func check(t *testing.T, name string, spans []sdktrace.ReadOnlySpan, has map[string]string, status string) {
	t.Helper()
	if len(spans) != 1 {
		t.Errorf("%s: %d spans, want 1", name, len(spans))
		return
	}
	told := map[string]string{}
	for _, a := range spans[0].Attributes() {
		told[string(a.Key)] = a.Value.String()
		if strings.Contains(a.Value.String(), "secret") {
			t.Errorf("%s: a secret is told: %s", name, a.Value.String())
		}
	}
	for key, want := range has {
		if told[key] != want {
			t.Errorf("%s: %s is %q, want %q", name, key, told[key], want)
		}
	}
	if s := spans[0].Status(); s.Description != strings.TrimPrefix(status, "401") || (s.Code == codes.Error) != (status != "") {
		t.Errorf("%s: the status is %+v, want %q", name, s, status)
	}
}
