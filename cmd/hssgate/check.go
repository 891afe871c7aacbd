package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/glob"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

type checkFlags struct {
	evaluationFlags
	exceptionFlags

	exclude         []string
	explain, strict bool
}

func newCheckCommand() *cobra.Command {
	f := &checkFlags{}
	cmd := &cobra.Command{
		Use:   "check [IMAGE ...] [-f FILE ...] [-k FOLDER] [-A | -n NAMESPACE]",
		Short: "Evaluate images, manifests or a cluster as the webhook would",
		Long: `check evaluates images, manifests, or the running pods of a cluster as the webhook
would: by the same policies, and by what HSS knows of the images. Nothing is changed
anywhere.

What to check: images by name; -f for files, folders, globs, URLs and - (standard
input, such as what helm template prints); -k for a kustomization; -A or -n for running
pods. In folders, kustomizations are built, and Helm charts skipped.
By which policies: those of the cluster, or --policies, or --preset.
Where scan results come from: HSS (--config), or a file in its place (--inventory).
For images and files no cluster is needed if policies are given too.

Policies select namespaces by labels: these are read from the Namespaces among
the files, or from the cluster; --namespace-labels gives those of all others.
Without any, every policy counts that might select a namespace.

Pod templates are found in objects of any kind, custom resources included. An object
of another kind than Kubernetes' own in which none is found, or in which an image is
a parameter, is skipped: it is listed, and --strict makes that exit code 2.

For running pods the report also counts pods for each policy, whatever its
enforcement, as the status of the policy does (evaluated, violations, unknown,
excepted); it names Deployments and CronJobs in place of their ReplicaSets and Jobs.
The table leaves out pods without a violation; -o wide has all.

Exit codes: 0 all would be admitted, 1 something would be denied, or the pods of a
workload that is admitted, 2 the result is not known (HSS is unreachable, something
can't be read, or with --strict something is skipped), 3 wrong usage.

As a kubectl plug-in, call the file kubectl-hssgate: kubectl hssgate check`,
		Example: `  hssgate check -f manifests/ --preset baseline --config hssgate.yaml
  hssgate check -k overlays/prod --policies policies/ --config hssgate.yaml
  hssgate check -f - --policies policies/ --config hssgate.yaml < rendered.yaml
  hssgate check swr.cn-north-4.myhuaweicloud.com/prod/app:1.4 --preset strict --config hssgate.yaml --explain
  hssgate check -A --config hssgate.yaml -o table -o html=report.html
  hssgate check -n shop -l app=web --config hssgate.yaml
  hssgate check -f config/samples/manifests --policies config/samples/policies --inventory config/samples/inventory.yaml`,
		RunE: f.run,
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.files.Paths, "filename", "f", nil, "a file, folder, glob or URL of manifests, or - for standard input; may be repeated")
	flags.StringVarP(&f.files.Kustomize, "kustomize", "k", "", "a folder to build with kustomize, as kubectl does")
	flags.BoolVarP(&f.files.Recursive, "recursive", "R", false, "read subfolders too")
	flags.StringArrayVar(&f.exclude, "exclude", nil, "a file or folder not to read in the folders of -f, as in .gitignore: a name in any folder, or a path in the given one; * and ** are wildcards; may be repeated")
	f.evaluationFlags.addTo(cmd, append(report.Outputs(), report.Exceptions))
	f.exceptionFlags.addTo(cmd)
	flags.BoolVar(&f.explain, "explain", false, "explain each verdict step by step, in the outputs table, wide, json and yaml")
	flags.BoolVar(&f.strict, "strict", false, "exit with code 2 if an object is skipped")
	flags.IntVar(&f.warnCode, "warn-exit-code", 0, "the exit code, from 0 to 255, if objects would be admitted with a warning and none would be denied")
	return cmd
}

func (f *checkFlags) run(cmd *cobra.Command, images []string) error {
	f.images = images
	wrong := errors.Join(f.exceptionFlags.validate(cmd, &f.outputFlags),
		f.evaluationFlags.validate(cmd, "name images, or give -f FILE, -k FOLDER, -A or -n NAMESPACE"))
	if f.explain && !slices.ContainsFunc(report.ChangeOutputs(), f.has) {
		wrong = errors.Join(wrong, errors.New("--explain is for the outputs table, wide, json and yaml"))
	}
	for _, pattern := range f.exclude {
		one, err := glob.CompilePath(pattern)
		if err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("--exclude %w", err))
		}
		f.files.Exclude = append(f.files.Exclude, one)
	}
	return f.outputFlags.run(cmd, wrong, f.subject(), func(r *report.Report) error {
		r.Strict = f.strict
		var policies []v1alpha1.ImageScanPolicy
		err := f.evaluate(cmd, r, f.explain, func(_ *cobra.Command, o *check.Options, _ *inventory.Inventory, _ *check.Manifests) error {
			if policies = o.Resources.Policies; f.lifetime > o.MaxLifetime {
				return usageError(fmt.Errorf("--for must be at most %s (maxExceptionLifetime of the configuration), not %s", o.MaxLifetime, f.lifetime))
			}
			return nil
		})
		if err == nil && f.has(report.Exceptions) {
			r.Exceptions, err = f.exceptionsFor(cmd, r, policies)
		}
		return err
	})
}

