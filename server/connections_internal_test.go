package server

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// patience is for a busy machine, and never spent when all is well.
const patience = 30 * time.Second

// bounded is a server that has room for some connections. It answers "/slow"
// once release is closed, and everything else when it has read the body.
type bounded struct {
	address string
	entered chan struct{}
	release chan struct{}
	// idle tells of a connection that the server counts as idle: its client has
	// the answer before that.
	idle chan struct{}
}

func newBounded(t *testing.T, most int) *bounded {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bounded{address: listener.Addr().String(), entered: make(chan struct{}, 10), release: make(chan struct{}), idle: make(chan struct{}, 10)}
	l := newConnections(listener, most)
	server := &http.Server{Handler: l.watch(http.HandlerFunc(b.answer)), ConnContext: l.remember, ConnState: b.follow(l), ReadHeaderTimeout: patience}
	served := make(chan error)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		deadline := time.Now().Add(patience)
		for l.count() > 0 {
			if time.Now().After(deadline) {
				t.Fatalf("%d connections are still counted", l.count())
			}
			time.Sleep(time.Millisecond)
		}
	})
	return b
}

func (b *bounded) follow(l *connections) func(net.Conn, http.ConnState) {
	return func(c net.Conn, state http.ConnState) {
		l.follow(c, state)
		if state == http.StateIdle {
			b.idle <- struct{}{}
		}
	}
}

func (l *connections) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// answer tells that it is asked: of "/slow" once it has the body, so that the
// server no longer waits for that client.
func (b *bounded) answer(w http.ResponseWriter, r *http.Request) {
	slow := r.URL.Path == "/slow"
	if !slow {
		b.entered <- struct{}{}
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		w.WriteHeader(http.StatusRequestTimeout)
		return
	}
	if slow {
		b.entered <- struct{}{}
		<-b.release
	}
}

// dial connects, and sends something.
func (b *bounded) dial(t *testing.T, sends string) *bufio.ReadWriter {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, sends); err != nil {
		t.Fatal(err)
	}
	return bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c))
}

// status reads an answer; 0 means that the connection ended.
func status(t *testing.T, c *bufio.ReadWriter) int {
	t.Helper()
	response, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Fatalf("neither an answer nor an end: %v", err)
		}
		return 0
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response.StatusCode
}

const get = "GET / HTTP/1.1\r\nHost: gate\r\n\r\n"

func TestANewConnectionTakesThePlaceOfWhoLetsWaitLongest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sends   string
		entered bool
		answers int // what comes before; 0: nothing
		ends    int // what comes when it is given up; 0: just the end
	}{
		"one that sends nothing":        {sends: ""},
		"one whose head doesn't end":    {sends: "GET / HTTP/1.1\r\nHost: gate\r\n"},
		"one that is idle":              {sends: get, entered: true, answers: 200},
		"one whose body doesn't end":    {sends: "POST / HTTP/1.1\r\nHost: gate\r\nContent-Length: 10\r\n\r\nhalf", entered: true, ends: 408},
		"one whose chunks don't either": {sends: "POST / HTTP/1.1\r\nHost: gate\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", entered: true, ends: 408},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBounded(t, 2)
			slow := b.dial(t, "POST /slow HTTP/1.1\r\nHost: gate\r\nContent-Length: 4\r\n\r\nbody")
			<-b.entered
			waits := b.dial(t, test.sends)
			if test.entered {
				<-b.entered
			}
			if test.answers > 0 {
				if status(t, waits) != test.answers {
					t.Fatal("it got no answer")
				}
				<-b.idle
			}
			another := b.dial(t, get)
			if got := status(t, another); got != http.StatusOK {
				t.Errorf("the new one got %d", got)
			}
			if got := status(t, waits); got != test.ends {
				t.Errorf("who let the server wait got %d, want %d", got, test.ends)
			}
			close(b.release)
			if got := status(t, slow); got != http.StatusOK {
				t.Errorf("whose answer was being made got %d", got)
			}
		})
	}
}

func TestWithAnswersToMakeOnAllConnectionsANewOneIsClosed(t *testing.T) {
	t.Parallel()
	b := newBounded(t, 2)
	first, second := b.dial(t, "GET /slow HTTP/1.1\r\nHost: gate\r\n\r\n"), b.dial(t, "GET /slow HTTP/1.1\r\nHost: gate\r\n\r\n")
	<-b.entered
	<-b.entered
	if got := status(t, b.dial(t, get)); got != 0 {
		t.Errorf("a third one got %d", got)
	}
	close(b.release)
	for _, c := range []*bufio.ReadWriter{first, second} {
		if got := status(t, c); got != http.StatusOK {
			t.Errorf("got %d", got)
		}
	}
	<-b.idle
	<-b.idle
	if got := status(t, b.dial(t, get)); got != http.StatusOK {
		t.Errorf("afterwards a new one got %d", got)
	}
}

func TestAnIdleConnectionIsTheLastToBeGivenUp(t *testing.T) {
	t.Parallel()
	b := newBounded(t, 3)
	idle := b.dial(t, get)
	if got := status(t, idle); got != http.StatusOK {
		t.Fatalf("got %d", got)
	}
	<-b.idle
	var silent []*bufio.ReadWriter
	for range 10 {
		silent = append(silent, b.dial(t, "GET / HTTP/1.1\r\n"))
	}
	for n, c := range silent[:8] {
		if got := status(t, c); got != 0 {
			t.Errorf("silent connection %d got %d", n, got)
		}
	}
	_, _ = idle.WriteString(get)
	if err := idle.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := status(t, idle); got != http.StatusOK {
		t.Errorf("the idle one got %d when it was used again", got)
	}
}
