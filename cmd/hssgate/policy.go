package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hssgate/hssgate/check"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/report"
)

func newPolicyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Test policies, and tell what they would change",
		Long: `policy tries ImageScanPolicies before they are in force: by test cases, without a
cluster and without HSS (test), or against what runs (simulate).`,
		Example: `  hssgate policy test tests/*.yaml
  hssgate policy simulate -f new.yaml -A --config hssgate.yaml`,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyTestCommand(), newPolicySimulateCommand())
	return cmd
}

func newPolicyTestCommand() *cobra.Command {
	f := &outputFlags{}
	cmd := &cobra.Command{
		Use:   "test FILE ...",
		Short: "Run test cases of policies, without a cluster and without HSS",
		Long: `test judges the cases of PolicyTest files and compares the verdicts with what
they expect, so that a repository of policies has a CI of its own. A file:

  apiVersion: test.hssgate.io/v1alpha1
  kind: PolicyTest
  policies: [../policies]            # files or folders, exceptions too; or preset: strict
  inventory: inventory.yaml          # what HSS knows; or images: [...] in place
  config: hssgate.yaml               # registries; default: those of the samples
  now: 2026-11-23T12:00:00Z          # ages count to it; default: the real time
  namespaces: {shop: {env: prod}}    # labels; then cases go to these only
  cases:
  - name: a High image is denied
    image: swr.cn-north-4.myhuaweicloud.com/prod/high:1.0   # or object: {...}, or file: pod.yaml
    namespace: shop
    later: 48h                       # after now
    hss: Unavailable                 # as if HSS could not be asked
    expect:
      verdict: Denied                # Admitted, Warned, Denied or Unknown
      says: ["severity High"]
      silent: ["malicious"]

Exit codes: 0 all as expected, 1 some are not, 2 something can't be read, 3 wrong usage.`,
		Example: `  hssgate policy test tests/production.yaml
  hssgate policy test tests/*.yaml -o junit --output-file junit.xml`,
		RunE: func(cmd *cobra.Command, files []string) error { return runPolicyTests(cmd, f, files) },
	}
	f.addFor(cmd, report.TestOutputs())
	return cmd
}

func runPolicyTests(cmd *cobra.Command, f *outputFlags, files []string) error {
	format, err := f.formatAmong(cmd, report.TestOutputs())
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return usageError{fmt.Errorf("name at least one file of tests; see %s --help", cmd.CommandPath())}
	}
	if err := f.checkFile(); err != nil {
		return err
	}
	tests := &report.Tests{}
	if err := check.RunPolicyTests(cmd.Context(), files, tests); err != nil {
		return checkError(cmd, err)
	}
	if err := f.write(cmd, tests, format); err != nil {
		return err
	}
	if len(tests.Problems) > 0 {
		return unknownError{errors.New("not everything can be tested: " + tests.Problems[0].String())}
	}
	if tests.Failed > 0 {
		return fmt.Errorf("%d of %d cases are not as expected", tests.Failed, len(tests.Cases))
	}
	return nil
}

type policySimulateFlags struct {
	targetFlags
	policyFlags
	hssFlags
	outputFlags

	newPolicies []string
}

