//go:build unix

package main

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hssgate/hssgate/internal/report"
)

func TestAnOutputFileMayBeAnyFile(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	file := func(name string, mode fs.FileMode) string {
		if err := os.WriteFile(path(name), []byte(strings.Repeat(".", 1<<16)), mode); err != nil {
			t.Fatal(err)
		}
		return path(name)
	}
	symlink := func(target, name string) string {
		if err := os.Symlink(target, path(name)); err != nil {
			t.Fatal(err)
		}
		return path(name)
	}
	pipe := path("pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	masked := file("masked", 0o666) // by the umask
	info, err := os.Stat(masked)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		path string
		mode fs.FileMode
	}{
		"a new one has the mode of a new file": {path("new"), info.Mode()},
		"an old one keeps its mode":            {file("old", 0o600), 0o600},
		"a link to a file":                     {symlink("masked", "link"), info.Mode()},
		"a link to nothing yet":                {symlink("later", "to-be"), info.Mode()},
		"a pipe":                               {pipe, fs.ModeNamedPipe | 0o600},
	} {
		t.Run(name, func(t *testing.T) {
			read := make(chan []byte, 1)
			if tt.path == pipe {
				go func() { data, _ := os.ReadFile(pipe); read <- data }() // what is missing is no report
			}
			stdout, _, err := run(t, "check", sampleHost+"/prod/clean:1.0", "--preset", "baseline", "--inventory", sampleInventory, "-o", "json", "--output-file", tt.path)
			if err != nil || stdout != "" {
				t.Errorf("got %v and %q", err, stdout)
			}
			if tt.path != pipe {
				read <- []byte(readFile(t, tt.path))
			}
			var r report.Report
			if data := <-read; json.Unmarshal(data, &r) != nil || r.Summary.Objects != 1 {
				t.Errorf("got %q, want a report", data)
			}
			if info, err := os.Stat(tt.path); err != nil || info.Mode() != tt.mode {
				t.Errorf("its mode is %s, %v, want %s", info.Mode(), err, tt.mode)
			}
		})
	}
	if link, err := os.Lstat(path("link")); err != nil || link.Mode()&fs.ModeSymlink == 0 {
		t.Error("the link is none any more")
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
