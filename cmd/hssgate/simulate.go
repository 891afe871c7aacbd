package main

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/hssgate/hssgate/hss/hsstest"
)

type simulateFlags struct {
	simulation        hsstest.Simulation
	latency           time.Duration
	requestsPerSecond int
	accessKey         string
	secretKey         string
	noAuthentication  bool
	substringMatching bool
}

func newSimulateCommand() *cobra.Command {
	f := &simulateFlags{}
	cmd := &cobra.Command{
		Use:   "simulate --inventory FILE",
		Short: "Serve a file as if it were HSS, for those who have no HSS at hand",
		Long: `simulate answers HSS's list of registry images (ListRegistryImages) from an
inventory file: it verifies signatures, filters, sorts, pages and refuses as the
real one does. The file is read again whenever it changes.`,
		Example: `  hssgate simulate --inventory config/samples/inventory.yaml
  hssgate simulate --inventory images.yaml --listen 127.0.0.1:9999 --latency 300ms
  hssgate simulate --inventory images.yaml --no-auth`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.simulation.InventoryFile, "inventory", "", "the images that HSS knows, in YAML or JSON (required)")
	flags.StringVar(&f.simulation.Listen, "listen", hsstest.DefaultListenAddress, "host:port to listen on")
	flags.StringVar(&f.simulation.CertificateFile, "tls-cert", "", "serve HTTPS with this certificate (PEM)")
	flags.StringVar(&f.simulation.KeyFile, "tls-key", "", "the private key of --tls-cert (PEM)")
	flags.BoolVar(&f.simulation.SelfSigned, "tls-self-signed", false, "serve HTTPS with a certificate made on the spot")
	flags.DurationVar(&f.latency, "latency", 0, "wait this long before each answer")
	flags.IntVar(&f.requestsPerSecond, "requests-per-second", 0, "throttle what goes beyond with 429; 0: nothing")
	flags.StringVar(&f.accessKey, "access-key", "", "accept this access key instead of the inventory's or the default one")
	flags.StringVar(&f.secretKey, "secret-key", "", "the secret key of --access-key; for this simulation only, so never a real one")
	flags.BoolVar(&f.noAuthentication, "no-auth", false, "accept requests without credentials")
	flags.BoolVar(&f.substringMatching, "substring-matching", false, "let text filters match substrings, as other endpoints of HSS do")
	return cmd
}

func (f *simulateFlags) run(cmd *cobra.Command) error {
	if err := f.check(); err != nil {
		return usageError{fmt.Errorf("%w; see hssgate simulate --help", err)}
	}
	f.simulation.Options = f.options()
	f.simulation.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	f.simulation.Ready = func(url string) {
		fmt.Fprintf(cmd.OutOrStdout(), "serving %s as HSS at %s\n", f.simulation.InventoryFile, url)
		if f.accessKey == "" && !f.noAuthentication {
			known := hsstest.DefaultCredential()
			fmt.Fprintf(cmd.OutOrStdout(), "unless the file names credentials: access key %s, secret key %s\n", known.AccessKey, known.SecretKey)
		}
	}
	return f.simulation.Run(cmd.Context())
}

func (f *simulateFlags) check() error {
	switch {
	case f.simulation.InventoryFile == "":
		return fmt.Errorf("--inventory is required: a file with the images that HSS is to know")
	case (f.simulation.CertificateFile == "") != (f.simulation.KeyFile == ""):
		return fmt.Errorf("--tls-cert and --tls-key belong together")
	case (f.accessKey == "") != (f.secretKey == ""):
		return fmt.Errorf("--access-key and --secret-key belong together")
	case f.latency < 0 || f.requestsPerSecond < 0:
		return fmt.Errorf("--latency and --requests-per-second must not be negative")
	}
	return nil
}

func (f *simulateFlags) options() []hsstest.Option {
	options := []hsstest.Option{hsstest.WithLatency(f.latency)}
	if f.requestsPerSecond > 0 {
		options = append(options, hsstest.WithThrottling(f.requestsPerSecond, time.Second))
	}
	if f.accessKey != "" {
		options = append(options, hsstest.WithCredentials(hsstest.Credential{AccessKey: f.accessKey, SecretKey: f.secretKey}))
	}
	if f.noAuthentication {
		options = append(options, hsstest.WithoutAuthentication())
	}
	if f.substringMatching {
		options = append(options, hsstest.WithSubstringMatching())
	}
	return options
}
