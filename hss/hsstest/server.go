package hsstest

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// Server serves a [Handler] on a port of the loopback interface.
type Server struct {
	*Handler

	// URL is the address without a trailing slash, such as "http://127.0.0.1:40123".
	URL string

	server  *http.Server
	stopped chan struct{}
}

// NewServer starts a server without TLS. Close it. Like httptest, it panics if it finds no port.
func NewServer(list ...Option) *Server {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		panic(fmt.Errorf("hsstest: listen on the loopback interface: %w", err))
	}
	h := NewHandler(list...)
	s := &Server{Handler: h, URL: "http://" + listener.Addr().String(), stopped: make(chan struct{})}
	// No log: responses that break off are meant to.
	s.server = &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go func() {
		defer close(s.stopped)
		_ = s.server.Serve(listener) // http.ErrServerClosed, once closed
	}()
	return s
}

// Close ends all responses, hanging ones too, and returns once none is left.
func (s *Server) Close() {
	_ = s.server.Close() // fails only if the listener is already closed
	<-s.stopped
	s.Handler.Close()
}
