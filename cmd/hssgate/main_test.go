package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// run runs hssgate with arguments, as a shell would.
func run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	return runReading(t.Context(), "", args...)
}

// runReading runs it with something on standard input.
func runReading(ctx context.Context, stdin string, args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	root := newRootCommand() //nolint:contextcheck // execute passes it on
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetIn(strings.NewReader(stdin))
	err = root.ExecuteContext(ctx)
	return out.String(), errs.String(), err
}

// must ends a test that can't go on.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	rewrite(t, path, content)
	return path
}

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestAWrongCallIsToldSo(t *testing.T) {
	bad := write(t, "bad.yaml", "apiVersion: config.hssgate.io/v1alpha1\nkind: Configuration\nprojectz: []\n")
	calls{
		"an unknown command":                {[]string{"sevre"}, exitUsage, `there is no command "sevre" (did you mean serve?); see hssgate --help`},
		"an unknown flag":                   {[]string{"serve", "--fast"}, exitUsage, "unknown flag: --fast; see hssgate serve --help"},
		"an argument too many":              {[]string{"serve", "now"}, exitUsage, `serve takes no argument, got "now"; see hssgate serve --help`},
		"serve without configuration":       {[]string{"serve"}, exitUsage, "--config is required"},
		"serve with a missing file":         {[]string{"serve", "--config", "no-such.yaml"}, exitUsage, "no-such.yaml"},
		"serve with a wrong file":           {[]string{"serve", "--config", bad}, exitUsage, "projectz"},
		"serve with an unknown level":       {[]string{"serve", "--config", "../../config/samples/config.yaml", "--log-level", "loud"}, exitUsage, `log level must be debug, info, warn or error, not "loud"`},
		"serve with an unknown format":      {[]string{"serve", "--config", "../../config/samples/config.yaml", "--log-format", "xml"}, exitUsage, `log format must be json or text, not "xml"`},
		"a new policy, nothing to evaluate": {[]string{"policy", "simulate", "-f", "x"}, exitUsage, "nothing to evaluate: give --manifests FILE, -A or -n NAMESPACE"},
		"serve without a cluster":           {[]string{"serve", "--config", "../../config/samples/config.yaml", "--kubeconfig", "no-such-kubeconfig"}, exitFailure, "no-such-kubeconfig"},
		"nothing at all":                    {nil, 0, "hssgate check -f manifests/"},
		"help":                              {[]string{"help"}, 0, "Exit codes: 0 success"},
		"the version":                       {[]string{"version"}, 0, "hssgate " + version + " (go"},
		"the version by a flag":             {[]string{"--version"}, 0, "hssgate " + version + " (go"},
		"probe without an address":          {[]string{"probe"}, exitUsage, "--url is required"},
		"probe of HSS without a file":       {[]string{"probe", "--hss"}, exitUsage, "--config is required (or $HSSGATE_CONFIG, or a file hssgate.yaml in the current folder)"},
		"probe without TLS":                 {[]string{"probe", "--url", "http://hssgate"}, exitUsage, `not "http://hssgate"`},
		"probe of two ways at once":         {[]string{"probe", "--api-server", "--url", "https://hssgate"}, exitUsage, "--api-server and --url are two probes: give one"},
		"probe of no host":                  {[]string{"probe", "--url", "https://:443/"}, exitUsage, `not "https://:443/"`},
	}.check(t)
}

// calls are arguments by the names of cases, with the exit code, and what is
// printed or said in the error.
type calls map[string]call

type call struct {
	args []string
	code int
	says string
}

// check makes the calls of a command. Wrong usage prints nothing.
func (c calls) check(t *testing.T, command ...string) {
	t.Helper()
	for name, tt := range c {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := run(t, append(slices.Clone(command), tt.args...)...)
			said := strings.Join(strings.Fields(stdout+stderr+fmt.Sprint(err)), " ")
			if got := codeOf(err); got != tt.code || !strings.Contains(said, tt.says) || got == exitUsage && stdout != "" {
				t.Errorf("got exit code %d, want %d with %q: %v\n%s%s", got, tt.code, tt.says, err, stdout, stderr)
			}
		})
	}
}

