package demo

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
)

func TestWhatKubectlPrintsIsUnderstood(t *testing.T) {
	t.Parallel()
	failed := errors.New("exit status 1")
	tests := map[string]struct {
		out  output
		want answer
	}{
		"nothing is admitted": {output{}, answer{verdict: Admitted}},
		"warnings are warned": {
			output{stderr: "Warning: one\nWarning: its pods will be denied: two"},
			answer{verdict: Warned, warnings: []string{"one", "its pods will be denied: two"}},
		},
		"a denial has the webhook's message only": {
			output{stderr: `Error from server (Forbidden): error when creating "STDIN": admission webhook "images.hssgate.io" denied the request: pod "web" denied by 1 policy:` + "\n- one\nto do: two", err: failed},
			answer{verdict: Denied, message: "pod \"web\" denied by 1 policy:\n- one\nto do: two"},
		},
		"a denial can have warnings": {
			output{stderr: "Warning: one\n" + `Error from server (Forbidden): admission webhook "images.hssgate.io" denied the request: two`, err: failed},
			answer{verdict: Denied, message: "two", warnings: []string{"one"}},
		},
		"any other failure is no denial": {
			output{stderr: `The Pod "web" is invalid: spec.containers[0].image: Required value`, err: failed},
			answer{verdict: Failed, message: `The Pod "web" is invalid: spec.containers[0].image: Required value`},
		},
		"an unreachable webhook is no denial": {
			output{stderr: `Error from server (InternalError): failed calling webhook "images.hssgate.io": connection refused`, err: failed},
			answer{verdict: Failed, message: `Error from server (InternalError): failed calling webhook "images.hssgate.io": connection refused`},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, tt.out.answer(), cmp.AllowUnexported(answer{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhy(t *testing.T) {
	t.Parallel()
	one := []Image{{Name: "app"}}
	two := []Image{{Name: "app"}, {Name: "setup"}}
	const denial = "pod \"web\" denied by 1 policy:\n- container \"app\": host/a:1 — severity High, allowed Low [policy p]\nto do: mend it"
	tests := map[string]struct {
		result Result
		want   []string
	}{
		"a denial's findings":              {Result{Verdict: Denied, Message: denial, Images: one, Policies: []string{"p"}}, []string{"severity High, allowed Low"}},
		"with the place among several":     {Result{Verdict: Denied, Message: denial, Images: two, Policies: []string{"p"}}, []string{`container "app": severity High, allowed Low`}},
		"with the policy among several":    {Result{Verdict: Denied, Message: denial, Images: one, Policies: []string{"p", "q"}}, []string{"severity High, allowed Low [policy p]"}},
		"a denial without findings":        {Result{Verdict: Denied, Message: "not ready"}, []string{"not ready"}},
		"the place in a message is quoted": {Result{Verdict: Denied, Message: `- image volume "m": h/a:1 — bad [policy p]`, Images: two, Policies: []string{"p"}}, []string{`image volume "m": bad`}},
		"a warning about a template": {
			Result{Verdict: Warned, Warnings: []string{`its pods will be denied: container "app": h/a:1 — bad [policy p]`}, Images: one, Policies: []string{"p"}},
			[]string{"its pods will be denied: bad"},
		},
		"a notice":                {Result{Verdict: Warned, Warnings: []string{"labels cannot be read"}}, []string{"labels cannot be read"}},
		"an audited violation":    {Result{Verdict: Admitted, Violations: []string{`Audit: container "app": h/a:1 — bad [policy p]`}, Images: one, Policies: []string{"p"}}, []string{"Audit: bad"}},
		"policies that it passes": {Result{Verdict: Admitted, Policies: []string{"p", "q"}, bringsImage: true}, []string{"passes p, q"}},
		"no policy":               {Result{Verdict: Admitted, bringsImage: true}, []string{"no policy judges it"}},
		"no new image":            {Result{Verdict: Admitted}, []string{"brings no new image"}},
		"a failure":               {Result{Verdict: Failed, Message: "is invalid"}, []string{"is invalid"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, tt.result.why()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func newTestSample(t *testing.T, manifest string, old bool) *sample {
	t.Helper()
	object, err := newObject([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSample("x.yaml", object, nil)
	if err != nil {
		t.Fatal(err)
	}
	if old {
		s.old = object
	}
	return s
}

func podJSON(spec string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"shop","annotations":{"demo.hssgate.io/verdict":"Admitted"}},"spec":%s}`, spec)
}

func TestASampleSaysWhatIsDone(t *testing.T) {
	t.Parallel()
	const plain, debug = `{"containers":[{"image":"a:1"}]}`, `{"ephemeralContainers":[{"image":"a:1"}]}`
	tests := map[string]struct {
		spec                  string
		update                bool
		name, op, subResource string
	}{
		"created":               {plain, false, "Pod/web", "CREATE", ""},
		"created with debugger": {debug, false, "Pod/web", "CREATE", ""},
		"updated":               {plain, true, "Pod/web (update)", "UPDATE", ""},
		"debugged":              {debug, true, "Pod/web (debug)", "UPDATE", "ephemeralcontainers"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newTestSample(t, podJSON(tt.spec), tt.update)
			review, err := newReview(s)
			if err != nil {
				t.Fatal(err)
			}
			got := []string{s.name(), string(review.Request.Operation), review.Request.SubResource, review.Request.Resource.Resource}
			if diff := cmp.Diff([]string{tt.name, tt.op, tt.subResource, "pods"}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if hasOld := review.Request.OldObject.Raw != nil; hasOld != tt.update {
				t.Errorf("the review has an old object: %t", hasOld)
			}
		})
	}
}

func TestTheAuditLogIsReadAsItGrows(t *testing.T) {
	t.Parallel()
	s := newTestSample(t, podJSON(`{"containers":[{"image":"a:1"}]}`), false)
	log := &auditLog{path: filepath.Join(t.TempDir(), "audit.log")}
	const other = `{"objectRef":{"resource":"pods","namespace":"shop","name":"db"}}` + "\n"
	const first = `{"objectRef":{"resource":"pods","namespace":"shop","name":"web"},"annotations":{"images.hssgate.io/decision":"Denied","authorization.k8s.io/decision":"allow"}}` + "\n"
	const second = `{"objectRef":{"resource":"pods","namespace":"shop","name":"web"}}` + "\n"
	written := ""
	for _, step := range []struct {
		name, add string
		want      map[string]string
	}{
		{"there is no log yet", "", nil},
		{"another pod's event", other, nil},
		{"half an event", first[:40], nil},
		{"the rest of it", first[40:], map[string]string{"decision": "Denied"}},
		{"nothing new", "", nil},
		{"an event without annotations", second, map[string]string{}},
	} {
		if written += step.add; written != "" {
			if err := os.WriteFile(log.path, []byte(written), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := log.next(s)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	if err := os.WriteFile(log.path, []byte(written+"nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := log.next(s); err == nil {
		t.Error("nonsense was read")
	}
}

func TestOnlyAnAnswerToTheReviewCounts(t *testing.T) {
	t.Parallel()
	review := &admissionv1.AdmissionReview{Request: &admissionv1.AdmissionRequest{UID: "705ab4f5"}}
	tests := map[string]struct {
		body    string
		want    Verdict
		wantErr string
	}{
		"admitted":            {`{"response":{"uid":"705ab4f5","allowed":true}}`, Admitted, ""},
		"warned":              {`{"response":{"uid":"705ab4f5","allowed":true,"warnings":["x"]}}`, Warned, ""},
		"denied":              {`{"response":{"uid":"705ab4f5","allowed":false,"status":{"message":"no"}}}`, Denied, ""},
		"denied with nothing": {`{"response":{"uid":"705ab4f5"}}`, Denied, ""},
		"another review's":    {`{"response":{"uid":"other","allowed":true}}`, "", "to no review or to another one"},
		"no answer":           {`{}`, "", "to no review or to another one"},
		"no JSON":             {`<html>`, "", "502 Bad Gateway"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := readAnswer(&http.Response{Status: "502 Bad Gateway", Body: io.NopCloser(strings.NewReader(tt.body))}, review)
			if a.verdict != tt.want || (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got %q, %v, want %q and an error with %q", a.verdict, err, tt.want, tt.wantErr)
			}
		})
	}
}
