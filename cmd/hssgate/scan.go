package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/internal/scan"
)

type scanFlags struct {
	evaluationFlags

	clock       clock.Clock
	wait, force bool
	timeout     time.Duration
}

func newScanCommand(c clock.Clock) *cobra.Command {
	f := &scanFlags{clock: c}
	cmd := &cobra.Command{
		Use:   "scan IMAGE ...",
		Short: "Have HSS scan images, and evaluate them as the webhook would",
		Long: `scan has HSS scan images that it has not scanned, such as one that was just pushed. An
image that HSS does not list yet has its registry synchronised first. With --wait it
waits for the results, and evaluates the images as hssgate check does: a pipeline
deploys an image once this succeeds.

HSS bills each successful scan, after a few free ones a month. What it has scanned since
the last push is not scanned again, and costs nothing. With a digest (app:1.4@sha256:…)
only that digest counts; without one, HSS's list may still show what the tag held
before.

Without --wait it ends once the scans are requested. Scans go on at HSS when the command
has ended: the same command later waits for them and requests no other.

The credentials need the right to start scans and to synchronise registries.

Exit codes: 0 requested, or with --wait all would be admitted, 1 something would be
denied, 2 the result is not known (timed out, the scan failed, HSS is unreachable), 3
wrong usage.`,
		Example: `  hssgate scan swr.cn-north-4.myhuaweicloud.com/prod/app:1.4 --wait --preset baseline --config hssgate.yaml
  hssgate scan swr.cn-north-4.myhuaweicloud.com/prod/app@sha256:… --wait --policies policies/ --config hssgate.yaml -o junit=junit.xml
  hssgate scan swr.cn-north-4.myhuaweicloud.com/prod/app:1.4 --config hssgate.yaml`,
		RunE: f.run,
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.wait, "wait", false, "wait for the results, and evaluate the images by --policies, --preset or the cluster's policies")
	flags.DurationVar(&f.timeout, "timeout", 15*time.Minute, "how long to wait: with --wait for the results, else until HSS lists the images")
	flags.BoolVar(&f.force, "force", false, "scan again what has been scanned, which costs money")
	f.addPolicies(cmd, "the namespace that the images are evaluated for", "", report.Outputs())
	return cmd
}

func (f *scanFlags) run(cmd *cobra.Command, images []string) error {
	f.images = images
	wrong := f.validate(cmd)
	switch {
	case f.wait:
		return f.outputFlags.run(cmd, wrong, f.subject(), func(r *report.Report) error {
			return f.evaluate(cmd, r, false, f.await)
		})
	case wrong != nil:
		return usagef(cmd, wrong)
	}
	return f.request(cmd)
}

func (f *scanFlags) validate(cmd *cobra.Command) error {
	f.find(cmd)
	switch {
	case len(f.images) == 0:
		return errors.New("name the images to scan")
	case f.configFile == "":
		return errors.New(configRequired)
	case f.timeout <= 0:
		return fmt.Errorf("--timeout must be longer than 0s, not %s", f.timeout)
	}
	for _, image := range f.images {
		if isFile(image) {
			return fmt.Errorf("%q is a file or folder: scan takes images; for that of the name give its registry, too", image)
		}
	}
	for _, name := range []string{"policies", "preset", "output", "only", "quiet", "warn-exit-code"} {
		if !f.wait && cmd.Flags().Changed(name) {
			return fmt.Errorf("--%s needs --wait: without it, nothing is evaluated", name)
		}
	}
	return f.evaluationFlags.validate(cmd, "")
}

func (f *scanFlags) request(cmd *cobra.Command) error {
	c, err := f.load(cmd)
	if err != nil {
		return err
	}
	known, err := f.open(c, false)
	if err != nil {
		return exitError{err, exitUnknown}
	}
	defer known.Close()
	results, err := f.scan(cmd, known)
	if err != nil {
		return err
	}
	var failed []error
	for n, result := range results {
		if result.Err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", f.images[n], result.Err))
		}
	}
	if len(failed) > 0 {
		return exitError{errors.Join(failed...), exitUnknown}
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "hssgate: --wait waits for results, and evaluates them")
	return nil
}

// await has the images scanned. Those without a result become problems, so that no policy's leniency admits them: the
// image is evaluated, too, only if its scan failed.
func (f *scanFlags) await(cmd *cobra.Command, _ *check.Options, known *inventory.Inventory, m *check.Manifests) error {
	results, err := f.scan(cmd, known)
	if err != nil {
		return err
	}
	objects := m.Objects
	m.Objects = nil
	for n, result := range results {
		if result.Err != nil {
			m.Problems = append(m.Problems, report.Problem{Source: f.images[n], Message: result.Err.Error()})
		}
		if result.Ended {
			m.Objects = append(m.Objects, objects[n])
		}
	}
	return nil
}

// scan prints what becomes of the images, a line for each change.
func (f *scanFlags) scan(cmd *cobra.Command, known *inventory.Inventory) ([]scan.Result, error) {
	targets := make([]inventory.ScanTarget, len(f.images))
	for n, name := range f.images {
		ref, err := image.Parse(name)
		if err == nil {
			targets[n], err = known.FindScanTarget(&ref)
		}
		if err != nil {
			return nil, usageError(fmt.Errorf("%s: %w; the hosts that HSS scans are those of registries[].hosts of %s", name, err, f.configFile))
		}
	}
	defer context.AfterFunc(cmd.Context(), known.Close)() // ends a call that is under way
	begun := f.clock.Now()
	run := scan.Run{Clock: f.clock, Wait: f.wait, Force: f.force, Timeout: f.timeout, Progress: func(n int, state string) {
		after := ""
		if d := f.clock.Since(begun).Round(time.Second); d > 0 {
			after = ", " + d.String()
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "hssgate: %s: %s%s\n", f.images[n], report.Printable(state), after)
	}}
	results, err := run.Scan(cmd.Context(), targets)
	if err != nil {
		return nil, exitError{errors.New("scan: interrupted: scans that were requested go on at HSS, and the same command later waits for them"), exitUnknown}
	}
	return results, nil
}
