package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hssgate/hssgate/report"
)

// outputFlags say how the report is written, and where.
type outputFlags struct {
	output     string
	outputFile string
}

// addFor adds the flags of a command with these outputs.
func (f *outputFlags) addFor(cmd *cobra.Command, outputs []report.Output) {
	names := make([]string, 0, len(outputs))
	for _, o := range outputs {
		names = append(names, string(o))
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.output, "output", "o", string(report.TableOutput), strings.Join(names, ", "))
	flags.StringVar(&f.outputFile, "output-file", "", "write the report into this file instead of printing it")
	// An error would be of a flag that doesn't exist, which a test would notice.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
}

// formatAmong fits one of the outputs to where it goes.
func (f *outputFlags) formatAmong(cmd *cobra.Command, outputs []report.Output) (report.Format, error) {
	output, err := report.ParseOutputOf(f.output, outputs)
	if err != nil {
		return report.Format{}, usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	}
	if f.outputFile != "" {
		return report.Format{Output: output}, nil
	}
	t := terminalOf(cmd.OutOrStdout())
	return report.Format{Output: output, Width: t.width, Colour: t.colour}, nil
}

// checkFile says what keeps the report from being written, as far as that can be
// told before anything is judged, which may take long.
func (f *outputFlags) checkFile() error {
	if f.outputFile == "" {
		return nil
	}
	d, err := destinationOf(f.outputFile)
	if err == nil {
		err = d.check()
	}
	if err != nil {
		return unknownError{fmt.Errorf("--output-file: %w", err)}
	}
	return nil
}

// write writes the report. Without all of it nobody knows what would be
// admitted, wherever it was to go.
func (f *outputFlags) write(cmd *cobra.Command, r interface {
	Write(w io.Writer, f report.Format) error
}, format report.Format) error {
	if f.outputFile == "" {
		if err := r.Write(cmd.OutOrStdout(), format); err != nil {
			return unknownError{err}
		}
		return nil
	}
	d, err := destinationOf(f.outputFile)
	if err == nil {
		err = d.write(cmd, func(w io.Writer) error { return r.Write(w, format) })
	}
	if err != nil {
		return unknownError{fmt.Errorf("--output-file: %w", err)}
	}
	return nil
}
