package webhook

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/gate"
)

// untimed is a decider that tells whether anybody has asked its context.
type untimed struct{ is bool }

func (u *untimed) Denies(string) bool  { return true }
func (u *untimed) Exempts(string) bool { return false }

func (u *untimed) Decide(ctx context.Context, _ gate.Request) gate.Decision {
	d, ok := ctx.(*deadline)
	u.is = ok && d.waiting == nil
	return gate.Decision{Outcome: gate.Admitted}
}

// TestWithoutATracerNobodyAsksTheContext keeps a warm review free of what
// tracing costs: whoever looks into a review's context starts its timer.
func TestWithoutATracerNobodyAsksTheContext(t *testing.T) {
	t.Parallel()
	const review = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","kind":{"version":"v1","kind":"Pod"},` +
		`"operation":"CREATE","object":{"spec":{"containers":[{"name":"a","image":"b"}]}}}}`
	u := &untimed{}
	h := NewHandler(Options{Decider: u, Log: slog.New(slog.DiscardHandler)})
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/validate", strings.NewReader(review)))
	if !u.is {
		t.Error("somebody has asked the context")
	}
}