type exceptionFlags struct {
	generate bool
	lifetime time.Duration
	reason   string
}

func (f *exceptionFlags) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&f.generate, "generate-exceptions", false, "print ImageScanExceptions that admit what violates a policy today, whatever the policy's enforcement; the same as -o exceptions, needs --for and --reason")
	flags.DurationVar(&f.lifetime, "for", 0, "with -o exceptions: how long they last, such as 720h")
	flags.StringVar(&f.reason, "reason", "", "with -o exceptions: why, in one line for readers of an audit log")
}

// validate chooses the output of --generate-exceptions, and refuses flags that it needs or that need it.
func (f *exceptionFlags) validate(cmd *cobra.Command, o *outputFlags) error {
	if f.generate && !o.has(report.Exceptions) {
		if !cmd.Flags().Changed("output") {
			o.values = nil
		}
		o.values = append(o.values, report.Exceptions)
	}
	wanted := o.has(report.Exceptions)
	switch {
	case !wanted && (f.lifetime != 0 || f.reason != ""):
		return errors.New("--for and --reason are for --generate-exceptions")
	case wanted && f.lifetime <= 0:
		return fmt.Errorf("exceptions need --for DURATION, such as 720h, not %s", f.lifetime)
	case wanted && strings.TrimSpace(f.reason) == "":
		return errors.New("exceptions need --reason TEXT")
	}
	return nil
}

// exceptionsFor returns exceptions for what would be denied if every policy had enforcement Deny, by namespace and image.
func (f *exceptionFlags) exceptionsFor(cmd *cobra.Command, r *report.Report, policies []v1alpha1.ImageScanPolicy) (string, error) {
	forbid := map[string]bool{}
	for i := range policies {
		p, _ := policy.Compile(&policies[i]) // an invalid one fails closed
		forbid[p.Name()] = !p.AllowsExceptions()
	}
	found, notes := map[types.NamespacedName]*v1alpha1.ImageScanException{}, map[string]bool{}
	until := time.Now().Add(f.lifetime)
	for i := range r.Results {
		one := &r.Results[i]
		for _, v := range one.Violations {
			ref, err := image.Parse(v.Reference)
			switch bad, unknown := denies(&v); {
			case v.Effect == gate.EffectExcepted || !bad:
			case err != nil:
				notes[v.Reference+" is not an image reference"] = true
			case unknown:
				notes["no scan result is available from HSS for "+v.Reference] = true
			case forbid[v.Policy]:
				notes[fmt.Sprintf("policy %s permits none (spec.exceptions: Forbid) for %s", v.Policy, v.Reference)] = true
			default:
				key := types.NamespacedName{Namespace: one.Namespace, Name: cmp.Or(ref.Digest, ref.Repository())}
				if found[key] == nil {
					found[key] = newException(one.Namespace, []image.Reference{ref}, nil, f.reason, until)
				}
				if spec := &found[key].Spec; !slices.Contains(spec.Policies, v.Policy) {
					spec.Policies = append(spec.Policies, v.Policy)
				}
			}
		}
	}
	for _, note := range slices.Sorted(maps.Keys(notes)) {
		fmt.Fprintf(cmd.ErrOrStderr(), "hssgate: no exception is made: %s\n", note)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "# ImageScanExceptions for what violated a policy at %s: %d\n", r.Time.Format(time.RFC3339), len(found))
	for _, key := range slices.SortedFunc(maps.Keys(found), func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) }) {
		data, err := yaml.Marshal(found[key])
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "---\n%s", data)
	}
	return text.String(), nil
}

// denies reports whether a violation would deny a pod by a policy with enforcement Deny,
// and whether it may do so only because HSS is unreachable.
func denies(v *report.Violation) (denies, unknown bool) {
	for _, f := range v.Findings {
		if f.Action == v1alpha1.ActionDeny {
			denies, unknown = true, unknown || f.Check == policy.CheckUnavailable
		}
	}
	return denies, unknown
}
