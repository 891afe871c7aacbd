// Command hss-simulator serves an inventory file as if it were Huawei Cloud HSS,
// for evaluations, demonstrations and tests without an HSS account.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hssgate/hssgate/hss/hsstest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hss-simulator:", err)
		os.Exit(1)
	}
}

type simulator struct {
	simulation        hsstest.Simulation
	latency           time.Duration
	requestsPerSecond int
	accessKey         string
	secretKey         string
	noAuthentication  bool
	substringMatching bool
}

func newCommand() *cobra.Command {
	s := &simulator{}
	cmd := &cobra.Command{
		Use:   "hss-simulator --inventory FILE",
		Short: "Serve an inventory file as if it were Huawei Cloud HSS",
		Long: `hss-simulator serves the HSS API for registry images from an inventory file: it
verifies signatures, filters, sorts, pages and fails as HSS does. It reads the
file again whenever it changes.

It writes no file unless --ca-file is given, so it runs in a container with a
read-only root file system and no volumes but that of the inventory.`,
		Example: `  hss-simulator --inventory config/samples/inventory.yaml
  hss-simulator --inventory images.yaml --listen 127.0.0.1:9999 --latency 300ms
  hss-simulator --inventory images.yaml --no-auth`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&s.simulation.InventoryFile, "inventory", "", "file with the images that HSS knows, in YAML or JSON (required)")
	flags.StringVar(&s.simulation.Listen, "listen", hsstest.DefaultListenAddress, "host:port to listen on")
	flags.StringVar(&s.simulation.CertificateFile, "tls-cert", "", "serve HTTPS with this certificate (PEM file)")
	flags.StringVar(&s.simulation.KeyFile, "tls-key", "", "private key of --tls-cert (PEM file)")
	flags.BoolVar(&s.simulation.SelfSigned, "tls-self-signed", false, "serve HTTPS with a generated certificate, kept in memory")
	flags.StringVar(&s.simulation.CAFile, "ca-file", "", "write the certificate of --tls-self-signed to this file, for clients to trust")
	flags.DurationVar(&s.latency, "latency", 0, "delay of each response")
	flags.IntVar(&s.requestsPerSecond, "requests-per-second", 0, "answer requests beyond this rate with 429; 0: no limit")
	flags.StringVar(&s.accessKey, "access-key", "", "accept this access key instead of the inventory's or the default one")
	flags.StringVar(&s.secretKey, "secret-key", "", "secret key of --access-key; used by this simulator only, so never give a real one")
	flags.BoolVar(&s.noAuthentication, "no-auth", false, "accept requests without credentials")
	flags.BoolVar(&s.substringMatching, "substring-matching", false, "let text filters match substrings, as other endpoints of HSS do")
	return cmd
}

func (s *simulator) run(cmd *cobra.Command) error {
	if err := s.check(); err != nil {
		return fmt.Errorf("%w; see hss-simulator --help", err)
	}
	s.simulation.Options = s.options()
	s.simulation.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	s.simulation.Ready = func(url string) {
		fmt.Fprintf(cmd.OutOrStdout(), "serving %s as HSS at %s\n", s.simulation.InventoryFile, url)
		if s.accessKey == "" && !s.noAuthentication {
			known := hsstest.DefaultCredential()
			fmt.Fprintf(cmd.OutOrStdout(), "unless the file names credentials: access key %s, secret key %s\n", known.AccessKey, known.SecretKey)
		}
	}
	return s.simulation.Run(cmd.Context())
}

func (s *simulator) check() error {
	switch {
	case s.simulation.InventoryFile == "":
		return fmt.Errorf("--inventory is required: a file with the images that HSS knows")
	case (s.simulation.CertificateFile == "") != (s.simulation.KeyFile == ""):
		return fmt.Errorf("--tls-cert and --tls-key must be given together")
	case s.simulation.SelfSigned && s.simulation.CertificateFile != "":
		return fmt.Errorf("--tls-self-signed and --tls-cert exclude each other")
	case s.simulation.CAFile != "" && !s.simulation.SelfSigned:
		return fmt.Errorf("--ca-file needs --tls-self-signed")
	case (s.accessKey == "") != (s.secretKey == ""):
		return fmt.Errorf("--access-key and --secret-key must be given together")
	case s.latency < 0 || s.requestsPerSecond < 0:
		return fmt.Errorf("--latency and --requests-per-second must not be negative")
	}
	return nil
}

func (s *simulator) options() []hsstest.Option {
	options := []hsstest.Option{hsstest.WithLatency(s.latency)}
	if s.requestsPerSecond > 0 {
		options = append(options, hsstest.WithThrottling(s.requestsPerSecond, time.Second))
	}
	if s.accessKey != "" {
		options = append(options, hsstest.WithCredentials(hsstest.Credential{AccessKey: s.accessKey, SecretKey: s.secretKey}))
	}
	if s.noAuthentication {
		options = append(options, hsstest.WithoutAuthentication())
	}
	if s.substringMatching {
		options = append(options, hsstest.WithSubstringMatching())
	}
	return options
}
