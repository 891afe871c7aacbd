package webhook_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/webhook"
)

func TestAProbeRefusesAnythingButACompleteAnswer(t *testing.T) {
	t.Parallel()
	type testCase struct {
		status       int
		answer, says string
	}
	each(t, map[string]testCase{
		"an error status":              {503, "", "HTTP status 503"},
		"no JSON":                      {200, "<html>", "no AdmissionReview"},
		"no response":                  {200, "{}", "it has no response"},
		"another's answer":             {200, `{"response":{"uid":"other","allowed":true}}`, `its UID is "other"`},
		"a refusal with its reason":    {200, `{"response":{"uid":"probe-1","allowed":false,"status":{"message":"not ready"}}}`, "not ready"},
		"a refusal without any reason": {200, `{"response":{"uid":"probe-1","allowed":false}}`, "refused"},
	}, func(t *testing.T, tt testCase) {
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

func TestAProbePodGetsACommentThatChangesNoVerdict(t *testing.T) {
	t.Parallel()
	type testCase struct {
		image, namespace string
		dryRun, milder   bool
		comment          string
		evaluated        bool
		allowed          bool
	}
	each(t, map[string]testCase{
		"a pod that policies admit":            {image: webhook.ProbeImage, namespace: "default", milder: true, comment: `hssgate v1.2.3 evaluates pods of namespace "default": what policies deny is denied`, evaluated: true, allowed: true},
		"a pod that a policy denies":           {image: webhook.ProbeImage, namespace: "default", comment: `hssgate v1.2.3 evaluates pods of namespace "default": what policies deny is denied`, evaluated: true},
		"dry-run mode":                         {image: webhook.ProbeImage, namespace: "default", dryRun: true, comment: `hssgate v1.2.3 evaluates pods of namespace "default": dry-run mode, nothing is denied`, evaluated: true, allowed: true},
		"an exempt namespace":                  {image: webhook.ProbeImage, namespace: "kube-system", milder: true, comment: `hssgate v1.2.3 does not evaluate pods of namespace "kube-system": it is exempt`, allowed: true},
		"another image gets none":              {image: "good", namespace: "default", allowed: true},
		"an image of a similar name gets none": {image: webhook.ProbeImage + "s", namespace: "default"},
	}, func(t *testing.T, tt testCase) {
		d := &decider{}
		if tt.milder {
			d.decide = func(context.Context, gate.Request) gate.Decision { return gate.Decision{Outcome: gate.Admitted} }
		}
		h := newHandler(d, func(o *webhook.Options) { o.Version, o.DryRun = "v1.2.3", tt.dryRun })
		review := bytes.ReplaceAll(reviewOf(t, "CREATE", pod(tt.image), nil), []byte(`"namespace":"prod"`), []byte(`"namespace":"`+tt.namespace+`"`))
		got := send(t, h, review)
		comment := ""
		if len(got.Warnings) > 0 && strings.HasPrefix(got.Warnings[0], "hssgate v") {
			comment = got.Warnings[0]
		}
		if comment != tt.comment || got.Allowed != tt.allowed || webhook.IsProbeComment(comment) != tt.evaluated {
			t.Errorf("got comment %q and allowed %t, want %q and %t", comment, got.Allowed, tt.comment, tt.allowed)
		}
	})
}
