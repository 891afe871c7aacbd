package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/check"
	"github.com/hssgate/hssgate/report"
)

type checkFlags struct {
	targetFlags
	policyFlags
	hssFlags
	outputFlags

	strict bool
	// audit makes it an audit: counts by policy, and workloads in place of pods.
	audit bool
}

func newCheckCommand() *cobra.Command {
	f := &checkFlags{}
	cmd := &cobra.Command{
		Use:   "check [IMAGE ...] [-f FILE ...] [-A | -n NAMESPACE]",
		Short: "Tell what the webhook would say of images, manifests or a cluster",
		Long: `check judges images, manifests, or the running pods of a cluster as the webhook
would: by the same policies, and by what HSS says of the images. Nothing is
changed anywhere.

What to check: images by name; -f for files, folders and - (standard input, such
as what helm template or kustomize build print); -A or -n for running pods.
By which policies: those of the cluster, or --policies, or --preset.
Who knows the images: HSS (--config), or a file in its place (--inventory).
For images and files no cluster is needed if policies are given too.

Policies select namespaces by labels: these are read from the Namespaces among
the files, or from the cluster; --namespace-labels gives those of all others.
Without any, every policy counts that might select a namespace.

Pod templates are found in objects of any kind, custom resources included. An object
of another kind than Kubernetes' own in which none is found, or in which an image is
a parameter, is skipped: it is listed, and --strict makes that exit code 2.

Exit codes: 0 all would be admitted, 1 something would be denied, be it the pods
of a workload that is let in, 2 it can't be told (HSS can't be asked, something
can't be read, or with --strict something is skipped), 3 wrong usage.

As a kubectl plug-in, call the file kubectl-hssgate: kubectl hssgate check`,
		Example: `  hssgate check -f manifests/ --preset baseline --config hssgate.yaml
  hssgate check -f - --policies policies/ --config hssgate.yaml < rendered.yaml
  hssgate check swr.cn-north-4.myhuaweicloud.com/prod/app:1.4 --preset strict --config hssgate.yaml --explain
  hssgate check -A --config hssgate.yaml -o html --output-file report.html
  hssgate check -n shop -l app=web --config hssgate.yaml
  hssgate check -f config/samples/manifests --policies config/samples/policies --inventory config/samples/inventory.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	flags := cmd.Flags()
	f.targetFlags.add(flags)
	f.policyFlags.add(flags)
	f.hssFlags.add(flags)
	f.addFor(cmd, report.Outputs())
	flags.BoolVar(&f.explain, "explain", false, "tell step by step how it comes to each verdict, in the outputs table, wide, json and yaml")
	flags.BoolVar(&f.strict, "strict", false, "exit with code 2 if an object is skipped")
	completeCheckFlags(cmd)
	return cmd
}

// completeCheckFlags tells shells what the flags take.
func completeCheckFlags(cmd *cobra.Command) {
	// Errors would be of flags that don't exist, which a test would notice.
	_ = cmd.RegisterFlagCompletionFunc("preset", cobra.FixedCompletions(presetNames(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("namespace", cobra.NoFileCompletions)
}

func (f *checkFlags) run(cmd *cobra.Command, images []string) error {
	outputs := report.Outputs()
	if f.audit {
		outputs = report.AuditOutputs()
	}
	format, err := f.formatAmong(cmd, outputs)
	if err != nil {
		return err
	}
	if err := f.validate(cmd, images); err != nil {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	}
	if err := f.checkFile(); err != nil {
		return err
	}
	f.explainIn(cmd, format.Output)
	format.Namespaces = f.allNamespaces || f.audit
	r := &report.Report{Subject: f.subject(images), Time: clock.RealClock{}.Now().UTC(), Version: version}
	if err := f.fill(cmd, images, r); err != nil {
		return checkError(cmd, err)
	}
	if err := f.write(cmd, r, format); err != nil {
		return err
	}
	return verdictError(r)
}

// explainIn tells that nothing is explained if the output has no place for it.
// It goes on: the verdicts are what a pipeline is for.
func (f *checkFlags) explainIn(cmd *cobra.Command, output report.Output) {
	if !f.explain || output.Explains() {
		return
	}
	f.explain = false
	fmt.Fprintf(cmd.ErrOrStderr(), "hssgate: --explain is left out: -o %s has no place for it; table, wide, json and yaml have\n", output)
}

// validate says what of the flags doesn't go together.
func (f *checkFlags) validate(cmd *cobra.Command, images []string) error {
	return errors.Join(f.targetFlags.validate(cmd, images), f.policyFlags.validate(), f.hssFlags.validate(), onceStdin(f.files, f.policyFiles))
}

// fill does the work.
func (f *checkFlags) fill(cmd *cobra.Command, images []string, r *report.Report) (err error) {
	ctx := cmd.Context()
	asked, err := f.open()
	if err != nil {
		return err
	}
	defer asked.known.Close()
	target, err := f.read(cmd, images)
	if err != nil {
		return err
	}
	policies, err := f.policies(ctx, target)
	if policies == nil {
		return err
	}
	if err != nil { // they fail closed, as in the webhook
		target.problems = append(target.problems, report.Problem{Message: err.Error()})
	}
	o, err := target.options(ctx, asked, f.namespace, policies)
	if err != nil {
		return err
	}
	r.Problems, r.Policies, r.Skipped, r.Strict = target.problems, policies.Names, target.skipped, f.strict
	progress, wipe := progressOn(cmd, "objects judged")
	defer wipe()
	o.Policies, o.Progress = policies, progress
	if f.audit {
		r.Audit = report.NewAudit(policies.Specs())
	}
	if f.explain {
		o.Explain = &check.Explainer{Lookups: asked.known, Policies: policies}
	}
	checker := check.NewChecker(o)
	if err := target.each(ctx, func(objects []check.Object) error { return checker.Check(ctx, f.judged(objects, &o), r) }); err != nil {
		return err
	}
	r.Finish()
	if !f.audit {
		return nil
	}
	owners := &check.Owners{Cluster: target.cluster}
	return r.Reown(func(namespace, owner string) (string, error) { return owners.Top(ctx, namespace, owner) })
}

// judged leaves out of an audit what is in namespaces that are never judged.
func (f *checkFlags) judged(objects []check.Object, o *check.Options) []check.Object {
	if !f.audit {
		return objects
	}
	return slices.DeleteFunc(objects, func(one check.Object) bool { return slices.Contains(o.ExemptNamespaces, one.Namespace) })
}

// progressOn counts on standard error, if that is a terminal.
func progressOn(cmd *cobra.Command, what string) (show func(int), wipe func()) {
	w := cmd.ErrOrStderr()
	if !terminalOf(w).isTerminal {
		return nil, func() {}
	}
	c := newCounter(w, what)
	return c.show, c.wipe
}

// checkError says that what went wrong leaves the verdicts open.
func checkError(cmd *cobra.Command, err error) error {
	if errors.As(err, new(usageError)) {
		return err
	}
	if cmd.Context().Err() != nil {
		return unknownError{errors.New(cmd.Name() + ": interrupted")}
	}
	return unknownError{err}
}

// verdictError makes the exit code of a report.
func verdictError(r *report.Report) error {
	if r.Audit != nil && r.Audit.Violating > 0 {
		return errors.New(r.Audit.Headline())
	}
	if denials := r.Summary.Denials(); denials != "" {
		return errors.New(denials)
	}
	if r.Outcome() == report.Unknown {
		return unknownError{errors.New(unknownReason(r))}
	}
	return nil
}

func unknownReason(r *report.Report) string {
	if r.Audit != nil && r.Audit.Unknown > 0 {
		return r.Audit.Headline() + ": HSS can't be asked"
	}
	if n := r.Summary.Unknown; n > 0 && r.Audit == nil {
		return fmt.Sprintf("whether %d of %d would be admitted can't be told: HSS can't be asked", n, r.Summary.Objects)
	}
	if len(r.Problems) == 0 {
		return fmt.Sprintf("%d skipped: %s", len(r.Skipped), r.Skipped[0].String())
	}
	more := ""
	if n := len(r.Problems) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return "not everything can be told: " + r.Problems[0].String() + more
}
