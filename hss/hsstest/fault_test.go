package hsstest_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// get sends a GET over a real connection.
func get(ctx context.Context, t *testing.T, s *hsstest.Server, query string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+listPath+"?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.Client().Do(r)
}

// serve starts an open server, and closes it with the test.
func serve(t *testing.T, list ...hsstest.Option) *hsstest.Server {
	t.Helper()
	s := hsstest.NewServer(append(list, hsstest.WithoutAuthentication())...)
	t.Cleanup(s.Close)
	return s
}

func TestFaultsThatAnswer(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault       hsstest.Fault
		status      int
		contentType string
		body        string
		retryAfter  string
	}{
		"a status":              {hsstest.StatusFault(503), 503, "application/json", `"error_code":"APIGW.0503"`, ""},
		"throttled for seconds": {hsstest.ThrottleFault("3"), 429, "application/json", "APIGW.0308", "3"},
		"throttled until a date": {hsstest.ThrottleFault("Wed, 21 Oct 2026 07:28:00 GMT"), 429, "application/json", "APIGW.0308",
			"Wed, 21 Oct 2026 07:28:00 GMT"},
		"throttled without a word": {hsstest.ThrottleFault(""), 429, "application/json", "APIGW.0308", ""},
		"a page":                   {hsstest.HTMLFault(502), 502, "text/html", "<h1>502 Bad Gateway</h1>", ""},
		"an error with status 200": {hsstest.ErrorFault(200, "HSS.0011", "gone"), 200, "application/json", `"error_code":"HSS.0011"`, ""},
		"a count alone":            {hsstest.NoDataListFault(), 200, "application/json", `{"total_num":0}`, ""},
		"garbage":                  {hsstest.GarbageFault(), 200, "application/json", `{"total_num":1,"data_list":[{"id":]}`, ""},
		"a body of one's own":      {hsstest.BodyFault(201, "text/plain", "hello"), 201, "text/plain", "hello", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, hsstest.WithFaults(tc.fault))
			got := ask(t, h, "")
			if got.Status != tc.status || !strings.HasPrefix(got.Header.Get("Content-Type"), tc.contentType) || !strings.Contains(got.Raw, tc.body) {
				t.Errorf("got %d %s %s", got.Status, got.Header.Get("Content-Type"), got.Raw)
			}
			if got.Header.Get("Retry-After") != tc.retryAfter || got.Header.Get("X-Request-Id") == "" {
				t.Errorf("got header %v", got.Header)
			}
			if again := ask(t, h, ""); again.Status != 200 || again.RequestID != "" || !strings.Contains(again.Raw, "data_list") {
				t.Errorf("the next request: got %d %s", again.Status, again.Raw)
			}
		})
	}
}

func TestAnEmptyBodyIsEmpty(t *testing.T) {
	t.Parallel()
	if got := ask(t, open(t, hsstest.WithFaults(hsstest.EmptyFault())), ""); got.Status != 200 || got.Raw != "" {
		t.Errorf("got %d %q", got.Status, got.Raw)
	}
}

func TestFaultsComeInOrderAndToWhomTheyAreMeant(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.Inject(
		hsstest.StatusFault(502).ForImage("prod", "flaky").Times(2),
		hsstest.StatusFault(500),
		hsstest.StatusFault(503).ForImage("prod", ""),
	)
	for _, step := range []struct {
		query  string
		status int
	}{
		{"namespace=prod&image_name=app", 500},
		{"namespace=prod&image_name=flaky", 502},
		{"namespace=test&image_name=flaky", 200},
		{"namespace=prod&image_name=flaky", 502},
		{"namespace=prod&image_name=flaky", 503},
		{"namespace=prod&image_name=flaky", 200},
	} {
		if got := ask(t, h, step.query); got.Status != step.status {
			t.Errorf("%s: got %d, want %d", step.query, got.Status, step.status)
		}
	}
	if n := h.PendingFaults(); n != 0 {
		t.Errorf("%d faults are left", n)
	}
}

