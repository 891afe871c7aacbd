package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hssgate/hssgate/gate"
)

// An answer is written by hand, so it is compared with what the API's own types
// read of it.
func FuzzAnswersHoldWhatWasDecided(f *testing.F) {
	f.Add("705ab4f5", "production", "judged by what HSS said 5m ago")
	f.Add("\x00\"\\\n<\u2028", "a,b", "é\u007f\U0001f600")
	f.Add(strings.Repeat("u", 2000), strings.Repeat("p", 2000), strings.Repeat("n", 2000))
	f.Add("705ab4f5", "p", "\xc3\x28")
	f.Fuzz(func(t *testing.T, uid, policy, notice string) {
		body := reviewWithUID(t, uid)
		if body == nil || !utf8.ValidString(policy) {
			return // no review, and no policy, is called so
		}
		d := &decider{decide: func(context.Context, gate.Request) gate.Decision {
			return gate.Decision{Outcome: gate.Admitted, Policies: []string{policy, "last"}, Notices: []string{notice, notice}}
		}}
		got := send(t, newHandler(d), body)
		notices := cleaned(notice)
		want := &admissionv1.AdmissionResponse{
			UID: types.UID(uid), Allowed: true, Warnings: []string{notices, notices},
			AuditAnnotations: map[string]string{
				"decision": "Admitted", "policies": policy + ",last", "notices": notices + "\n" + notices,
			},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
	})
}

// cleaned is a text without control characters and with valid UTF-8 only.
func cleaned(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r <= 0x9f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// reviewWithUID returns nil for a UID that no review can have.
func reviewWithUID(t *testing.T, uid string) []byte {
	t.Helper()
	quoted, err := json.Marshal(uid)
	if err != nil {
		t.Fatal(err)
	}
	var same string
	if json.Unmarshal(quoted, &same) != nil || same != uid || uid == "" {
		return nil
	}
	return bytes.Replace(reviewOf(t, "CREATE", pod("good"), nil), []byte(`"705ab4f5"`), quoted, 1)
}

func TestALongAnswerTellsItsLength(t *testing.T) {
	t.Parallel()
	d := &decider{decide: func(context.Context, gate.Request) gate.Decision {
		return gate.Decision{Outcome: gate.Admitted, Notices: []string{strings.Repeat("n", 10_000)}}
	}}
	server := overTLS(t, newHandler(d))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, bytes.NewReader(reviewOf(t, "CREATE", pod("good"), nil)))
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.ContentLength < 20_000 || response.Header.Get("Content-Type") != "application/json" {
		t.Errorf("Content-Length %d, Content-Type %q", response.ContentLength, response.Header.Get("Content-Type"))
	}
	if got := readAnswer(t, response); !got.Allowed {
		t.Errorf("denied: %+v", got.Result)
	}
}

// Buffers are used again, so one review must leave nothing to the next, and
// nothing that was read of it may still be in them.
func TestReviewsShareNothing(t *testing.T) {
	t.Parallel()
	h := newHandler(echo{})
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			name := strings.Repeat(string(rune('a'+n)), 1+n*1000)
			body := reviewOf(t, "CREATE", labelled(pod(name), name), nil)
			for range 20 {
				got := send(t, h, body)
				if want := []string{name, name}; !slices.Equal(got.Warnings, want) {
					t.Errorf("review %d got warnings %.20q, want %.20q", n, got.Warnings, want)
				}
				recorder := httptest.NewRecorder()
				h.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/validate", strings.NewReader(`{"kind":"AdmissionReview"`)))
				if got := readAnswer(t, recorder.Result()); got.Allowed || got.UID != "" {
					t.Errorf("a cut review got %+v", got)
				}
			}
		})
	}
	wg.Wait()
}

// echo admits with what it was asked as notices.
type echo struct{}

func (echo) Decide(_ context.Context, r gate.Request) gate.Decision {
	return gate.Decision{Outcome: gate.Admitted, Notices: []string{r.Workload.Uses[0].Image, r.Workload.Labels["app"]}}
}

func (echo) Denies(string) bool  { return true }
func (echo) Exempts(string) bool { return false }

func labelled(p *corev1.Pod, app string) *corev1.Pod {
	p.Labels = map[string]string{"app": app}
	return p
}
