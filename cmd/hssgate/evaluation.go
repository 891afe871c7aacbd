package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss/inventoryfile"
	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// evaluationFlags are those of the commands that evaluate objects: what is
// evaluated, by which policies, and where scan results come from.
type evaluationFlags struct {
	clusterFlags
	outputFlags

	images          []string
	files           check.Files
	allNamespaces   bool
	selector        string
	namespaceLabels string

	policyFiles []string
	preset      string

	configFile string
	inventory  string
}

func (f *evaluationFlags) addTo(cmd *cobra.Command, outputs []report.Output) {
	flags := cmd.Flags()
	flags.BoolVarP(&f.allNamespaces, "all-namespaces", "A", false, "evaluate the running pods of all namespaces of the cluster")
	flags.StringVarP(&f.selector, "selector", "l", "", "only pods with these labels, such as app=web")
	flags.StringVar(&f.namespaceLabels, "namespace-labels", "", "labels of the namespaces that no file holds, such as env=prod; empty: none")
	f.clusterFlags.add(flags, "evaluate the running pods of this namespace; with images or files: the namespace of objects that name none")
	flags.StringArrayVar(&f.policyFiles, "policies", nil, "a file, folder or URL of ImageScanPolicies and ImageScanExceptions, or - for standard input; may be repeated; default: those of the cluster")
	flags.StringVar(&f.preset, "preset", "", "a policy that comes with hssgate: audit, baseline or strict")
	complete(cmd, "preset", "audit", "baseline", "strict")
	flags.StringVar(&f.configFile, "config", "", "the configuration file, which names registries and HSS projects; default with --inventory: that of the samples")
	flags.StringVar(&f.inventory, "inventory", "", "a file of images and their scan results, in place of HSS")
	f.outputFlags.addTo(cmd, outputs)
}

// inCluster reports whether running pods are evaluated.
func (f *evaluationFlags) inCluster() bool {
	return len(f.images) == 0 && len(f.files.Paths) == 0 && f.files.Kustomize == ""
}

// validate refuses flags that exclude each other. The hint says how to choose
// something to evaluate; more are other flags that may name standard input.
func (f *evaluationFlags) validate(hint string, more ...string) error {
	file := slices.IndexFunc(f.images, isFile)
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
	}
	if _, err := labels.ConvertSelectorToLabelsMap(f.namespaceLabels); err != nil {
		return fmt.Errorf("--namespace-labels must be key=value[,key=value], not %q: %w", f.namespaceLabels, err)
	}
	paths := slices.Concat(f.files.Paths, f.policyFiles, more)
	stdin := slices.Index(paths, check.Stdin)
	switch {
	case len(f.policyFiles) > 0 && f.preset != "":
		return errors.New("--policies and --preset exclude each other")
	case f.configFile == "" && f.inventory == "":
		return errors.New("--config is required, to read from HSS, or --inventory, to read from a file")
	case stdin >= 0 && slices.Contains(paths[stdin+1:], check.Stdin):
		return errors.New("- is standard input, which can be read once only: name a file in place of the others")
	default:
		return nil
	}
}

// isFile reports whether a name is that of a file that exists, or looks like one.
func isFile(name string) bool {
	_, err := os.Stat(name)
	return err == nil || name == check.Stdin || check.IsManifest(name)
}

// subject says in a few words what is evaluated.
func (f *evaluationFlags) subject() string {
	switch {
	case !f.inCluster():
		names := slices.Concat(f.images, f.files.Paths, []string{f.files.Kustomize})
		return strings.Join(slices.DeleteFunc(names, func(s string) bool { return s == "" }), ", ")
	case f.allNamespaces:
		return "running pods of all namespaces"
	default:
		return "running pods of namespace " + f.namespace()
	}
}

// evaluation is what is evaluated, and by what.
type evaluation struct {
	*evaluationFlags
	check.Manifests

	cmd     *cobra.Command
	options check.Options
	// cluster is nil if it is not needed.
	cluster *check.Cluster
}

