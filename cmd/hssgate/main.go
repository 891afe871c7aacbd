// Command hssgate admits or denies pods by what Huawei Cloud HSS found in their images. See hssgate --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/internal/report"
)

var version = "unknown" // set when a release is built

// Exit codes, for scripts.
const (
	exitFailure = 1
	exitUnknown = 2
	exitUsage   = 3
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	root := newRootCommand()
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: displayName(os.Args[0])}
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "hssgate:", report.Printable(err.Error()))
		os.Exit(exitCode(err))
	}
}

// displayName returns the name to show in help: kubectl finds a plug-in by its file's name.
func displayName(path string) string {
	name := strings.TrimSuffix(filepath.Base(path), ".exe")
	if rest, found := strings.CutPrefix(name, "kubectl-"); found {
		return "kubectl " + rest
	}
	return "hssgate"
}

type exitError struct {
	error
	code int
}

func (e exitError) Unwrap() error { return e.error }

func usageError(err error) error { return exitError{err, exitUsage} }

// usagef returns a usage error that points to the command's help.
func usagef(cmd *cobra.Command, err error) error {
	return usageError(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
}

// flagError returns the usage error of a flag, with what to use in place of one that is gone.
func flagError(cmd *cobra.Command, err error) error {
	if gone, is := errors.AsType[*pflag.NotExistError](err); is && gone.GetSpecifiedName() == "output-file" {
		err = fmt.Errorf("%w: use -o FORMAT=FILE, such as -o sarif=FILE", err)
	}
	return usagef(cmd, err)
}

func exitCode(err error) int {
	if e, is := errors.AsType[exitError](err); is {
		return e.code
	}
	return exitFailure
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "hssgate",
		Short: "Admit or deny pods by what Huawei Cloud HSS found in their images",
		Long: `hssgate is a Kubernetes admission webhook. It reads each pod's images, looks up
what the scans of Huawei Cloud HSS (Host Security Service) found in them, and
admits or denies the pod by ImageScanPolicies.

To see what it would do to your manifests or your cluster, before it does:

  hssgate check -f manifests/ --preset baseline --config hssgate.yaml
  hssgate check -A --preset baseline --config hssgate.yaml

Exit codes: 0 success, 1 failure (check: something would be denied), 2 the result
is not known (check, policy, scan, who-has), 3 wrong usage.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.Version = version
	root.SetVersionTemplate(versionText())
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newServeCommand(), newCheckCommand(), newPolicyCommand(), newAllowCommand(), newScanCommand(clock.RealClock{}), newDoctorCommand(), newWhoHasCommand(), newProbeCommand(), newVersionCommand())
	return root
}

// noArguments refuses arguments. Those of a command that has others below it are commands that do not exist.
func noArguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case !cmd.HasSubCommands():
		return usagef(cmd, fmt.Errorf("%s takes no argument, got %q", cmd.Name(), args[0]))
	}
	cmd.SuggestionsMinimumDistance = 2 // cobra's default, which it sets too late
	hint := ""
	if suggestions := cmd.SuggestionsFor(args[0]); len(suggestions) > 0 {
		hint = fmt.Sprintf(" (did you mean %s?)", strings.Join(suggestions, " or "))
	}
	return usagef(cmd, fmt.Errorf("there is no command %q%s", args[0], hint))
}

func versionText() string {
	return fmt.Sprintf("hssgate %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  hssgate version",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(cmd.OutOrStdout(), versionText())
			return err
		},
	}
}
