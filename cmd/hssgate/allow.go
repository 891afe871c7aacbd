package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Values of --dry-run, which are kubectl's.
const (
	dryRunNone   = "none"
	dryRunClient = "client"
	dryRunServer = "server"
)

type allowFlags struct {
	clusterFlags

	allNamespaces          bool
	lifetime               time.Duration
	reason, dryRun, output string
	policies               []string
}

func newAllowCommand() *cobra.Command {
	f := &allowFlags{}
	cmd := &cobra.Command{
		Use:   "allow IMAGE ... [-n NAMESPACE | -A] --for DURATION --reason TEXT",
		Short: "Admit denied images for some time, by an ImageScanException",
		Long: `allow creates an ImageScanException in the cluster: until it ends, the images are
admitted into the namespace although policies deny them. All replicas follow it within
seconds, and pods that controllers create are admitted, too. hssgate itself need not run.
With --all-namespaces it creates a ClusterImageScanException, for every namespace.

IMAGE is one image. By its digest (app@sha256:…) only pods that name the digest are
admitted. Otherwise every tag of HOST/PATH is, since a tag can move. Wildcards are for
exceptions that you write yourself.

It needs the right to create imagescanexceptions in the namespace, for which the chart
has the role RELEASE-exception-editor, or clusterimagescanexceptions, and the role
RELEASE-cluster-exception-editor. The configuration of hssgate bounds the duration
(maxExceptionLifetime, by default 720h).`,
		Example: `  hssgate allow swr.cn-north-4.myhuaweicloud.com/prod/app:1.4 -n shop --for 2h --reason "INC-7: the shop is down"
  hssgate allow quay.io/cilium/cilium:v1.19.3 -A --for 24h --reason "INC-8: nodes cannot join"
  hssgate allow app@sha256:… -n shop --for 2h --reason INC-7 --policy production -o yaml --dry-run=client`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              f.run,
	}
	flags := cmd.Flags()
	flags.DurationVar(&f.lifetime, "for", 0, "how long the images are admitted, such as 2h or 90m (required)")
	flags.StringVar(&f.reason, "reason", "", "why, in one line for readers of an audit log (required)")
	flags.StringArrayVar(&f.policies, "policy", nil, "an ImageScanPolicy that denies the images; may be repeated; default: all that select one of the images and permit exceptions")
	flags.StringVar(&f.dryRun, "dry-run", dryRunNone, "none, server (the API server checks the exception and stores nothing) or client (it is only printed)")
	flags.StringVarP(&f.output, "output", "o", "", "print the exception as name, yaml or json")
	flags.BoolVarP(&f.allNamespaces, "all-namespaces", "A", false, "admit the images into all namespaces, by a ClusterImageScanException")
	f.clusterFlags.add(flags, "the namespace; default: that of the kubeconfig's context")
	complete(cmd, "dry-run", dryRunNone, dryRunServer, dryRunClient)
	complete(cmd, "output", "name", "yaml", "json")
	return cmd
}

func (f *allowFlags) run(cmd *cobra.Command, images []string) error {
	refs, err := f.parse(images)
	if err != nil {
		return usagef(cmd, err)
	}
	namespace := ""
	if !f.allNamespaces {
		if namespace, _, err = f.client().Namespace(); err != nil {
			return clusterError(err)
		}
	}
	policies := slices.Compact(slices.Sorted(slices.Values(f.policies)))
	var cluster *check.Cluster // not needed to print an exception from policies that are given
	if f.dryRun != dryRunClient || len(policies) == 0 {
		if cluster, err = f.connect(cmd); err != nil {
			return err
		}
		if policies, err = resolvePolicies(cmd, cluster, policies, refs); err != nil {
			return err
		}
	}
	e := newException(namespace, refs, policies, f.reason, time.Now().Add(f.lifetime))
	if f.allNamespaces {
		e.Kind = v1alpha1.ClusterImageScanExceptionKind
	}
	if f.dryRun != dryRunClient {
		if err := cluster.CreateException(cmd.Context(), e, f.dryRun == dryRunServer); err != nil {
			return explainRefusal(err, e)
		}
	}
	return f.print(cmd, e, refs)
}

// parse validates the flags as far as the API server does not, and parses the images.
func (f *allowFlags) parse(images []string) (refs []image.Reference, err error) {
	var missing []string
	if len(images) == 0 {
		missing = append(missing, "IMAGE")
	}
	if f.lifetime <= 0 {
		missing = append(missing, "--for DURATION")
	}
	if strings.TrimSpace(f.reason) == "" {
		missing = append(missing, "--reason TEXT")
	}
	switch {
	case len(missing) > 0:
		return nil, fmt.Errorf("missing: %s", strings.Join(missing, ", "))
	case f.allNamespaces && f.namespace() != "":
		return nil, errors.New("--all-namespaces and --namespace exclude each other")
	case !slices.Contains([]string{dryRunNone, dryRunServer, dryRunClient}, f.dryRun):
		return nil, fmt.Errorf("--dry-run must be none, server or client, not %q", f.dryRun)
	case !slices.Contains([]string{"", "name", "yaml", "json"}, f.output):
		return nil, fmt.Errorf("--output must be name, yaml or json, not %q", f.output)
	}
	refs = make([]image.Reference, len(images))
	for i, written := range images {
		if refs[i], err = image.Parse(written); err != nil {
			return nil, fmt.Errorf("%q: %w", written, err)
		}
	}
	return refs, nil
}