// evaluate evaluates what the flags name and adds the results to a report. With
// explain, each is explained. Change may change by what is evaluated; it is optional.
func (f *evaluationFlags) evaluate(cmd *cobra.Command, r *report.Report, explain bool, change func(*check.Options) error) error {
	// Libraries log errors that are reported anyway.
	if _, err := newLogger(io.Discard, "error", "text"); err != nil {
		return err
	}
	c, err := check.LoadConfig(f.configFile)
	if err != nil {
		return usageError{err}
	}
	known, err := f.open(c, explain)
	if err != nil {
		return err
	}
	defer known.Close()
	progress, wipe := progressOn(cmd)
	defer wipe()
	e := &evaluation{evaluationFlags: f, cmd: cmd, options: check.Options{
		Namespaces: &check.Namespaces{}, Facts: known, Clock: clock.RealClock{}, Now: time.Now(), Progress: progress,
		Namespace: f.namespace(), ExemptNamespaces: c.ExemptNamespaces, MaxLifetime: c.MaxExceptionLifetime,
	}}
	if explain {
		e.options.Explain = known
	}
	for _, read := range []func() error{e.readPolicies, e.readObjects, e.readExceptions} {
		if err := read(); err != nil {
			return err
		}
	}
	if change != nil {
		if err := change(&e.options); err != nil {
			return err
		}
	}
	checker, err := check.NewChecker(e.options)
	if err != nil { // an invalid policy or exception is a problem
		e.Problems = append(e.Problems, report.Problem{Message: err.Error()})
	}
	r.Problems, r.Skipped = e.Problems, e.Skipped
	if f.inCluster() && r.Changes == nil {
		r.Audit = report.NewAudit(checker.Policies())
	}
	return checker.Check(cmd.Context(), e.Objects, r)
}

// open returns the inventory, of HSS or of a file. It sends no request. With explain,
// the answers of HSS are kept for explanations.
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

// readPolicies reads the chosen policies, and the exceptions beside them. It connects to
// the cluster, if that is needed for anything.
func (e *evaluation) readPolicies() (err error) {
	resources, given := &e.options.Resources, e.preset != "" || len(e.policyFiles) > 0
	if e.inCluster() || !given {
		if e.cluster, err = e.connect(e.cmd); err == nil {
			e.options.Namespaces.Live = e.cluster.NamespaceLabels
		}
		if err == nil && !given {
			resources.Policies, err = e.cluster.Policies(e.cmd.Context())
		}
	}
	switch {
	case err != nil && !given:
		return fmt.Errorf("%w; or give the policies by --policies or --preset", err)
	case err != nil || !given:
		return err
	case e.preset != "":
		if *resources, err = check.Preset(e.preset); err != nil {
			return usageError{fmt.Errorf("--preset: %w", err)}
		}
	default:
		*resources, err = check.LoadPolicies(e.cmd.Context(), check.Files{Paths: e.policyFiles, Stdin: e.cmd.InOrStdin()})
		if err != nil {
			return fmt.Errorf("--policies: %w", err)
		}
	}
	return nil
}

// readObjects reads the images and files, or the running pods of the cluster.
func (e *evaluation) readObjects() (err error) {
	if e.cmd.Flags().Changed("namespace-labels") {
		e.options.Namespaces.Others, _ = labels.ConvertSelectorToLabelsMap(e.namespaceLabels) // validate has read it
	}
	if e.inCluster() {
		err = e.readPods()
	} else {
		err = e.readFiles()
	}
	if err == nil && len(e.Objects)+len(e.Problems)+len(e.Skipped) == 0 {
		fmt.Fprintln(e.cmd.ErrOrStderr(), "hssgate: there is nothing to evaluate: no image, and no object that names one, was found")
	}
	return err
}

func (e *evaluation) readFiles() error {
	e.files.Stdin = e.cmd.InOrStdin()
	read, err := e.files.Read(e.cmd.Context())
	if err != nil {
		return err
	}
	e.Manifests, e.options.Namespaces.Known = *read, read.Namespaces
	for i, reference := range e.images {
		e.Objects = slices.Insert(e.Objects, i, check.ImageObject(reference, ""))
	}
	for _, p := range e.Skipped {
		fmt.Fprintf(e.cmd.ErrOrStderr(), "hssgate: skipped: %s\n", p)
	}
	return nil
}

// readPods reads running pods. A namespace that does not exist is an error, since the
// name may be misspelt.
func (e *evaluation) readPods() (err error) {
	ctx, namespace := e.cmd.Context(), e.namespace()
	e.options.TopOwner = e.cluster.TopOwner
	if e.Objects, err = e.cluster.Pods(ctx, namespace, e.selector); err != nil {
		return fmt.Errorf("read the pods: %w", err)
	}
	if len(e.Objects) == 0 && namespace != "" {
		if _, err := e.cluster.NamespaceLabels(ctx, namespace); apierrors.IsNotFound(err) {
			return fmt.Errorf("there is no namespace %q in the cluster", namespace)
		}
	}
	return nil
}

// readExceptions adds the exceptions of the manifests, before those beside the
// policies, and those of the cluster, if it is used, before both: the last of a
// name counts.
func (e *evaluation) readExceptions() (err error) {
	var live []v1alpha1.ImageScanException
	if e.cluster != nil {
		if live, err = e.cluster.Exceptions(e.cmd.Context()); errors.Is(err, check.ErrNotInstalled) {
			err = nil
		}
	}
	e.options.Resources.Exceptions = slices.Concat(live, e.Exceptions, e.options.Resources.Exceptions)
	return err
}
