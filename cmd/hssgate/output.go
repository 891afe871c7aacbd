package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hssgate/hssgate/internal/report"
)

// outputFlags choose the formats of a report, and where each goes.
type outputFlags struct {
	formats     []report.Output // to choose from
	values      []string
	outputs     []output
	quiet       bool
	only, color string
	warnCode    int
}

// output is one format of a report, for a file, or to be printed if that is empty.
type output struct {
	format report.Output
	file   string
}

func (f *outputFlags) addTo(cmd *cobra.Command, formats []report.Output) {
	f.formats = formats
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.values, "output", "o", []string{report.TableOutput}, strings.Join(formats, ", ")+"; FORMAT prints it, FORMAT=FILE writes it into a file; may be repeated")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print errors only: the exit code is the result")
	flags.StringVar(&f.only, "only", "", "failed: leave out what is admitted, with or without a warning, and tests that pass; counts are of all")
	flags.StringVar(&f.color, "color", "auto", "colour verdicts in tables: auto (on a terminal, unless $NO_COLOR is set), always or never")
	complete(cmd, "output", formats...)
	complete(cmd, "only", "failed")
	complete(cmd, "color", "auto", "always", "never")
}

// parse reads the outputs, and returns all that is wrong with the flags.
func (f *outputFlags) parse() error {
	var errs []error
	wrong := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	files := map[string]bool{}
	for _, value := range f.values {
		format, file, toFile := strings.Cut(value, "=")
		wrong(!slices.Contains(f.formats, format), "--output must be one of %s, or FORMAT=FILE, not %q", f.formats, value)
		wrong(toFile && file == "", "--output %s names no file: it must be %[1]sFILE", value)
		wrong(!toFile && files[""], "--output: only one format can be printed: write %s into a file, -o %[1]s=FILE", format)
		wrong(toFile && files[file], "--output: two formats name the file %s", file)
		wrong(!toFile && f.quiet && format != report.TableOutput, "--quiet prints no report: write %s into a file, -o %[1]s=FILE", format)
		files[file] = true
		f.outputs = append(f.outputs, output{format, file})
	}
	wrong(f.only != "" && f.only != "failed", "--only must be failed, not %q", f.only)
	wrong(!slices.Contains([]string{"auto", "always", "never"}, f.color), "--color must be auto, always or never, not %q", f.color)
	wrong(f.warnCode < 0 || f.warnCode > 255, "--warn-exit-code must be from 0 to 255, not %d", f.warnCode)
	return errors.Join(errs...)
}

func (f *outputFlags) has(format report.Output) bool {
	return slices.ContainsFunc(f.values, func(value string) bool { return strings.Split(value, "=")[0] == format })
}

// complete sets the values that shells offer for a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	// An error would be of a flag that does not exist, which a test would notice.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// run has a report filled, writes it, and returns the error that its verdicts are. The call is wrong if the flags are,
// or for the reason given. A report that is incomplete or can't be written leaves the verdicts unknown.
func (f *outputFlags) run(cmd *cobra.Command, wrong error, subject string, fill func(*report.Report) error) error {
	if wrong = errors.Join(f.parse(), wrong); wrong != nil {
		return usagef(cmd, wrong)
	}
	if f.quiet {
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
	}
	r := &report.Report{Subject: subject, Time: time.Now().UTC(), Version: version}
	err := f.checkFiles()
	if err == nil {
		err = fill(r)
	}
	if err == nil {
		err = f.write(cmd, r)
	}
	switch _, coded := errors.AsType[exitError](err); {
	case err == nil:
		return f.verdictError(r)
	case coded:
		return err
	case cmd.Context().Err() != nil:
		return exitError{errors.New(cmd.Name() + ": interrupted"), exitUnknown}
	}
	return exitError{err, exitUnknown}
}

func (f *outputFlags) verdictError(r *report.Report) error {
	problems := r.Problems
	if r.Strict {
		problems = slices.Concat(problems, r.Skipped)
	}
	switch outcome := r.Outcome(); {
	case outcome == report.Denied:
		return errors.New(r.Headline())
	case outcome == report.Warned && r.Summary.Warned > 0 && f.warnCode > 0:
		return exitError{errors.New(r.Headline()), f.warnCode}
	case outcome != report.Unknown:
		return nil
	case len(problems) == 0:
		return exitError{errors.New(r.Headline()), exitUnknown}
	}
	more := ""
	if len(problems) > 1 {
		more = fmt.Sprintf(" (and %d more)", len(problems)-1)
	}
	return exitError{fmt.Errorf("not everything could be evaluated: %s%s", problems[0], more), exitUnknown}
}

// checkFiles returns an error if the folder of an output's file is missing, before the evaluation, which may take long.
func (f *outputFlags) checkFiles() error {
	var errs []error
	for _, o := range f.outputs {
		if _, err := os.Stat(filepath.Dir(o.file) + "/."); o.file != "" && err != nil { // it must be a folder
			errs = append(errs, fmt.Errorf("--output %s=%s: %w", o.format, o.file, err))
		}
	}
	return errors.Join(errs...)
}

// write writes every output, also after one that fails.
func (f *outputFlags) write(cmd *cobra.Command, r *report.Report) error {
	if f.only != "" {
		r.KeepFailed()
	}
	var errs []error
	for _, o := range f.outputs {
		if r.Width = 0; o.file == "" {
			r.Width = report.TerminalWidth(cmd.OutOrStdout())
		}
		var b bytes.Buffer
		err := r.Write(&b, o.format)
		switch {
		case err != nil:
		case o.file != "":
			err = os.WriteFile(o.file, b.Bytes(), 0o666) //nolint:gosec // as any new file
		case f.colors(cmd) && (o.format == report.TableOutput || o.format == report.WideOutput):
			_, err = cmd.OutOrStdout().Write(colored(b.Bytes()))
		default:
			_, err = b.WriteTo(cmd.OutOrStdout())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("--output %s: %w", strings.TrimSuffix(o.format+"="+o.file, "="), err))
		}
	}
	return errors.Join(errs...)
}

func (f *outputFlags) colors(cmd *cobra.Command) bool {
	return f.color == "always" ||
		f.color == "auto" && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(cmd.OutOrStdout())
}

// colored returns a table with its verdicts, at the beginning of lines, in colours.
func colored(table []byte) []byte {
	const red, green, yellow, magenta = "31", "32", "33", "35"
	colors := map[string]string{"Denied": red, "FAIL": red, "Unknown": magenta, "Warned": yellow, "Admitted": green, "PASS": green}
	return regexp.MustCompile(`(?m)^(Denied \(its pods\)|(?:Denied|FAIL|Unknown|Warned|Admitted|PASS)\b)`).ReplaceAllFunc(table, func(verdict []byte) []byte {
		return fmt.Appendf(nil, "\x1b[%sm%s\x1b[0m", colors[strings.Fields(string(verdict))[0]], verdict)
	})
}

// progressOn returns a function that shows the number of evaluated objects on a terminal, and one that removes it.
func progressOn(cmd *cobra.Command) (show func(done int), wipe func()) {
	w := cmd.ErrOrStderr()
	if !isTerminal(w) {
		return nil, func() {}
	}
	show = func(done int) { fmt.Fprintf(w, "\r%d objects evaluated …", done) }
	return show, func() { fmt.Fprint(w, "\r\x1b[K") }
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// checkTableOrJSON checks --output of a command that makes no report.
func checkTableOrJSON(output string) error {
	if output != report.TableOutput && output != report.JSON {
		return fmt.Errorf("--output must be table or json, not %q", output)
	}
	return nil
}

func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
