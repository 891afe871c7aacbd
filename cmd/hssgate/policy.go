package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/report"
)

func newPolicyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Test policies, and show what they would change",
		Long: `policy tries ImageScanPolicies before they are in force: by test cases, without a
cluster and without HSS (test), or against what runs (simulate).`,
		Example: `  hssgate policy test tests/
  hssgate policy simulate -f new.yaml -A --config hssgate.yaml`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyTestCommand(), newPolicySimulateCommand())
	return cmd
}

func newPolicyTestCommand() *cobra.Command {
	f, tests := &outputFlags{}, &check.PolicyTests{}
	var run string
	var update bool
	cmd := &cobra.Command{
		Use:   "test FILE|FOLDER ...",
		Short: "Run test cases of policies, without a cluster and without HSS",
		Long: `test evaluates the cases of PolicyTest files and compares the verdicts with the
expected ones, so that a repository of policies has a CI of its own. Of a folder, the
PolicyTests in it and its subfolders are run. A file:

  apiVersion: test.hssgate.io/v1alpha1
  kind: PolicyTest
  policies: [../policies]            # files or folders, exceptions too; or preset: strict
  inventory: inventory.yaml          # what HSS knows; or images: [...] in place
  config: hssgate.yaml               # registries; default: those of the samples
  now: 2026-11-23T12:00:00Z          # ages count to it; default: the real time
  namespaces: {shop: {env: prod}}    # labels; then cases go to these only
  exceptions: [...]                  # without apiVersion; kind: ImageScanException by default
  cases:
  - name: a High image is denied
    image: swr.cn-north-4.myhuaweicloud.com/prod/high:1.0   # or object: {...}, or file: pod.yaml
    namespace: shop
    later: 48h                       # after now
    hss: Unavailable                 # as if HSS were unreachable
    expect:
      verdict: Denied                # Admitted, Warned, Denied or Unknown
      says: ["severity High"]
      silent: ["malicious"]

Exit codes: 0 all as expected, 1 some are not, 2 something can't be read, 3 wrong usage.`,
		Example: `  hssgate policy test tests/production.yaml
  hssgate policy test tests/ --run 'High|grace' --update
  hssgate policy test tests/ -o table -o junit=junit.xml`,
		RunE: func(cmd *cobra.Command, files []string) (wrong error) {
			if len(files) == 0 {
				wrong = errors.New("name at least one file or folder of tests")
			}
			var err error
			if tests.Run, err = regexp.Compile(run); err != nil {
				wrong = errors.Join(wrong, fmt.Errorf("--run must be a regular expression, not %q: %w", run, err))
			}
			if update {
				tests.Update = func(p report.Problem) { fmt.Fprintf(cmd.ErrOrStderr(), "hssgate: updated: %s\n", p) }
			}
			tests.Paths = files
			return f.run(cmd, wrong, strings.Join(files, ", "), func(r *report.Report) error {
				r.Tests = &report.Tests{}
				return tests.RunTo(cmd.Context(), r)
			})
		},
	}
	cmd.Flags().StringVar(&run, "run", "", "a regular expression: run only the cases with a name that it matches, wholly or in part")
	cmd.Flags().BoolVar(&update, "update", false, "write the verdicts that cases have into the files, as the expected ones")
	f.addTo(cmd, report.TestOutputs())
	return cmd
}

type simulateFlags struct {
	evaluationFlags

	newPolicies []string
}

func newPolicySimulateCommand() *cobra.Command {
	f := &simulateFlags{}
	f.files.Recursive = true
	cmd := &cobra.Command{
		Use:   "simulate -f NEW.yaml [-A | -n NAMESPACE | --manifests FILE]",
		Short: "Show what would change if these policies replaced those in force",
		Long: `simulate evaluates running pods, or the manifests of files, twice: by the policies in
force, and with those of -f in the place of the ones of the same name. It shows
which would be newly denied and which newly admitted. Nothing is changed.

Exit codes: 0 nothing would be newly denied, 1 something would, 2 the result is not
known, 3 wrong usage.`,
		Example: `  hssgate policy simulate -f new.yaml -A --config hssgate.yaml
  hssgate policy simulate -f new.yaml --manifests manifests/ --policies policies/ --inventory inventory.yaml -o json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.newPolicies, "filename", "f", nil, "a file, folder or URL of the new ImageScanPolicies, or - for standard input; may be repeated (required)")
	flags.StringArrayVar(&f.files.Paths, "manifests", nil, "manifests to evaluate in place of running pods: a file, folder, glob or URL, or - for standard input; may be repeated")
	f.addTo(cmd, report.ChangeOutputs())
	return cmd
}

func (f *simulateFlags) run(cmd *cobra.Command) error {
	wrong := f.validate(cmd, "give --manifests FILE, -A or -n NAMESPACE", f.newPolicies...)
	if len(f.newPolicies) == 0 {
		wrong = errors.Join(errors.New("-f is required: the policies to try"), wrong)
	}
	return f.outputFlags.run(cmd, wrong, f.subject(), func(r *report.Report) error {
		r.Changes = &report.Changes{}
		return f.evaluate(cmd, r, false, f.change)
	})
}

// change adds the new policies, and has the results compared with those by the policies before.
func (f *simulateFlags) change(cmd *cobra.Command, o *check.Options, _ *inventory.Inventory, _ *check.Manifests) error {
	added, err := check.LoadPolicies(cmd.Context(), check.Files{Paths: f.newPolicies, Stdin: cmd.InOrStdin()})
	if err == nil && len(added.Exceptions) > 0 {
		return usageError(errors.New("-f: an exception can't be simulated: give those in force by --policies"))
	}
	if err == nil {
		_, err = check.NewChecker(check.Options{Resources: added})
	}
	if err != nil {
		return fmt.Errorf("-f: %w", err)
	}
	// A policy that is invalid now denies, and may be replaced by a valid one.
	o.Before, _ = check.NewChecker(*o)
	o.Resources.Policies = append(o.Resources.Policies, added.Policies...)
	return nil
}
