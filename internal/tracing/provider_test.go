package tracing_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel"

	"github.com/hssgate/hssgate/internal/tracing"
)

// must ends a test that can't go on.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheEnvironmentSaysWhetherThereAreTraces(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	for name, test := range map[string]struct {
		environment map[string]string
		err         string
	}{
		"nothing set":               {nil, ""},
		"no exporter":               {map[string]string{"OTEL_TRACES_EXPORTER": "none", endpoint: "http://collector:4318"}, ""},
		"a disabled SDK":            {map[string]string{"OTEL_SDK_DISABLED": "true", endpoint: "http://collector:4318"}, ""},
		"an endpoint that's no URL": {map[string]string{endpoint: "collector:4318"}, endpoint},
		"an endpoint of gRPC":       {map[string]string{endpoint: "grpc://collector:4317"}, endpoint},
		"an endpoint with password": {map[string]string{endpoint: "https://user:secret@collector"}, endpoint},
		"a broken endpoint":         {map[string]string{endpoint: "http://%zz"}, endpoint},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range test.environment {
				t.Setenv(key, value)
			}
			provider, err := tracing.NewProvider(t.Context(), "v1", slog.New(slog.DiscardHandler))
			if provider != nil || (err == nil) != (test.err == "") {
				t.Fatalf("got %v, %v", provider, err)
			}
			if err != nil && (!strings.Contains(err.Error(), test.err) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestFailuresAreLoggedOnceWithoutSecrets(t *testing.T) {
	var requests atomic.Int32
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if body, _ := io.ReadAll(r.Body); r.URL.Path != "/" || !bytes.Contains(body, []byte("hssgate")) || !bytes.Contains(body, []byte("v1.2.3")) {
			t.Errorf("%s got %q", r.URL.Path, body)
		}
		http.Error(w, "refused "+r.Header.Get("Authorization")+"\n"+strings.Repeat("x", 9999), http.StatusUnauthorized)
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20hush")
	log := &bytes.Buffer{}
	provider, err := tracing.NewProvider(t.Context(), "v1.2.3", slog.New(slog.NewTextHandler(log, nil)))
	must(t, err)
	for range 3 {
		_, span := provider.Tracer(tracing.Name).Start(t.Context(), "review")
		span.End()
		otel.Handle(provider.ForceFlush(t.Context())) // as the batches in the background do
	}
	if requests.Load() != 3 || strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "401") {
		t.Errorf("%d requests, log:\n%s", requests.Load(), log)
	}
	if strings.Contains(log.String(), "hush") || log.Len() > 1000 {
		t.Errorf("the log holds a secret or too much:\n%s", log)
	}
}
