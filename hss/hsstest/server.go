package hsstest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"time"
)

// readHeaderTimeout bounds how long a client may take to send a header.
const readHeaderTimeout = 10 * time.Second

// Server serves a [Handler] on a port of the loopback interface.
type Server struct {
	*Handler

	// URL is the address without a trailing slash, such as "http://127.0.0.1:40123".
	URL string

	certificate *x509.Certificate
	server      *http.Server
	stopped     chan struct{}
}

// NewServer starts a server without TLS. Close it. Like httptest, it panics if it finds no port.
func NewServer(list ...Option) *Server { return start(nil, list) }

// NewTLSServer starts a server whose certificate [Server.Client] and [Server.CertPool] trust. Close it.
func NewTLSServer(list ...Option) *Server {
	certificate, err := SelfSignedCertificate("localhost", "127.0.0.1", "::1")
	if err != nil {
		panic(err)
	}
	return start(&certificate, list)
}

func start(certificate *tls.Certificate, list []Option) *Server {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		panic(fmt.Errorf("hsstest: listen on the loopback interface: %w", err))
	}
	s := &Server{Handler: NewHandler(list...), stopped: make(chan struct{}), URL: "http://" + listener.Addr().String()}
	s.server = newHTTPServer(s.Handler, certificate)
	s.server.ErrorLog = log.New(io.Discard, "", 0)
	if certificate != nil {
		s.certificate = certificate.Leaf
		s.URL = "https://" + listener.Addr().String()
	}
	go func() {
		defer close(s.stopped)
		_ = serve(s.server, listener) // http.ErrServerClosed, once closed
	}()
	return s
}

func newHTTPServer(h http.Handler, certificate *tls.Certificate) *http.Server {
	server := &http.Server{Handler: h, ReadHeaderTimeout: readHeaderTimeout}
	if certificate != nil {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12}
	}
	return server
}

func serve(server *http.Server, listener net.Listener) error {
	if server.TLSConfig != nil {
		return server.ServeTLS(listener, "", "")
	}
	return server.Serve(listener)
}

// Close ends all responses, hanging ones too, and returns once none is left.
func (s *Server) Close() {
	s.Handler.Close()
	_ = s.server.Close() // fails only if the listener is already closed
	<-s.stopped
	s.active.Wait()
}

// CertPool returns a pool with the server's certificate, which is empty without TLS.
func (s *Server) CertPool() *x509.CertPool {
	pool := x509.NewCertPool()
	if s.certificate != nil {
		pool.AddCert(s.certificate)
	}
	return pool
}

// Client returns a client that trusts the server's certificate and closes connections after each request.
func (s *Server) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: s.CertPool(), MinVersion: tls.VersionTLS12},
	}}
}

// SelfSignedCertificate returns a certificate for host names and IP addresses that is valid for 30 days, with its Leaf.
func SelfSignedCertificate(hosts ...string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("generate key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "hsstest"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 0, 30),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true, IsCA: true,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if host != "" { // as in ":8443"
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("create certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("parse certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
