package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/hssgate/hssgate/config"
	hssclient "github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/server"
)

type serveFlags struct {
	configFile  string
	kubeconfig  string
	caFile      string
	dryRun      bool
	leaderElect bool
	delay       time.Duration
	logLevel    string
	logFormat   string
}

func newServeCommand() *cobra.Command {
	f := &serveFlags{}
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the admission webhook",
		Long: `serve answers the API server's reviews of pods and of what makes pods, by the
ImageScanPolicies of the cluster and by what HSS says of the images.

It serves HTTPS: /validate for pods and workloads, /validate-policy for the
policies themselves; plus /healthz, /readyz and /metrics on ports of their own.
Without certificates in the configuration it makes its own, and writes their
authority into the ValidatingWebhookConfiguration that the configuration names
(webhook.configurationName) and into --ca-file.`,
		Example: `  hssgate serve --config config/samples/config.yaml
  hssgate serve --config hssgate.yaml --dry-run --log-format text
  hssgate serve --config hssgate.yaml --kubeconfig ~/.kube/config --ca-file ca.crt`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	inCluster := ownNamespace() != ""
	flags := cmd.Flags()
	flags.StringVar(&f.configFile, "config", "", "the configuration file (required); config/reference.md describes it")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "how to reach the cluster; without it: $KUBECONFIG, the pod's service account, ~/.kube/config")
	flags.StringVar(&f.caFile, "ca-file", "", "write the authority of hssgate's own certificates into this file (PEM)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "admit everything, and warn of what would be denied")
	flags.BoolVar(&f.leaderElect, "leader-elect", inCluster, "elect one replica that writes the status of policies and renews certificates; default: in a cluster")
	flags.DurationVar(&f.delay, "shutdown-delay", 0, "how long to go on answering when told to stop; default: in a cluster the configuration's shutdownDelay, else 0s")
	flags.StringVar(&f.logLevel, "log-level", "", "debug, info, warn or error; overrides the configuration, which is otherwise followed while hssgate runs")
	flags.StringVar(&f.logFormat, "log-format", "", "json or text; overrides the configuration")
	return cmd
}

func (f *serveFlags) run(cmd *cobra.Command) error {
	c, err := f.configuration(cmd.Flags().Changed("shutdown-delay"))
	if err != nil {
		return err
	}
	var level slog.LevelVar
	queue := newLogQueue(cmd.ErrOrStderr())
	defer queue.close()
	log, err := newLoggerAt(queue, c.Logging, &level)
	if err != nil {
		return err
	}
	cluster, err := restConfig(f.kubeconfig)
	if err != nil {
		return err
	}
	if f.logLevel == "" {
		go followLevel(cmd.Context(), f.configFile, &level, log)
	}
	mode := "enforce"
	if c.DryRun {
		mode = "dry-run"
	}
	log.Info("starting", "version", version, "mode", mode, "projects", describeProjects(c.Projects), "config", f.configFile, "apiServer", cluster.Host)
	warnOfReadableKeys(log, c.Projects)
	g := &server.Server{
		Config: c, Cluster: cluster, Log: log, UserAgent: userAgent(),
		CAFile: f.caFile, LeaderElect: f.leaderElect, Namespace: ownNamespace(), ShutdownDelay: f.delay,
	}
	return g.Run(cmd.Context())
}

// warnOfReadableKeys warns of each file with a secret that every user of the
// machine can read. A file that can't be used fails where it is.
func warnOfReadableKeys(log *slog.Logger, projects []config.Project) {
	for i := range projects {
		c := &projects[i].Credentials
		for _, file := range []string{c.SecretKeyFile, c.SecurityTokenFile, c.TokenFile, c.ProfileFile} {
			if readable, _ := hssclient.CheckKeyFile(file); file != "" && readable {
				log.Warn("every user of the machine can read a key file", "project", projects[i].Name, "file", file)
			}
		}
	}
}

// describeProjects names each project with where it is, its ID and the source
// of its credentials.
func describeProjects(projects []config.Project) []string {
	described := make([]string, 0, len(projects))
	for _, p := range projects {
		described = append(described, fmt.Sprintf("%s: %s, project ID %s, credentials %s",
			p.Name, cmp.Or(p.Region, p.Endpoint), cmp.Or(p.ProjectID, "of the credentials or from IAM"), p.Credentials.Source))
	}
	return described
}

// configuration reads the file and lets flags override it.
func (f *serveFlags) configuration(delayGiven bool) (*config.Configuration, error) {
	if f.configFile == "" {
		return nil, usageError{errors.New("--config is required: a file such as config/samples/config.yaml; see hssgate serve --help")}
	}
	c, err := config.Load(f.configFile)
	if err != nil {
		return nil, usageError{err}
	}
	if ownNamespace() != "" && !delayGiven {
		f.delay = time.Duration(c.ShutdownDelay)
	}
	c.DryRun = c.DryRun || f.dryRun
	if f.logLevel != "" {
		c.Logging.Level = f.logLevel
	}
	if f.logFormat != "" {
		c.Logging.Format = f.logFormat
	}
	return c, nil
}

func restConfig(kubeconfig string) (*rest.Config, error) { return restConfigOf(kubeconfig, "") }

// restConfigOf takes a context of the kubeconfig; empty: its current one.
func restConfigOf(kubeconfig, context string) (*rest.Config, error) {
	return restConfigWith(kubeconfig, &clientcmd.ConfigOverrides{CurrentContext: context})
}

func clientConfig(kubeconfig string, overrides *clientcmd.ConfigOverrides) clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
}

// restConfigWith takes what flags say in place of the kubeconfig.
func restConfigWith(kubeconfig string, overrides *clientcmd.ConfigOverrides) (*rest.Config, error) {
	c, err := clientConfig(kubeconfig, overrides).ClientConfig()
	if err != nil {
		return nil, clientConfigError(err)
	}
	// Reading policies must not wait behind a limit that is meant for controllers.
	c.QPS, c.Burst = 50, 100
	return c, nil
}

// clientConfigError replaces the library's own words, which advise a variable
// that this command doesn't read.
func clientConfigError(err error) error {
	if clientcmd.IsEmptyConfig(err) {
		return errors.New("find the cluster: none is named; give --kubeconfig, set $KUBECONFIG, or run hssgate in a pod")
	}
	return fmt.Errorf("find the cluster: %w; give --kubeconfig, or run hssgate in a pod", err)
}

// ownNamespace is the namespace that hssgate runs in, or empty outside a cluster.
func ownNamespace() string {
	if namespace := os.Getenv("POD_NAMESPACE"); namespace != "" {
		return namespace
	}
	data, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func userAgent() string { return "hssgate/" + version }
