package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/hssgate/hssgate/webhook"
)

const (
	// probePause is the time between two attempts of a probe.
	probePause = time.Second
	// probeAttempt bounds one attempt, so that a packet that is dropped before a
	// NetworkPolicy is in effect doesn't take the whole time.
	probeAttempt = 5 * time.Second
)

type probeFlags struct {
	url       string
	caFile    string
	apiServer bool
	// kubeconfig and namespace belong to apiServer.
	kubeconfig string
	namespace  string
	hss        bool
	configFile string // belongs to hss
	timeout    time.Duration
}

func newProbeCommand() *cobra.Command {
	f := &probeFlags{}
	cmd := &cobra.Command{
		Use:   "probe {--url URL [--ca-file FILE] | --api-server [-n NAMESPACE] | --hss --config FILE}",
		Short: "Check that a running webhook answers",
		Long: `probe checks one part of the way from the API server to HSS. The chart's
"helm test" runs it.

--url sends one AdmissionReview of a pod without images to the webhook, and
succeeds if the webhook's certificate is trusted and a complete answer comes back.

--api-server creates a pod by a server-side dry run, which stores nothing, and
succeeds if the API server's answer holds hssgate's comment. It takes the right to
create pods in the namespace. Without hssgate:

  kubectl run try --image=` + webhook.ProbeImage + ` --dry-run=server

--hss makes one signed call for every project of a configuration file, and prints
what HSS answers: the number of images, or what is wrong and what to do.

Until the timeout, it tries again while the webhook or HSS can't be reached, and
while the comment is missing.`,
		Example: `  hssgate probe --url https://hssgate.hssgate-system.svc:443/validate --ca-file /ca/ca.crt
  hssgate probe --api-server -n default
  hssgate probe --hss --config /etc/hssgate/config/config.yaml`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.url, "url", "", "the webhook's https:// address")
	flags.StringVar(&f.caFile, "ca-file", "", "with --url: the CAs to trust (PEM); default: the system's")
	flags.BoolVar(&f.apiServer, "api-server", false, "check that the API server calls the webhook")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "with --api-server: how to reach the cluster; default: $KUBECONFIG, the pod's service account, ~/.kube/config")
	flags.StringVarP(&f.namespace, "namespace", "n", "default", "with --api-server: the namespace to create the pod in, which must not be exempt")
	flags.BoolVar(&f.hss, "hss", false, "check that HSS answers for every project")
	flags.StringVar(&f.configFile, "config", "", "with --hss: the configuration file")
	flags.DurationVar(&f.timeout, "timeout", 30*time.Second, "how long to try")
	return cmd
}

func (f *probeFlags) run(cmd *cobra.Command) error {
	if err := f.validate(); err != nil {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
	defer cancel()
	if f.hss {
		return f.probeHSS(ctx, cmd.OutOrStdout())
	}
	probe := f.probeWebhook
	if f.apiServer {
		probe = f.probeAPIServer
	}
	result, err := probe(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), result)
	return err
}

func (f *probeFlags) validate() error {
	switch {
	case f.hss && (f.apiServer || f.url != "" || f.configFile == ""):
		return errors.New("--hss needs --config FILE, and no other probe")
	case f.hss:
		return nil
	case f.apiServer && (f.url != "" || f.caFile != ""):
		return errors.New("--api-server and --url are two probes: give one")
	case f.apiServer:
		return nil
	case f.url == "":
		return errors.New("--url is required: the webhook's https:// address; or --api-server")
	}
	if u, err := url.Parse(f.url); err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("--url must be the webhook's https:// address, not %q", f.url)
	}
	return nil
}

// probeWebhook sends a review to the webhook until it is answered.
func (f *probeFlags) probeWebhook(ctx context.Context) (string, error) {
	transport := &http.Transport{
		DialContext:     (&net.Dialer{Timeout: probeAttempt / 2}).DialContext,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if f.caFile != "" {
		roots, err := readAuthorities(f.caFile)
		if err != nil {
			return "", usageError{err}
		}
		transport.TLSClientConfig.RootCAs = roots
	}
	client := &http.Client{Transport: transport, Timeout: probeAttempt}
	err := retry(ctx, func(ctx context.Context) (again bool, err error) {
		err = webhook.Probe(ctx, client, f.url, uuid.NewUUID())
		return isUnreachable(err), err
	})
	return f.url + " answers", err
}

// isUnreachable reports whether err may go away by itself. A certificate that is
// not trusted is an answer.
func isUnreachable(err error) bool {
	_, distrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, unreachable := errors.AsType[*url.Error](err)
	return unreachable && !distrusted
}

// retry calls attempt until it succeeds, fails with nothing to hope for, or ctx
// ends. It returns the last error that isn't the end of ctx.
func retry(ctx context.Context, attempt func(context.Context) (again bool, err error)) error {
	var last error
	for {
		again, err := attempt(ctx)
		if err == nil || !again {
			return err
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("tried until the timeout: %w", last)
		case <-time.After(probePause):
		}
	}
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
