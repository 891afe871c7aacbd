package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

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
	Write(w io.Writer, f report.Format) error
}

// run has a report filled, and writes it as one of the outputs. The call is wrong
// if it is no output, or for the reason given. A report that is incomplete or can't
// be written leaves the verdicts unknown.
func (f *outputFlags) run(cmd *cobra.Command, outputs []report.Output, wrong error, r written, fill func(*report.Format) error) error {
	output, err := report.ParseOutput(f.output, outputs)
	if err = errors.Join(err, wrong); err != nil {
		return usagef(cmd, err)
	}
	format := report.Format{Output: output}
	if terminal(cmd.OutOrStdout()) != nil && f.outputFile == "" {
		format.Colour = os.Getenv("NO_COLOR") == "" && !strings.EqualFold(os.Getenv("TERM"), "dumb")
	}
	if err = f.checkFile(); err == nil {
		err = fill(&format)
	}
	if err == nil {
		err = f.write(cmd, r, format)
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

// terminal returns the terminal that w is; nil if it is none.
func terminal(w io.Writer) *os.File {
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return file
	}
	return nil
}

// checkFile returns an error if the output file's folder is missing, before the
// evaluation, which may take long.
func (f *outputFlags) checkFile() error {
	if f.outputFile == "" {
		return nil
	}
	info, err := os.Stat(f.outputFile)
	switch folder := filepath.Dir(f.outputFile); {
	case err == nil && info.IsDir():
		err = fmt.Errorf("%s is a folder", f.outputFile)
	case errors.Is(err, fs.ErrNotExist):
		if _, err = os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("there is no folder %s", folder)
		}
	}
	if err != nil {
		return fmt.Errorf("--output-file: %w", err)
	}
	return nil
}

func (f *outputFlags) write(cmd *cobra.Command, r written, format report.Format) error {
	var content bytes.Buffer
	if err := r.Write(&content, format); err != nil {
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

// progressOn returns a function that shows a growing number on standard error, if
// that is a terminal, and one that removes it.
func progressOn(cmd *cobra.Command, what string) (show func(int), wipe func()) {
	file := terminal(cmd.ErrOrStderr())
	if file == nil {
		return nil, func() {}
	}
	const patience, interval = time.Second, 200 * time.Millisecond
	next := time.Now().Add(patience)
	show = func(done int) {
		if now := time.Now(); now.After(next) {
			next = now.Add(interval)
			fmt.Fprintf(file, "\r%d %s …", done, what)
		}
	}
	return show, func() { fmt.Fprint(file, "\r\x1b[K") }
}
