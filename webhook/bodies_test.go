package webhook_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/webhook"
)

// large returns a review with so many bytes of environment.
func large(t testing.TB, size int) []byte {
	t.Helper()
	p := pod("good")
	p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "X", Value: strings.Repeat("x", size)}}
	return reviewOf(t, "CREATE", p, nil)
}

// trickle is a sender that has sent all but the end of a review, and waits.
type trickle struct {
	sent   chan struct{}
	answer chan *admissionv1.AdmissionResponse
	// finishing is set before the end is sent, by when the connection may be closed.
	finishing atomic.Bool
}

// startTrickle posts a review without its end, until the test ends.
func startTrickle(t *testing.T, server *httptest.Server, body []byte, length int64) *trickle {
	t.Helper()
	reader, writer := io.Pipe()
	s := &trickle{sent: make(chan struct{}), answer: make(chan *admissionv1.AdmissionResponse, 1)}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/validate?timeout=30s", reader)
	must(t, err)
	request.ContentLength = length
	go func() {
		defer close(s.answer)
		response, err := server.Client().Do(request)
		if err != nil {
			if !s.finishing.Load() {
				t.Errorf("a slow sender got no answer: %v", err)
			}
			return
		}
		defer func() { _ = response.Body.Close() }()
		s.answer <- readAnswer(t, response)
	}()
	cut := len(body) - 10
	t.Cleanup(func() {
		s.finishing.Store(true)
		_, _ = writer.Write(body[cut:])
		_ = writer.Close()
		for range s.answer { // until it is closed
		}
	})
	go func() {
		_, _ = writer.Write(body[:cut])
		close(s.sent)
	}()
	return s
}

func TestSlowSendersKeepNoOthersOut(t *testing.T) {
	t.Parallel()
	// A body that fits into the connection's buffers is sent whole, however slowly the server reads it: a sender that is
	// dropped while it sends may be reset before it reads its answer.
	body := large(t, 100_000)
	server := overTLS(t, newHandler(&decider{}).Limit(webhook.Limits{ArrivingBytes: 256 << 10, Patience: time.Second / 5}))
	var senders []*trickle
	for n := range 8 {
		length := int64(len(body))
		if n%2 == 0 {
			length = -1
		}
		senders = append(senders, startTrickle(t, server, body, length))
	}
	for _, s := range senders {
		<-s.sent
	}
	for name, honest := range map[string][]byte{"a small review": reviewOf(t, "CREATE", pod("good"), nil), "a large review": body} {
		if got := post(t, server, "timeout=30s", bytes.NewReader(honest)); !got.Allowed {
			t.Errorf("%s: %+v", name, got.Result)
		}
	}
	// Two have room, the others have been dropped for the honest ones.
	answers := make(chan *admissionv1.AdmissionResponse, len(senders))
	for _, s := range senders {
		go func() { answers <- <-s.answer }()
	}
	for range 6 {
		if got := <-answers; got == nil || got.Allowed || got.UID != "705ab4f5" || got.Result.Code != 503 || !strings.Contains(got.Result.Message, "did not arrive in time") {
			t.Errorf("a slow sender got %+v", got)
		}
	}
}

func TestALengthThatIsOnlyClaimedTakesNoRoom(t *testing.T) {
	t.Parallel()
	server := overTLS(t, newHandler(&decider{}).Limit(webhook.Limits{ArrivingBytes: 2 << 20, Patience: time.Hour, ArrivalTimeout: 3 * time.Second}))
	body := reviewOf(t, "CREATE", pod("good"), nil)
	var senders []*trickle
	for range 10 { // each takes 64 KiB of room
		senders = append(senders, startTrickle(t, server, body, 20<<20))
	}
	for _, s := range senders {
		<-s.sent
	}
	if got := post(t, server, "timeout=30s", bytes.NewReader(large(t, 1<<20))); !got.Allowed {
		t.Errorf("%+v", got.Result)
	}
	for _, s := range senders {
		if got := <-s.answer; got == nil || got.Allowed || got.Result.Code != 503 {
			t.Errorf("a slow sender got %+v", got)
		}
	}
}

func TestManyLargeReviewsShareWhatRoomThereIs(t *testing.T) {
	t.Parallel()
	server := overTLS(t, newHandler(&decider{}).Limit(webhook.Limits{ArrivingBytes: 2 << 20, Patience: time.Minute, ArrivalTimeout: time.Minute}))
	body := large(t, 800_000)
	var senders sync.WaitGroup
	for range 20 {
		senders.Go(func() {
			if got := post(t, server, "timeout=30s", bytes.NewReader(body)); !got.Allowed {
				t.Errorf("%+v", got.Result)
			}
		})
	}
	senders.Wait()
}

func TestTooManyReviewsAreAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	type testCase struct{ milder, dry, allowed bool }
	each(t, map[string]testCase{
		"denied":                             {},
		"with a warning if no policy denies": {milder: true, allowed: true},
		"with a warning in dry-run mode":     {dry: true, allowed: true},
	}, func(t *testing.T, test testCase) {
		release, deciding := make(chan struct{}), make(chan struct{}, 2)
		d := &decider{milder: test.milder, decide: func(_ context.Context, r gate.Request) gate.Decision {
			if r.Workload.Uses[0].Image == "slow" {
				deciding <- struct{}{}
				<-release
			}
			return gate.Decision{Outcome: gate.Admitted}
		}}
		h := newHandler(d, func(o *webhook.Options) { o.DryRun = test.dry }).Limit(webhook.Limits{EvaluatingBytes: 8 << 10})
		var slow sync.WaitGroup
		for range 2 {
			slow.Go(func() { send(t, h, reviewOf(t, "CREATE", pod("slow"), nil)) })
			<-deciding
		}
		got := send(t, h, reviewOf(t, "CREATE", pod("good"), nil))
		says := strings.Join(got.Warnings, "")
		if got.Result != nil {
			says = fmt.Sprintf("%d %s", got.Result.Code, got.Result.Message)
		}
		if got.UID != "705ab4f5" || got.Allowed != test.allowed || !strings.Contains(says, "too many reviews at once") || (!test.allowed && !strings.HasPrefix(says, "503 ")) {
			t.Errorf("got allowed %t: %s", got.Allowed, says)
		}
		if got := send(t, h, reviewOf(t, "UPDATE", pod("bad"), pod("bad"))); !got.Allowed {
			t.Errorf("what needs no decision got %+v", got.Result)
		}
		close(release)
		slow.Wait()
		if got := send(t, h, reviewOf(t, "CREATE", pod("good"), nil)); !got.Allowed || len(got.Warnings) > 0 {
			t.Errorf("afterwards got %+v", got)
		}
	})
}
