package hsstest

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// DefaultListenAddress is the default of [Simulation].
const DefaultListenAddress = "127.0.0.1:8443"

// reloadInterval is how often a simulation looks at its inventory file.
const reloadInterval = time.Second

// Simulation serves an inventory file until its context ends. It reads the rows of the file again when the file
// changes; a file that cannot be read leaves the rows as they were.
type Simulation struct {
	// InventoryFile is required; see [inventoryfile.Parse].
	InventoryFile string
	// Listen is host and port, by default DefaultListenAddress.
	Listen string
	// CertificateFile and KeyFile are PEM files for TLS, both or none.
	CertificateFile string
	KeyFile         string
	// SelfSigned serves TLS with a generated certificate, which is kept in memory.
	SelfSigned bool
	// CAFile is where the generated certificate is written in PEM; optional.
	CAFile string
	// Options come before those of the file.
	Options []Option
	// Ready is called with the URL once the server listens; optional.
	Ready func(url string)
	// Logger gets reloads; optional.
	Logger *slog.Logger
}

// Run serves until ctx ends, which is no error.
func (s Simulation) Run(ctx context.Context) error {
	start, before := time.Now(), version(s.InventoryFile)
	file, err := inventoryfile.Load(s.InventoryFile, start)
	if err != nil {
		return err
	}
	certificate, err := s.certificate()
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", cmp.Or(s.Listen, DefaultListenAddress))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	handler := NewHandler(append(slices.Clip(s.Options), WithInventory(file))...)
	go s.follow(ctx, handler, start, before)
	if s.Ready != nil {
		scheme := "http://"
		if certificate != nil {
			scheme = "https://"
		}
		s.Ready(scheme + listener.Addr().String())
	}
	server := newHTTPServer(handler, certificate)
	stop := context.AfterFunc(ctx, func() {
		handler.Close()
		_ = server.Close() // fails only if the listener is already closed
	})
	defer stop()
	if err := serve(server, listener); !errors.Is(err, http.ErrServerClosed) || ctx.Err() == nil {
		return fmt.Errorf("serve: %w", err)
	}
	handler.active.Wait()
	return nil
}

// certificate returns nil without TLS.
func (s Simulation) certificate() (*tls.Certificate, error) {
	if s.CertificateFile != "" || s.KeyFile != "" {
		certificate, err := tls.LoadX509KeyPair(s.CertificateFile, s.KeyFile)
		return &certificate, err
	}
	if !s.SelfSigned {
		return nil, nil
	}
	listen := cmp.Or(s.Listen, DefaultListenAddress)
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, fmt.Errorf("listen address %q: %w", listen, err)
	}
	certificate, err := SelfSignedCertificate("localhost", "127.0.0.1", "::1", host)
	if err != nil || s.CAFile == "" {
		return &certificate, err
	}
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	return &certificate, os.WriteFile(s.CAFile, encoded, 0o644) //nolint:gosec // it is public
}

// version returns what changes when a file is written.
func version(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
}

// follow reads the rows again when the file changes, until ctx ends.
func (s Simulation) follow(ctx context.Context, handler *Handler, start time.Time, before string) {
	logger := cmp.Or(s.Logger, slog.New(slog.DiscardHandler))
	ticker := time.NewTicker(reloadInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := version(s.InventoryFile)
		if now == "" || now == before {
			continue
		}
		before = now
		file, err := inventoryfile.Load(s.InventoryFile, start)
		if err != nil {
			logger.ErrorContext(ctx, "inventory not reloaded", "error", err)
			continue
		}
		handler.SetImages(file.Images...)
		logger.InfoContext(ctx, "inventory reloaded", "rows", len(file.Images))
	}
}
