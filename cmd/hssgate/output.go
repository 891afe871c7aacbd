package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hssgate/hssgate/internal/report"
)

// outputFlags choose the format of a report, and where it goes.
type outputFlags struct {
	output     string
	outputFile string
}

// addTo adds the flags to a command with these outputs.
func (f *outputFlags) addTo(cmd *cobra.Command, outputs []report.Output) {
	names := make([]string, len(outputs))
	for i, o := range outputs {
		names[i] = string(o)
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.output, "output", "o", string(report.TableOutput), strings.Join(names, ", "))
	flags.StringVar(&f.outputFile, "output-file", "", "write the report into this file instead of printing it")
	complete(cmd, "output", names...)
}

// complete sets the values that shells offer for a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	// An error would be of a flag that does not exist, which a test would notice.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// written is a report.
type written interface {
	Write(w io.Writer, o report.Output) error
}

// run has a report filled, and writes it as one of the outputs. The call is wrong
// if it is no output, or for the reason given. A report that is incomplete or can't
// be written leaves the verdicts unknown.
func (f *outputFlags) run(cmd *cobra.Command, outputs []report.Output, wrong error, r written, fill func() error) error {
	output := report.Output(f.output)
	if !slices.Contains(outputs, output) {
		wrong = errors.Join(fmt.Errorf("--output must be one of %s, not %q", outputs, output), wrong)
	}
	if wrong != nil {
		return usagef(cmd, wrong)
	}
	err := f.checkFile()
	if err == nil {
		err = fill()
	}
	if err == nil {
		err = f.write(cmd, r, output)
	}
	switch {
	case err == nil || errors.As(err, new(usageError)):
		return err
	case cmd.Context().Err() != nil:
		return unknownError{errors.New(cmd.Name() + ": interrupted")}
	default:
		return unknownError{err}
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

func (f *outputFlags) write(cmd *cobra.Command, r written, output report.Output) error {
	var content bytes.Buffer
	if err := r.Write(&content, output); err != nil {
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
