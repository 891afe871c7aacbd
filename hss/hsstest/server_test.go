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
	for scheme, start := range map[string]func(...hsstest.Option) *hsstest.Server{
		"http://127.0.0.1:": hsstest.NewServer, "https://127.0.0.1:": hsstest.NewTLSServer,
	} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			s := start(hsstest.WithImages(versions("1.0")...))
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
			if got := read(t, response); got.Status != 200 || got.tags() != "1.0" || !strings.HasPrefix(s.URL, scheme) {
				t.Errorf("%s: got %d %s", s.URL, got.Status, got.Raw)
			}
		})
	}
}

func TestCloseEndsHangingResponses(t *testing.T) {
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
		h := open(t, hsstest.WithLatency(300*time.Millisecond), hsstest.WithFaults(hsstest.StatusFault(500)))
		for _, latency := range []time.Duration{300 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second, 0} {
			if latency != 300*time.Millisecond {
				h.SetLatency(latency)
			}
			began := time.Now()
			ask(t, h, "")
			if took := time.Since(began); took != latency {
				t.Errorf("took %v, want %v", took, latency)
			}
		}
	})
}

func TestThrottling(t *testing.T) {
	t.Parallel()
	at := newClock()
	h := open(t, hsstest.WithClock(at.now), hsstest.WithThrottling(2, 1500*time.Millisecond))
	for _, want := range [][]int{{200, 200, 429, 429}, {200, 200, 429}} {
		for n, status := range want {
			got := ask(t, h, "")
			if got.Status != status || status == 429 && (got.ErrorCode != "APIGW.0308" || got.Header.Get("Retry-After") != "2") {
				t.Errorf("request %d of a second: got %s, Retry-After %q, want %d", n+1, got.Raw, got.Header.Get("Retry-After"), status)
			}
		}
		at.advance(time.Second)
	}
	if got := h.Stats(); got.Failures != 3 || got.Requests != 7 {
		t.Errorf("got %+v", got)
	}
}

func TestStatsCountRequests(t *testing.T) {
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
	if got.Requests != 6 || got.Rows != 7 || got.Failures != 2 || got.Faults != 1 || got.MaxInFlight != 1 {
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

func TestStatsCountRequestsInFlight(t *testing.T) {
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
