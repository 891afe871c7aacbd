//go:build unix

package main

import (
	"encoding/json"
	"net/http"
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
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
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
	dir := t.TempDir()
	file := write(t, "file", "")
	for name, tt := range map[string]struct{ path, want string }{
		"in no folder":          {filepath.Join(dir, "missing", "x"), "--output-file: stat " + filepath.Join(dir, "missing")},
		"in a file":             {filepath.Join(file, "x"), "not a directory"},
		"a folder that's to be": {filepath.Join(dir, "missing") + "/", "--output-file: stat"},
	} {
		for _, args := range [][]string{
			{"check", "-f", "not-read.yaml", "--preset", "audit", "--inventory", sampleInventory},
			{"check", "-A", "--kubeconfig", "not-read", "--inventory", sampleInventory},
			{"policy", "test", "not-read.yaml"},
			{"policy", "simulate", "-f", "not-read.yaml", "-A", "--inventory", sampleInventory},
		} {
			_, _, err := run(t, append(args, "--output-file", tt.path)...)
			if err == nil || exitCode(err) != exitUnknown || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %s: got %v, want exit code %d and %q", name, args, err, exitUnknown, tt.want)
			}
		}
	}
}

func TestAReportThatIsNotWrittenLeavesEverythingOpen(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no device that is always full:", err)
	}
	t.Cleanup(func() { _ = full.Close() })
	pod := write(t, "pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: a, image: '"+sampleHost+"/prod/clean:1.0'}]}\n")
	test := write(t, "test.yaml", "apiVersion: test.hssgate.io/v1alpha1\nkind: PolicyTest\npreset: audit\nimages: []\ncases:\n- {name: a, image: nginx, expect: {verdict: Admitted}}\n")
	for name, args := range map[string][]string{
		"check":           {"check", sampleHost + "/prod/clean:1.0", "--preset", "baseline", "--inventory", sampleInventory},
		"check to a file": {"check", sampleHost + "/prod/clean:1.0", "--preset", "baseline", "--inventory", sampleInventory, "--output-file", "/dev/full"},
		"check -A":        {"check", "-A", "--preset", "baseline", "--inventory", sampleInventory, "--kubeconfig", apiServer(t, http.StatusNotFound, "clean")},
		"policy test":     {"policy", "test", test},
		"policy simulate": {"policy", "simulate", "-f", samplePolicies, "--manifests", pod, "--policies", samplePolicies, "--inventory", sampleInventory},
	} {
		t.Run(name, func(t *testing.T) {
			root := newRootCommand()
			root.SetOut(full)
			root.SetArgs(args)
			if err := root.ExecuteContext(t.Context()); err == nil || exitCode(err) != exitUnknown {
				t.Errorf("got %v, want exit code %d", err, exitUnknown)
			}
		})
	}
}
