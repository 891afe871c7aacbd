//go:build unix

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
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
		stdout, _, err := run(t, "check", sampleHost+"/prod/clean:1.0", "--preset", "baseline", "--inventory", sampleInventory, "-o", "json", "--output-file", path)
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
		filepath.Join(dir, "missing", "x"):  "--output-file: stat " + filepath.Join(dir, "missing"),
		filepath.Join(file, "x"):            "not a directory",
		filepath.Join(dir, "missing") + "/": "--output-file: stat",
	} {
		_, _, err := run(t, "check", "-f", "not-read.yaml", "--preset", "audit", "--inventory", sampleInventory, "--output-file", path)
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
	for _, path := range []string{"", "/dev/full"} {
		root := newRootCommand()
		root.SetOut(full)
		root.SetArgs([]string{"check", sampleHost + "/prod/clean:1.0", "--preset", "baseline", "--inventory", sampleInventory, "--output-file", path})
		if err := root.ExecuteContext(t.Context()); err == nil || exitCode(err) != exitUnknown {
			t.Errorf("to %q: got %v, want exit code %d", path, err, exitUnknown)
		}
	}
}