// codeOf returns the exit code of a command that ended with an error, or without one.
func codeOf(err error) int {
	if err == nil {
		return 0
	}
	return exitCode(err)
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

// TestTheReferenceShowsWhatEveryCommandTeaches compares docs/reference/cli.md with the help of the
// commands, without the flags of kubectl, whose descriptions begin with a capital.
func TestTheReferenceShowsWhatEveryCommandTeaches(t *testing.T) {
	const path = "../../docs/reference/cli.md"
	shown := readFile(t, path)
	want, _, _ := strings.Cut(shown, "\n## ")
	kubectlFlag := regexp.MustCompile(`(?m)^ +(-\w, )?--[a-z-]+ (string|stringArray)? +[A-Z].*\n`)
	each(newRootCommand(), func(cmd *cobra.Command) {
		name := cmd.CommandPath()
		help, _, err := run(t, append(strings.Fields(name)[1:], "--help")...)
		must(t, err)
		want += fmt.Sprintf("\n## %s\n\n```\n%s```\n", name, kubectlFlag.ReplaceAllString(help, ""))
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") || cmd.Example == "" {
			t.Errorf("%s: its short text is %q, want a phrase; its examples are %q", name, cmd.Short, cmd.Example)
		}
		for line := range strings.Lines(cmd.Example) {
			if !strings.HasPrefix(line, "  "+name) {
				t.Errorf("the example %q doesn't begin with %s", line, name)
			}
		}
	})
	if *update {
		rewrite(t, path, want)
	} else if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("%s (-help +page; -update writes it anew):\n%s", path, diff)
	}
}

func TestShellsComplete(t *testing.T) {
	for want, args := range map[string][]string{"serve\t": {"se"}, "baseline": {"check", "--preset", ""}, "sarif": {"check", "-o", ""}, "client": {"allow", "--dry-run", ""}} {
		if stdout, _, err := run(t, append([]string{"__complete"}, args...)...); err != nil || !strings.Contains(stdout, want) {
			t.Errorf("%s: got %q, %v", args, stdout, err)
		}
	}
}

// TestKubectlCompletesThePlugIn runs the script that kubectl does, with something for the
// plug-in that prints how it is called.
func TestKubectlCompletesThePlugIn(t *testing.T) {
	plugin := write(t, "kubectl-hssgate", "#!/bin/sh\nprintf '<%s>' \"$@\"\n")
	must(t, os.Chmod(plugin, 0o700))
	t.Setenv("PATH", filepath.Dir(plugin)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	got, err := exec.CommandContext(t.Context(), "../../hack/kubectl_complete-hssgate", "check", "--preset", "").Output()
	if want := "<__complete><check><--preset><>"; err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// Every command line of the documents can be pasted: it is none of wrong usage.
// They run in an empty folder, so each ends where it would read its first file.
func TestCommandsInDocumentsAreWhole(t *testing.T) {
	commands := map[string][]string{}
	for _, path := range documents(t) {
		commands[path] = commandsIn(readFile(t, path))
	}
	t.Chdir(t.TempDir())
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("HOME", t.TempDir())
	found := 0
	for path, lines := range commands {
		for _, line := range lines {
			args := strings.Fields(line)
			command, rest, err := newRootCommand().Find(args)
			if err != nil || !command.HasParent() || len(rest) == 0 { // it only speaks of a command, or is Helm's
				continue
			}
			found++
			_, _, err = run(t, args...)
			if err == nil || strings.Contains(err.Error(), "--help") {
				t.Errorf("%s: hssgate %s: got %v, want that %s misses a file only", path, line, err, command.Name())
			}
		}
	}
	if found < 15 {
		t.Errorf("only %d commands were found", found)
	}
}

func documents(t *testing.T) []string {
	t.Helper()
	paths := []string{"../../README.md", "../../charts/hssgate/README.md", "../../config/reference.md"}
	must(t, filepath.WalkDir("../../docs", func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" && filepath.Base(path) != "cli.md" { // it shows usage lines, which are no calls
			paths = append(paths, path)
		}
		return err
	}))
	return paths
}

