package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/inventoryfile"
	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// evaluationFlags are those of commands that evaluate objects: which, by which policies, and where results come from.
type evaluationFlags struct {
	clusterFlags
	configFlags
	outputFlags

	images                    []string
	files                     check.Files
	allNamespaces             bool
	selector, namespaceLabels string
	policyFiles               []string
	preset, inventory         string
}

func (f *evaluationFlags) addTo(cmd *cobra.Command, outputs []report.Output) {
	flags := cmd.Flags()
	flags.BoolVarP(&f.allNamespaces, "all-namespaces", "A", false, "evaluate the running pods of all namespaces of the cluster")
	flags.StringVarP(&f.selector, "selector", "l", "", "only pods with these labels, such as app=web")
	flags.StringVar(&f.inventory, "inventory", "", "a file of images and their scan results, in place of HSS")
	f.addPolicies(cmd, "evaluate the running pods of this namespace; with images or files: the namespace of objects that name none",
		"; with --inventory at last that of the samples", outputs)
}

// addPolicies adds the flags of an evaluation of images: by which policies, and how it is reported.
func (f *evaluationFlags) addPolicies(cmd *cobra.Command, namespace, config string, outputs []report.Output) {
	flags := cmd.Flags()
	flags.StringVar(&f.namespaceLabels, "namespace-labels", "", "labels of the namespaces that no file holds, such as env=prod; empty: none")
	f.clusterFlags.add(flags, namespace)
	flags.StringArrayVar(&f.policyFiles, "policies", nil, "a file, folder or URL of ImageScanPolicies and ImageScanExceptions, or - for standard input; may be repeated; default: those of the cluster")
	flags.StringVar(&f.preset, "preset", "", "a policy that comes with hssgate: audit, baseline or strict")
	complete(cmd, "preset", "audit", "baseline", "strict")
	flags.StringVar(&f.configFile, "config", "", "the configuration file, which names registries and HSS projects; "+configDefaults+config)
	f.outputFlags.addTo(cmd, outputs)
}

func (f *evaluationFlags) inCluster() bool {
	return len(f.images) == 0 && len(f.files.Paths) == 0 && f.files.Kustomize == ""
}

// validate refuses flags that exclude each other, after the defaults are set. The hint says how to choose something to
// evaluate; more are other flags that may name standard input.
func (f *evaluationFlags) validate(cmd *cobra.Command, hint string, more ...string) error {
	f.find(cmd)
	file := slices.IndexFunc(f.images, isFile)
	_, wrongLabels := labels.ConvertSelectorToLabelsMap(f.namespaceLabels)
	paths := slices.Concat(f.files.Paths, f.policyFiles, more)
	stdin := slices.Index(paths, check.Stdin)
	switch {
	case file >= 0: // without -f, Docker Hub's image of that name would be evaluated
		return fmt.Errorf("%q is a file or folder: did you mean -f %[1]s? For the image of that name give its registry, too", f.images[file])
	case !f.inCluster() && f.allNamespaces:
		return errors.New("--all-namespaces is for a cluster, not for images and files")
	case !f.inCluster() && f.selector != "":
		return errors.New("--selector is for a cluster, not for images and files")
	case f.allNamespaces && f.namespace() != "":
		return errors.New("--all-namespaces and --namespace exclude each other")
	case f.inCluster() && !f.allNamespaces && f.namespace() == "":
		return fmt.Errorf("nothing to evaluate: %s", hint)
	case wrongLabels != nil:
		return fmt.Errorf("--namespace-labels must be key=value[,key=value], not %q: %w", f.namespaceLabels, wrongLabels)
	case len(f.policyFiles) > 0 && f.preset != "":
		return errors.New("--policies and --preset exclude each other")
	case f.configFile == "" && f.inventory == "":
		return errors.New(configRequired + ", to read from HSS, or --inventory, to read from a file")
	case stdin >= 0 && slices.Contains(paths[stdin+1:], check.Stdin):
		return errors.New("- is standard input, which can be read once only: name a file in place of the others")
	}
	return nil
}

// isFile reports whether a name is that of a file that exists, or looks like one.
func isFile(name string) bool {
	_, err := os.Stat(name)
	return err == nil || name == check.Stdin || check.IsManifest(name)
}

func (f *evaluationFlags) subject() string {
	switch {
	case !f.inCluster():
		names := slices.Concat(f.images, f.files.Paths, []string{f.files.Kustomize})
		return strings.Join(slices.DeleteFunc(names, func(s string) bool { return s == "" }), ", ")
	case f.allNamespaces:
		return "running pods of all namespaces"
	}
	return "running pods of namespace " + f.namespace()
}

// changeFunc may change by what, and which objects, are evaluated.
type changeFunc func(*cobra.Command, *check.Options, *inventory.Inventory, *check.Manifests) error

