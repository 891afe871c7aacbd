package webhook_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"

	"github.com/hssgate/hssgate/webhook"
)

// guarded admits whatever it reads, once release is closed.
func guarded(t *testing.T, entered chan<- int, release <-chan struct{}) http.Handler {
	t.Helper()
	return webhook.NewGuard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the guarded handler can't read: %v", err)
		}
		entered <- len(body)
		<-release
		_, _ = io.WriteString(w, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"705ab4f5","allowed":true}}`)
	}))
}

func TestAGuardPassesOnWholeReviews(t *testing.T) {
	t.Parallel()
	entered, release := make(chan int, 1), make(chan struct{})
	close(release)
	body := large(t, 1<<20)
	server := overTLS(t, guarded(t, entered, release))
	if got := post(t, server, "timeout=30s", bytes.NewReader(body)); !got.Allowed {
		t.Errorf("got %+v", got.Result)
	}
	if got := <-entered; got != len(body) {
		t.Errorf("%d bytes were passed on, want %d", got, len(body))
	}
}

func TestAGuardRefuses(t *testing.T) {
	t.Parallel()
	whole := reviewOf(t, "CREATE", pod("good"), nil)
	tooLarge := pod("good")
	tooLarge.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "X", Value: strings.Repeat("x", 5<<20)}}
	for name, test := range map[string]struct {
		body  io.Reader
		query string
		code  int32
		says  string
	}{
		"what is no review":           {bytes.NewReader(bytes.Replace(whole, []byte(`admission.k8s.io/v1"`), []byte(`admission.k8s.io/v1beta1"`), 1)), "timeout=30s", 400, `got apiVersion "admission.k8s.io/v1beta1"`},
		"what is no JSON in the end":  {bytes.NewReader(append(whole[:len(whole)-1:len(whole)-1], ']')), "timeout=30s", 400, "decode AdmissionReview"},
		"what is too large":           {bytes.NewReader(reviewOf(t, "CREATE", tooLarge, nil)), "timeout=30s", 413, "review is too large"},
		"what does not come":          {io.MultiReader(bytes.NewReader(whole[:400]), neverReader{t.Context().Done()}), "timeout=10s", 503, "review did not arrive in time"},
		"what has no turn until then": {bytes.NewReader(whole), "timeout=10s", 503, "too many reviews at once"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entered, release := make(chan int, 1), make(chan struct{})
			server := overTLS(t, guarded(t, entered, release))
			var first sync.WaitGroup
			first.Go(func() { post(t, server, "timeout=30s", bytes.NewReader(whole)) })
			<-entered
			got := post(t, server, test.query, test.body)
			if got.Allowed || got.UID != "705ab4f5" || got.Result.Code != test.code || !strings.Contains(got.Result.Message, test.says) {
				t.Errorf("got %+v", got)
			}
			close(release)
			first.Wait()
		})
	}
}

// neverReader has nothing to read until the end of the test.
type neverReader struct{ ended <-chan struct{} }

func (r neverReader) Read([]byte) (int, error) {
	<-r.ended
	return 0, io.EOF
}

func TestAGuardsQueueIsBounded(t *testing.T) {
	t.Parallel()
	large := pod("good")
	large.Annotations = map[string]string{"large": strings.Repeat("x", 3<<20)}
	tests := map[string]struct {
		object        *corev1.Pod
		sent, mayWait int
	}{
		"by their number": {pod("good"), 300, 257},
		"by their bytes":  {large, 12, 10},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// In a bubble, as a slow machine would take longer to decode than a
			// review may be on its way or wait.
			synctest.Test(t, func(t *testing.T) {
				entered, release := make(chan int, tt.sent), make(chan struct{})
				h := guarded(t, entered, release)
				body := reviewOf(t, "CREATE", tt.object, nil)
				answers := make(chan bool, tt.sent)
				for range tt.sent {
					go func() {
						recorder := httptest.NewRecorder()
						h.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/?timeout=30s", bytes.NewReader(body)))
						answers <- readAnswer(t, recorder.Result()).Allowed
					}()
				}
				for n := range tt.sent - tt.mayWait {
					if <-answers {
						t.Errorf("answer %d: admitted before there was a turn", n)
					}
				}
				close(release)
				for n := range tt.mayWait {
					if !<-answers {
						t.Errorf("answer %d of those that waited is a refusal", n)
					}
				}
			})
		})
	}
}
