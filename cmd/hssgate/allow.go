package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/check"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Values of --dry-run, which are kubectl's.
const (
	dryRunNone   = "none"
	dryRunClient = "client"
	dryRunServer = "server"
)

// longestLifetime is the longest that hssgate's configuration can grant. What it
// does grant is for the webhook to check.
const longestLifetime = 87600 * time.Hour

type allowFlags struct {
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
	lifetime   time.Duration
	reason     string
	policies   []string
	dryRun     string
	output     string
}

func newAllowCommand() *cobra.Command {
	f := &allowFlags{}
	cmd := &cobra.Command{
		Use:   "allow IMAGE ... -n NAMESPACE --for DURATION --reason TEXT",
		Short: "Admit denied images into a namespace for some time, by an ImageScanException",
		Long: `allow creates an ImageScanException in the cluster: until it ends, the images are
admitted into the namespace although policies deny them. All replicas follow it within
seconds, and pods that controllers create are admitted, too. hssgate itself need not run.

IMAGE is one image. By its digest (app@sha256:…) only pods that name the digest are
admitted. Otherwise every tag of HOST/PATH is, since a tag can move. Wildcards are for
exceptions that you write yourself.

Needed is the right to create imagescanexceptions in the namespace, for which the chart
has the role RELEASE-exception-editor. The configuration of hssgate bounds the duration
(exceptions.maxLifetime, by default 720h).`,
		Example: `  hssgate allow swr.cn-north-4.myhuaweicloud.com/prod/app:1.4 -n shop --for 2h --reason "INC-7: the shop is down"
  hssgate allow app@sha256:… -n shop --for 2h --reason INC-7 --policy production -o yaml --dry-run=client`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, images []string) error { return f.run(cmd, images) },
	}
	flags := cmd.Flags()
	flags.DurationVar(&f.lifetime, "for", 0, "how long the images are admitted, such as 2h or 90m (required)")
	flags.StringVar(&f.reason, "reason", "", "why, in one line for whoever reads an audit log (required)")
	flags.StringArrayVar(&f.policies, "policy", nil, "an ImageScanPolicy that denies the images; may be repeated; default: all that select one of the images and permit exceptions")
	flags.StringVar(&f.dryRun, "dry-run", dryRunNone, "none, server (the API server checks the exception and stores nothing) or client (it is only printed)")
	flags.StringVarP(&f.output, "output", "o", "", "print the exception as name, yaml or json")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "how to reach the cluster; default: $KUBECONFIG, the pod's service account, ~/.kube/config")
	clientcmd.BindOverrideFlags(&f.overrides, flags, clientcmd.RecommendedConfigOverrideFlags(""))
	// Errors would be of flags that don't exist, which a test would notice.
	_ = cmd.RegisterFlagCompletionFunc("dry-run", cobra.FixedCompletions(allowDryRuns(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(allowOutputs()[1:], cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func allowDryRuns() []string { return []string{dryRunNone, dryRunServer, dryRunClient} }

func allowOutputs() []string { return []string{"", "name", "yaml", "json"} }

func (f *allowFlags) run(cmd *cobra.Command, images []string) error {
	refs, err := f.read(images)
	if err != nil {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	}
	namespace, err := f.namespace()
	if err != nil {
		return err
	}
	connect := sync.OnceValues(func() (*check.Cluster, error) { return f.connect(cmd) })
	policies, err := f.resolvePolicies(cmd, connect, refs)
	if err != nil {
		return err
	}
	e, err := f.exception(namespace, refs, policies)
	if err != nil {
		return usageError{err}
	}
	if f.dryRun != dryRunClient {
		cluster, err := connect()
		if err != nil {
			return err
		}
		if e, err = cluster.CreateException(cmd.Context(), e, f.dryRun == dryRunServer); err != nil {
			return explainRefusal(err, namespace)
		}
	}
	return f.print(cmd, e, refs)
}

// namespace is that of the flag or else, as for kubectl, of the kubeconfig.
func (f *allowFlags) namespace() (string, error) {
	if given := f.overrides.Context.Namespace; given != "" {
		return given, nil
	}
	namespace, _, err := clientConfig(f.kubeconfig, &f.overrides).Namespace()
	if err != nil {
		return "", clientConfigError(err)
	}
	return namespace, nil
}

// read validates the call.
func (f *allowFlags) read(images []string) ([]image.Reference, error) {
	var missing []string
	if len(images) == 0 {
		missing = append(missing, "IMAGE")
	}
	if f.lifetime == 0 {
		missing = append(missing, "--for DURATION")
	}
	if strings.TrimSpace(f.reason) == "" {
		missing = append(missing, "--reason TEXT")
	}
	switch {
	case len(missing) > 0:
		return nil, fmt.Errorf("missing: %s", strings.Join(missing, ", "))
	case f.lifetime < time.Second || f.lifetime > longestLifetime:
		return nil, fmt.Errorf("--for must be from 1s to %s, not %s", longestLifetime, f.lifetime)
	case !slices.Contains(allowDryRuns(), f.dryRun):
		return nil, fmt.Errorf("--dry-run must be none, server or client, not %q", f.dryRun)
	case !slices.Contains(allowOutputs(), f.output):
		return nil, fmt.Errorf("--output must be name, yaml or json, not %q", f.output)
	}
	refs := make([]image.Reference, len(images))
	for i, written := range images {
		var err error
		if refs[i], err = image.Parse(written); err != nil {
			return nil, fmt.Errorf("%q: %w", written, err)
		}
		if d := refs[i].Digest; d != "" && !strings.HasPrefix(d, "sha256:") {
			return nil, fmt.Errorf("%q: the digest must be one of sha256", written)
		}
	}
	return refs, nil
}

// exception returns what is to be created.
func (f *allowFlags) exception(namespace string, refs []image.Reference, policies []string) (*v1alpha1.ImageScanException, error) {
	e := &v1alpha1.ImageScanException{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ImageScanException"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: exceptionName(refs[0])},
		Spec:       v1alpha1.ImageScanExceptionSpec{Policies: policies, Reason: f.reason},
	}
	for _, ref := range refs {
		pattern := ref.Digest
		if pattern == "" {
			pattern = ref.Repository()
		}
		if !slices.Contains(e.Spec.Images, pattern) {
			e.Spec.Images = append(e.Spec.Images, pattern)
		}
	}
	now := time.Now()
	e.Spec.ExpiresAt = metav1.NewTime(now.Add(f.lifetime).UTC().Truncate(time.Second))
	if err := policy.ValidateException(e, false, now, longestLifetime).ToAggregate(); err != nil {
		return nil, err
	}
	return e, nil
}

// exceptionName returns a name that shows the image and is new.
func exceptionName(ref image.Reference) string {
	const longest = 40
	base := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(path.Base(ref.Path), "-")
	return strings.Trim(base[:min(len(base), longest)], "-") + "-" + utilrand.String(5)
}

// resolvePolicies returns the policies to except from: those of --policy, or all
// that select one of the images. Those that exist are checked as far as the user
// may read them.
func (f *allowFlags) resolvePolicies(cmd *cobra.Command, connect func() (*check.Cluster, error), refs []image.Reference) ([]string, error) {
	given := slices.Compact(slices.Sorted(slices.Values(f.policies)))
	if len(given) > 0 && f.dryRun == dryRunClient {
		return given, nil
	}
	all, err := policiesInForce(cmd.Context(), connect)
	switch {
	case len(given) > 0 && apierrors.IsForbidden(err):
		return given, nil
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("%w; name the policies by --policy, as a denial does in [policy NAME]", err)
	case errors.Is(err, check.ErrNoCRD):
		return nil, check.ErrNotInstalled
	case err != nil:
		return nil, err
	case len(given) > 0:
		return given, checkGiven(given, all)
	}
	var names, forbidding []string
	for name, p := range all {
		switch {
		case !slices.ContainsFunc(refs, func(r image.Reference) bool { return p.MatchesImage(r.Repository()) }):
		case p.AllowsExceptions():
			names = append(names, name)
		default:
			forbidding = append(forbidding, name)
		}
	}
	slices.Sort(names)
	slices.Sort(forbidding)
	if len(names)+len(forbidding) == 0 {
		return nil, errors.New("no policy in the cluster selects the image, so none denies it")
	}
	for _, name := range forbidding {
		fmt.Fprintf(cmd.ErrOrStderr(), "policy %s permits no exception (spec.exceptions: Forbid): it goes on denying the image\n", name)
	}
	if len(names) == 0 {
		return nil, errors.New("no policy that selects the image permits exceptions")
	}
	return names, nil
}

func checkGiven(given []string, all map[string]*policy.Policy) error {
	for _, name := range given {
		p, ok := all[name]
		if !ok {
			return fmt.Errorf("there is no ImageScanPolicy %q in the cluster; see kubectl get imagescanpolicies", name)
		}
		if !p.AllowsExceptions() {
			return fmt.Errorf("policy %s permits no exception (spec.exceptions: Forbid)", name)
		}
	}
	return nil
}

func policiesInForce(ctx context.Context, connect func() (*check.Cluster, error)) (map[string]*policy.Policy, error) {
	cluster, err := connect()
	if err != nil {
		return nil, err
	}
	list, err := cluster.Policies(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[string]*policy.Policy, len(list))
	for i := range list {
		// One that is invalid fails closed, here as in the webhook.
		all[list[i].Name], _ = policy.Compile(&list[i])
	}
	return all, nil
}

func (f *allowFlags) connect(cmd *cobra.Command) (*check.Cluster, error) {
	c, err := restConfigWith(f.kubeconfig, &f.overrides)
	if err != nil {
		return nil, err
	}
	c.UserAgent = userAgent()
	c.WarningHandlerWithContext = warningWriter{cmd}
	return check.NewCluster(c)
}

// warningWriter prints the API server's warnings as kubectl does.
type warningWriter struct{ cmd *cobra.Command }

// HandleWarningHeaderWithContext prints one.
func (w warningWriter) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	fmt.Fprintln(w.cmd.ErrOrStderr(), "Warning:", text)
}

var _ rest.WarningHandlerWithContext = warningWriter{}

// explainRefusal says which role is missing where RBAC refuses the exception.
func explainRefusal(err error, namespace string) error {
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "cannot create resource") {
		return err
	}
	return fmt.Errorf("%w; who may bind roles has to bind that of hssgate's chart: kubectl -n %s create rolebinding allow-images --clusterrole RELEASE-exception-editor --user NAME", err, namespace)
}

// print writes what kubectl create would, and to standard error until when which
// images are admitted.
func (f *allowFlags) print(cmd *cobra.Command, e *v1alpha1.ImageScanException, refs []image.Reference) error {
	out, name := cmd.OutOrStdout(), "imagescanexception.hssgate.io/"+e.Name
	var err error
	switch f.output {
	case "yaml", "json":
		var data []byte
		if data, err = encodeException(e, f.output); err == nil {
			_, err = out.Write(data)
		}
	case "name":
		_, err = fmt.Fprintln(out, name)
	default:
		_, err = fmt.Fprintln(out, name+" created"+map[string]string{dryRunClient: " (dry run)", dryRunServer: " (server dry run)"}[f.dryRun])
	}
	if err != nil {
		return err
	}
	notes := cmd.ErrOrStderr()
	fmt.Fprintf(notes, "until %s, in namespace %s, past %s: %s\n", e.Spec.ExpiresAt.UTC().Format(time.RFC3339), e.Namespace,
		strings.Join(e.Spec.Policies, ", "), strings.Join(e.Spec.Images, ", "))
	for _, ref := range refs {
		if ref.Digest == "" {
			fmt.Fprintf(notes, "every tag of %s is admitted, since a tag can move: to admit one image, name its digest, and that in the pod, too\n", ref.Repository())
		} else {
			fmt.Fprintf(notes, "only pods that name %s are admitted\n", ref.Digest)
		}
	}
	if f.dryRun == dryRunNone {
		fmt.Fprintf(notes, "to end it sooner: kubectl -n %s delete imagescanexception %s\n", e.Namespace, e.Name)
	}
	return nil
}

func encodeException(e *v1alpha1.ImageScanException, format string) ([]byte, error) {
	if format == "yaml" {
		return yaml.Marshal(e)
	}
	data, err := json.MarshalIndent(e, "", "    ")
	return append(data, '\n'), err
}
