package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// run runs hssgate with arguments, as a shell would.
func run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	return runWith(t.Context(), args...)
}

func runWith(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	return runReading(ctx, "", args...)
}

// runReading runs it with something on standard input.
func runReading(ctx context.Context, stdin string, args ...string) (stdout, stderr string, err error) {
	var out, errors bytes.Buffer
	root := newRootCommand() //nolint:contextcheck // execute passes it on
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&errors)
	root.SetIn(strings.NewReader(stdin))
	err = execute(ctx, root)
	return out.String(), errors.String(), err
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAWrongCallIsToldSo(t *testing.T) {
	bad := write(t, "bad.yaml", "apiVersion: config.hssgate.io/v1alpha1\nkind: Configuration\nprojectz: []\n")
	tests := map[string]struct {
		args []string
		want string
	}{
		"an unknown command":                {[]string{"sevre"}, `there is no command "sevre" (did you mean serve?); see hssgate --help`},
		"an unknown flag":                   {[]string{"serve", "--fast"}, "unknown flag: --fast; see hssgate serve --help"},
		"an argument too many":              {[]string{"serve", "now"}, `serve takes no argument, got "now"; see hssgate serve --help`},
		"serve without configuration":       {[]string{"serve"}, "--config is required"},
		"serve with a missing file":         {[]string{"serve", "--config", "no-such.yaml"}, "no-such.yaml"},
		"serve with a wrong file":           {[]string{"serve", "--config", bad}, "projectz"},
		"serve with an unknown level":       {[]string{"serve", "--config", "../../config/samples/config.yaml", "--log-level", "loud"}, `log level must be debug, info, warn or error, not "loud"`},
		"serve with an unknown format":      {[]string{"serve", "--config", "../../config/samples/config.yaml", "--log-format", "xml"}, `log format must be json or text, not "xml"`},
		"completion for another shell":      {[]string{"completion", "tcsh"}, `there is no command "tcsh" (did you mean bash or fish or zsh?); see hssgate completion --help`},
		"completion with a word too many":   {[]string{"completion", "bash", "x"}, `bash takes no argument, got "x"`},
		"a new policy and nothing to judge": {[]string{"policy", "simulate", "-f", "x"}, "nothing to judge: give --manifests FILE, -A or -n NAMESPACE"},
		"probe without an address":          {[]string{"probe"}, "--url is required"},
		"probe of what is no address":       {[]string{"probe", "--url", "foo"}, `--url must be the webhook's https:// address, not "foo"; see hssgate probe --help`},
		"probe of HSS without a file":       {[]string{"probe", "--hss"}, "--hss needs --config FILE, and no other probe"},
		"probe of HSS and a webhook":        {[]string{"probe", "--hss", "--config", "c.yaml", "--url", "https://a"}, "--hss needs --config FILE, and no other probe"},
		"probe without TLS":                 {[]string{"probe", "--url", "http://hssgate"}, `not "http://hssgate"`},
		"probe of two ways at once":         {[]string{"probe", "--api-server", "--url", "https://hssgate"}, "--api-server and --url are two probes: give one"},
		"probe of no host":                  {[]string{"probe", "--url", "https://:443/"}, `not "https://:443/"`},
		"version in an unknown format":      {[]string{"version", "-o", "xml"}, `--output must be text, json or yaml, not "xml"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			stdout, _, err := run(t, tt.args...)
			if err == nil || !strings.Contains(err.Error(), tt.want) || exitCode(err) != exitUsage {
				t.Errorf("got error %v, want one of usage with %q", err, tt.want)
			}
			if stdout != "" {
				t.Errorf("it printed %q", stdout)
			}
		})
	}
}

func TestAFailureIsNoWrongUsage(t *testing.T) {
	tests := map[string][]string{
		"serve without a cluster to reach": {"serve", "--config", "../../config/samples/config.yaml", "--kubeconfig", "no-such-kubeconfig"},
	}
	for name, args := range tests {
		t.Run(name, func(t *testing.T) {
			if _, _, err := run(t, args...); err == nil || exitCode(err) != exitFailure {
				t.Errorf("got error %v with exit code %d, want %d", err, exitCode(err), exitFailure)
			}
		})
	}
}

// each calls check for every command that a person can see.
func each(root *cobra.Command, check func(*cobra.Command)) {
	for _, cmd := range root.Commands() {
		if !cmd.IsAvailableCommand() {
			continue
		}
		check(cmd)
		each(cmd, check)
	}
}

func TestEveryCommandTeaches(t *testing.T) {
	count := 0
	each(newRootCommand(), func(cmd *cobra.Command) {
		count++
		t.Run(cmd.Name(), func(t *testing.T) {
			path := cmd.CommandPath()
			stdout, _, err := run(t, append(strings.Fields(path)[1:], "--help")...)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"Usage:", "Examples:", "Flags:", path} {
				if !strings.Contains(stdout, want) {
					t.Errorf("its help has no %q:\n%s", want, stdout)
				}
			}
			if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
				t.Errorf("its short text is %q, want a phrase", cmd.Short)
			}
			for line := range strings.Lines(cmd.Example) {
				if !strings.HasPrefix(line, "  "+path) {
					t.Errorf("the example %q doesn't begin with the command", line)
				}
			}
		})
	})
	if count < 4 {
		t.Errorf("only %d commands were found", count)
	}
}

func TestTheRootSaysWhereToBegin(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}, {"help"}} {
		stdout, _, err := run(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"hssgate check", "serve", "version", "completion", "Exit codes"} {
			if !strings.Contains(stdout, want) {
				t.Errorf("hssgate %v: no %q in it:\n%s", args, want, stdout)
			}
		}
	}
}

func TestEveryFlagIsExplained(t *testing.T) {
	each(newRootCommand(), func(cmd *cobra.Command) {
		if text := cmd.LocalFlags().FlagUsages(); strings.Contains(text, "\n\n") {
			t.Errorf("%s: an empty line among its flags:\n%s", cmd.Name(), text)
		}
		for _, name := range []string{"config", "inventory", "samples"} {
			if flag := cmd.Flags().Lookup(name); flag != nil && flag.Usage == "" {
				t.Errorf("%s: --%s isn't explained", cmd.Name(), name)
			}
		}
	})
}

func TestVersion(t *testing.T) {
	text, _, err := run(t, "version")
	if err != nil || !strings.HasPrefix(text, "hssgate "+version+" (go") {
		t.Errorf("got %q, %v", text, err)
	}
	for format, read := range map[string]func([]byte, any) error{
		"json": json.Unmarshal,
		"yaml": func(data []byte, v any) error { return yaml.UnmarshalStrict(data, v) },
	} {
		stdout, _, err := run(t, "version", "-o", format)
		if err != nil {
			t.Fatal(err)
		}
		var info versionInfo
		if err := read([]byte(stdout), &info); err != nil || info.Version != version || info.Go == "" || info.Platform == "" {
			t.Errorf("%s: got %+v, %v of %q", format, info, err, stdout)
		}
	}
}

func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		stdout, _, err := run(t, "completion", shell)
		if err != nil || !strings.Contains(stdout, "hssgate") || len(stdout) < 1000 {
			t.Errorf("%s: got %d bytes, %v", shell, len(stdout), err)
		}
	}
}

func TestShellsCompleteCommands(t *testing.T) {
	stdout, _, err := run(t, "__complete", "se")
	if err != nil || !strings.Contains(stdout, "serve\t") {
		t.Errorf("got %q, %v", stdout, err)
	}
}

func TestExitCodes(t *testing.T) {
	plain := errors.New("broken")
	for want, err := range map[int]error{exitFailure: plain, exitUsage: usageError{plain}} {
		if got := exitCode(err); got != want {
			t.Errorf("%T: got %d, want %d", err, got, want)
		}
		if !errors.Is(err, plain) {
			t.Errorf("%T doesn't wrap its error", err)
		}
	}
}

func TestAnErrorCannotSteerTheTerminal(t *testing.T) {
	if got, want := printable("a\x1b[2Jb\u009b31m\u202e\r\nc"), "a[2Jb31m\nc"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
