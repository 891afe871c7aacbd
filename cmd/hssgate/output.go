package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hssgate/hssgate/internal/report"
)

// outputFlags choose the format of a report, and where it goes.
type outputFlags struct {
	outputs    []report.Output // to choose from
	output     report.Output
	outputFile string
}

func (f *outputFlags) addTo(cmd *cobra.Command, outputs []report.Output) {
	f.outputs = outputs
	cmd.Flags().StringVarP(&f.output, "output", "o", report.TableOutput, strings.Join(outputs, ", "))
	cmd.Flags().StringVar(&f.outputFile, "output-file", "", "write the report into this file instead of printing it")
	complete(cmd, "output", outputs...)
}

// complete sets the values that shells offer for a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	// An error would be of a flag that does not exist, which a test would notice.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// run has a report filled, writes it, and returns the error that its verdicts are. The
// call is wrong if the output does not exist, or for the reason given. A report that is
// incomplete or can't be written leaves the verdicts unknown.
func (f *outputFlags) run(cmd *cobra.Command, wrong error, subject string, fill func(*report.Report) error) error {
	if !slices.Contains(f.outputs, f.output) {
		wrong = errors.Join(fmt.Errorf("--output must be one of %s, not %q", f.outputs, f.output), wrong)
	}
	if wrong != nil {
		return usagef(cmd, wrong)
	}
	r := &report.Report{Subject: subject, Time: time.Now().UTC(), Version: version}
	err := f.checkFile()
	if err == nil {
		err = fill(r)
	}
	if err == nil {
		err = f.write(cmd, r)
	}
	switch {
	case err == nil:
		return verdictError(r)
	case errors.As(err, new(usageError)):
		return err
	case cmd.Context().Err() != nil:
		return unknownError{errors.New(cmd.Name() + ": interrupted")}
	default:
		return unknownError{err}
	}
}

// verdictError returns the error whose exit code is that of the report.
func verdictError(r *report.Report) error {
	problems := r.Problems
	if r.Strict {
		problems = slices.Concat(problems, r.Skipped)
	}
	switch outcome := r.Outcome(); {
	case outcome == report.Denied:
		return errors.New(r.Headline())
	case outcome != report.Unknown:
		return nil
	case len(problems) == 0:
		return unknownError{errors.New(r.Headline())}
	case len(problems) == 1:
		return unknownError{fmt.Errorf("not everything could be evaluated: %s", problems[0])}
	default:
		return unknownError{fmt.Errorf("not everything could be evaluated: %s (and %d more)", problems[0], len(problems)-1)}
	}
}

// checkFile returns an error if the output file's folder is missing, before the
// evaluation, which may take long.
func (f *outputFlags) checkFile() error {
	if f.outputFile == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Dir(f.outputFile) + "/."); err != nil { // it must be a folder
		return fmt.Errorf("--output-file: %w", err)
	}
	return nil
}

func (f *outputFlags) write(cmd *cobra.Command, r *report.Report) error {
	var content bytes.Buffer
	if err := r.Write(&content, f.output); err != nil {
		return err
	}
	if f.outputFile == "" {
		_, err := cmd.OutOrStdout().Write(content.Bytes())
		return err
	}
	if err := os.WriteFile(f.outputFile, content.Bytes(), 0o666); err != nil { //nolint:gosec // as any new file
		return fmt.Errorf("--output-file: %w", err)
	}
	return nil
}

// progressOn returns a function that shows how many objects are evaluated on standard
// error, if that is a terminal, and one that removes it.
func progressOn(cmd *cobra.Command) (show func(done int), wipe func()) {
	file, ok := cmd.ErrOrStderr().(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil, func() {}
	}
	show = func(done int) { fmt.Fprintf(file, "\r%d objects evaluated …", done) }
	return show, func() { fmt.Fprint(file, "\r\x1b[K") }
}
