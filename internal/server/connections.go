package server

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// connections is a listener with a limit that silent clients cannot use up. When
// it is full, a new connection replaces the one whose client has kept the server
// waiting longest, for a request or for the rest of one. With a plain limit, the
// new connection would have to wait instead.
type connections struct {
	net.Listener
	max int
	// bySource replaces only connections of the address that has most of them. It
	// is for servers without track, where every connection may be replaced.
	bySource bool

	mu   sync.Mutex
	open map[*connection]struct{}
}

// connection is an accepted connection. The mutex of connections guards its fields.
type connection struct {
	net.Conn
	owner  *connections
	source string
	// waiting is since when the server waits for the client; zero: it has the
	// whole request.
	waiting time.Time
	// inRequest is set from the end of a request's head to the end of its answer.
	inRequest bool
}

// idleGrace lets idle connections count as younger than they are: an API server
// may reuse one in the moment in which it is closed, and its call would fail.
const idleGrace = time.Minute

func newConnections(listener net.Listener, most int, bySource bool) *connections {
	return &connections{Listener: listener, max: most, bySource: bySource, open: map[*connection]struct{}{}}
}

// Accept returns the next connection for which there is a place.
func (l *connections) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &connection{Conn: accepted, owner: l, waiting: time.Now()}
		if l.bySource {
			c.source, _, _ = net.SplitHostPort(accepted.RemoteAddr().String())
		}
		l.mu.Lock()
		full := len(l.open) >= l.max && !l.evict()
		if !full {
			l.open[c] = struct{}{}
		}
		l.mu.Unlock()
		if !full {
			return c, nil
		}
		_ = accepted.Close() // nothing was sent on it
	}
}

// evict ends the connection that has kept the server waiting longest, if any.
func (l *connections) evict() bool {
	perSource := map[string]int{}
	for c := range l.open {
		perSource[c.source]++
	}
	var victim *connection
	for c := range l.open {
		if c.waiting.IsZero() {
			continue
		}
		if victim == nil || perSource[c.source] > perSource[victim.source] ||
			perSource[c.source] == perSource[victim.source] && c.waiting.Before(victim.waiting) {
			victim = c
		}
	}
	if victim == nil {
		return false
	}
	delete(l.open, victim)
	if victim.inRequest {
		_ = victim.SetReadDeadline(time.Now()) // the handler still answers
	} else {
		_ = victim.Conn.Close()
	}
	return true
}

// Close closes the connection and frees its place.
func (c *connection) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.open, c)
	c.owner.mu.Unlock()
	return c.Conn.Close()
}

type connectionKey struct{}

// track follows the requests of a server, so that connections whose answers are
// being made are not replaced. The handler must read each body to its end.
func (l *connections) track(server *http.Server) {
	next := server.Handler
	server.ConnState = l.setState
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, connectionKey{}, underlying(conn))
	}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := r.Context().Value(connectionKey{}).(*connection)
		r.Body = &trackedBody{r.Body, c}
		next.ServeHTTP(w, r)
	})
}

func (l *connections) setState(conn net.Conn, state http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := underlying(conn)
	switch state {
	case http.StateActive: // the head of a request is complete
		c.waiting, c.inRequest = time.Now(), true
		_ = c.SetReadDeadline(c.waiting.Add(reviewTimeout)) // ReadTimeout counts from the connection's begin
	case http.StateIdle:
		c.waiting, c.inRequest = time.Now().Add(idleGrace), false
		if _, open := l.open[c]; !open {
			_ = c.Conn.Close() // evicted within its request
		}
	case http.StateNew, http.StateHijacked, http.StateClosed:
	}
}

// underlying returns the connection below TLS.
func underlying(conn net.Conn) *connection {
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secure.NetConn()
	}
	c, _ := conn.(*connection)
	return c
}

type trackedBody struct {
	io.ReadCloser
	connection *connection
}

// Read reads. After the end, the server no longer waits for the client.
func (b *trackedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.connection.owner.mu.Lock()
		b.connection.waiting = time.Time{}
		b.connection.owner.mu.Unlock()
	}
	return n, err
}