// newException returns an exception of images, by their digests if they have one. Its name shows the first.
func newException(namespace string, refs []image.Reference, policies []string, reason string, until time.Time) *v1alpha1.ImageScanException {
	const longest = 40
	name := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(path.Base(refs[0].Path), "-")
	name = strings.Trim(name[:min(len(name), longest)], "-") + "-" + utilrand.String(5)
	e := &v1alpha1.ImageScanException{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ImageScanException"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.ImageScanExceptionSpec{
			Policies: policies, Reason: reason, ExpiresAt: metav1.NewTime(until.UTC().Truncate(time.Second)),
		},
	}
	for _, ref := range refs {
		if pattern := cmp.Or(ref.Digest, ref.Repository()); !slices.Contains(e.Spec.Images, pattern) {
			e.Spec.Images = append(e.Spec.Images, pattern)
		}
	}
	return e
}

// resolvePolicies returns the given policies, which must all permit exceptions, or those that select one of the images.
func resolvePolicies(cmd *cobra.Command, cluster *check.Cluster, given []string, refs []image.Reference) (names []string, err error) {
	specs, err := cluster.Policies(cmd.Context())
	switch {
	case len(given) > 0 && apierrors.IsForbidden(err):
		return given, nil
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("%w; name the policies by --policy, as a denial does in [policy NAME]", err)
	case err != nil:
		return nil, err
	}
	for _, name := range given {
		if !slices.ContainsFunc(specs, func(p v1alpha1.ImageScanPolicy) bool { return p.Name == name }) {
			return nil, fmt.Errorf("there is no ImageScanPolicy %q in the cluster; see kubectl get imagescanpolicies", name)
		}
	}
	for i := range specs {
		p, _ := policy.Compile(&specs[i]) // an invalid one fails closed
		selects := func(r image.Reference) bool { return p.MatchesImage(r.Repository()) }
		switch {
		case len(given) > 0 && !slices.Contains(given, p.Name()), len(given) == 0 && !slices.ContainsFunc(refs, selects):
		case p.AllowsExceptions():
			names = append(names, p.Name())
		default:
			fmt.Fprintf(cmd.ErrOrStderr(), "policy %s permits no exception (spec.exceptions: Forbid): it goes on denying the image\n", p.Name())
		}
	}
	switch {
	case len(names) < len(given):
		return nil, fmt.Errorf("of the policies %s some permit no exception", strings.Join(given, ", "))
	case len(names) == 0:
		return nil, errors.New("no policy in the cluster selects the image and permits exceptions")
	}
	return names, nil
}

func explainRefusal(err error, e *v1alpha1.ImageScanException) error {
	command := "-n " + e.Namespace + " create rolebinding allow-images --clusterrole RELEASE-exception-editor"
	if e.ClusterWide() {
		command = "create clusterrolebinding allow-images --clusterrole RELEASE-cluster-exception-editor"
	}
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "cannot create resource") {
		return err
	}
	return fmt.Errorf("%w; who may bind roles has to bind that of hssgate's chart: kubectl %s --user NAME", err, command)
}

// print prints what kubectl create would, and on standard error what the exception admits.
func (f *allowFlags) print(cmd *cobra.Command, e *v1alpha1.ImageScanException, refs []image.Reference) (err error) {
	resource, flag, place := strings.ToLower(e.Kind), "-n "+e.Namespace+" ", "namespace "+e.Namespace
	if e.ClusterWide() {
		flag, place = "", "all namespaces"
	}
	text := []byte(resource + ".hssgate.io/" + e.Name)
	switch f.output {
	case "name":
	case "yaml":
		text, err = yaml.Marshal(e)
	case "json":
		text, err = json.MarshalIndent(e, "", "    ")
	default:
		text = append(text, " created"+map[string]string{dryRunClient: " (dry run)", dryRunServer: " (server dry run)"}[f.dryRun]...)
	}
	if err == nil {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", bytes.TrimSuffix(text, []byte("\n")))
	}
	notes := cmd.ErrOrStderr()
	fmt.Fprintf(notes, "until %s, in %s, for policy %s: %s\n", e.Spec.ExpiresAt.UTC().Format(time.RFC3339), place,
		strings.Join(e.Spec.Policies, ", "), strings.Join(e.Spec.Images, ", "))
	for _, ref := range refs {
		if ref.Digest == "" {
			fmt.Fprintf(notes, "every tag of %s is admitted, since a tag can move: to admit one image, name its digest, and that in the pod, too\n", ref.Repository())
		} else {
			fmt.Fprintf(notes, "only pods that name %s are admitted\n", ref.Digest)
		}
	}
	if f.dryRun == dryRunNone {
		fmt.Fprintf(notes, "to end it sooner: kubectl %sdelete %s %s\n", flag, resource, e.Name)
	}
	return err
}
