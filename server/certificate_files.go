package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/certwatcher"

	"github.com/hssgate/hssgate/hss"
)

// How often the end of a certificate that hssgate is given is looked at, and how
// long before it a warning is given: whoever renews it should have done so.
const (
	expiryInterval = time.Hour
	expiryWarning  = 7 * 24 * time.Hour
)

// certificateFiles serve what two files hold, as they change. While they hold no
// pair, the last good one is served.
type certificateFiles struct {
	*certwatcher.CertWatcher
	log *slog.Logger
}

func newCertificateFiles(certFile, keyFile string, log *slog.Logger) (*certificateFiles, error) {
	watcher, err := certwatcher.New(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the serving certificate: %w", err)
	}
	readable, err := hss.CheckKeyFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the serving key: %w", err)
	}
	if readable {
		log.Warn("every user of the machine can read a key file", "file", keyFile)
	}
	f := &certificateFiles{CertWatcher: watcher, log: log.With("component", "certificates", "file", certFile)}
	watcher.RegisterCallback(func(c tls.Certificate) {
		f.log.Info("serving by a certificate from files", "names", c.Leaf.DNSNames, "validUntil", c.Leaf.NotAfter)
	})
	return f, nil
}

// Start follows the files, and warns of a certificate that nobody renews.
func (f *certificateFiles) Start(ctx context.Context) error {
	go f.watchExpiry(ctx)
	return f.CertWatcher.Start(ctx)
}

func (f *certificateFiles) watchExpiry(ctx context.Context) {
	ticker := time.NewTicker(expiryInterval)
	defer ticker.Stop()
	for {
		f.warnOfExpiry(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (f *certificateFiles) warnOfExpiry(now time.Time) {
	c, err := f.GetCertificate(nil)
	if err != nil || now.Add(expiryWarning).Before(c.Leaf.NotAfter) {
		return
	}
	f.log.Warn("the serving certificate ends soon, or has ended: without a new one the API server will refuse it", "validUntil", c.Leaf.NotAfter)
}