// evaluate evaluates what the flags name and adds the results to a report. With explain, each is explained.
func (f *evaluationFlags) evaluate(cmd *cobra.Command, r *report.Report, explain bool, change changeFunc) error {
	if err := discardLogs(); err != nil {
		return err
	}
	c, err := f.load(cmd)
	if err != nil {
		return err
	}
	known, err := f.open(c, explain)
	if err != nil {
		return err
	}
	defer known.Close()
	progress, wipe := progressOn(cmd)
	defer wipe()
	o := &check.Options{
		Facts: known, Progress: progress, Namespace: f.namespace(), ExemptNamespaces: c.ExemptNamespaces, MaxLifetime: c.MaxExceptionLifetime,
	}
	if explain {
		o.Explain = known
	}
	cluster, err := f.readPolicies(cmd, o)
	if err != nil {
		return err
	}
	m, err := f.readObjects(cmd, o, cluster)
	if err != nil {
		return err
	}
	var live []v1alpha1.ImageScanException
	if cluster != nil {
		if live, err = cluster.Exceptions(cmd.Context()); err != nil && !errors.Is(err, check.ErrNotInstalled) {
			return err
		}
	}
	// The last one of a name counts.
	o.Resources.Exceptions = slices.Concat(live, m.Exceptions, o.Resources.Exceptions)
	if err := change(cmd, o, known, m); err != nil {
		return err
	}
	checker, err := check.NewChecker(*o)
	if err != nil { // an invalid policy or exception is a problem
		m.Problems = append(m.Problems, report.Problem{Message: err.Error()})
	}
	r.Problems, r.Skipped = m.Problems, m.Skipped
	if f.inCluster() && r.Changes == nil {
		r.Audit = &report.Audit{Policies: []report.PolicyCounts{}}
	}
	return checker.Check(cmd.Context(), m.Objects, r)
}

// open returns the inventory, of HSS or of a file, and sends no request. Explain keeps HSS's answers for explanations.
func (f *evaluationFlags) open(c *config.Configuration, explain bool) (*inventory.Inventory, error) {
	if f.inventory == "" {
		return check.NewInventory(c, userAgent(), explain)
	}
	file, err := inventoryfile.Load(f.inventory, time.Now())
	if err != nil {
		return nil, fmt.Errorf("--inventory: %w", err)
	}
	return check.NewFileInventory(file, c)
}

// readPolicies reads the policies, and the exceptions beside them. It returns the cluster if it is needed for anything.
func (f *evaluationFlags) readPolicies(cmd *cobra.Command, o *check.Options) (cluster *check.Cluster, err error) {
	given := f.preset != "" || len(f.policyFiles) > 0
	if f.inCluster() || !given {
		if cluster, err = f.connect(cmd); err == nil && !given {
			o.Resources.Policies, err = cluster.Policies(cmd.Context())
		}
		if err != nil && !given {
			err = fmt.Errorf("%w; or give the policies by --policies or --preset", err)
		}
		if err != nil {
			return nil, err
		}
		o.NamespaceLabels = cluster.NamespaceLabels
	}
	switch {
	case f.preset != "":
		if o.Resources, err = check.Preset(f.preset); err != nil {
			return nil, usageError(fmt.Errorf("--preset: %w", err))
		}
	case given:
		if o.Resources, err = check.LoadPolicies(cmd.Context(), check.Files{Paths: f.policyFiles, Stdin: cmd.InOrStdin()}); err != nil {
			return nil, fmt.Errorf("--policies: %w", err)
		}
	}
	return cluster, nil
}

func (f *evaluationFlags) readObjects(cmd *cobra.Command, o *check.Options, cluster *check.Cluster) (m *check.Manifests, err error) {
	if cmd.Flags().Changed("namespace-labels") {
		others, _ := labels.ConvertSelectorToLabelsMap(f.namespaceLabels) // validate has read it
		o.NamespaceLabels = func(context.Context, string) (map[string]string, error) { return others, nil }
	}
	if f.inCluster() {
		m, o.TopOwner = &check.Manifests{}, cluster.TopOwner
		m.Objects, err = cluster.Pods(cmd.Context(), f.namespace(), f.selector)
	} else {
		f.files.Stdin = cmd.InOrStdin()
		m, err = f.files.Read(cmd.Context())
		o.Namespaces = m.Namespaces
	}
	if err != nil {
		return nil, err
	}
	for i, reference := range f.images {
		m.Objects = slices.Insert(m.Objects, i, check.ImageObject(reference))
	}
	printSome(cmd.ErrOrStderr(), "", m.Notes)
	printSome(cmd.ErrOrStderr(), "skipped: ", m.Skipped)
	if len(m.Objects)+len(m.Problems)+len(m.Skipped) == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "hssgate: there is nothing to evaluate: no image, and no object that names one, was found")
	}
	return m, nil
}

// printSome prints the first few problems and the number of others: a repository may have hundreds.
func printSome(w io.Writer, prefix string, problems []report.Problem) {
	const most = 10
	for i, p := range problems {
		if i == most {
			fmt.Fprintf(w, "hssgate: %sand %d more\n", prefix, len(problems)-most)
			return
		}
		fmt.Fprintf(w, "hssgate: %s%s\n", prefix, p)
	}
}
