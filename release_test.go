package hssgate_test

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// TestARelease makes the files of a release, in which only this machine's program
// is real, and installs from them.
func TestARelease(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it builds hssgate")
	}
	release, stub := filepath.Join(t.TempDir(), "v0.1.0"), filepath.Join(t.TempDir(), "build")
	script := fmt.Sprintf("#!/bin/sh\nif [ $GOOS/$GOARCH = %s/%s ]; then CGO_ENABLED=0 exec go build -trimpath -buildvcs=false -ldflags '-s -w' \"$@\"; fi\necho stub > \"$2\"\n", runtime.GOOS, runtime.GOARCH)
	must(t, os.WriteFile(stub, []byte(script), 0o700))
	run(t, exec.CommandContext(t.Context(), "make", "dist", "DIST="+release, "VERSION=v0.1.0", "GO_BUILD="+stub))
	t.Run("krew", func(t *testing.T) { t.Parallel(); testKrew(t, release) })
	t.Run("action", func(t *testing.T) { t.Parallel(); testAction(t, release) })
	t.Run("download", func(t *testing.T) { t.Parallel(); testDownload(t, release) })
}

// testDownload runs what docs/guides/command-line.md does with a release.
func testDownload(t *testing.T, release string) {
	_, page, _ := strings.Cut(read(t, "docs/guides/command-line.md"), "## From a release")
	_, script, _ := strings.Cut(page, "```sh\n")
	script, _, _ = strings.Cut(script, "```")
	folder := t.TempDir()
	script = strings.NewReplacer("https://github.com/hssgate/hssgate/releases/download/v0.1.0", "file://"+release,
		"hssgate-linux-amd64", "hssgate-"+runtime.GOOS+"-"+runtime.GOARCH, "sudo ", "", "/usr/local/bin", folder).Replace(script)
	bash := exec.CommandContext(t.Context(), "bash", "-euc", script+"kubectl-hssgate version\n")
	bash.Dir, bash.Env = t.TempDir(), append(os.Environ(), "PATH="+folder+":"+os.Getenv("PATH"))
	run(t, bash)
}

func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// testKrew checks what `kubectl krew` and its index demand of a manifest.
func testKrew(t *testing.T, release string) {
	var plugin struct {
		APIVersion, Kind string
		Metadata         struct{ Name string }
		Spec             struct {
			Version, Homepage, ShortDescription, Description, Caveats string
			Platforms                                                 []struct {
				Selector         struct{ MatchLabels map[string]string }
				URI, SHA256, Bin string
			}
		}
	}
	must(t, yaml.UnmarshalStrict([]byte(read(t, filepath.Join(release, "hssgate.yaml"))), &plugin))
	for field, pattern := range map[string]string{
		plugin.APIVersion + plugin.Kind: `^krew\.googlecontainertools\.github\.com/v1alpha2Plugin$`, plugin.Metadata.Name: `^hssgate$`,
		plugin.Spec.Version: `^v0\.1\.0$`, plugin.Spec.Homepage: `^https://`, plugin.Spec.ShortDescription: `^[A-Z].{10,48}[^.]$`, plugin.Spec.Description: `.`,
	} {
		if !regexp.MustCompile(pattern).MatchString(field) {
			t.Errorf("%q does not match %s", field, pattern)
		}
	}
	platforms := map[string]bool{}
	for _, p := range plugin.Spec.Platforms {
		platform := p.Selector.MatchLabels["os"] + "/" + p.Selector.MatchLabels["arch"]
		platforms[platform] = true
		if want := "https://github.com/hssgate/hssgate/releases/download/v0.1.0/hssgate-" + strings.ReplaceAll(platform, "/", "-") + ".tar.gz"; p.URI != want {
			t.Errorf("%s: %s, want %s", platform, p.URI, want)
			continue
		}
		archive := read(t, filepath.Join(release, filepath.Base(p.URI)))
		if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(archive))); p.SHA256 != sum {
			t.Errorf("%s: sha256 %s, want %s", platform, p.SHA256, sum)
		}
		program := "hssgate"
		if strings.HasPrefix(platform, "windows/") {
			program = "hssgate.exe"
		}
		if diff := cmp.Diff([]string{"LICENSE", "LICENSES.txt", program}, archived(t, archive)); diff != "" || p.Bin != program {
			t.Errorf("%s: bin %s, files (-want +got):\n%s", platform, p.Bin, diff)
		}
	}
	want := []string{"darwin/amd64", "darwin/arm64", "linux/amd64", "linux/arm64", "windows/amd64", "windows/arm64"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(platforms))); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
}

