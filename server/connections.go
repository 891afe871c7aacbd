package server

import (
	"context"
	"crypto/tls"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// connections is a listener that bounds its connections. If there are too many,
// a new one takes the place of the one whose client has let the server wait
// longest, before its first request or within one, or else of the one that is
// idle for longest. So those who connect and send nothing, or little, keep nobody
// out, as they would if the new one had to wait. The connections whose answers
// are being made are left alone.
type connections struct {
	net.Listener
	most int
	// bySource gives up only connections of the address that has the most. A
	// server that neither follows nor watches them has no others to spare.
	bySource bool

	mu  sync.Mutex
	all map[*connection]struct{}
}

func newConnections(listener net.Listener, most int) *connections {
	return &connections{Listener: listener, most: most, all: map[*connection]struct{}{}}
}

// connection is one of the connections.
type connection struct {
	net.Conn
	owner *connections
	// waiting is since when the server waits for the client, in nanoseconds
	// since the epoch; 0: it doesn't.
	waiting atomic.Int64
	// inRequest says that the head of a request is there, so that it is to be
	// answered.
	inRequest atomic.Bool
	// idle says that a request has been answered, and the next has not come.
	idle atomic.Bool
	// givenUp says that it ends with the answer that is being made.
	givenUp atomic.Bool
	// body is that of the request that is being read.
	body watchedBody
}

// Accept returns the next connection for which there's room.
func (l *connections) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &connection{Conn: accepted, owner: l}
		c.wait()
		if l.add(c) {
			return c, nil
		}
		_ = accepted.Close() // nobody has used it
	}
}

func (l *connections) add(c *connection) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) >= l.most && !l.makeRoom() {
		return false
	}
	l.all[c] = struct{}{}
	return true
}

// idleGrace is for how long an idle connection counts as not waited for: longer
// than a client may take for what it has begun. An API server may use it again
// in the very moment in which it is closed, and its call would fail.
const idleGrace = int64(time.Minute)

// makeRoom gives up the connection whose client is waited for longest, if any.
func (l *connections) makeRoom() bool {
	var longest *connection
	since := int64(math.MaxInt64)
	greediest := l.greediest()
	for c := range l.all {
		at := c.waiting.Load()
		if at == 0 || l.bySource && c.source() != greediest {
			continue
		}
		if c.idle.Load() {
			at += idleGrace
		}
		if at < since {
			longest, since = c, at
		}
	}
	if longest == nil {
		return false
	}
	delete(l.all, longest)
	longest.giveUp()
	return true
}

// greediest returns the address with the most connections.
func (l *connections) greediest() (address string) {
	if !l.bySource {
		return ""
	}
	count := map[string]int{}
	for c := range l.all {
		from := c.source()
		if count[from]++; count[from] > count[address] {
			address = from
		}
	}
	return address
}

// source is the address that the connection comes from.
func (c *connection) source() string {
	host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	return host
}

// giveUp ends the connection. A request that is being read is still answered.
func (c *connection) giveUp() {
	c.givenUp.Store(true)
	if c.inRequest.Load() {
		_ = c.SetReadDeadline(time.Now())
		return
	}
	_ = c.Conn.Close() // it is being read from, which fails then
}

// Close closes the connection and makes room for another.
func (c *connection) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.all, c)
	c.owner.mu.Unlock()
	return c.Conn.Close()
}

func (c *connection) wait() { c.waiting.Store(time.Now().UnixNano()) }

// follow is a server's ConnState.
func (*connections) follow(conn net.Conn, state http.ConnState) {
	c := watched(conn)
	if c == nil {
		return
	}
	switch state {
	case http.StateActive:
		if c.idle.Load() {
			c.wait() // for the rest of the request
		}
		c.inRequest.Store(true)
		c.idle.Store(false)
	case http.StateIdle:
		c.inRequest.Store(false)
		c.idle.Store(true)
		c.wait()
		if c.givenUp.Load() {
			_ = c.Conn.Close() // the server notices
		}
	case http.StateNew, http.StateHijacked, http.StateClosed:
	}
}

// watched returns the connection below TLS, or nil.
func watched(conn net.Conn) *connection {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	c, _ := conn.(*connection)
	return c
}

type connectionKey struct{}

// remember is a server's ConnContext.
func (*connections) remember(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, watched(conn))
}

// watch returns a handler that tells when the server no longer waits for the
// client since it has the whole request.
func (*connections) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, _ := r.Context().Value(connectionKey{}).(*connection); c != nil {
			if r.Body == http.NoBody {
				c.waiting.Store(0)
			}
			c.body = watchedBody{r.Body, c}
			r.Body = &c.body
		}
		next.ServeHTTP(w, r)
	})
}

// watchedBody is a request's body.
type watchedBody struct {
	io.ReadCloser
	connection *connection
}

// Read reads, and notes the end.
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.connection.waiting.Store(0)
	}
	return n, err
}