// commandsIn returns what follows the program's name in blocks and in code among
// other words, as far as it is one command.
func commandsIn(page string) (commands []string) {
	page = strings.ReplaceAll(page, "\\\n", " ")
	blocks := regexp.MustCompile("(?ms)^ *```.*?^ *```$|^    [^\n]*$")
	code := strings.Join(blocks.FindAllString(page, -1), "\n")
	for _, span := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(blocks.ReplaceAllString(page, ""), -1) {
		code += "\n" + strings.ReplaceAll(span[1], "\n", " ") // it may go on in the next line
	}
	for _, match := range regexp.MustCompile(`(?m)(?:^|\s)(?:bin/)?hssgate ([a-z]+[^\n]*)`).FindAllStringSubmatch(code, -1) {
		command := regexp.MustCompile(`\s(\||\|\||>|>>|<|#)(\s|$)`).Split(match[1]+" ", 2)[0]
		commands = append(commands, strings.TrimSpace(command))
	}
	return commands
}

var update = flag.Bool("update", false, "write what documents show and golden files hold anew")

// The guides show the real output of their policies, and their tests pass.
func TestTheGuideToVulnerabilitiesIsTrue(t *testing.T) {
	testGuide(t, "../../docs/guides/vulnerabilities.md", "vulnerable", "2 cases, all as expected.")
}

func TestTheGuideToSecretsIsTrue(t *testing.T) {
	testGuide(t, "../../docs/guides/secrets.md", "secrets", "1 case, all as expected.")
}

func testGuide(t *testing.T, path, image, passes string) {
	t.Helper()
	t.Setenv("COLUMNS", "120")
	text := readFile(t, path)
	// block returns a block after a comment, by what the comment says.
	block := func(name string) string {
		_, rest, _ := strings.Cut(text, "<!-- "+name+" -->\n```")
		_, rest, _ = strings.Cut(rest, "\n")
		content, _, found := strings.Cut(rest, "```\n")
		if !found {
			t.Fatalf("%s has no block %s", path, name)
		}
		return content
	}
	policy := write(t, "policy.yaml", strings.ReplaceAll(block("policy.yaml"), `"2027-`, `"2127-`)) // as long as this test is run
	table, _ := checked(t, sampleHost+"/prod/"+image+":1.0", "--policies", policy)
	wide, _ := checked(t, sampleHost+"/prod/"+image+":1.0", "--policies", policy, "-o", "wide")
	shows := map[string]string{"table": table}
	if _, list, found := strings.Cut(wide, "denied.\n\n"); found && list != "" && strings.Contains(text, "<!-- list -->") {
		shows["list"] = list
	}
	for name, want := range shows {
		shown := block(name)
		if *update {
			text = strings.Replace(text, "<!-- "+name+" -->\n```\n"+shown, "<!-- "+name+" -->\n```\n"+want, 1)
		} else if diff := cmp.Diff(want, shown); diff != "" {
			t.Errorf("%s, block %s (-output +shown; -update writes it anew):\n%s", path, name, diff)
		}
	}
	if *update {
		rewrite(t, path, text)
	}
	test := filepath.Join(filepath.Dir(policy), "test.yaml")
	rewrite(t, test, block("test.yaml"))
	if stdout, _, err := run(t, "policy", "test", test); err != nil || !strings.Contains(stdout, passes) {
		t.Errorf("got %v and %s", err, stdout)
	}
}

// The guide to CVEs shows the real output of its policy.
func TestTheGuideToCVEsIsTrue(t *testing.T) {
	const path = "../../docs/guides/cves.md"
	t.Setenv("COLUMNS", "120")
	text := readFile(t, path)
	_, rest, _ := strings.Cut(text, "<!-- policy.yaml -->\n```yaml\n")
	policy, _, _ := strings.Cut(rest, "```\n")
	before, rest, _ := strings.Cut(text, "<!-- table -->\n```\n")
	shown, after, _ := strings.Cut(rest, "```\n")
	want, _ := checked(t, sampleHost+"/prod/vulnerable:1.0", "--policies", write(t, "policy.yaml", policy))
	if *update {
		rewrite(t, path, before+"<!-- table -->\n```\n"+want+"```\n"+after)
	} else if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("(-output +shown; -update writes it anew):\n%s", diff)
	}
}

// TestEverySampleIsExplained compares the explanation of every sample with what a
// person has read and found right.
func TestEverySampleIsExplained(t *testing.T) {
	const golden = "testdata/explain.txt"
	got, _ := checked(t, "-f", sampleManifests, "--policies", samplePolicies, "--explain")
	if *update {
		rewrite(t, golden, got)
	}
	if diff := cmp.Diff(readFile(t, golden), got); diff != "" {
		t.Errorf("(-want +got; -update writes it anew):\n%s", diff)
	}
}
