package hss_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
)

// refusal is what the gateway answers a bad signature with.
func refusal() step {
	return step{status: 401, body: `{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information","request_id":"r9"}`}
}

// keys is a source whose credentials a test may change, and that counts what
// it is told.
type keys struct {
	current     atomic.Pointer[hss.Credentials]
	invalidated atomic.Int32
}

func newKeys(c hss.Credentials) *keys {
	k := &keys{}
	k.current.Store(&c)
	return k
}

func (k *keys) Credentials(context.Context) (hss.Credentials, error) { return *k.current.Load(), nil }
func (k *keys) Invalidate()                                          { k.invalidated.Add(1) }

// listAll calls List from many goroutines and returns their errors.
func listAll(t *testing.T, client *hss.Client, callers int) []error {
	t.Helper()
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { _, errs[i] = client.List(t.Context(), hss.ListRequest{}) })
	}
	wg.Wait()
	return errs
}

func TestRefusedCredentialsAreNotSentAgainForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript(refusal())
		source := newKeys(accessKey())
		client := scripted(t, s, func(c *hss.Config) { c.Credentials = source })
		for _, err := range listAll(t, client, 50) {
			var refused *hss.RefusedError
			var got *hss.Error
			if !errors.As(err, &refused) || !errors.As(err, &got) || got.Code != "APIGW.0301" || !got.Unauthenticated() {
				t.Fatalf("error is %v", err)
			}
			want := "HSS refused the credentials, so it is not asked again before 2000-01-01T00:05:00Z unless they change: " +
				"HSS answered 401 APIGW.0301: Incorrect IAM authentication information (request r9)"
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Fatalf("error (-want +got):\n%s", diff)
			}
		}
		if s.asked() != 1 || source.invalidated.Load() != 1 {
			t.Errorf("50 callers sent %d requests and invalidated %d times, want 1 and 1", s.asked(), source.invalidated.Load())
		}
		time.Sleep(5*time.Minute - time.Second)
		listAll(t, client, 1)
		if s.asked() != 1 {
			t.Error("asked again before the pause was over")
		}
	})
}

func TestPausesDoubleWhileTheCredentialsStayRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript(refusal())
		client := scripted(t, s, nil)
		for range 6 * 60 {
			listAll(t, client, 3)
			time.Sleep(time.Minute)
		}
		var want []time.Duration
		for _, minutes := range []int{0, 5, 15, 35, 75, 135, 195, 255, 315} {
			want = append(want, time.Duration(minutes)*time.Minute)
		}
		if diff := cmp.Diff(want, s.at); diff != "" {
			t.Errorf("times of the requests (-want +got):\n%s", diff)
		}
	})
}

func TestChangedCredentialsEndThePause(t *testing.T) {
	t.Parallel()
	changed := accessKey()
	changed.SecretKey = hss.NewSecret("another")
	temporary := accessKey()
	temporary.SecurityToken = hss.NewSecret("sts")
	for name, next := range map[string]hss.Credentials{
		"another secret key": changed, "a security token": temporary, "a token": {Token: hss.NewSecret("T")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newScript(refusal(), list())
				source := newKeys(accessKey())
				client := scripted(t, s, func(c *hss.Config) { c.Credentials = source })
				if err := listAll(t, client, 1)[0]; err == nil {
					t.Fatal("no error")
				}
				source.current.Store(&next)
				if err := listAll(t, client, 1)[0]; err != nil {
					t.Errorf("with changed credentials: %v", err)
				}
				old := accessKey()
				source.current.Store(&old)
				if err := listAll(t, client, 1)[0]; err == nil || s.asked() != 2 {
					t.Errorf("with the refused ones again: error %v, %d requests", err, s.asked())
				}
			})
		})
	}
}

func TestCredentialsAreTriedOneRequestAtATimeUntilTheyWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		unwell, works, refused := step{status: 503}, list(), refusal()
		unwell.takes, works.takes, refused.takes = time.Second, time.Second, time.Second
		s := newScript(unwell, unwell, works, refused)
		client := scripted(t, s, func(c *hss.Config) { c.Retry.MaxAttempts = 1 })
		failed := 0
		for _, err := range listAll(t, client, 20) {
			if err != nil {
				failed++
			}
		}
		if failed != 19 || s.asked() != 20 {
			t.Errorf("%d failed after %d requests, want 19 after 20", failed, s.asked())
		}
		// Two tell nothing of the credentials, the third that they work; then
		// all the others are under way at once.
		want := []time.Duration{0, time.Second, 2 * time.Second}
		for range 17 {
			want = append(want, 3*time.Second)
		}
		if diff := cmp.Diff(want, s.at); diff != "" {
			t.Errorf("times of the requests (-want +got):\n%s", diff)
		}
		listAll(t, client, 20)
		if s.asked() != 20 {
			t.Errorf("%d requests were sent with refused credentials", s.asked()-20)
		}
	})
}

