package webhook_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/webhook"
)

// within makes a handler with an intake of its own.
func within(o webhook.IntakeOptions) func(*webhook.Options) {
	return func(options *webhook.Options) { options.Intake = webhook.NewIntake(o) }
}

// large is a review that fits no pooled buffer.
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
	finish func()
}

// startTrickle posts a review without its end, until finish.
func startTrickle(t *testing.T, url string, client *http.Client, body []byte, length int64) *trickle {
	t.Helper()
	reader, writer := io.Pipe()
	s := &trickle{sent: make(chan struct{}), answer: make(chan *admissionv1.AdmissionResponse, 1)}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/validate?timeout=30s", reader)
	if err != nil {
		t.Fatal(err)
	}
	request.ContentLength = length
	go func() {
		defer close(s.answer)
		response, err := client.Do(request)
		if err != nil {
			t.Errorf("a slow sender got no answer: %v", err)
			return
		}
		defer func() { _ = response.Body.Close() }()
		s.answer <- readAnswer(t, response)
	}()
	cut := len(body) - 10
	s.finish = sync.OnceFunc(func() {
		_, _ = writer.Write(body[cut:]) // or it has been given up
		_ = writer.Close()
	})
	t.Cleanup(s.finish)
	go func() {
		_, _ = writer.Write(body[:cut])
		close(s.sent)
	}()
	return s
}

func TestSlowSendersHoldUpNobody(t *testing.T) {
	t.Parallel()
	body := large(t, 1<<20)
	server := overTLS(t, newHandler(&decider{}, within(webhook.IntakeOptions{MaxBytes: 2 << 20, Patience: time.Second})))
	var senders []*trickle
	for n := range 8 {
		length := int64(len(body))
		if n%2 == 0 {
			length = -1
		}
		senders = append(senders, startTrickle(t, server.URL, server.Client(), body, length))
	}
	for _, s := range senders {
		<-s.sent
	}
	for name, honest := range map[string][]byte{"a small review": reviewOf(t, "CREATE", pod("good"), nil), "a large review": body} {
		if got := post(t, server, "timeout=30s", bytes.NewReader(honest)); !got.Allowed {
			t.Errorf("%s: %+v", name, got.Result)
		}
	}
	// Two have room, the others have been given up for the honest ones.
	answers := make(chan *admissionv1.AdmissionResponse)
	for _, s := range senders {
		go func() { answers <- <-s.answer }()
	}
	for range 6 {
		if got := <-answers; got == nil || got.Allowed || got.UID != "705ab4f5" || got.Result.Code != 503 || !strings.Contains(got.Result.Message, "did not arrive in time") {
			t.Errorf("a slow sender got %+v", got)
		}
	}
	for _, s := range senders {
		s.finish()
	}
	for range 2 {
		if got := <-answers; got == nil || got.UID != "705ab4f5" {
			t.Errorf("one of the last slow senders got %+v", got)
		}
	}
}

func TestALengthThatIsOnlyClaimedTakesNoRoom(t *testing.T) {
	t.Parallel()
	server := overTLS(t, newHandler(&decider{}, within(webhook.IntakeOptions{MaxBytes: 2 << 20, Patience: time.Hour}),
		func(o *webhook.Options) { o.ArrivalTimeout = 30 * time.Second }))
	body := reviewOf(t, "CREATE", pod("good"), nil)
	var senders []*trickle
	for range 20 {
		senders = append(senders, startTrickle(t, server.URL, server.Client(), body, 20<<20))
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

func TestABodyHasTimeOfItsOwnToArrive(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"a small one": 1, "a large one": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := overTLS(t, newHandler(&decider{}, func(o *webhook.Options) { o.ArrivalTimeout = 5 * time.Second }))
			body := large(t, size)
			s := startTrickle(t, server.URL, server.Client(), body, int64(len(body)))
			got := <-s.answer
			if got == nil || got.Allowed || got.Result.Code != 503 || got.UID != "705ab4f5" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestManyLargeReviewsShareWhatRoomThereIs(t *testing.T) {
	t.Parallel()
	server := overTLS(t, newHandler(&decider{}, within(webhook.IntakeOptions{MaxBytes: 2 << 20, Patience: time.Minute}),
		func(o *webhook.Options) { o.ArrivalTimeout = time.Minute }))
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

func TestPastTheBoundOfWhatIsDecidedTheAnswerComesAtOnce(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		milder  bool
		dry     bool
		allowed bool
	}{"denied": {}, "with a warning if no policy denies": {milder: true, allowed: true}, "with a warning on a dry run": {dry: true, allowed: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release, deciding := make(chan struct{}), make(chan struct{}, 2)
			d := &decider{milder: test.milder, decide: func(_ context.Context, r gate.Request) gate.Decision {
				if r.Workload.Uses[0].Image == "slow" {
					deciding <- struct{}{}
					<-release
				}
				return gate.Decision{Outcome: gate.Admitted}
			}}
			h := newHandler(d, within(webhook.IntakeOptions{MaxUnderWay: 8 << 10}), func(o *webhook.Options) { o.DryRun = test.dry })
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
}
