package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener in memory, for the time of a synctest bubble.
type pipes struct {
	connections chan net.Conn
	closed      chan struct{}
}

// Accept returns the next connection.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.connections:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

// Addr returns no address.
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// bounded is a server that has room for some connections. It answers "/slow"
// once release is closed, and everything else when it has read the body.
type bounded struct {
	pipes
	release chan struct{}
}

func newBounded(t *testing.T, most int) *bounded {
	t.Helper()
	b := &bounded{pipes{make(chan net.Conn), make(chan struct{})}, make(chan struct{})}
	l := newConnections(b, most, false)
	server := newReviewServer(l, http.HandlerFunc(b.answer), slog.New(slog.DiscardHandler))
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		synctest.Wait()
		if len(l.open) > 0 {
			t.Errorf("%d connections are still counted", len(l.open))
		}
	})
	return b
}

func (b *bounded) answer(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		w.WriteHeader(http.StatusRequestTimeout)
		return
	}
	if r.URL.Path == "/slow" {
		<-b.release
	}
}

// peer is the other end of a connection.
type peer struct {
	net.Conn
	reader *bufio.Reader
}

// dial connects, and sends something.
func (b *bounded) dial(t *testing.T, sends string) *peer {
	t.Helper()
	c, accepted := net.Pipe()
	t.Cleanup(func() { _ = c.Close() })
	b.connections <- accepted
	time.Sleep(time.Millisecond) // none is as old as another
	dialed := &peer{c, bufio.NewReader(c)}
	dialed.send(sends)
	return dialed
}

func (c *peer) send(text string) {
	go func() { _, _ = io.WriteString(c, text) }() // the connection may be closed
	synctest.Wait()
}

// status reads an answer; 0 means that the connection ended.
func status(c *peer) int {
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	synctest.Wait()
	return response.StatusCode
}

// answers checks the next answer to a connection.
func answers(t *testing.T, c *peer, want int, who string) {
	t.Helper()
	if got := status(c); got != want {
		t.Errorf("%s got %d, want %d", who, got, want)
	}
}

const (
	get  = "GET / HTTP/1.1\r\nHost: gate\r\n\r\n"
	slow = "POST /slow HTTP/1.1\r\nHost: gate\r\nContent-Length: 4\r\n\r\nbody"
)

func TestANewConnectionTakesThePlaceOfWhoLetsWaitLongest(t *testing.T) {
	t.Parallel()
	type testCase struct {
		sends   string
		answers int // what comes before; 0: nothing
		ends    int // what comes when it is evicted; 0: just the end
	}
	each(t, map[string]testCase{
		"one that sends nothing":        {"", 0, 0},
		"one whose head doesn't end":    {"GET / HTTP/1.1\r\nHost: gate\r\n", 0, 0},
		"one that is idle":              {get, 200, 0},
		"one whose body doesn't end":    {"POST / HTTP/1.1\r\nHost: gate\r\nContent-Length: 10\r\n\r\nhalf", 0, 408},
		"one whose chunks don't either": {"POST / HTTP/1.1\r\nHost: gate\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", 0, 408},
	}, func(t *testing.T, test testCase) {
		b, begun := newBounded(t, 2), time.Now()
		answering := b.dial(t, slow)
		waits := b.dial(t, test.sends)
		if test.answers > 0 {
			answers(t, waits, test.answers, "it")
		}
		answers(t, b.dial(t, get), http.StatusOK, "the new one")
		answers(t, waits, test.ends, "one that let the server wait")
		if took := time.Since(begun); took > time.Second {
			t.Errorf("that took %s: it ended by itself", took)
		}
		close(b.release)
		answers(t, answering, http.StatusOK, "one whose answer was being made")
	})
}

func TestWithAnswersToMakeOnAllConnectionsANewOneIsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBounded(t, 2)
		first, second := b.dial(t, slow), b.dial(t, slow)
		answers(t, b.dial(t, get), 0, "a third one")
		close(b.release)
		for _, c := range []*peer{first, second} {
			answers(t, c, http.StatusOK, "it")
		}
		answers(t, b.dial(t, get), http.StatusOK, "afterwards a new one")
	})
}

func TestAnIdleConnectionIsTheLastToBeEvicted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBounded(t, 3)
		idle := b.dial(t, get)
		answers(t, idle, http.StatusOK, "it")
		var silent []*peer
		for range 10 {
			silent = append(silent, b.dial(t, "GET / HTTP/1.1\r\n"))
		}
		for n, c := range silent[:8] {
			answers(t, c, 0, fmt.Sprint("silent connection ", n))
		}
		idle.send(get)
		answers(t, idle, http.StatusOK, "the idle one when it was used again")
	})
}

func TestAConnectionOutlastsTheNinetySecondsThatAnAPIServerKeepsIt(t *testing.T) {
	t.Parallel()
	each(t, map[string]int{"one with a request before": 1, "one that the API server opened in vain": 0}, func(t *testing.T, before int) {
		b := newBounded(t, 1)
		c := b.dial(t, strings.Repeat(get, before))
		for range before {
			answers(t, c, http.StatusOK, "its first request")
		}
		begun := time.Now()
		time.Sleep(90 * time.Second)
		c.send("POST / HTTP/1.1\r\nHost: gate\r\nContent-Length: 4\r\n\r\n")
		time.Sleep(reviewTimeout - time.Nanosecond)
		c.send("body")
		answers(t, c, http.StatusOK, "its next request")
		c.send("POST / HTTP/1.1\r\nHost: gate\r\nContent-Length: 10\r\n\r\nhalf")
		if got := status(c); got == http.StatusOK || time.Since(begun) > 90*time.Second+2*reviewTimeout {
			t.Errorf("one whose body does not end got %d after %s", got, time.Since(begun))
		}
	})
}
