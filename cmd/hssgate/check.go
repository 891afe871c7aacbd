package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy/glob"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

type checkFlags struct {
	evaluationFlags
	exceptionFlags

	exclude []string
	explain bool
	strict  bool
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
		RunE: func(cmd *cobra.Command, images []string) error {
			f.images = images
			return f.run(cmd)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.files.Paths, "filename", "f", nil, "a file, folder, glob or URL of manifests, or - for standard input; may be repeated")
	flags.StringVarP(&f.files.Kustomize, "kustomize", "k", "", "a folder to build with kustomize, as kubectl does")
	flags.BoolVarP(&f.files.Recursive, "recursive", "R", false, "read subfolders too")
	flags.StringArrayVar(&f.exclude, "exclude", nil, "a file or folder not to read in the folders of -f, as in .gitignore: a name in any folder, or a path in the given one; * and ** are wildcards; may be repeated")
	f.evaluationFlags.addTo(cmd, append(report.Outputs(), exceptionsOutput))
	f.exceptionFlags.addTo(cmd)
	flags.BoolVar(&f.explain, "explain", false, "explain each verdict step by step, in the outputs table, wide, json and yaml")
	flags.BoolVar(&f.strict, "strict", false, "exit with code 2 if an object is skipped")
	flags.IntVar(&f.warnCode, "warn-exit-code", 0, "the exit code, from 0 to 255, if objects would be admitted with a warning and none would be denied")
	return cmd
}

func (f *checkFlags) run(cmd *cobra.Command) error {
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
		err := f.evaluate(cmd, r, f.explain, func(o *check.Options, _ *inventory.Inventory, _ *check.Manifests) error {
			if policies = o.Resources.Policies; f.lifetime > o.MaxLifetime {
				return usageError(fmt.Errorf("--for must be at most %s (maxExceptionLifetime of the configuration), not %s", o.MaxLifetime, f.lifetime))
			}
			return nil
		})
		if err == nil && f.has(exceptionsOutput) {
			f.exceptions, err = f.exceptionsFor(cmd, r, policies)
		}
		return err
	})
}
