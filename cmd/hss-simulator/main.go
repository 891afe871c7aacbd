// Command hss-simulator serves an inventory file as if it were Huawei Cloud HSS,
// for evaluations, demonstrations and tests without an HSS account.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/hss/inventoryfile"
	"github.com/hssgate/hssgate/hss/replay"
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
	inventory, replay    string
	listen               string
	certFile, keyFile    string
	accessKey, secretKey string
	latency              time.Duration
	behavior             hsstest.Behavior
	provider             map[string]string
}

func newCommand() *cobra.Command {
	s := &simulator{}
	cmd := &cobra.Command{
		Use:   "hss-simulator {--inventory FILE | --replay FILE}",
		Short: "Serve an inventory file as if it were Huawei Cloud HSS",
		Long: `hss-simulator serves the HSS API for registry images from an inventory file: it
verifies signatures, filters, sorts, pages and fails as HSS does. It reads the
file again whenever it changes.

With --replay, it serves what "hssgate doctor --record" has recorded instead: each
request gets the answers that were recorded for it, in their order, whatever its
credentials and project ID are.

With --identity-provider, it plays IAM, too: it exchanges a service account's token
with these claims for temporary keys. It checks no signature of the token. hssgate
finds it by HUAWEICLOUD_SDK_IAM_ENDPOINT.

It writes no file, so it runs in a container with a read-only root file system
and no volumes but that of the inventory.

HSS's documentation leaves open how some answers look. --behavior chooses; the
first value of each switch is the default:

` + switches(),
		Example: `  hss-simulator --inventory config/samples/inventory.yaml
  hss-simulator --inventory images.yaml --listen 127.0.0.1:9999 --latency 300ms
  hss-simulator --inventory images.yaml --behavior ids=text,architectures=rows
  hss-simulator --inventory images.yaml \
    --identity-provider id=my-cluster,issuer=https://kubernetes.default.svc.cluster.local,subject=system:serviceaccount:hssgate-system:hssgate,audience=hssgate
  hss-simulator --replay hss-record.json`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&s.inventory, "inventory", "", "file with the images that HSS knows, in YAML or JSON")
	flags.StringVar(&s.replay, "replay", "", "record of hssgate doctor to serve in place of an inventory")
	flags.StringVar(&s.listen, "listen", "127.0.0.1:8443", "host:port to listen on")
	flags.StringVar(&s.certFile, "tls-cert", "", "serve HTTPS with this certificate (PEM file)")
	flags.StringVar(&s.keyFile, "tls-key", "", "private key of --tls-cert (PEM file)")
	flags.DurationVar(&s.latency, "latency", 0, "delay of each response")
	flags.Func("behavior", "answers where HSS's documentation leaves them open, as `name=value,…` (see above)", func(text string) (err error) {
		s.behavior, err = hsstest.ParseBehavior(s.behavior.String() + "," + text)
		return err
	})
	flags.StringVar(&s.accessKey, "access-key", hsstest.DefaultCredential().AccessKey, "access key that is accepted")
	flags.StringVar(&s.secretKey, "secret-key", hsstest.DefaultCredential().SecretKey, "secret key of --access-key; used by this simulator only, so never give a real one")
	flags.StringToStringVar(&s.provider, "identity-provider", nil, "identity provider of IAM (OpenID Connect), as `id=…,issuer=…,subject=…,audience=…`")
	cmd.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	cmd.MarkFlagsRequiredTogether("access-key", "secret-key")
	cmd.MarkFlagsOneRequired("inventory", "replay")
	for _, other := range []string{"inventory", "behavior", "latency", "access-key", "identity-provider"} {
		cmd.MarkFlagsMutuallyExclusive("replay", other)
	}
	return cmd
}

// switches lists the switches of a behavior.
func switches() string {
	var b strings.Builder
	for _, s := range hsstest.Switches() {
		fmt.Fprintf(&b, "  %-20s %s\n", s.Name, strings.Join(s.Values, ", "))
	}
	return b.String()
}

// run serves until the command's context ends, which is no error.
func (s *simulator) run(cmd *cobra.Command) error {
	if s.replay != "" {
		record, err := replay.Load(s.replay)
		if err != nil {
			return err
		}
		return s.serve(cmd, record.Handler(), s.replay, "any access key")
	}
	ctx, start, before := cmd.Context(), time.Now(), version(s.inventory)
	file, err := inventoryfile.Load(s.inventory, start)
	if err != nil {
		return err
	}
	options := []hsstest.Option{hsstest.WithInventory(file), hsstest.WithLatency(s.latency), hsstest.WithBehavior(s.behavior),
		hsstest.WithCredentials(hsstest.Credential{AccessKey: s.accessKey, SecretKey: s.secretKey})}
	if p := s.provider; p != nil {
		if len(p) != 4 || p["id"] == "" || p["issuer"] == "" || p["subject"] == "" || p["audience"] == "" {
			return errors.New("--identity-provider must be id=…,issuer=…,subject=…,audience=…, each of them")
		}
		options = append(options, hsstest.WithIdentityProviders(hsstest.IdentityProvider{ID: p["id"], Issuer: p["issuer"], Subject: p["subject"], Audience: p["audience"]}))
	}
	handler := hsstest.NewHandler(options...)
	defer handler.Close()
	go s.follow(ctx, handler, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)), start, before)
	return s.serve(cmd, handler, s.inventory, "the access key "+s.accessKey)
}

// serve serves what is in a file to those who have a key.
func (s *simulator) serve(cmd *cobra.Command, handler http.Handler, file, key string) error {
	ctx := cmd.Context()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	scheme := "http"
	if s.certFile != "" {
		scheme = "https"
	}
	fmt.Fprintf(cmd.OutOrStdout(), "serving %s as HSS at %s://%s, to %s\n", file, scheme, listener.Addr(), key)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })() // fails only if the listener is already closed
	if scheme == "https" {
		err = server.ServeTLS(listener, s.certFile, s.keyFile)
	} else {
		err = server.Serve(listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve: %w", err)
}

// version returns what changes when a file is written.
func version(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
}

// follow reads the rows again when the file changes, until ctx ends. A file that cannot be read leaves them as they were.
func (s *simulator) follow(ctx context.Context, handler *hsstest.Handler, logger *slog.Logger, start time.Time, before string) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := version(s.inventory)
		if now == "" || now == before {
			continue
		}
		before = now
		file, err := inventoryfile.Load(s.inventory, start)
		if err != nil {
			logger.ErrorContext(ctx, "inventory not reloaded", "error", err)
			continue
		}
		handler.SetImages(file.Images...)
		logger.InfoContext(ctx, "inventory reloaded", "rows", len(file.Images))
	}
}
