//go:build unix

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/hssgate/hssgate/internal/report"
)

// A report is written in place: a pipe takes it, and a file keeps its mode.
func TestAnOutputFileMayBeAnyFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	read := make(chan []byte, 1)
	go func() { data, _ := os.ReadFile(pipe); read <- data }() // what is missing is no report
	for _, path := range []string{pipe, write(t, "old", "long ago")} {
		stdout, _, err := run(t, "check", sampleHost+"/prod/clean:1.0", "--preset", "baseline", "--inventory", sampleInventory, "-o", "json="+path)
		if err != nil || stdout != "" {
			t.Errorf("got %v and %q", err, stdout)
		}
		if path != pipe {
			read <- []byte(readFile(t, path))
		}
		data, r := <-read, report.Report{}
		if json.Unmarshal(data, &r) != nil || r.Summary.Objects != 1 {
			t.Errorf("%s: got %q, want a report", path, data)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: its mode is %s, %v", path, info.Mode(), err)
		}
	}
}

func TestAnOutputFileThatCannotBeIsReportedBeforeAnythingIsEvaluated(t *testing.T) {
	dir, file := t.TempDir(), write(t, "file", "")
	for path, want := range map[string]string{
		filepath.Join(dir, "missing", "x"):  "--output sarif=" + filepath.Join(dir, "missing", "x") + ": stat",
		filepath.Join(file, "x"):            "not a directory",
		filepath.Join(dir, "missing") + "/": "missing/: stat",
	} {
		_, _, err := run(t, "check", "-f", "not-read.yaml", "--preset", "audit", "--inventory", sampleInventory, "-o", "sarif="+path)
		if err == nil || exitCode(err) != exitUnknown || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want exit code %d and %q", path, err, exitUnknown, want)
		}
	}
}

func TestAReportThatIsNotWrittenLeavesEverythingOpen(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no device that is always full:", err)
	}
	t.Cleanup(func() { _ = full.Close() })
	for _, output := range []string{"table", "sarif=/dev/full"} {
		root := newRootCommand()
		root.SetOut(full)
		root.SetArgs([]string{"check", sampleHost + "/prod/clean:1.0", "--preset", "baseline", "--inventory", sampleInventory, "-o", output})
		if err := root.ExecuteContext(t.Context()); err == nil || exitCode(err) != exitUnknown {
			t.Errorf("to %q: got %v, want exit code %d", output, err, exitUnknown)
		}
	}
}

// badAndGood are the arguments that evaluate a clean image and a bad one.
func badAndGood(more ...string) []string {
	return append([]string{"check", sampleHost + "/prod/clean:1.0", sampleHost + "/prod/high:1.0", "--preset", "baseline", "--inventory", sampleInventory}, more...)
}

func TestOneRunHasSeveralOutputs(t *testing.T) {
	sarif, markdown := filepath.Join(t.TempDir(), "a.sarif"), filepath.Join(t.TempDir(), "a=b.md")
	stdout, _, err := run(t, badAndGood("-o", "json", "-o", "junit=/dev/full", "-o", "sarif="+sarif, "-o", "markdown="+markdown)...)
	if codeOf(err) != exitUnknown || !strings.Contains(err.Error(), "--output junit=/dev/full: ") || !json.Valid([]byte(stdout)) {
		t.Errorf("got %v and %s", err, stdout)
	}
	if !strings.Contains(readFile(t, sarif), `"version": "2.1.0"`) || !strings.Contains(readFile(t, markdown), "❌") {
		t.Errorf("got %s and %s", readFile(t, sarif), readFile(t, markdown))
	}
}

func TestAReportIsAsLongAsAReaderWants(t *testing.T) {
	denied := regexp.MustCompile(`(?s)^VERDICT.*\nDenied .*\nAdmitted `)
	for name, tt := range map[string]struct {
		args []string
		want string // a regular expression
	}{
		"the worst first":         {nil, denied.String()},
		"nothing":                 {[]string{"-q"}, `^$`},
		"files only":              {[]string{"-o", "json=" + filepath.Join(t.TempDir(), "x")}, `^$`},
		"what fails":              {[]string{"--only", "failed"}, `(?s)^VERDICT[^\n]*\nDenied [^\n]*\n\n2 objects with 2 images: 1 denied, 1 admitted\.`},
		"what fails, in Markdown": {[]string{"--only", "failed", "-o", "markdown"}, `(?s)^[^✅]*high[^✅]*$`},
		"all images of a page":    {[]string{"--only", "failed", "-o", "html"}, `(?s)2 images by severity.*High</span><svg.*?<b>1</b>.*?>Low</span><svg.*?<b>1</b>`},
		"colours":                 {[]string{"--color", "always"}, `\n\x1b\[31mDenied\x1b\[0m  (?s:.*)\n\x1b\[32mAdmitted\x1b\[0m  `},
		"no colours in a file":    {nil, `^[^\x1b]*$`},
		"colours of tables only":  {[]string{"--color", "always", "-o", "yaml"}, `^[^\x1b]*$`},
	} {
		stdout, stderr, err := run(t, badAndGood(tt.args...)...)
		if !regexp.MustCompile(tt.want).MatchString(stdout) || stderr != "" || codeOf(err) != exitFailure {
			t.Errorf("%s: got %v, %q and %q, want %q", name, err, stdout, stderr, tt.want)
		}
	}
}

func TestTheConfigurationHasDefaults(t *testing.T) {
	inventory, err := filepath.Abs(sampleInventory)
	must(t, err)
	sample := readFile(t, "../../config/samples/config.yaml")
	other := write(t, "other.yaml", sample)
	t.Chdir(t.TempDir())
	t.Setenv(configVariable, "")
	check := func(name string, code int, says string, more ...string) {
		t.Helper()
		calls{name: {append([]string{sampleHost + "/prod/clean:1.0", "--preset", "baseline", "--inventory", inventory}, more...), code, says}}.check(t, "check")
	}
	check("that of the samples", 0, "")
	rewrite(t, configName, sample)
	check("the current folder's", 0, "hssgate: the configuration is hssgate.yaml of the current folder")
	rewrite(t, configName, "projects: 7\n")
	check("a wrong one of the current folder", exitUsage, "the default of --config: hssgate.yaml:1: ")
	calls{"a wrong one for HSS": {[]string{"--hss"}, exitUsage, "the default of --config: hssgate.yaml:1: "}}.check(t, "probe")
	check("none", 0, "", "--config", "")
	t.Setenv(configVariable, other)
	check("the variable's before it", 0, "")
	t.Setenv(configVariable, "nowhere.yaml")
	check("a missing one", exitUsage, "$HSSGATE_CONFIG: ")
	check("the flag's before all", 0, "", "--config", other)
}