func newPolicySimulateCommand() *cobra.Command {
	f := &policySimulateFlags{}
	cmd := &cobra.Command{
		Use:   "simulate -f NEW.yaml [-A | -n NAMESPACE | --manifests FILE]",
		Short: "Tell what would change if these policies replaced those in force",
		Long: `simulate judges running pods, or the manifests of files, twice: by the policies in
force, and with those of -f in the place of the ones of the same name. It tells
which would be newly denied and which newly admitted. Nothing is changed.

Exit codes: 0 nothing would be newly denied, 1 something would, 2 it can't be told,
3 wrong usage.`,
		Example: `  hssgate policy simulate -f new.yaml -A --config hssgate.yaml
  hssgate policy simulate -f new.yaml --manifests manifests/ --policies policies/ --inventory inventory.yaml -o json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.newPolicies, "filename", "f", nil, "a file or folder of the new ImageScanPolicies, or - for standard input; may be repeated (required)")
	flags.StringArrayVar(&f.files, "manifests", nil, "a file or folder of manifests to judge in place of running pods, or - for standard input; may be repeated")
	f.how = "give --manifests FILE, -A or -n NAMESPACE"
	f.addCluster(flags)
	f.policyFlags.add(flags)
	f.hssFlags.add(flags)
	f.addFor(cmd, report.ChangeOutputs())
	return cmd
}

func (f *policySimulateFlags) run(cmd *cobra.Command) error {
	format, err := f.formatAmong(cmd, report.ChangeOutputs())
	if err != nil {
		return err
	}
	f.recursive = true
	err = errors.Join(f.targetFlags.validate(cmd, nil), f.policyFlags.validate(), f.hssFlags.validate(), onceStdin(f.newPolicies, f.files, f.policyFiles))
	if len(f.newPolicies) == 0 {
		err = errors.Join(errors.New("-f is required: the policies to try"), err)
	}
	if err != nil {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	}
	if err := f.checkFile(); err != nil {
		return err
	}
	changes := &report.Changes{Subject: f.subject(nil)}
	if err := f.compare(cmd, changes); err != nil {
		return checkError(cmd, err)
	}
	if err := f.write(cmd, changes, format); err != nil {
		return err
	}
	switch {
	case changes.NewlyDenied > 0:
		return fmt.Errorf("%d of %d would be newly denied", changes.NewlyDenied, changes.Objects)
	case changes.Unknown > 0:
		return unknownError{fmt.Errorf("of %d of %d it can't be told: HSS can't be asked", changes.Unknown, changes.Objects)}
	case len(changes.Problems) > 0:
		return unknownError{errors.New("not everything can be told: " + changes.Problems[0].String())}
	default:
		return nil
	}
}

func (f *policySimulateFlags) compare(cmd *cobra.Command, changes *report.Changes) (err error) {
	asked, err := f.open()
	if err != nil {
		return err
	}
	defer asked.known.Close()
	target, err := f.read(cmd, nil)
	if err != nil {
		return err
	}
	before, after, err := f.both(cmd, target)
	if err != nil {
		return err
	}
	o, err := target.options(cmd.Context(), asked, f.namespace, before, after)
	if err != nil {
		return err
	}
	changes.Problems, changes.Skipped = target.problems, target.skipped
	progress, wipe := progressOn(cmd, "objects judged")
	defer wipe()
	o.Policies, o.Progress = before, progress
	s := check.NewSimulation(o, after)
	return target.each(cmd.Context(), func(objects []check.Object) error { return s.Compare(cmd.Context(), objects, changes) })
}

// both compiles the policies in force, which may be invalid and then fail
// closed, and the new ones, which may not.
func (f *policySimulateFlags) both(cmd *cobra.Command, t *target) (before, after *check.Policies, err error) {
	inForce, err := f.list(cmd.Context(), t)
	if err != nil {
		return nil, nil, err
	}
	added, err := check.LoadPolicies(cmd.Context(), check.Files{Paths: f.newPolicies, Stdin: t.stdin})
	if err != nil {
		return nil, nil, fmt.Errorf("-f: %w", err)
	}
	if len(added.Exceptions) > 0 {
		return nil, nil, usageError{errors.New("-f: an exception can't be simulated: give those in force by --policies")}
	}
	if _, err := check.Compile(added.Policies); err != nil {
		return nil, nil, fmt.Errorf("-f: %w", err)
	}
	compile := func(list []v1alpha1.ImageScanPolicy) *check.Policies {
		compiled, _ := check.Compile(list) // those in force are as they are
		return compiled
	}
	return compile(inForce), compile(check.Replace(inForce, added.Policies)), nil
}
