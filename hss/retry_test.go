package hss_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
)

// script answers requests one after the other, the last step again and again,
// and notes when it was asked. It needs no network, so that time can be fake.
type script struct {
	mu    sync.Mutex
	steps []step
	at    []time.Duration
	begun time.Time
}

// step is one answer of a script.
type step struct {
	status int
	header map[string]string
	body   string
	err    error         // in place of an answer
	cut    error         // after the body
	takes  time.Duration // before the answer, unless the request ends first
}

func list() step { return step{status: 200, body: `{"total_num":0,"data_list":[]}`} }

func newScript(steps ...step) *script { return &script{steps: steps, begun: time.Now()} }

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	next := s.take()
	select {
	case <-time.After(next.takes):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if next.err != nil {
		return nil, next.err
	}
	response := &http.Response{StatusCode: next.status, Header: http.Header{}, ContentLength: -1, Request: r}
	for name, value := range next.header {
		response.Header.Set(name, value)
	}
	end := io.Reader(strings.NewReader(""))
	if next.cut != nil {
		end = errorReader{next.cut}
	}
	response.Body = io.NopCloser(io.MultiReader(strings.NewReader(next.body), end))
	return response, nil
}

func (s *script) take() step {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.steps[min(len(s.at), len(s.steps)-1)]
	s.at = append(s.at, time.Since(s.begun))
	return next
}

// asked is how often.
func (s *script) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.at)
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// scripted makes a client of a script whose jitter is always a half.
func scripted(t *testing.T, s *script, change func(*hss.Config)) *hss.Client {
	t.Helper()
	return newClient(t, "https://hss.example.com", func(c *hss.Config) {
		c.Transport = s
		c.Retry = hss.RetryPolicy{Rand: func() float64 { return 0.5 }}
		if change != nil {
			change(c)
		}
	})
}

