package webhook_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hssgate/hssgate/gate"
)

// inDecision runs f as a decision of a review that has five seconds, of which
// half a second is kept.
func inDecision(t *testing.T, f func(ctx context.Context)) {
	t.Helper()
	d := &decider{decide: func(ctx context.Context, _ gate.Request) gate.Decision {
		f(ctx)
		return gate.Decision{Outcome: gate.Admitted}
	}}
	body := reviewOf(t, "CREATE", pod("good"), nil)
	newHandler(d).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/validate?timeout=5s", bytes.NewReader(body)))
	if len(d.asked) != 1 {
		t.Fatalf("the gate was asked %d times, want once", len(d.asked))
	}
}

func TestADecisionsContextEndsInTime(t *testing.T) {
	t.Parallel()
	waits := map[string]func(context.Context) error{
		"for its end": func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
		"for the end of one made from it": func(ctx context.Context) error {
			child, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			<-child.Done()
			return child.Err()
		},
		"without asking for its end": func(ctx context.Context) error {
			for ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			return ctx.Err()
		},
		"from several goroutines": func(ctx context.Context) error {
			others := make(chan error)
			for range 4 {
				go func() {
					<-ctx.Done()
					others <- ctx.Err()
				}()
			}
			var errs []error
			for range 4 {
				errs = append(errs, <-others)
			}
			return errors.Join(errs...)
		},
	}
	for name, wait := range waits {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				inDecision(t, func(ctx context.Context) {
					begun := time.Now()
					if err := wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("it ended with %v, want %v", err, context.DeadlineExceeded)
					}
					if took := time.Since(begun); took < 4500*time.Millisecond || took > 4510*time.Millisecond {
						t.Errorf("it ended after %s, want 4.5s", took)
					}
				})
			})
		})
	}
}

func TestADecisionsContextEndsWithItsReview(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(context.Context){
		"if nobody waited":  func(context.Context) {},
		"if somebody waits": func(ctx context.Context) { ctx.Done() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var left context.Context
			inDecision(t, func(ctx context.Context) {
				use(ctx)
				if ctx.Err() != nil {
					t.Errorf("it is over: %v", ctx.Err())
				}
				left = ctx //nolint:fatcontext // what is left of it is what is tested
			})
			if err := left.Err(); !errors.Is(err, context.Canceled) {
				t.Errorf("after the review its error is %v, want %v", err, context.Canceled)
			}
			select {
			case <-left.Done():
			default:
				t.Error("after the review it goes on")
			}
		})
	}
}
