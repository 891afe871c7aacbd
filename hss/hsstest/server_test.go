package hsstest_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hssgate/hssgate/hss/hsstest"
)

func TestAServerServesOverARealConnection(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		start  func(...hsstest.Option) *hsstest.Server
		scheme string
	}{
		"without TLS": {hsstest.NewServer, "http://127.0.0.1:"},
		"with TLS":    {hsstest.NewTLSServer, "https://127.0.0.1:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tc.start(hsstest.WithImages(versions("1.0")...))
			defer s.Close()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+listPath+"?namespace=prod", nil)
			if err != nil {
				t.Fatal(err)
			}
			signed(hsstest.DefaultCredential(), time.Now())(r)
			response, err := s.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			if got := read(t, response); got.Status != 200 || got.tags() != "1.0" {
				t.Errorf("got %d %s", got.Status, got.Raw)
			}
			if !strings.HasPrefix(s.URL, tc.scheme) {
				t.Errorf("the URL is %s", s.URL)
			}
		})
	}
}

func TestCloseEndsWhatHangs(t *testing.T) {
	t.Parallel()
	faults := map[string]hsstest.Fault{
		"a hang":                   hsstest.HangFault().Times(0),
		"a drip":                   hsstest.SlowFault(1, time.Hour).Times(0),
		"a body that nobody reads": hsstest.HugeFault(1 << 40).Times(0),
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := hsstest.NewServer(hsstest.WithoutAuthentication(), hsstest.WithFaults(fault))
			var clients sync.WaitGroup
			for range 4 {
				clients.Go(func() {
					response, err := get(t.Context(), t, s, "")
					if err == nil {
						// Not read: the server must get rid of the client by itself.
						defer func() { _ = response.Body.Close() }()
					}
				})
			}
			waitFor(t, func() bool { return s.Stats().Faults == 4 })
			s.Close()
			s.Close()
			clients.Wait()
			if got := s.Stats().InFlight; got != 0 {
				t.Errorf("%d requests are left", got)
			}
		})
	}
}

func TestAClosedHandlerCutsRequestsOff(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.Close()
	defer func() {
		if err, ok := recover().(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			t.Error("want the request cut off")
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, listPath, nil))
}

func TestLatencyDelaysEveryAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, hsstest.WithLatency(300*time.Millisecond))
		took := func() time.Duration {
			began := time.Now()
			ask(t, h, "")
			return time.Since(began)
		}
		if got := took(); got != 300*time.Millisecond {
			t.Errorf("took %v", got)
		}
		h.Inject(hsstest.StatusFault(500))
		if got := took(); got != 300*time.Millisecond {
			t.Errorf("a fault took %v", got)
		}
		h.SetLatency(2 * time.Second)
		if got := took(); got != 2*time.Second {
			t.Errorf("after SetLatency it took %v", got)
		}
		h.SetLatency(0)
		if got := took(); got != 0 {
			t.Errorf("without latency it took %v", got)
		}
	})
}

func TestClosingEndsALatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, hsstest.WithLatency(time.Hour))
		began := time.Now()
		time.AfterFunc(time.Second, h.Close)
		func() {
			defer func() { _ = recover() }()
			ask(t, h, "")
		}()
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v, want 1s", took)
		}
	})
}

func TestThrottling(t *testing.T) {
	t.Parallel()
	at := newClock()
	h := open(t, hsstest.WithClock(at.now), hsstest.WithThrottling(2, 1500*time.Millisecond))
	statuses := func(n int) (list []int) {
		for range n {
			got := ask(t, h, "")
			list = append(list, got.Status)
			if got.Status == 429 && (got.ErrorCode != "APIGW.0308" || got.Header.Get("Retry-After") != "2") {
				t.Errorf("got %s, Retry-After %q", got.Raw, got.Header.Get("Retry-After"))
			}
		}
		return list
	}
	for second, want := range [][]int{{200, 200, 429, 429}, {200, 200, 429}} {
		got := statuses(len(want))
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("second %d: got %v, want %v", second, got, want)
				break
			}
		}
		at.advance(time.Second)
	}
	if got := h.Stats(); got.Throttled != 3 || got.Failures != 3 || got.Served != 4 {
		t.Errorf("got %+v", got)
	}
}

func TestThrottlingNeedNotSayUntilWhen(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithClock(newClock().now), hsstest.WithThrottling(1, 0))
	ask(t, h, "")
	if got := ask(t, h, ""); got.Status != 429 || got.Header.Values("Retry-After") != nil {
		t.Errorf("got %d, Retry-After %q", got.Status, got.Header.Values("Retry-After"))
	}
}

func TestStatsTellWhatWasAsked(t *testing.T) {
	t.Parallel()
	h := hsstest.NewHandler(hsstest.WithTokens("t"), hsstest.WithImages(numbered(3)...))
	token := func(r *http.Request) { r.Header.Set("X-Auth-Token", "t") }
	ask(t, h, "namespace=prod&image_name=app", token)
	ask(t, h, "image_name=app&namespace=prod", token)
	ask(t, h, "image_name=app&namespace=prod&limit=1", token)
	ask(t, h, "limit=0", token)
	ask(t, h, "limit=1")
	h.Inject(hsstest.StatusFault(500))
	ask(t, h, "", token)

	got := h.Stats()
	if got.Requests != 6 || got.Served != 3 || got.Rows != 7 || got.Failures != 2 || got.Unauthorized != 1 || got.Faults != 1 || got.MaxInFlight != 1 {
		t.Errorf("got %+v", got)
	}
	if got.Queries["image_name=app&namespace=prod"] != 2 || got.CountImage("prod", "app") != 3 {
		t.Errorf("got queries %v", got.Queries)
	}
	if n := got.Count(func(v url.Values) bool { return v.Has("limit") }); n != 3 {
		t.Errorf("counted %d with a limit, want 3", n)
	}
	h.ResetStats()
	if got := h.Stats(); got.Requests != 0 || len(got.Queries) != 0 {
		t.Errorf("after the reset: %+v", got)
	}
}

func TestStatsTellHowManyWereAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, hsstest.WithLatency(time.Second))
		var group sync.WaitGroup
		for range 5 {
			group.Go(func() { ask(t, h, "") })
		}
		synctest.Wait()
		if got := h.Stats(); got.InFlight != 5 {
			t.Errorf("%d in flight, want 5", got.InFlight)
		}
		group.Wait()
		ask(t, h, "")
		if got := h.Stats(); got.InFlight != 0 || got.MaxInFlight != 5 {
			t.Errorf("got %+v", got)
		}
	})
}

func TestRequestIDsDiffer(t *testing.T) {
	t.Parallel()
	h := open(t)
	first, second := ask(t, h, "").Header.Get("X-Request-Id"), ask(t, h, "").Header.Get("X-Request-Id")
	if len(first) != 32 || first == second {
		t.Errorf("got %q and %q", first, second)
	}
}
