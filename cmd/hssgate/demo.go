package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/demo"
)

type demoFlags struct {
	samples      string
	controlPlane string
	output       string
	verbose      bool
}

func newDemoCommand() *cobra.Command {
	f := &demoFlags{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show verdicts about sample pods, without a cluster and without HSS",
		Long: `demo serves a sample inventory as HSS would, runs the real webhook over TLS,
sends it sample pods as an API server does, and prints what came of each. It
takes about a second, needs no network, and leaves nothing behind.

With --control-plane it starts a real API server and sends the samples with the
real kubectl; "make demo CLUSTER=1" builds what that needs.

Samples of your own: --samples names a folder with inventory.yaml, policies/*.yaml
and manifests/*.yaml, like config/samples. Each manifest says by annotations what
it expects:

  demo.hssgate.io/verdict: Admitted | Denied | Warned
  demo.hssgate.io/says: "a part of the message"      (optional)

Exit code 1: a verdict is not as its sample expects.`,
		Example: `  hssgate demo
  hssgate demo -o wide
  hssgate demo --samples my-samples -o json
  hssgate demo --control-plane .cache/controlplane/bin`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.samples, "samples", "", "a folder of samples; default: those inside of hssgate")
	flags.StringVar(&f.controlPlane, "control-plane", "", "a folder with etcd, kube-apiserver and kubectl: send the samples through a real API server")
	flags.StringVarP(&f.output, "output", "o", string(demo.Table), "table, wide, json or yaml")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "show what hssgate logs meanwhile")
	completeFlags(cmd)
	return cmd
}

// completeFlags tells shells what the flags of demo take.
func completeFlags(cmd *cobra.Command) {
	outputs := make([]string, 0, len(demo.Outputs()))
	for _, output := range demo.Outputs() {
		outputs = append(outputs, string(output))
	}
	// Errors would be of flags that don't exist, which a test would notice.
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputs, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagDirname("samples")
	_ = cmd.MarkFlagDirname("control-plane")
}

func (f *demoFlags) run(cmd *cobra.Command) error {
	output, err := demo.ParseOutput(f.output)
	if err != nil {
		return usageError{fmt.Errorf("%w; see hssgate demo --help", err)}
	}
	samples, err := f.folder()
	if err != nil {
		return err
	}
	logs := io.Discard
	if f.verbose {
		logs = cmd.ErrOrStderr()
	}
	log, err := newLogger(logs, config.Logging{Level: "info", Format: "text"})
	if err != nil {
		return err
	}
	name := ""
	if samples != nil {
		name = "--samples " + f.samples
	}
	report, err := demo.Run(cmd.Context(), demo.Options{
		Samples: samples, Folder: name, ControlPlane: f.controlPlane, UserAgent: userAgent(), Log: log,
		Progress: func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) },
	})
	switch {
	case err != nil && cmd.Context().Err() != nil:
		return errors.New("demo: interrupted")
	case err != nil:
		return fmt.Errorf("demo: %w", err)
	}
	if err := report.Write(cmd.OutOrStdout(), formatFor(cmd.OutOrStdout(), output)); err != nil {
		return err
	}
	return report.Check()
}

// folder returns the folder of samples; nil: those inside of hssgate.
func (f *demoFlags) folder() (fs.FS, error) {
	if f.samples == "" {
		return nil, nil
	}
	info, err := os.Stat(f.samples)
	switch {
	case err != nil:
		return nil, usageError{fmt.Errorf("--samples: %w", err)}
	case !info.IsDir():
		return nil, usageError{fmt.Errorf("--samples: %s is no folder", f.samples)}
	}
	return os.DirFS(f.samples), nil
}

// formatFor fits the output to where it goes.
func formatFor(w io.Writer, output demo.Output) demo.Format {
	t := terminalOf(w)
	return demo.Format{Output: output, Colour: t.colour, Width: t.width}
}