func TestCredentialsThatNeverWorkedAreSentOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := refusal()
		slow.takes = time.Second
		s := newScript(slow)
		for _, err := range listAll(t, scripted(t, s, nil), 20) {
			if err == nil {
				t.Error("no error")
			}
		}
		if s.asked() != 1 {
			t.Errorf("%d requests were sent", s.asked())
		}
	})
}

func TestProvenCredentialsAreSentInAsManyRequestsAsThereAre(t *testing.T) {
	t.Parallel()
	for name, credentials := range map[string]hss.Credentials{
		"signatures": accessKey(), "tokens": {Token: hss.NewSecret("T")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				slow := list()
				slow.takes = time.Second
				s := newScript(list(), slow)
				client := scripted(t, s, func(c *hss.Config) { c.Credentials = hss.StaticCredentials(credentials) })
				listAll(t, client, 1)
				begun := time.Now()
				listAll(t, client, 12)
				if took := time.Since(begun); took != time.Second {
					t.Errorf("12 requests took %s", took)
				}
			})
		})
	}
}

func TestWaitingForATurnEndsWithTheCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := list()
		slow.takes = 5 * time.Second
		client := scripted(t, newScript(slow), nil)
		go func() { _, _ = client.List(context.WithoutCancel(t.Context()), hss.ListRequest{}) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.List(ctx, hss.ListRequest{})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "waiting for earlier requests with these credentials") {
			t.Errorf("error is %v", err)
		}
		time.Sleep(10 * time.Second)
	})
}

func TestClockSkewIsNamed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		code, date, want string
	}{
		"ahead of us":        {"APIGW.0303", "Sat, 01 Jan 2000 00:17:00 GMT", "the server's clock is 17m0s ahead of this machine's"},
		"behind us":          {"APIG.0303", "Fri, 31 Dec 1999 23:00:00 GMT", "the server's clock is 1h0m0s behind this machine's"},
		"without a date":     {"APIC.0303", "", "APIC.0303: bad date (request"},
		"of another service": {"HSS.0303", "Sat, 01 Jan 2000 00:17:00 GMT", "HSS.0303: bad date (request"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newScript(step{
					status: 401, body: fmt.Sprintf(`{"error_code":%q,"error_msg":"bad date"}`, tc.code),
					header: map[string]string{"Date": tc.date, "X-Request-Id": "r"},
				})
				err := listAll(t, scripted(t, s, nil), 1)[0]
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error is %v, want %q in it", err, tc.want)
				}
			})
		})
	}
}

func TestTheGatewaysCodeCountsWhateverTheStatus(t *testing.T) {
	t.Parallel()
	for code, refused := range map[string]bool{"APIGW.0301": true, "APIG.0301": true, "APIC.0301": true, "HSS.0301": false, "0301": false, "APIGW.0305": false} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript(step{status: 400, body: fmt.Sprintf(`{"error_code":%q}`, code)})
			client := scripted(t, s, nil)
			listAll(t, client, 1)
			listAll(t, client, 1)
			if want := map[bool]int{true: 1, false: 2}[refused]; s.asked() != want {
				t.Errorf("%s: asked %d times, want %d", code, s.asked(), want)
			}
		})
	}
}

func TestManyCredentialsAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript(list())
		source := newKeys(accessKey())
		client := scripted(t, s, func(c *hss.Config) { c.Credentials = source })
		for i := range 100 {
			next := hss.Credentials{AccessKey: "AK", SecretKey: hss.NewSecret(fmt.Sprint("SK", i))}
			source.current.Store(&next)
			if err := listAll(t, client, 1)[0]; err != nil {
				t.Fatal(err)
			}
		}
		if s.asked() != 100 {
			t.Errorf("asked %d times", s.asked())
		}
	})
}

// projects makes clients of several projects that share what they know of keys.
// Each project has a server of its own behind transport.
func projects(t *testing.T, servers map[string]*script) map[string]*hss.Client {
	t.Helper()
	keys := hss.NewKeyGuard()
	clients := map[string]*hss.Client{}
	for name, s := range servers {
		clients[name] = scripted(t, s, func(c *hss.Config) { c.ProjectID, c.Keys = name, keys })
	}
	return clients
}