func TestRetries(t *testing.T) {
	t.Parallel()
	status := func(code int) step { return step{status: code} }
	after := func(code int, value string) step {
		return step{status: code, header: map[string]string{"Retry-After": value, "Date": "Fri, 02 Jan 2026 03:04:05 GMT"}}
	}
	const ms = time.Millisecond
	for _, tc := range []struct {
		name  string
		steps []step
		at    []time.Duration // when was asked
		want  string          // empty: a list in the end
	}{
		{"an answer at once", []step{list()}, []time.Duration{0}, ""},
		{"waits double up to their bound", []step{status(503)}, []time.Duration{0, 100 * ms, 300 * ms, 700 * ms, 1500 * ms}, "after 5 attempts: HSS answered 503"},
		{"502 is tried again", []step{status(502), list()}, []time.Duration{0, 100 * ms}, ""},
		{"504 is tried again", []step{status(504), list()}, []time.Duration{0, 100 * ms}, ""},
		{"429 is tried again", []step{status(429), list()}, []time.Duration{0, 100 * ms}, ""},
		{"429 waits the seconds it asks for", []step{after(429, "7"), list()}, []time.Duration{0, 7100 * ms}, ""},
		{"503 waits until the date it names, by the server's clock", []step{after(503, "Fri, 02 Jan 2026 03:04:25 GMT"), list()}, []time.Duration{0, 20100 * ms}, ""},
		{"a date gone by is no wait", []step{after(429, "Fri, 02 Jan 2026 03:04:00 GMT"), list()}, []time.Duration{0, 100 * ms}, ""},
		{"nonsense for a wait is none", []step{after(429, "soon"), list()}, []time.Duration{0, 100 * ms}, ""},
		{"a negative wait is none", []step{after(429, "-5"), list()}, []time.Duration{0, 100 * ms}, ""},
		{"a wait too long is not begun", []step{after(429, "3600")}, []time.Duration{0}, "HSS answered 429: an empty answer; it asks to wait 1h0m0s"},
		{"a wait past all numbers is not begun", []step{after(429, "999999999999999")}, []time.Duration{0}, "it asks to wait 8760h0m0s"},
		{"500 is forgiven once", []step{status(500), list()}, []time.Duration{0, 100 * ms}, ""},
		{"500 is not forgiven twice", []step{status(500)}, []time.Duration{0, 100 * ms}, "after 2 attempts: HSS answered 500"},
		{"500 is not forgiven twice with others between", []step{status(500), status(503), status(500), list()}, []time.Duration{0, 100 * ms, 300 * ms}, "after 3 attempts: HSS answered 500"},
		{"501 is final", []step{status(501)}, []time.Duration{0}, "HSS answered 501"},
		{"400 is final", []step{status(400)}, []time.Duration{0}, "HSS answered 400"},
		{"403 is final", []step{status(403)}, []time.Duration{0}, "HSS answered 403"},
		{"404 is final", []step{status(404)}, []time.Duration{0}, "HSS answered 404"},
		{"408 is final", []step{status(408)}, []time.Duration{0}, "HSS answered 408"},
		{"401 is final", []step{status(401)}, []time.Duration{0}, "HSS answered 401"},
		{"a broken connection is tried again", []step{{err: io.ErrUnexpectedEOF}, list()}, []time.Duration{0, 100 * ms}, ""},
		{"a cut body is tried again", []step{{status: 200, body: `{"data_list":[`, cut: io.ErrUnexpectedEOF}, list()}, []time.Duration{0, 100 * ms}, ""},
		{"a body cut without notice is tried again", []step{{status: 200, body: `{"data_list":[{"id":1},`}, list()}, []time.Duration{0, 100 * ms}, ""},
		{"a body that is always cut fails", []step{{status: 200, body: ` {"data_list":[`}}, []time.Duration{0, 100 * ms, 300 * ms, 700 * ms, 1500 * ms}, "after 5 attempts: no complete answer: the answer ends in the middle"},
		{"a cut error body is still the error", []step{{status: 400, body: `nope`, cut: io.ErrUnexpectedEOF}}, []time.Duration{0}, "HSS answered 400: nope"},
		{"an answer that never comes leaves time for another", []step{{takes: time.Hour}, list()}, []time.Duration{0, 10*time.Second + 100*ms}, ""},
		{"a final answer ends the retries", []step{status(503), status(400)}, []time.Duration{0, 100 * ms}, "after 2 attempts: HSS answered 400"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newScript(tc.steps...)
				_, err := scripted(t, s, nil).List(t.Context(), hss.ListRequest{})
				switch {
				case tc.want == "" && err != nil:
					t.Errorf("error is %v", err)
				case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
					t.Errorf("error is %v, want %q in it", err, tc.want)
				}
				if diff := cmp.Diff(tc.at, s.at); diff != "" {
					t.Errorf("times of the attempts (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestWaitsAreNotBegunPastTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript(step{status: 429, header: map[string]string{"Retry-After": "3"}})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := scripted(t, s, nil).List(ctx, hss.ListRequest{})
		var got *hss.Error
		if !errors.As(err, &got) || got.StatusCode != 429 || got.RetryAfter != 3*time.Second || !got.Retryable {
			t.Errorf("error is %v", err)
		}
		want := "gave up after 1 attempt, as waiting 3.1s more would pass the caller's deadline: HSS answered 429: an empty answer; it asks to wait 3s"
		if diff := cmp.Diff(want, err.Error()); diff != "" {
			t.Errorf("error (-want +got):\n%s", diff)
		}
		if ctx.Err() != nil || s.asked() != 1 {
			t.Errorf("waited until %v, asked %d times", ctx.Err(), s.asked())
		}
	})
}

func TestCancellingEndsAWaitAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript(step{status: 503, header: map[string]string{"Retry-After": "30"}})
		ctx, cancel := context.WithCancelCause(t.Context())
		errStop := errors.New("the review is over")
		time.AfterFunc(time.Second, func() { cancel(errStop) })
		begun := time.Now()
		_, err := scripted(t, s, nil).List(ctx, hss.ListRequest{})
		var got *hss.Error
		if !errors.Is(err, errStop) || !errors.As(err, &got) || !strings.HasPrefix(err.Error(), "gave up after 1 attempt (the review is over): HSS answered 503") {
			t.Errorf("error is %v", err)
		}
		if waited := time.Since(begun); waited != time.Second {
			t.Errorf("waited %s, want 1s", waited)
		}
	})
}

func TestCallersDeadlineEndsAnAttemptAndNamesTheOneBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript(step{status: 503}, step{takes: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := scripted(t, s, nil).List(ctx, hss.ListRequest{})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
		want := "after 2 attempts: no complete answer: hss.example.com: context deadline exceeded; the one before: HSS answered 503: an empty answer"
		if diff := cmp.Diff(want, err.Error()); diff != "" {
			t.Errorf("error (-want +got):\n%s", diff)
		}
	})
}

func TestOneAttemptMeansNoRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript(step{status: 503})
		client := scripted(t, s, func(c *hss.Config) { c.Retry.MaxAttempts = 1 })
		if _, err := client.List(t.Context(), hss.ListRequest{}); err == nil || s.asked() != 1 {
			t.Errorf("error is %v after %d attempts", err, s.asked())
		}
	})
}

func TestJitterStaysWithinItsBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript(step{status: 503})
		client := scripted(t, s, func(c *hss.Config) {
			c.Retry = hss.RetryPolicy{MaxAttempts: 40, BaseDelay: time.Second, MaxDelay: 4 * time.Second}
		})
		if _, err := client.List(t.Context(), hss.ListRequest{}); err == nil {
			t.Fatal("no error")
		}
		for i := 1; i < len(s.at); i++ {
			bound := min(time.Second<<min(i-1, 2), 4*time.Second)
			if waited := s.at[i] - s.at[i-1]; waited < 0 || waited >= bound {
				t.Errorf("wait %d was %s, want less than %s", i, waited, bound)
			}
		}
	})
}
