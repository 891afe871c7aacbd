package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/hssgate/hssgate/webhook"
)

type probeFlags struct {
	url     string
	caFile  string
	timeout time.Duration
}

func newProbeCommand() *cobra.Command {
	f := &probeFlags{}
	cmd := &cobra.Command{
		Use:   "probe --url URL --ca-file FILE",
		Short: "Ask a running webhook one question, as the API server would",
		Long: `probe sends one AdmissionReview of a pod without images and succeeds only if
the webhook's certificate is trusted and a complete answer comes back. The
chart's "helm test" runs it.`,
		Example: "  hssgate probe --url https://hssgate.hssgate-system.svc:443/validate --ca-file /ca/ca.crt",
		Args:    noArguments,
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.url, "url", "", "the webhook's https:// address (required)")
	flags.StringVar(&f.caFile, "ca-file", "", "the authorities to trust (PEM); without it: the system's")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for the answer")
	return cmd
}

func (f *probeFlags) run(cmd *cobra.Command) error {
	if err := f.validate(); err != nil {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if f.caFile != "" {
		roots, err := readAuthorities(f.caFile)
		if err != nil {
			return usageError{err}
		}
		transport.TLSClientConfig.RootCAs = roots
	}
	client := &http.Client{Transport: transport, Timeout: f.timeout}
	if err := webhook.Probe(cmd.Context(), client, f.url, uuid.NewUUID()); err != nil {
		return err
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s answers\n", f.url)
	return err
}

func (f *probeFlags) validate() error {
	if f.url == "" {
		return errors.New("--url is required: the webhook's https:// address")
	}
	if u, err := url.Parse(f.url); err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("--url must be the webhook's https:// address, not %q", f.url)
	}
	return nil
}

func readAuthorities(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--ca-file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("--ca-file %s holds no certificate in PEM", file)
	}
	return roots, nil
}
