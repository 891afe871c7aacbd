package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/hssgate/hssgate/config"
	hssclient "github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/server"
)

// shutdownDelay is how long a replica goes on answering before it stops: the API server may still send reviews to it.
const shutdownDelay = 10 * time.Second

type serveFlags struct {
	cluster                                 clusterFlags
	configFile, caFile, logLevel, logFormat string
	dryRun, leaderElect, secure             bool
	delay                                   time.Duration
}

func newServeCommand() *cobra.Command {
	f := &serveFlags{}
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the admission webhook",
		Long: `serve answers the API server's reviews of pods and workloads, by the ImageScanPolicies
of the cluster and by what HSS knows of the images.

It serves HTTPS: /validate for pods and workloads, /validate-policy for the
policies themselves; plus /healthz, /readyz and /metrics on ports of their own.
Without certificates in the configuration it issues its own, and writes their CA
into the ValidatingWebhookConfiguration that the configuration names
(webhook.configurationName) and into --ca-file.`,
		Example: `  hssgate serve --config config/samples/config.yaml
  hssgate serve --config hssgate.yaml --dry-run --log-format text
  hssgate serve --config hssgate.yaml --kubeconfig ~/.kube/config --ca-file ca.crt`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	inCluster := ownNamespace() != ""
	delay := time.Duration(0)
	if inCluster {
		delay = shutdownDelay
	}
	flags := cmd.Flags()
	flags.StringVar(&f.configFile, "config", "", "the configuration file (required); see config/reference.md")
	flags.StringVar(&f.cluster.kubeconfig, "kubeconfig", "", kubeconfigUsage)
	flags.StringVar(&f.caFile, "ca-file", "", "write the CA of hssgate's own certificates into this file (PEM)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "admit everything, and warn of what would be denied")
	flags.BoolVar(&f.leaderElect, "leader-elect", inCluster, "elect a leader that audits and writes the status of policies; default: in a cluster")
	flags.BoolVar(&f.secure, "secure-metrics", false, "serve metrics over HTTPS by the webhook's certificate, to users who may get the non-resource URL /metrics")
	flags.DurationVar(&f.delay, "shutdown-delay", delay, "how long to go on answering after SIGTERM; default: 10s in a cluster")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&f.logFormat, "log-format", "json", "json or text")
	return cmd
}

func (f *serveFlags) run(cmd *cobra.Command) error {
	if f.configFile == "" {
		return usageError(errors.New("--config is required: a file such as config/samples/config.yaml; see hssgate serve --help"))
	}
	c, err := config.Load(f.configFile)
	if err != nil {
		return usageError(err)
	}
	log, err := newLogger(cmd.ErrOrStderr(), f.logLevel, f.logFormat)
	if err != nil {
		return err
	}
	cluster, err := f.cluster.restConfig()
	if err != nil {
		return err
	}
	mode := "enforce"
	if c.DryRun = c.DryRun || f.dryRun; c.DryRun {
		mode = "dry-run"
	}
	log.Info("starting", "version", version, "mode", mode, "projects", describeProjects(c.Projects), "config", f.configFile, "apiServer", cluster.Host)
	warnOfReadableKeys(log, c.Projects)
	s := &server.Server{
		Config: c, Cluster: cluster, Log: log, UserAgent: userAgent(),
		CAFile: f.caFile, SecureMetrics: f.secure, LeaderElect: f.leaderElect, Namespace: ownNamespace(), ShutdownDelay: f.delay,
	}
	return s.Run(cmd.Context())
}

// warnOfReadableKeys warns of key files that every user of the machine can read. Unusable ones fail where they are used.
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

func describeProjects(projects []config.Project) []string {
	described := make([]string, 0, len(projects))
	for _, p := range projects {
		described = append(described, fmt.Sprintf("%s: %s, project ID %s, credentials %s",
			p.Name, cmp.Or(p.Region, p.Endpoint), cmp.Or(p.ProjectID, "of the credentials or from IAM"), p.Credentials.Source))
	}
	return described
}
