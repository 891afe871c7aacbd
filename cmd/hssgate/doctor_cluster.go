package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	// gateLabels are those of the chart's Deployment.
	gateLabels = "app.kubernetes.io/component=gate"
	// podConfig is the configuration file in the chart's pods.
	podConfig = "/etc/hssgate/config/config.yaml"
)

// examineInCluster runs doctor in a pod of hssgate, with its configuration, credentials and network. It does so by kubectl, which people who
// have a cluster have, and whose plug-in hssgate is: a client of its own would bring in two modules for WebSocket and SPDY.
func (f *doctorFlags) examineInCluster(cmd *cobra.Command) (e examination, err error) {
	namespace, name, err := f.findGate(cmd)
	if err != nil {
		return e, err
	}
	args := []string{"exec", "-n", namespace, "deployment/" + name, "-c", "hssgate"}
	connection := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(clusterFlags).add(connection, "")
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		values := []string{flag.Value.String()}
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		if connection.Lookup(flag.Name) == nil || flag.Name == "namespace" {
			return
		}
		for _, value := range values {
			args = append(args, "--"+flag.Name+"="+value)
		}
	})
	remote := []string{"/hssgate", "doctor", "--config", podConfig}
	args = append(append(append(args, "--"), remote...), "--bundle", "--progress="+strconv.FormatBool(isTerminal(cmd.ErrOrStderr())))
	fmt.Fprintf(cmd.ErrOrStderr(), "hssgate: doctor runs in the pod of deployment/%s in namespace %s\n", name, namespace)
	var out bytes.Buffer
	kubectl := exec.CommandContext(cmd.Context(), "kubectl", args...) //nolint:gosec // the flags are the user's own
	kubectl.Stdout, kubectl.Stderr = &out, cmd.ErrOrStderr()
	err = kubectl.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return e, fmt.Errorf("kubectl is not in $PATH; where it is, run:\n\n  kubectl exec -n %s deployment/%s -c hssgate -- %s", namespace, name, strings.Join(remote, " "))
	case out.Len() == 0:
		return e, fmt.Errorf("doctor in the pod printed nothing (%w): see above; an older release of hssgate does not have doctor", cmp.Or(err, errors.New("it ended without an error")))
	}
	if err := json.Unmarshal(out.Bytes(), &e); err != nil || e.Report == nil {
		return e, fmt.Errorf("doctor in the pod printed no report: %.200q", out.String())
	}
	if f.record == "" {
		e.Record = nil
	}
	return e, nil
}

// findGate returns the Deployment of hssgate.
func (f *doctorFlags) findGate(cmd *cobra.Command) (namespace, name string, err error) {
	cluster, err := f.cluster.restConfig()
	if err != nil {
		return "", "", fmt.Errorf("%s, or a cluster in which hssgate runs: %w", configRequired, err)
	}
	client, err := kubernetes.NewForConfig(cluster)
	if err != nil {
		return "", "", fmt.Errorf("reach the cluster: %w", err)
	}
	of := f.cluster.namespace()
	found, err := client.AppsV1().Deployments(of).List(cmd.Context(), metav1.ListOptions{LabelSelector: gateLabels})
	if err != nil {
		return "", "", fmt.Errorf("find hssgate in the cluster (-n NAMESPACE names its namespace, --config FILE runs doctor here): %w", err)
	}
	switch len(found.Items) {
	case 0:
		return "", "", fmt.Errorf("there is no Deployment with the label %s in %s: name hssgate's by -n, or give --config FILE to run doctor here",
			gateLabels, cmp.Or(strings.TrimSuffix("namespace "+of, "namespace "), "any namespace"))
	case 1:
		return found.Items[0].Namespace, found.Items[0].Name, nil
	}
	var namespaces []string
	for _, d := range found.Items {
		namespaces = append(namespaces, d.Namespace+"/"+d.Name)
	}
	return "", "", fmt.Errorf("the cluster has several Deployments of hssgate (%s): choose a namespace by -n", strings.Join(namespaces, ", "))
}