// archived lists the files of an archive.
func archived(t *testing.T, archive string) (files []string) {
	t.Helper()
	unzipped, err := gzip.NewReader(strings.NewReader(archive))
	must(t, err)
	for entries := tar.NewReader(unzipped); ; {
		entry, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		must(t, err)
		if entry.Typeflag == tar.TypeReg {
			files = append(files, strings.TrimPrefix(entry.Name, "./"))
		}
	}
}

// testAction runs the steps of action.yml as a runner of GitHub does.
func testAction(t *testing.T, release string) {
	var action struct {
		Inputs map[string]struct{ Default string }
		Runs   struct {
			Steps []struct {
				Run string
				Env map[string]string
			}
		}
	}
	must(t, yaml.Unmarshal([]byte(read(t, "action.yml")), &action))
	guide := read(t, "docs/guides/ci.md")
	for input := range action.Inputs {
		if !strings.Contains(guide, "\n| `"+input+"` | ") {
			t.Errorf("docs/guides/ci.md has no line on input %s", input)
		}
	}
	tampered := filepath.Join(t.TempDir(), "v0.1.0")
	must(t, os.CopyFS(tampered, os.DirFS(release)))
	system := map[string]string{"linux": "Linux", "darwin": "macOS"}[runtime.GOOS]
	machine := map[string]string{"amd64": "X64", "arm64": "ARM64"}[runtime.GOARCH]
	program := filepath.Join(tampered, "hssgate-"+runtime.GOOS+"-"+runtime.GOARCH)
	must(t, os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700))
	samples := map[string]string{
		"files": "config/samples/manifests\n", "policies": "config/samples/policies", "config": "", "args": "--inventory config/samples/inventory.yaml",
		"releases": "file://" + filepath.Dir(release),
	}
	for name, tt := range map[string]struct {
		inputs         map[string]string
		code           int
		output, report string
	}{
		"denied images fail the job, with SARIF and a summary": {nil, 1, "exit-code=1\n", "Denied"},
		"files that are admitted pass":                         {map[string]string{"files": "config/samples/manifests/00-namespaces.yaml\n\nconfig/samples/manifests/10-clean.yaml"}, 0, "exit-code=0\n", "Admitted"},
		"no summary":                                           {map[string]string{"summary": "false"}, 1, "exit-code=1\n", ""},
		"images are scanned in place of files":                 {map[string]string{"images": "other.example.com/a:1\n", "args": "", "config": "config/samples/config.yaml"}, 3, "exit-code=3\n", ""},
		"an unknown flag":                                      {map[string]string{"args": "--nope"}, 3, "exit-code=3\n", ""},
		"a program that its checksum does not fit is not run":  {map[string]string{"releases": "file://" + filepath.Dir(tampered)}, 1, "", ""},
		"a release that is not there":                          {map[string]string{"version": "v9.9.9"}, 37, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			inputs := map[string]string{}
			for input, declared := range action.Inputs {
				inputs[input] = declared.Default
			}
			inputs["sarif"] = filepath.Join(folder, "a.sarif")
			maps.Copy(inputs, samples)
			maps.Copy(inputs, tt.inputs)
			code := 0
			var log []byte
			for _, step := range action.Runs.Steps {
				bash := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step.Run)
				bash.Env = append(os.Environ(), "RUNNER_OS="+system, "RUNNER_ARCH="+machine, "RUNNER_TEMP="+folder, "GITHUB_PATH="+folder+"/path",
					"GITHUB_OUTPUT="+folder+"/output", "GITHUB_STEP_SUMMARY="+folder+"/summary")
				for variable, value := range step.Env {
					for input, given := range inputs {
						value = strings.ReplaceAll(value, "${{ inputs."+input+" }}", given)
					}
					bash.Env = append(bash.Env, variable+"="+value)
				}
				log, _ = bash.CombinedOutput()
				if code = bash.ProcessState.ExitCode(); code != 0 {
					break
				}
			}
			output, _ := os.ReadFile(folder + "/output")
			summary, _ := os.ReadFile(folder + "/summary")
			if code != tt.code || string(output) != tt.output || !strings.Contains(string(summary), tt.report) || (tt.report == "") != (len(summary) == 0) {
				t.Errorf("exit code %d, output %q, summary %q, want %d, %q and %q in it; log:\n%s", code, output, summary, tt.code, tt.output, tt.report, log)
			}
			if tt.report != "" && !strings.Contains(read(t, inputs["sarif"]), `"2.1.0"`) {
				t.Error("there is no SARIF")
			}
		})
	}
}
