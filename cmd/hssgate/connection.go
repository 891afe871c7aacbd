package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/internal/check"
)

const kubeconfigUsage = "the kubeconfig file; default: $KUBECONFIG, the pod's service account, ~/.kube/config"

// clusterFlags are kubectl's flags for the connection to a cluster.
type clusterFlags struct {
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
}

// add adds the flags. The usage is that of --namespace.
func (f *clusterFlags) add(flags *pflag.FlagSet, namespace string) {
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", kubeconfigUsage)
	clientcmd.BindOverrideFlags(&f.overrides, flags, clientcmd.RecommendedConfigOverrideFlags(""))
	flags.Lookup("namespace").Usage = namespace
}

// namespace returns the value of --namespace; empty if it is not given.
func (f *clusterFlags) namespace() string { return f.overrides.Context.Namespace }

func (f *clusterFlags) client() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &f.overrides)
}

func (f *clusterFlags) restConfig() (*rest.Config, error) {
	c, err := f.client().ClientConfig()
	if err != nil {
		return nil, clusterError(err)
	}
	c.QPS = -1 // API Priority and Fairness limits clients
	c.UserAgent = userAgent()
	return c, nil
}

// connect returns the cluster. The API server's warnings are printed as kubectl prints them.
func (f *clusterFlags) connect(cmd *cobra.Command) (*check.Cluster, error) {
	c, err := f.restConfig()
	if err != nil {
		return nil, err
	}
	c.WarningHandler = rest.NewWarningWriter(cmd.ErrOrStderr(), rest.WarningWriterOptions{})
	return check.NewCluster(c)
}

// clusterError replaces the library's advice, which names a variable that hssgate does not read.
func clusterError(err error) error {
	if clientcmd.IsEmptyConfig(err) {
		return errors.New("find the cluster: none is named; give --kubeconfig, set $KUBECONFIG, or run hssgate in a pod")
	}
	return fmt.Errorf("find the cluster: %w; give --kubeconfig, or run hssgate in a pod", err)
}

// ownNamespace returns the namespace that hssgate runs in; empty outside a cluster.
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

// The defaults of --config, of the commands that people run.
const (
	configVariable = "HSSGATE_CONFIG"
	configName     = "hssgate.yaml"
	configDefaults = "default: $" + configVariable + ", or " + configName + " in the current folder"
	configRequired = "--config is required (or $" + configVariable + ", or a file " + configName + " in the current folder)"
)

type configFlags struct {
	configFile string
	origin     string // where a default comes from, for errors; empty for the flag's value
}

// find sets the configuration file to its default. An empty value of the flag is none.
func (f *configFlags) find(cmd *cobra.Command) {
	if cmd.Flags().Changed("config") {
		return
	}
	if path := os.Getenv(configVariable); path != "" {
		f.configFile, f.origin = path, "$"+configVariable
	} else if _, err := os.Stat(configName); err == nil {
		f.configFile, f.origin = configName, "the default of --config"
	}
}

// load reads the configuration file, or that of the samples if there is none. The file
// that nothing names is printed, since it may be there by chance.
func (f *configFlags) load(cmd *cobra.Command) (*config.Configuration, error) {
	if f.origin != "" && f.configFile == configName {
		fmt.Fprintf(cmd.ErrOrStderr(), "hssgate: the configuration is %s of the current folder\n", configName)
	}
	c, err := check.LoadConfig(f.configFile)
	if err != nil && f.origin != "" {
		err = fmt.Errorf("%s: %w", f.origin, err)
	}
	if err != nil {
		return nil, usageError(err)
	}
	return c, nil
}