// sent is how many requests all servers got.
func sent(servers map[string]*script) (n int) {
	for _, s := range servers {
		n += s.asked()
	}
	return n
}

func TestAKeyOfManyProjectsIsNotLocked(t *testing.T) {
	t.Parallel()
	for name, takes := range map[string]time.Duration{"refused at once": 0, "refused after all have asked": time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				servers := map[string]*script{}
				for n := range 7 {
					refused := refusal()
					refused.takes = takes
					servers[fmt.Sprint("p", n)] = newScript(refused)
				}
				clients := projects(t, servers)
				for _, want := range []int{2, 3, 4} { // then one a pause
					var all sync.WaitGroup
					for _, client := range clients {
						all.Go(func() {
							for _, err := range listAll(t, client, 5) {
								var refused *hss.RefusedError
								if !errors.As(err, &refused) || !strings.Contains(err.Error(), "APIGW.0301") {
									t.Errorf("error is %v", err)
								}
							}
						})
					}
					all.Wait()
					if n := sent(servers); n != want {
						t.Errorf("%d requests were sent with a key that never worked, want %d", n, want)
					}
					time.Sleep(10*time.Minute + time.Second)
				}
			})
		})
	}
}

func TestAProjectWhereAKeyIsRefusedStopsNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := map[string]*script{"good": newScript(list()), "bad": newScript(refusal())}
		clients := projects(t, servers)
		for range 6 * 60 {
			if err := listAll(t, clients["bad"], 3)[0]; err == nil {
				t.Fatal("no error")
			}
			for _, err := range listAll(t, clients["good"], 3) {
				if err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Minute)
		}
		if n := servers["bad"].asked(); n != 9 {
			t.Errorf("where the key is refused, %d requests were sent in six hours, want 9", n)
		}
	})
}

func TestProjectsWhereAKeyWasNotRefusedGoFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := map[string]*script{"good": newScript(list()), "bad": newScript(refusal()), "worse": newScript(refusal())}
		clients := projects(t, servers)
		for _, first := range []string{"bad", "worse", "good"} {
			if err := listAll(t, clients[first], 1)[0]; err == nil {
				t.Errorf("%s: no error", first)
			}
		}
		if n := sent(servers); n != 2 {
			t.Errorf("%d requests were sent, want 2 before the key is given up", n)
		}
		time.Sleep(5 * time.Minute)
		for _, next := range []string{"bad", "worse"} {
			if err := listAll(t, clients[next], 1)[0]; err == nil || servers[next].asked() != 1 {
				t.Errorf("%s is asked before those where the key wasn't refused: %v", next, err)
			}
		}
		if err := listAll(t, clients["good"], 1)[0]; err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Minute)
		for range 20 {
			_, _ = listAll(t, clients["bad"], 1), listAll(t, clients["worse"], 1)
			if err := listAll(t, clients["good"], 1)[0]; err != nil {
				t.Error(err)
			}
			time.Sleep(time.Minute)
		}
	})
}

// Both are refused at first, one of them for good: whoever is asked first each
// time keeps the other back only once.
func TestAProjectThatIsAlwaysRefusedStarvesNoneThatRecovers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		servers := map[string]*script{"recovers": newScript(refusal(), list()), "bad": newScript(refusal())}
		clients := projects(t, servers)
		for _, both := range []string{"bad", "recovers"} {
			if err := listAll(t, clients[both], 1)[0]; err == nil {
				t.Errorf("%s: no error", both)
			}
		}
		for range 60 {
			time.Sleep(time.Minute)
			_ = listAll(t, clients["bad"], 1)
			if listAll(t, clients["recovers"], 1)[0] == nil {
				return
			}
		}
		t.Error("the project whose key works again is not asked for an hour")
	})
}

func TestAnAnswerToWhatWasSentBeforeARefusalEndsNoPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow, refused := list(), refusal()
		slow.takes, refused.takes = 2*time.Second, time.Second
		s := newScript(list(), slow, refused, list())
		client := scripted(t, s, nil)
		listAll(t, client, 1)
		listAll(t, client, 2) // one is refused, and then the other answered
		for _, err := range listAll(t, client, 3) {
			if err == nil || !strings.Contains(err.Error(), "APIGW.0301") {
				t.Errorf("error is %v", err)
			}
		}
		if s.asked() != 3 {
			t.Errorf("%d requests were sent", s.asked())
		}
	})
}
