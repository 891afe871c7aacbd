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
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/check"
	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/config/presets"
	"github.com/hssgate/hssgate/hss/inventoryfile"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/report"
)

func presetNames() []string { return presets.Names() }

// targetFlags say what is judged.
type targetFlags struct {
	files           []string
	recursive       bool
	allNamespaces   bool
	namespace       string
	selector        string
	namespaceLabels string
	labelsGiven     bool
	kubeconfig      string
	context         string
	// how tells what to give for something to be judged.
	how string
}

func (f *targetFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.files, "filename", "f", nil, "a file or folder of manifests, or - for standard input; may be repeated")
	f.how = "name images, or give -f FILE, -A or -n NAMESPACE"
	flags.BoolVarP(&f.recursive, "recursive", "R", false, "read the folders in folders, too")
	f.addCluster(flags)
}

func (f *targetFlags) addCluster(flags *pflag.FlagSet) {
	flags.BoolVarP(&f.allNamespaces, "all-namespaces", "A", false, "judge the running pods of all namespaces of the cluster")
	flags.StringVarP(&f.namespace, "namespace", "n", "", "judge the running pods of this namespace; with images or files: where they go that name no namespace")
	flags.StringVarP(&f.selector, "selector", "l", "", "only pods with these labels, such as app=web")
	flags.StringVar(&f.namespaceLabels, "namespace-labels", "", "labels of the namespaces that no file holds, such as env=prod; empty: none")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "how to reach the cluster; default: $KUBECONFIG, the pod's service account, ~/.kube/config")
	flags.StringVar(&f.context, "context", "", "the context of the kubeconfig to use")
}

// validate says which flags don't go together.
func (f *targetFlags) validate(cmd *cobra.Command, images []string) error {
	if err := noFiles(images); err != nil {
		return err
	}
	f.labelsGiven = cmd.Flags().Changed("namespace-labels")
	if _, err := parseLabels(f.namespaceLabels); err != nil {
		return fmt.Errorf("--namespace-labels: %w", err)
	}
	if _, err := labels.Parse(f.selector); err != nil {
		return fmt.Errorf("--selector: %w", err)
	}
	given := len(images) > 0 || len(f.files) > 0
	switch {
	case given && f.allNamespaces:
		return errors.New("--all-namespaces is for a cluster, not for images and files")
	case given && f.selector != "":
		return errors.New("--selector is for a cluster, not for images and files")
	case f.allNamespaces && f.namespace != "":
		return errors.New("--all-namespaces and --namespace exclude each other")
	case !given && !f.allNamespaces && f.namespace == "":
		return fmt.Errorf("nothing to judge: %s", f.how)
	}
	return nil
}

// noFiles refuses images that are files: a forgotten -f would have Docker Hub's
// image of that name judged.
func noFiles(images []string) error {
	for _, name := range images {
		switch _, err := os.Stat(name); {
		case name == check.Stdin, check.IsManifest(name):
			return fmt.Errorf("%q is no image: did you mean -f %s?", name, name)
		case err == nil:
			return fmt.Errorf("%q is a file or folder: did you mean -f %s? For the image of that name give its registry, too", name, name)
		}
	}
	return nil
}

// parseLabels reads key=value pairs; nil if there are none.
func parseLabels(text string) (map[string]string, error) {
	set, err := labels.ConvertSelectorToLabelsMap(text)
	if err != nil {
		why := strings.ReplaceAll(err.Error(), "<nil>: ", "") // where the library would name a field
		return nil, fmt.Errorf("must be key=value[,key=value], not %q: %s", text, why)
	}
	return set, nil
}

// subject says what is judged.
func (f *targetFlags) subject(images []string) string {
	switch {
	case len(images)+len(f.files) > 0:
		return strings.Join(append(append([]string{}, images...), f.files...), ", ")
	case f.allNamespaces:
		return "running pods of all namespaces"
	default:
		return "running pods of namespace " + f.namespace
	}
}

// onceStdin refuses more than one - among what flags name: the first of them
// would read standard input to its end, and leave nothing to the others.
func onceStdin(paths ...[]string) error {
	n := 0
	for _, path := range slices.Concat(paths...) {
		if path == check.Stdin {
			n++
		}
	}
	if n > 1 {
		return errors.New("- is standard input, which can be read once only: name a file in place of the others")
	}
	return nil
}

// target is what is judged.
type target struct {
	stdin      io.Reader
	stderr     io.Writer
	objects    []check.Object
	namespaces *check.Namespaces
	problems   []report.Problem
	skipped    []report.Problem
	// exceptions are those of files.
	exceptions []v1alpha1.ImageScanException
	// cluster is nil if it isn't needed to know the objects.
	cluster   *check.Cluster
	connect   func() (*check.Cluster, error)
	selection *check.Selection
}

