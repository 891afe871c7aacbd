package webhook_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/webhook"
)

func TestAProbeIsAnswered(t *testing.T) {
	t.Parallel()
	server := overTLS(t, newHandler(&decider{}))
	if err := webhook.Probe(t.Context(), server.Client(), server.URL+"/validate?timeout=5s", "probe-1"); err != nil {
		t.Error(err)
	}
}

func TestAProbeOfAWebhookThatIsNotTrustedFails(t *testing.T) {
	t.Parallel()
	server := overTLS(t, newHandler(&decider{}))
	if err := webhook.Probe(t.Context(), http.DefaultClient, server.URL, "probe-1"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("Probe = %v, want an error about the certificate", err)
	}
}

func TestAProbeRefusesAnythingButACompleteAnswer(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status       int
		answer, says string
	}{
		"an error status":              {503, "", "HTTP status 503"},
		"no JSON":                      {200, "<html>", "no AdmissionReview"},
		"no response":                  {200, "{}", "it has no response"},
		"another's answer":             {200, `{"response":{"uid":"other","allowed":true}}`, `its UID is "other"`},
		"a refusal with its reason":    {200, `{"response":{"uid":"probe-1","allowed":false,"status":{"message":"not ready"}}}`, "not ready"},
		"a refusal without any reason": {200, `{"response":{"uid":"probe-1","allowed":false}}`, "refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.answer)
			}))
			t.Cleanup(server.Close)
			err := webhook.Probe(t.Context(), server.Client(), server.URL, "probe-1")
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Probe = %v, want it to say %q", err, tt.says)
			}
		})
	}
}

func TestAProbeOfNowhereFails(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	if err := webhook.Probe(t.Context(), http.DefaultClient, server.URL, "probe-1"); err == nil || errors.Unwrap(err) == nil {
		t.Errorf("Probe = %v, want a wrapped error", err)
	}
}
