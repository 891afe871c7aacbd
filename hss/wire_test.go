package hss_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hssgate/hssgate/hss"
)

// hijack takes over a connection, writes raw and closes it.
func hijack(t *testing.T, w http.ResponseWriter, raw string) {
	t.Helper()
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		t.Fatal("the connection cannot be taken over")
	}
	connection, _, err := hijacker.Hijack()
	if err != nil {
		t.Errorf("taking over the connection: %v", err)
		return
	}
	_, _ = io.WriteString(connection, raw)
	_ = connection.Close()
}

func TestConnectionsThatBreakAreTriedAgain(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	for _, tc := range []struct {
		name string
		raw  string
	}{
		{
			name: "before anything is sent",
			raw:  "",
		},
		{
			name: "within the headers",
			raw:  "HTTP/1.1 200 OK\r\nContent-",
		},
		{
			name: "within a body that tells its length",
			raw:  head + "Content-Length: 100\r\n\r\n{\"data_list\":[",
		},
		{
			name: "within a body in chunks",
			raw:  head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"dat\r\n",
		},
		{
			name: "within a body that ends with the connection",
			raw:  head + "Connection: close\r\n\r\n{\"data_list\":[{\"id\":1}",
		},
		{
			name: "with bytes that are no HTTP",
			raw:  "\x16\x03\x01 what is this\r\n\r\n",
		},
		{
			name: "within a body that is packed",
			raw:  head + "Content-Encoding: gzip\r\nConnection: close\r\n\r\n\x1f\x8b\x08",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			endpoint, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) < 3 {
					hijack(t, w, tc.raw)
					return
				}
				answer(http.StatusOK, `{"data_list":[{"id":7}]}`)(w, r)
			})
			// Without kept connections the transport does not retry by itself.
			client := newClient(t, endpoint, func(c *hss.Config) {
				c.Transport = &http.Transport{DisableKeepAlives: true}
			})
			got, err := client.List(t.Context(), hss.ListRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Images) != 1 || asked.Load() != 3 {
				t.Errorf("%d rows after %d requests, want 1 after 3", len(got.Images), asked.Load())
			}
		})
	}
}

func TestAnswersThatDripEndWithTheAttempt(t *testing.T) {
	t.Parallel()
	endpoint, asked := serve(t, func(w http.ResponseWriter, r *http.Request) {
		flusher, ok := w.(http.Flusher)
		if !ok {
			t.Error("the answer cannot be flushed")
			return
		}
		_, _ = io.WriteString(w, `{"data_list":[`)
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			flusher.Flush()
			time.Sleep(time.Millisecond)
		}
	})
	client := newClient(t, endpoint, func(c *hss.Config) {
		c.AttemptTimeout = 3 * time.Second
		c.Retry.MaxAttempts = 2
	})
	_, err := client.List(t.Context(), hss.ListRequest{})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "after 2 attempts: no complete answer: reading the answer") {
		t.Errorf("error is %v", err)
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
}

func TestCancellingEndsARequestThatHangs(t *testing.T) {
	t.Parallel()
	began := make(chan struct{})
	endpoint, asked := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	_, err := newClient(t, endpoint, nil).List(ctx, hss.ListRequest{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		status int
		body   string
	}{
		{
			name:   "after a list",
			status: http.StatusOK,
			body:   `{"data_list":[]}`,
		},
		{
			name:   "after an error",
			status: http.StatusBadRequest,
			body:   `{"error_code":"HSS.0001"}`,
		},
		{
			name:   "after an error with a body of some length",
			status: http.StatusBadRequest,
			body:   strings.Repeat("x", 60<<10),
		},
		{
			name:   "after an answer that is no list",
			status: http.StatusOK,
			body:   "<html>",
		},
		{
			name:   "after an empty answer",
			status: http.StatusOK,
			body:   "",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var opened atomic.Int32
			server := httptest.NewUnstartedServer(answer(tc.status, tc.body))
			server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					opened.Add(1)
				}
			}
			server.Start()
			t.Cleanup(server.Close)
			client := newClient(t, server.URL, nil)
			for range 5 {
				_, _ = client.List(t.Context(), hss.ListRequest{})
			}
			// Go opens another if the one before isn't back in its pool in time.
			if n := opened.Load(); n > 2 {
				t.Errorf("5 requests opened %d connections, want 1", n)
			}
		})
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(answer(http.StatusOK, `{"data_list":[]}`))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	client := newClient(t, server.URL, func(c *hss.Config) { c.Retry.MaxAttempts = 1 })
	_, err := client.List(t.Context(), hss.ListRequest{})
	if err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("error is %v", err)
	}
}

func TestManyCallersAtOnce(t *testing.T) {
	t.Parallel()
	var underWay, most atomic.Int32
	endpoint, asked := serve(t, func(w http.ResponseWriter, r *http.Request) {
		now := underWay.Add(1)
		defer underWay.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); {
			seen = most.Load()
		}
		answer(http.StatusOK, fmt.Sprintf(`{"data_list":[{"image_name":%q}]}`, r.URL.Query().Get("image_name")))(w, r)
	})
	client := newClient(t, endpoint, nil)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			name := fmt.Sprint("app-", i)
			got, err := client.List(t.Context(), hss.ListRequest{ImageName: name})
			if err != nil || len(got.Images) != 1 || got.Images[0].Name != name {
				t.Errorf("%s: %v, error %v", name, got, err)
			}
		})
	}
	wg.Wait()
	if asked.Load() != 100 || most.Load() > 4 {
		t.Errorf("asked %d times, %d at once; want 100, at most 4 at once", asked.Load(), most.Load())
	}
}

// TestNothingIsLeftRunning is not parallel: it counts goroutines.
func TestNothingIsLeftRunning(t *testing.T) {
	before := runtime.NumGoroutine()
	func() {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Query().Get("image_name") {
			case "hang":
				<-r.Context().Done()
			case "cut":
				hijack(t, w, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
			default:
				answer(http.StatusOK, `{"data_list":[]}`)(w, r)
			}
		}))
		defer server.Close()
		client := newClient(t, server.URL, func(c *hss.Config) { c.AttemptTimeout = 20 * time.Millisecond })
		defer client.CloseIdleConnections()
		for _, name := range []string{"hang", "cut", "list"} {
			_, _ = client.List(t.Context(), hss.ListRequest{ImageName: name})
		}
	}()
	for range 6000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}
