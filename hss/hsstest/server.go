package hsstest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// readHeaderTimeout bounds how long a client may take to send a header.
const readHeaderTimeout = 10 * time.Second

// Server serves a [Handler] on a port of the loopback interface.
type Server struct {
	*Handler
	// URL is where it is, such as "http://127.0.0.1:40123", without a slash.
	URL string

	certificate *x509.Certificate
	server      *http.Server
	stopped     chan struct{}
}

// NewServer starts a server without TLS. Close it. It panics if there is no
// port to listen on, as httptest does.
func NewServer(list ...Option) *Server {
	return start(nil, nil, list)
}

// NewTLSServer starts a server with a certificate that [Server.Client] and
// [Server.CertPool] trust. Close it.
func NewTLSServer(list ...Option) *Server {
	certificate, err := SelfSignedCertificate("localhost", "127.0.0.1", "::1")
	if err != nil {
		panic(err)
	}
	return start(&tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}, certificate.Leaf, list)
}

func start(config *tls.Config, certificate *x509.Certificate, list []Option) *Server {
	listener, err := listenLoopback()
	if err != nil {
		panic(err)
	}
	h := NewHandler(list...)
	s := &Server{Handler: h, certificate: certificate, stopped: make(chan struct{}), URL: "http://" + listener.Addr().String(),
		server: &http.Server{Handler: h, TLSConfig: config, ReadHeaderTimeout: readHeaderTimeout, ErrorLog: log.New(io.Discard, "", 0)}}
	serve := func() error { return s.server.Serve(listener) }
	if config != nil {
		s.URL = "https://" + listener.Addr().String()
		serve = func() error { return s.server.ServeTLS(listener, "", "") }
	}
	go func() {
		defer close(s.stopped)
		_ = serve() // always http.ErrServerClosed, once closed
	}()
	return s
}

func listenLoopback() (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err == nil {
		return listener, nil
	}
	listener, err6 := config.Listen(context.Background(), "tcp6", "[::1]:0")
	if err6 != nil {
		return nil, fmt.Errorf("hsstest: listen on the loopback interface: %w", err)
	}
	return listener, nil
}

// Close ends all answers, hanging ones too, and returns once none is left.
func (s *Server) Close() {
	s.Handler.Close()
	_ = s.server.Close() // an error would be of a listener that is already closed
	<-s.stopped
	s.active.Wait()
}

// CertPool trusts the server's certificate; it is empty without TLS.
func (s *Server) CertPool() *x509.CertPool {
	pool := x509.NewCertPool()
	if s.certificate != nil {
		pool.AddCert(s.certificate)
	}
	return pool
}

// Client is a client that trusts the server's certificate and keeps no
// connection open between requests.
func (s *Server) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: s.CertPool(), MinVersion: tls.VersionTLS12},
	}}
}