// read reads what doesn't come from a cluster.
func (f *targetFlags) read(cmd *cobra.Command, images []string) (*target, error) {
	t := &target{stdin: cmd.InOrStdin(), stderr: cmd.ErrOrStderr(), namespaces: &check.Namespaces{}, connect: f.connect}
	if f.labelsGiven {
		t.namespaces.Others, _ = parseLabels(f.namespaceLabels) // validate has read it
		if t.namespaces.Others == nil {
			t.namespaces.Others = map[string]string{}
		}
	}
	for _, reference := range images {
		t.objects = append(t.objects, check.ImageObject(reference, ""))
	}
	files := check.Files{Paths: f.files, Recursive: f.recursive, Stdin: t.stdin}
	manifests, err := files.Read(cmd.Context())
	if err != nil {
		return nil, err
	}
	t.objects, t.problems, t.skipped = append(t.objects, manifests.Objects...), manifests.Problems, manifests.Skipped
	t.exceptions = manifests.Exceptions
	for _, p := range t.skipped {
		fmt.Fprintf(t.stderr, "hssgate: skipped: %s\n", p)
	}
	t.namespaces.Add(manifests.Namespaces)
	if len(images)+len(f.files) > 0 {
		if len(t.objects)+len(t.problems)+len(t.skipped) == 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "hssgate: there is nothing to judge: %d objects, and none names an image\n", manifests.Others+len(manifests.Namespaces))
		}
		return t, nil
	}
	t.selection = &check.Selection{Namespace: f.namespace, Labels: f.selector}
	return t, t.useCluster()
}

// connect reaches the cluster.
func (f *targetFlags) connect() (*check.Cluster, error) {
	c, err := restConfigOf(f.kubeconfig, f.context)
	if err != nil {
		return nil, err
	}
	c.UserAgent = userAgent()
	return check.NewCluster(c)
}

// useCluster reaches the cluster unless that is done, and has it tell the
// labels of namespaces.
func (t *target) useCluster() error {
	if t.cluster != nil {
		return nil
	}
	var err error
	if t.cluster, err = t.connect(); err != nil {
		return err
	}
	t.namespaces.Live = t.cluster.NamespaceLabels
	return nil
}

// options are those of a check by these policies, but for the policies. The
// exceptions of files count, and if a cluster is used its exceptions and graces
// too. Problems of them are added to the target's.
func (t *target) options(ctx context.Context, asked *hss, namespace string, judging ...*check.Policies) (check.Options, error) {
	o := check.Options{
		Namespaces: t.namespaces, Facts: asked.known, Vulnerabilities: asked.known, Clock: clock.RealClock{},
		Namespace: namespace, ExemptNamespaces: asked.config.ExemptNamespaces,
	}
	exceptions, err := t.inForce(ctx, namespace, time.Duration(asked.config.Exceptions.MaxLifetime))
	if err != nil {
		return o, err
	}
	o.Exceptions = exceptions
	if t.cluster != nil && slices.ContainsFunc(judging, (*check.Policies).GiveGrace) {
		histories, err := t.cluster.Histories(ctx)
		t.problem(err)
		o.Histories = histories
	}
	return o, nil
}

// inForce returns the exceptions that count. An invalid one lets nothing past, as
// in the webhook.
func (t *target) inForce(ctx context.Context, namespace string, maxLifetime time.Duration) (check.Exceptions, error) {
	added, err := check.CompileExceptions(t.exceptions, namespace, maxLifetime, time.Now())
	t.problem(err)
	if t.cluster == nil {
		return added, nil
	}
	exceptions, err := t.cluster.Exceptions(ctx, maxLifetime)
	if exceptions == nil {
		return nil, err
	}
	t.problem(err)
	exceptions.Replace(added)
	return exceptions, nil
}

// problem notes an error that leaves the rest to be judged.
func (t *target) problem(err error) {
	if err != nil {
		t.problems = append(t.problems, report.Problem{Message: err.Error()})
	}
}

// each gives all objects, some at a time.
func (t *target) each(ctx context.Context, give func([]check.Object) error) error {
	if t.selection == nil {
		return give(t.objects)
	}
	selected := 0
	err := t.cluster.Pods(ctx, *t.selection, func(pods []check.Object) error {
		selected += len(pods)
		return give(pods)
	})
	switch {
	case err != nil:
		return fmt.Errorf("read the pods: %w", err)
	case selected == 0:
		return t.nothingSelected(ctx)
	}
	return nil
}

