package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/internal/whohas"
)

type whoHasFlags struct {
	clusterFlags
	configFlags

	noCluster bool
	output    string
}

func newWhoHasCommand() *cobra.Command {
	f := &whoHasFlags{}
	cmd := &cobra.Command{
		Use:   "who-has VULNERABILITY [-n NAMESPACE | --no-cluster]",
		Short: "List the images and the running workloads that have a vulnerability",
		Long: `who-has lists the images that have a vulnerability by the last scans of HSS, and the
running workloads of the cluster that have one of them. The vulnerability is a CVE, or
an advisory by its ID in HSS. It takes a few calls, however many images there are.

Affected has it. Handled has it, and it was handled in HSS, such as ignored. Unknown:
HSS has no completed scan of what runs. Only images of registries are compared.

Exit codes: 0 nothing has it, 1 something has it, 2 nothing is known to have it, and not
everything is known (without a cluster also if HSS has not scanned an image), 3 wrong
usage.`,
		Example: `  hssgate who-has CVE-2024-3094 --config hssgate.yaml
  hssgate who-has RHSA-2022:4991 --no-cluster --config hssgate.yaml -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.find(cmd)
			id, err := f.validate(args)
			if err != nil {
				return usagef(cmd, err)
			}
			return f.run(cmd, id)
		},
	}
	flags := cmd.Flags()
	f.clusterFlags.add(flags, "only workloads of this namespace; default: of all")
	flags.BoolVar(&f.noCluster, "no-cluster", false, "list images only")
	flags.StringVar(&f.configFile, "config", "", "the configuration file, which names registries and HSS projects; "+configDefaults)
	flags.StringVarP(&f.output, "output", "o", report.TableOutput, "table or json")
	complete(cmd, "output", report.TableOutput, report.JSON)
	return cmd
}

// validate returns the ID of the vulnerability, a CVE's in capitals.
func (f *whoHasFlags) validate(args []string) (id string, err error) {
	if len(args) == 1 {
		id = strings.TrimSpace(args[0])
	}
	upper := strings.ToUpper(id)
	cve := strings.HasPrefix(upper, "CVE")
	if cve {
		id = upper
	}
	switch {
	case id == "":
		return "", errors.New("name one vulnerability, such as CVE-2024-3094")
	case cve && !regexp.MustCompile(`^CVE-[0-9]{4}-[0-9]{4,}$`).MatchString(id):
		return "", fmt.Errorf("%q is not the ID of a CVE, such as CVE-2024-3094", id)
	case f.noCluster && (f.namespace() != "" || f.kubeconfig != ""):
		return "", errors.New("--no-cluster and the flags of a cluster exclude each other")
	case f.configFile == "":
		return "", errors.New(configRequired)
	}
	return id, checkTableOrJSON(f.output)
}

func (f *whoHasFlags) run(cmd *cobra.Command, id string) error {
	ctx := cmd.Context()
	if err := discardLogs(); err != nil {
		return err
	}
	c, err := f.load(cmd)
	if err != nil {
		return err
	}
	known, err := check.NewInventory(c, userAgent(), false)
	if err != nil {
		return usageError(err)
	}
	defer known.Close()
	answer := whohas.Find(ctx, known, id)
	if err := f.match(cmd, answer, known); err != nil {
		answer.Unknown = append(answer.Unknown, "cluster: "+err.Error())
	}
	if ctx.Err() != nil {
		return exitError{errors.New("who-has: interrupted"), exitUnknown}
	}
	if err := f.print(cmd.OutOrStdout(), answer); err != nil {
		return exitError{err, exitUnknown}
	}
	return whoHasError(answer)
}

// match adds the workloads of the cluster. Without any cluster it only says so.
func (f *whoHasFlags) match(cmd *cobra.Command, answer *whohas.Answer, known *inventory.Inventory) error {
	if f.noCluster {
		return nil
	}
	if _, err := f.client().ClientConfig(); clientcmd.IsEmptyConfig(err) {
		fmt.Fprintln(cmd.ErrOrStderr(), "hssgate: no cluster is named, so only images are listed: give --kubeconfig for the workloads that run them")
		return nil
	}
	cluster, err := f.connect(cmd)
	if err != nil {
		return err
	}
	pods, err := cluster.Pods(cmd.Context(), f.namespace(), "")
	if err != nil {
		return err
	}
	answer.Match(cmd.Context(), pods, cluster, known)
	return nil
}

// whoHasError returns the error whose exit code is that of an answer.
func whoHasError(a *whohas.Answer) error {
	images := map[string]bool{}
	for _, i := range a.Images {
		images[strings.Join([]string{i.Project, i.Registry, i.String(), i.Digest}, " ")] = true
	}
	affected := slices.DeleteFunc(slices.Clone(a.Workloads), func(w whohas.Workload) bool { return w.State == whohas.Unknown })
	switch {
	case len(images)+len(affected) > 0 && a.Workloads != nil:
		return fmt.Errorf("%s: images that have it: %d, workloads that run one: %d", a.Vulnerability, len(images), len(affected))
	case len(images) > 0:
		return fmt.Errorf("%s: images that have it: %d", a.Vulnerability, len(images))
	case len(a.Unknown)+len(a.Workloads) > 0, a.Workloads == nil && len(a.Unscanned) > 0:
		return exitError{fmt.Errorf("%s: nothing is known to have it, and not everything is known", a.Vulnerability), exitUnknown}
	}
	return nil
}

func (f *whoHasFlags) print(w io.Writer, a *whohas.Answer) error {
	if f.output == report.JSON {
		return writeJSON(w, a)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	digest := regexp.MustCompile(`(sha256:[0-9a-f]{7})[0-9a-f]{57}`)
	row := func(cells ...string) {
		for i := range cells {
			text := digest.ReplaceAllString(report.Printable(cells[i]), "$1…")
			cells[i] = cmp.Or(strings.Join(strings.Fields(text), " "), "-")
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	if len(a.Images) > 0 {
		row("IMAGE", "DIGEST", "REGISTRY", "SCANNED", "ADVISORY", "SEVERITY", "SOLUTION", "STATE")
	}
	for _, i := range a.Images {
		scanned := ""
		if !i.ScannedAt.IsZero() {
			scanned = duration.HumanDuration(time.Since(i.ScannedAt)) + " ago"
		}
		row(i.String(), i.Digest, i.Registry, scanned, i.Advisory, string(i.Severity), i.Solution, string(i.State))
	}
	if len(a.Workloads) > 0 {
		row()
		row("NAMESPACE", "WORKLOAD", "IMAGE", "STATE", "REASON")
	}
	for _, w := range a.Workloads {
		row(w.Namespace, w.Workload, w.Image, string(w.State), w.Reason)
	}
	row()
	for _, why := range a.Unknown {
		row("not known: " + why)
	}
	for _, why := range a.Unscanned {
		row("not scanned: " + why)
	}
	if len(a.Images)+len(a.Workloads)+len(a.Unknown) == 0 {
		row("no image that HSS has scanned has " + a.Vulnerability)
	}
	return t.Flush()
}
