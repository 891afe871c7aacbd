// Command hssgate admits or denies pods by what Huawei Cloud HSS found in their
// images. `hssgate --help` tells what it can do.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set when a release is built.
var version = "unknown"

// Exit codes, for scripts.
const (
	exitFailure = 1
	exitUsage   = 3
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal finds no handler, and ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := newRootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "hssgate:", err)
		os.Exit(exitCode(err))
	}
}

// usageError is a mistake in the call: its exit code differs from a failure's.
type usageError struct{ error }

// Unwrap returns the mistake.
func (e usageError) Unwrap() error { return e.error }

func exitCode(err error) int {
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitFailure
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "hssgate",
		Short: "Admit or deny pods by what Huawei Cloud HSS found in their images",
		Long: `hssgate is a Kubernetes admission webhook. It reads each pod's images, asks
Huawei Cloud HSS (Host Security Service) what its scans found in them, and
admits or denies the pod by ImageScanPolicies.

To see it at work without a cluster and without HSS:

  hssgate demo

Exit codes: 0 success, 1 failure (for demo: a verdict is not as expected),
3 wrong usage.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	root.AddCommand(newServeCommand(), newDemoCommand(), newSimulateCommand(), newVersionCommand())
	return root
}

// unknownCommand refuses a word that is no command, with what it may have meant.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	// Cobra sets its default for its own message only.
	cmd.SuggestionsMinimumDistance = 2
	hint := ""
	if suggestions := cmd.SuggestionsFor(args[0]); len(suggestions) > 0 {
		hint = fmt.Sprintf(" (did you mean %s?)", strings.Join(suggestions, " or "))
	}
	return usageError{fmt.Errorf("there is no command %q%s; see %s --help", args[0], hint, cmd.CommandPath())}
}

// noArguments refuses arguments as wrong usage.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no argument, got %q; see %s --help", cmd.Name(), args[0], cmd.CommandPath())}
	}
	return nil
}