// nothingSelected tells that no pod was judged, which a slip in the call may be
// the reason of. It is an error for a namespace that doesn't exist, if whoever
// calls may ask for it.
func (t *target) nothingSelected(ctx context.Context) error {
	where, which := "in the cluster", ""
	if name := t.selection.Namespace; name != "" {
		if _, err := t.cluster.NamespaceLabels(ctx, name); apierrors.IsNotFound(err) {
			return fmt.Errorf("there is no namespace %q in the cluster", name)
		}
		where = fmt.Sprintf("in namespace %q", name)
	}
	if t.selection.Labels != "" {
		which = " with the labels " + t.selection.Labels
	}
	_, err := fmt.Fprintf(t.stderr, "hssgate: there is nothing to judge: no pod%s is running %s\n", which, where)
	return err
}

// policyFlags say by which policies.
type policyFlags struct {
	policyFiles []string
	preset      string
}

func (f *policyFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.policyFiles, "policies", nil, "a file or folder of ImageScanPolicies and ImageScanExceptions, or - for standard input; may be repeated; default: those of the cluster")
	flags.StringVar(&f.preset, "preset", "", "a policy that comes with hssgate: audit, baseline or strict")
}

func (f *policyFlags) validate() error {
	if len(f.policyFiles) > 0 && f.preset != "" {
		return errors.New("--policies and --preset exclude each other")
	}
	if f.preset != "" {
		if _, err := check.Preset(f.preset); err != nil {
			return fmt.Errorf("--preset: %w", err)
		}
	}
	return nil
}

// policies reads the policies. If some of them are invalid there is an error
// besides.
func (f *policyFlags) policies(ctx context.Context, t *target) (*check.Policies, error) {
	list, err := f.list(ctx, t)
	if err != nil {
		return nil, err
	}
	return check.Compile(list)
}

func (f *policyFlags) list(ctx context.Context, t *target) ([]v1alpha1.ImageScanPolicy, error) {
	switch {
	case f.preset != "":
		p, err := check.Preset(f.preset)
		return []v1alpha1.ImageScanPolicy{p}, err
	case len(f.policyFiles) > 0:
		loaded, err := check.LoadPolicies(ctx, check.Files{Paths: f.policyFiles, Stdin: t.stdin})
		if err != nil {
			return nil, fmt.Errorf("--policies: %w", err)
		}
		t.exceptions = append(t.exceptions, loaded.Exceptions...)
		return loaded.Policies, nil
	}
	if err := t.useCluster(); err != nil {
		return nil, fmt.Errorf("%w; or give the policies by --policies or --preset, then none is needed", err)
	}
	return t.cluster.Policies(ctx)
}

// hssFlags say who knows the images.
type hssFlags struct {
	configFile string
	inventory  string
	// explain keeps what HSS answers, to show it.
	explain bool
}

func (f *hssFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.configFile, "config", "", "the configuration file, which names registries and HSS projects; default with --inventory: that of the samples")
	flags.StringVar(&f.inventory, "inventory", "", "a file of images to take for what HSS knows, instead of asking it")
}

func (f *hssFlags) validate() error {
	if f.configFile == "" && f.inventory == "" {
		return errors.New("--config is required, to ask HSS, or --inventory, to ask a file")
	}
	return nil
}

// hss is who knows the images.
type hss struct {
	config *config.Configuration
	known  *inventory.Inventory
}

// open reads configuration and inventory, and asks nothing yet.
func (f *hssFlags) open() (*hss, error) {
	if _, err := newLogger(io.Discard, config.Logging{Level: "error", Format: "text"}); err != nil {
		return nil, err
	}
	c, err := f.configuration()
	if err != nil {
		return nil, usageError{err}
	}
	known, err := f.openInventory(c)
	if err != nil {
		return nil, err
	}
	return &hss{config: c, known: known}, nil
}

func (f *hssFlags) openInventory(c *config.Configuration) (*inventory.Inventory, error) {
	if f.inventory == "" {
		return check.NewInventory(c, userAgent(), clock.RealClock{}, f.explain)
	}
	file, err := inventoryfile.Load(f.inventory, time.Now())
	if err != nil {
		return nil, fmt.Errorf("--inventory: %w", err)
	}
	return check.NewFileInventory(file, c)
}

func (f *hssFlags) configuration() (*config.Configuration, error) {
	if f.configFile == "" {
		return check.SampleRegistries()
	}
	return config.Load(f.configFile)
}
