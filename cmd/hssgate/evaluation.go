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

	cmd       *cobra.Command
	resources check.Resources
	compile   check.CompileOptions
	options   check.Options
	known     *inventory.Inventory
	// cluster is nil while it is not needed.
	cluster *check.Cluster
	wipe    func() // of the progress
}

// prepare reads what is evaluated, and by what. The caller closes it.
func (f *evaluationFlags) prepare(cmd *cobra.Command, explained bool) (*evaluation, error) {
	c, known, err := f.open(explained)
	if err != nil {
		return nil, err
	}
	e := &evaluation{evaluationFlags: f, cmd: cmd, known: known}
	e.options = check.Options{
		Namespaces: &check.Namespaces{}, Facts: known, Clock: clock.RealClock{},
		Namespace: f.namespace(), ExemptNamespaces: c.ExemptNamespaces,
	}
	e.compile = check.CompileOptions{Namespace: f.namespace(), MaxLifetime: time.Duration(c.MaxExceptionLifetime), Now: time.Now()}
	e.options.Progress, e.wipe = progressOn(cmd)
	if err = e.readPolicies(); err == nil {
		err = e.readObjects()
	}
	if err == nil {
		err = e.readExceptions()
	}
	if err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *evaluation) close() {
	e.wipe()
	e.known.Close()
}

// open reads the configuration and the inventory file; it sends no request. With
// explained, the answers of HSS are kept for explanations.
func (f *evaluationFlags) open(explained bool) (c *config.Configuration, known *inventory.Inventory, err error) {
	// Libraries log errors that are reported anyway.
	if _, err := newLogger(io.Discard, "error", "text"); err != nil {
		return nil, nil, err
	}
	if c, err = check.LoadConfig(f.configFile); err != nil {
		return nil, nil, usageError{err}
	}
	if f.inventory == "" {
		known, err = check.NewInventory(c, userAgent(), explained)
		return c, known, err
	}
	file, err := inventoryfile.Load(f.inventory, time.Now())
	if err != nil {
		return nil, nil, fmt.Errorf("--inventory: %w", err)
	}
	known, err = check.NewFileInventory(file, c)
	return c, known, err
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
	e.Manifests = *read
	e.options.Namespaces.Add(e.Namespaces)
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
func (e *evaluation) readPods() error {
	ctx, namespace := e.cmd.Context(), e.namespace()
	err := e.connect()
	if err != nil {
		return err
	}
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

// connect connects to the cluster once. Its namespaces' labels count from then.
func (e *evaluation) connect() (err error) {
	if e.cluster != nil {
		return nil
	}
	if e.cluster, err = e.clusterFlags.connect(e.cmd); err != nil {
		return err
	}
	e.options.Namespaces.Live = e.cluster.NamespaceLabels
	return nil
}

// readPolicies reads the chosen policies, and the exceptions beside them.
func (e *evaluation) readPolicies() (err error) {
	switch {
	case e.preset != "":
		if e.resources, err = check.Preset(e.preset); err != nil {
			return usageError{fmt.Errorf("--preset: %w", err)}
		}
		return nil
	case len(e.policyFiles) > 0:
		e.resources, err = check.LoadPolicies(e.cmd.Context(), check.Files{Paths: e.policyFiles, Stdin: e.cmd.InOrStdin()})
		if err != nil {
			return fmt.Errorf("--policies: %w", err)
		}
		return nil
	}
	if err = e.connect(); err == nil {
		e.resources.Policies, err = e.cluster.Policies(e.cmd.Context())
	}
	if err != nil {
		return fmt.Errorf("%w; or give the policies by --policies or --preset", err)
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
	e.resources.Exceptions = slices.Concat(live, e.Exceptions, e.resources.Exceptions)
	return err
}

// rules compiles resources. An invalid one is a problem.
func (e *evaluation) rules() *check.Rules {
	rules, err := check.Compile(e.resources, e.compile)
	if err != nil {
		e.Problems = append(e.Problems, report.Problem{Message: err.Error()})
	}
	return rules
}
