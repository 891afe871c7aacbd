package hsstest_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hssgate/hssgate/hss/hsstest"
)

func TestCloseEndsHangingResponses(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]hsstest.Fault{
		"a hang": hsstest.HangFault(), "a drip": hsstest.SlowFault(1, time.Hour),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := hsstest.NewServer(hsstest.WithoutAuthentication())
			s.Inject(fault.Times(0))
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+listPath, nil)
			if err != nil {
				t.Fatal(err)
			}
			var clients sync.WaitGroup
			for range 4 {
				clients.Go(func() {
					response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r.Clone(t.Context()))
					if err == nil {
						// Not read: the server must get rid of the client by itself.
						defer func() { _ = response.Body.Close() }()
					}
				})
			}
			for s.Stats().Requests < 4 {
				time.Sleep(time.Millisecond)
			}
			s.Close()
			s.Close()
			clients.Wait()
		})
	}
}

func TestLatencyDelaysEveryAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, hsstest.WithLatency(300*time.Millisecond))
		h.Inject(hsstest.StatusFault(500))
		for n, latency := range []time.Duration{300 * time.Millisecond, 2 * time.Second, 0} {
			if n > 0 {
				h.SetLatency(latency)
			}
			began := time.Now()
			ask(t, h, "")
			wantEqual(t, "took", latency, time.Since(began))
		}
	})
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
	if got.Requests != 6 || got.Failures != 2 || got.Endpoints[hsstest.EndpointImages].Requests != 6 {
		t.Errorf("got %+v", got)
	}
	if got.Queries["image_name=app&namespace=prod"] != 2 || got.CountImage("prod", "app") != 3 {
		t.Errorf("got queries %v", got.Queries)
	}
	h.ResetStats()
	if got := h.Stats(); got.Requests != 0 || len(got.Queries) != 0 {
		t.Errorf("after the reset: %+v", got)
	}
}
