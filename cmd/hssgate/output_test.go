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

	"github.com/hssgate/hssgate/report"
)

// written judges a clean image and writes the report into a file.
func written(t *testing.T, path string) error {
	t.Helper()
	stdout, _, err := run(t, "check", sampleHost+"/prod/clean:1.0", "--preset", "baseline", "--inventory", sampleInventory, "-o", "json", "--output-file", path)
	if stdout != "" {
		t.Errorf("it printed %q", stdout)
	}
	return err
}

func isReport(t *testing.T, text string) {
	t.Helper()
	var r report.Report
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.Summary.Objects != 1 {
		t.Errorf("got %v of %q, want a report", err, text)
	}
}

func TestAnOutputFileHasTheModeOfANewOne(t *testing.T) {
	dir := t.TempDir()
	other, err := os.Create(filepath.Join(dir, "other"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := other.Stat()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "report.json")
	if err := written(t, path); err != nil {
		t.Fatal(err)
	}
	if got := modeOf(t, path); got != want.Mode() {
		t.Errorf("its mode is %s, that of others is %s", got, want.Mode())
	}
	isReport(t, readFile(t, path))
}

func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func TestAnOutputFileKeepsItsMode(t *testing.T) {
	path := write(t, "report.json", "what was there, which is longer than any report would be"+strings.Repeat(".", 1<<16))
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := written(t, path); err != nil {
		t.Fatal(err)
	}
	if got := modeOf(t, path); got != 0o640 {
		t.Errorf("its mode is %s", got)
	}
	isReport(t, readFile(t, path))
}

func TestAnOutputFileMayBeALink(t *testing.T) {
	for name, there := range map[string]bool{"to a file": true, "to nothing yet": false} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "below"), 0o700); err != nil {
				t.Fatal(err)
			}
			target, link := filepath.Join(dir, "below", "report.json"), filepath.Join(dir, "link")
			if there {
				if err := os.WriteFile(target, []byte("old"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Symlink("below/report.json", link); err != nil {
				t.Fatal(err)
			}
			if err := written(t, link); err != nil {
				t.Fatal(err)
			}
			if modeOf(t, link)&fs.ModeSymlink == 0 {
				t.Error("the link is none any more")
			}
			isReport(t, readFile(t, target))
		})
	}
}

func TestAnOutputFileMayBeAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan string, 1)
	go func() {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		read <- string(data)
	}()
	if err := written(t, path); err != nil {
		t.Error(err)
	}
	if mode := modeOf(t, path); mode&fs.ModeNamedPipe == 0 {
		t.Fatalf("the pipe is none any more, but %s", mode)
	}
	isReport(t, <-read)
}

func TestAnOutputFileMayBeADevice(t *testing.T) {
	if err := written(t, os.DevNull); err != nil {
		t.Error(err)
	}
	if mode := modeOf(t, os.DevNull); mode&fs.ModeDevice == 0 {
		t.Errorf("the device is none any more, but %s", mode)
	}
}

// TestAnOutputFileMayBeStandardOutput writes where a shell has appended before.
func TestAnOutputFileMayBeStandardOutput(t *testing.T) {
	path := write(t, "log", "before\n")
	stdout, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdout.Close() })
	root := newRootCommand()
	root.SetOut(stdout)
	root.SetArgs([]string{"check", sampleHost + "/prod/clean:1.0", "--preset", "baseline", "--inventory", sampleInventory, "-o", "json", "--output-file", path})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	rest, found := strings.CutPrefix(readFile(t, path), "before\n")
	if !found {
		t.Errorf("what was there is gone: %q", rest)
	}
	isReport(t, rest)
}

func TestAnOutputFileThatCannotBeIsToldBeforeAnythingIsJudged(t *testing.T) {
	dir := t.TempDir()
	file := write(t, "file", "")
	tests := map[string]struct{ path, want string }{
		"in no folder":          {filepath.Join(dir, "missing", "x"), "--output-file: there is no folder " + filepath.Join(dir, "missing")},
		"in a file":             {filepath.Join(file, "x"), "not a directory"},
		"a folder":              {dir, "--output-file: " + dir + " is a folder"},
		"a folder that's to be": {filepath.Join(dir, "missing") + "/", "--output-file: there is no folder"},
		"a link into no folder": {link(t, filepath.Join(dir, "missing", "x")), "--output-file: there is no folder " + filepath.Join(dir, "missing")},
		"a link to itself":      {link(t, "link"), "too many"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, args := range [][]string{
				{"check", "-f", "not-read.yaml", "--preset", "audit", "--inventory", sampleInventory},
				{"audit", "--kubeconfig", "not-read", "--inventory", sampleInventory},
				{"policy", "test", "not-read.yaml"},
				{"policy", "simulate", "-f", "not-read.yaml", "-A", "--inventory", sampleInventory},
			} {
				_, _, err := run(t, append(args, "--output-file", tt.path)...)
				if err == nil || exitCode(err) != exitUnknown || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), ".hssgate-") {
					t.Errorf("%s: got %v, want exit code %d and %q", args, err, exitUnknown, tt.want)
				}
			}
		})
	}
}

// link makes a symbolic link.
func link(t *testing.T, target string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	return path
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
		"audit":           {"audit", "--preset", "baseline", "--inventory", sampleInventory, "--kubeconfig", apiServer(t, http.StatusNotFound, "clean")},
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
