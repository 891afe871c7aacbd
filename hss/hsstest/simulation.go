package hsstest

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// DefaultListenAddress is where a [Simulation] listens unless told otherwise.
const DefaultListenAddress = "127.0.0.1:8443"

// reloadInterval is how often a simulation looks at its inventory file.
const reloadInterval = time.Second

// Simulation serves an inventory file until its context ends. While it runs,
// the rows of the file are read again whenever it changes; a file that can't be
// read leaves the rows as they were.
type Simulation struct {
	// InventoryFile is required; see [inventoryfile.Parse].
	InventoryFile string
	// Listen is host and port; empty: DefaultListenAddress; port 0: any.
	Listen string
	// CertificateFile and KeyFile, both or none, are PEM files for TLS.
	CertificateFile string
	KeyFile         string
	// SelfSigned serves TLS with a generated certificate, which is kept in memory.
	SelfSigned bool
	// CAFile is where the generated certificate is written, in PEM; optional.
	CAFile string
	// Options come before those of the file.
	Options []Option
	// Ready, if set, is called with the URL once the server listens.
	Ready func(url string)
	// Logger tells of reloads; nil: nobody.
	Logger *slog.Logger
}

// Run serves until ctx ends, which is no error.
func (s Simulation) Run(ctx context.Context) error {
	file := &inventoryFile{path: s.InventoryFile, start: time.Now()}
	inventory, err := file.load()
	if err != nil {
		return err
	}
	config, err := s.tlsConfig()
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.address())
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	url := "http://" + listener.Addr().String()
	if config != nil {
		url = "https://" + listener.Addr().String()
	}
	handler := NewHandler(append(append([]Option{}, s.Options...), WithInventory(inventory))...) //nolint:contextcheck // its answers end with Close
	go file.follow(ctx, handler, s.logger())
	if s.Ready != nil {
		s.Ready(url)
	}
	return serveUntil(ctx, listener, config, handler)
}

func (s Simulation) address() string {
	if s.Listen == "" {
		return DefaultListenAddress
	}
	return s.Listen
}

func (s Simulation) logger() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}

// tlsConfig is nil without TLS.
func (s Simulation) tlsConfig() (*tls.Config, error) {
	var certificate tls.Certificate
	var err error
	switch {
	case s.CertificateFile != "" || s.KeyFile != "":
		certificate, err = tls.LoadX509KeyPair(s.CertificateFile, s.KeyFile)
	case s.SelfSigned:
		host, _, splitErr := net.SplitHostPort(s.address())
		if splitErr != nil {
			return nil, fmt.Errorf("listen address %q: %w", s.address(), splitErr)
		}
		certificate, err = SelfSignedCertificate("localhost", "127.0.0.1", "::1", host)
		if err == nil && s.CAFile != "" {
			err = os.WriteFile(s.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), 0o644) //nolint:gosec // it is public
		}
	default:
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}, nil
}

// serveUntil closes the listener, and every connection, when ctx ends.
func serveUntil(ctx context.Context, listener net.Listener, config *tls.Config, handler *Handler) error {
	server := &http.Server{Handler: handler, TLSConfig: config, ReadHeaderTimeout: readHeaderTimeout}
	stop := context.AfterFunc(ctx, func() {
		handler.Close()
		_ = server.Close() // an error would be of a listener that is already closed
	})
	defer stop()
	serve := func() error { return server.Serve(listener) }
	if config != nil {
		serve = func() error { return server.ServeTLS(listener, "", "") }
	}
	err := serve()
	if errors.Is(err, http.ErrServerClosed) && ctx.Err() != nil {
		handler.active.Wait()
		return nil
	}
	return fmt.Errorf("serve: %w", err)
}

// inventoryFile is a file that may change.
type inventoryFile struct {
	path     string
	start    time.Time // what ages in the file count from
	modified time.Time
	size     int64
}

func (f *inventoryFile) load() (*inventoryfile.File, error) {
	if info, err := os.Stat(f.path); err == nil {
		f.modified, f.size = info.ModTime(), info.Size()
	}
	return inventoryfile.Load(f.path, f.start)
}

// changed tells whether the file is another one than at the last load.
func (f *inventoryFile) changed() bool {
	info, err := os.Stat(f.path)
	return err == nil && (!info.ModTime().Equal(f.modified) || info.Size() != f.size)
}

// follow reads the rows again whenever the file changes, until ctx ends.
func (f *inventoryFile) follow(ctx context.Context, handler *Handler, logger *slog.Logger) {
	ticker := time.NewTicker(reloadInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f.reload(ctx, handler, logger)
		}
	}
}

func (f *inventoryFile) reload(ctx context.Context, handler *Handler, logger *slog.Logger) {
	if !f.changed() {
		return
	}
	inventory, err := f.load()
	if err != nil {
		logger.ErrorContext(ctx, "the inventory was not read again", "error", err)
		return
	}
	handler.SetImages(inventory.Images...)
	logger.InfoContext(ctx, "the inventory was read again", "rows", len(inventory.Images))
}
