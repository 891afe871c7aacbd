// Command hssgate admits or denies pods by what Huawei Cloud HSS found in their
// images. `hssgate --help` tells what it can do.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// version is set when a release is built.
var version = "unknown"

// Exit codes, for scripts.
const (
	exitFailure = 1
	exitUnknown = 2
	exitUsage   = 3
)

func main() {
	ctx := untilSignal()
	root := newRootCommand()
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: displayName(os.Args[0])}
	if err := execute(ctx, root); err != nil {
		if message := err.Error(); message != "" {
			fmt.Fprintln(os.Stderr, "hssgate:", printable(message))
		}
		os.Exit(exitCode(err))
	}
}

// printable returns a message without what would steer a terminal: it may quote
// manifests and HSS.
func printable(message string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || strconv.IsPrint(r) {
			return r
		}
		return -1
	}, message)
}

// execute runs what was called. That completion is told where to print as soon
// as it is made is why it can't be made with the others.
func execute(ctx context.Context, root *cobra.Command) error {
	refuseUnknownShells(root)
	return root.ExecuteContext(ctx)
}

// displayName is how the command was called: kubectl finds a plug-in by its
// file's name.
func displayName(path string) string {
	name := strings.TrimSuffix(filepath.Base(path), ".exe")
	if rest, found := strings.CutPrefix(name, "kubectl-"); found {
		return "kubectl " + rest
	}
	return "hssgate"
}

// usageError is a mistake in the call: its exit code differs from a failure's.
type usageError struct{ error }

// Unwrap returns the mistake.
func (e usageError) Unwrap() error { return e.error }

// unknownError is one that leaves it open whether objects would be admitted.
type unknownError struct{ error }

// Unwrap returns the error.
func (e unknownError) Unwrap() error { return e.error }

func exitCode(err error) int {
	switch {
	case errors.As(err, new(usageError)):
		return exitUsage
	case errors.As(err, new(unknownError)):
		return exitUnknown
	default:
		return exitFailure
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "hssgate",
		Short: "Admit or deny pods by what Huawei Cloud HSS found in their images",
		Long: `hssgate is a Kubernetes admission webhook. It reads each pod's images, asks
Huawei Cloud HSS (Host Security Service) what its scans found in them, and
admits or denies the pod by ImageScanPolicies.

To see what it would do to your manifests or your cluster, before it does:

  hssgate check -f manifests/ --preset baseline --config hssgate.yaml
  hssgate audit --preset baseline --config hssgate.yaml

Exit codes: 0 success, 1 failure (for check: something would be denied; for audit: a
running pod violates a policy), 2 it can't be told (check, audit, policy), 3 wrong
usage.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	root.AddCommand(newServeCommand(), newCheckCommand(), newAuditCommand(), newPolicyCommand(), newAllowCommand(), newProbeCommand(), newVersionCommand())
	return root
}

// refuseUnknownShells has completion refuse a shell that it has no script for,
// where Cobra prints its help as if that were one, and what follows a shell, where
// it fails as if the call were right.
func refuseUnknownShells(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Args = unknownCommand
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			for _, shell := range cmd.Commands() {
				shell.Args = noArguments
			}
		}
	}
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
