package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"

	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/webhook"
)

const probeAttempt = 5 * time.Second // bounds one attempt: packets are dropped until a NetworkPolicy is in effect

type probeFlags struct {
	url, caFile    string
	apiServer, hss bool
	cluster        clusterFlags // for apiServer
	namespace      string       // for apiServer
	timeout        time.Duration
	configFlags    // for hss
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
succeeds if the API server's answer holds hssgate's comment. It needs the right to
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
	flags.StringVar(&f.cluster.kubeconfig, "kubeconfig", "", "with --api-server: "+kubeconfigUsage)
	flags.StringVarP(&f.namespace, "namespace", "n", "default", "with --api-server: the namespace to create the pod in, which must not be exempt")
	flags.BoolVar(&f.hss, "hss", false, "check that HSS answers for every project")
	flags.StringVar(&f.configFile, "config", "", "with --hss: the configuration file; "+configDefaults)
	flags.DurationVar(&f.timeout, "timeout", 30*time.Second, "how long to try")
	return cmd
}

func (f *probeFlags) run(cmd *cobra.Command) error {
	f.find(cmd)
	u, err := url.Parse(f.url)
	probe, wrong := f.probeWebhook, error(nil)
	switch {
	case f.hss && f.configFile == "":
		wrong = errors.New(configRequired)
	case f.hss && (f.apiServer || f.url != ""):
		wrong = errors.New("--hss and other probes exclude each other")
	case f.hss:
		probe = f.probeHSS
	case f.apiServer && (f.url != "" || f.caFile != ""):
		wrong = errors.New("--api-server and --url are two probes: give one")
	case f.apiServer:
		probe = f.probeAPIServer
	case f.url == "":
		wrong = errors.New("--url is required: the webhook's https:// address; or --api-server")
	case err != nil || u.Scheme != "https" || u.Hostname() == "":
		wrong = fmt.Errorf("--url must be the webhook's https:// address, not %q", f.url)
	}
	if wrong != nil {
		return usagef(cmd, wrong)
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
	defer cancel()
	result, err := probe(ctx, cmd)
	if result != "" {
		fmt.Fprintln(cmd.OutOrStdout(), result)
	}
	return err
}

// retry calls attempt until it succeeds or fails for good. At the end of ctx it returns the last result before.
func retry(ctx context.Context, attempt func(context.Context) (result string, again bool, err error)) (last string, err error) {
	for {
		result, again, failed := attempt(ctx)
		if failed == nil || !again {
			return result, failed
		}
		if err == nil || ctx.Err() == nil {
			last, err = result, failed
		}
		select {
		case <-ctx.Done():
			return last, fmt.Errorf("tried until the timeout: %w", err)
		case <-time.After(time.Second):
		}
	}
}

func (f *probeFlags) probeWebhook(ctx context.Context, _ *cobra.Command) (string, error) {
	transport := &http.Transport{
		DialContext:     (&net.Dialer{Timeout: probeAttempt / 2}).DialContext,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if f.caFile != "" {
		data, err := os.ReadFile(f.caFile)
		if err != nil {
			return "", usageError(fmt.Errorf("--ca-file: %w", err))
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(data) {
			return "", usageError(fmt.Errorf("--ca-file %s holds no certificate in PEM", f.caFile))
		}
		transport.TLSClientConfig.RootCAs = roots
	}
	client := &http.Client{Transport: transport, Timeout: probeAttempt}
	return retry(ctx, func(ctx context.Context) (result string, again bool, err error) {
		err = webhook.Probe(ctx, client, f.url, uuid.NewUUID())
		// A certificate that is not trusted is an answer.
		_, distrusted := errors.AsType[*tls.CertificateVerificationError](err)
		_, unreachable := errors.AsType[*url.Error](err)
		if err == nil {
			result = f.url + " answers"
		}
		return result, unreachable && !distrusted, err
	})
}

// probeAPIServer creates a pod by a dry run until the API server's answer holds hssgate's comment, which it returns.
func (f *probeFlags) probeAPIServer(ctx context.Context, _ *cobra.Command) (string, error) {
	cluster, err := f.cluster.restConfig()
	if err != nil {
		return "", err
	}
	var got warnings
	cluster.WarningHandler = &got
	client, err := kubernetes.NewForConfig(cluster)
	if err != nil {
		return "", fmt.Errorf("reach the cluster: %w", err)
	}
	return retry(ctx, func(ctx context.Context) (comment string, again bool, err error) {
		got = nil
		_, err = client.CoreV1().Pods(f.namespace).Create(ctx, probePod(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		// A policy may deny the pod: hssgate was still called.
		switch i := slices.IndexFunc(got, webhook.IsProbeComment); {
		case i >= 0:
			return got[i], false, nil
		case err != nil:
			return "", true, fmt.Errorf("cannot create a pod in namespace %q (dry run): %w", f.namespace, err)
		case len(got) > 0:
			return "", true, fmt.Errorf("hssgate does not evaluate pods of namespace %q: %s", f.namespace, strings.Join(got, "; "))
		}
		return "", true, fmt.Errorf(`the API server created the pod without calling hssgate, or could not reach it (failurePolicy Ignore hides that): `+
			`check that namespace %q is not exempt, that "kubectl get validatingwebhookconfiguration" lists hssgate's with a caBundle, `+
			`and that the API server reaches the webhook: its log says "failed calling webhook" with the cause`, f.namespace)
	})
}

// probePod returns a pod that Pod Security's level restricted allows.
func probePod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "hssgate-probe-"},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: new(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: new(true), RunAsUser: new(int64(65532)),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "probe", Image: webhook.ProbeImage,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}

type warnings []string

// HandleWarningHeader is rest.WarningHandler's.
func (w *warnings) HandleWarningHeader(code int, _, text string) {
	if code == 299 {
		*w = append(*w, text)
	}
}

// probeHSS makes a signed call for every project and returns what HSS answers. It tries again after failures that may
// pass: the network of a new pod is not always there at once.
func (f *probeFlags) probeHSS(ctx context.Context, cmd *cobra.Command) (string, error) {
	c, err := f.load(cmd)
	if err != nil {
		return "", err
	}
	known, err := check.NewInventory(c, userAgent(), false)
	if err != nil {
		return "", usageError(err)
	}
	defer known.Close()
	return retry(ctx, func(ctx context.Context) (result string, again bool, err error) {
		checks := known.Check(ctx)
		failed, lines := 0, make([]string, len(checks))
		for i, c := range checks {
			result := c.Cause
			switch {
			case c.Err != nil:
				failed++
				again = again || c.Temporary
			case c.Images < 0:
				result = "HSS answers"
			default:
				result = fmt.Sprintf("HSS answers, images: %d", c.Images)
			}
			lines[i] = fmt.Sprintf("project %s (region %s, project ID %s): %s", c.Project, cmp.Or(c.Region, "not given"), cmp.Or(c.ProjectID, "not known"), result)
		}
		if failed > 0 {
			err = fmt.Errorf("HSS cannot be used for %d of %d projects", failed, len(checks))
		}
		return strings.Join(lines, "\n"), again, err
	})
}