func TestAFaultMayStayUntilCleared(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithFaults(hsstest.StatusFault(503).Times(0)))
	for range 5 {
		if got := ask(t, h, ""); got.Status != 503 {
			t.Errorf("got %d", got.Status)
		}
	}
	h.ClearFaults()
	if got := ask(t, h, ""); got.Status != 200 {
		t.Errorf("after clearing: got %d", got.Status)
	}
	if got := h.Stats().Faults; got != 5 {
		t.Errorf("counted %d faults, want 5", got)
	}
}

func TestACutBodyEndsBeforeItsLength(t *testing.T) {
	t.Parallel()
	s := serve(t, hsstest.WithImages(numbered(5)...), hsstest.WithFaults(hsstest.CutFault()))
	response, err := get(t.Context(), t, s, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if !errors.Is(err, io.ErrUnexpectedEOF) || int64(len(body)) >= response.ContentLength || len(body) == 0 {
		t.Errorf("got %d of %d bytes and %v", len(body), response.ContentLength, err)
	}
}

func TestAResetConnectionIsReset(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(...hsstest.Option) *hsstest.Server{
		"without TLS": hsstest.NewServer, "with TLS": hsstest.NewTLSServer,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(hsstest.WithoutAuthentication(), hsstest.WithFaults(hsstest.ResetFault()))
			defer s.Close()
			response, err := get(t.Context(), t, s, "")
			if err == nil {
				_ = response.Body.Close()
			}
			if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
				t.Errorf("got %v, want a reset", err)
			}
		})
	}
}

// TestFaultsOfConnectionsWorkOverHTTP2 matters since HTTP/2 has many requests on
// one connection: a stream fails, and the next one works.
func TestFaultsOfConnectionsWorkOverHTTP2(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]hsstest.Fault{"a reset": hsstest.ResetFault(), "a cut": hsstest.CutFault()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := hsstest.NewTLSServer(hsstest.WithoutAuthentication(), hsstest.WithImages(numbered(5)...), hsstest.WithFaults(fault))
			defer s.Close()
			transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: s.CertPool(), MinVersion: tls.VersionTLS12}}
			defer transport.CloseIdleConnections()
			read := func() error {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+listPath, nil)
				if err != nil {
					t.Fatal(err)
				}
				response, err := transport.RoundTrip(r)
				if err != nil {
					return err
				}
				defer func() { _ = response.Body.Close() }()
				if response.ProtoMajor != 2 {
					t.Errorf("the protocol is %s", response.Proto)
				}
				_, err = io.ReadAll(response.Body)
				return err
			}
			if err := read(); err == nil {
				t.Error("the fault had no effect")
			}
			if err := read(); err != nil {
				t.Errorf("after the fault: %v", err)
			}
		})
	}
}

func TestASlowAnswerIsTrueAndSlow(t *testing.T) {
	t.Parallel()
	s := serve(t, hsstest.WithImages(versions("1.0")...), hsstest.WithFaults(hsstest.SlowFault(20, time.Millisecond)))
	began := time.Now()
	response, err := get(t.Context(), t, s, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || !strings.Contains(string(body), `"image_version":"1.0"`) {
		t.Errorf("got %s, %v", body, err)
	}
	if least := time.Duration(len(body)/20) * time.Millisecond; time.Since(began) < least {
		t.Errorf("took %v, want at least %v", time.Since(began), least)
	}
}

func TestAHugeBodyIsValidAndHuge(t *testing.T) {
	t.Parallel()
	const size = 3 << 20
	s := serve(t, hsstest.WithFaults(hsstest.HugeFault(size)))
	response, err := get(t.Context(), t, s, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || len(body) < size || !json.Valid(body) {
		t.Errorf("got %d bytes, valid %v, %v", len(body), json.Valid(body), err)
	}
}

func TestAHangEndsWhenTheClientLeaves(t *testing.T) {
	t.Parallel()
	s := serve(t, hsstest.WithFaults(hsstest.HangFault()))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		response, err := get(ctx, t, s, "")
		if err == nil {
			_ = response.Body.Close()
		}
		failed <- err
	}()
	waitFor(t, func() bool { return s.Stats().Faults == 1 })
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	waitFor(t, func() bool { return s.Stats().InFlight == 0 })
}

// waitFor polls for what another goroutine is about to do.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatal("waited in vain")
		case <-ticker.C:
		}
	}
}
