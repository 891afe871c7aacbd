package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// The files of hssgate's image, with mode and owner.
const wantFiles = `drwxr-xr-x 0 etc/
drwxr-xr-x 0 etc/ssl/
drwxr-xr-x 0 etc/ssl/certs/
-rw-r--r-- 0 etc/ssl/certs/ca-certificates.crt
-rwxr-xr-x 0 hssgate
drwxr-xr-x 0 licenses/
-rwxr-xr-x 0 licenses/LICENSES.txt
`

func TestTheImageIsThatOfTheDockerfile(t *testing.T) {
	t.Parallel()
	bin := newPrograms(t)
	output := filepath.Join(t.TempDir(), "image")
	must(t, run([]string{"-f", "../../Dockerfile", "-bin", bin, "-platform", "linux/amd64,linux/arm64", "-o", output}))
	for _, architecture := range []string{"amd64", "arm64"} {
		image := imageOf(t, output, architecture)
		config, err := image.ConfigFile()
		must(t, err)
		want := v1.Config{
			User: "65532:65532", Entrypoint: []string{"/hssgate"},
			Labels: map[string]string{
				"org.opencontainers.image.title":       "hssgate",
				"org.opencontainers.image.description": "Admits or denies pods by what Huawei Cloud HSS found in their images",
				"org.opencontainers.image.licenses":    "Apache-2.0",
			},
		}
		if diff := cmp.Diff(want, config.Config); diff != "" {
			t.Errorf("%s (-want +got):\n%s", architecture, diff)
		}
		files, contents := filesOf(t, image)
		if diff := cmp.Diff(wantFiles, files); diff != "" {
			t.Errorf("files for %s (-want +got):\n%s", architecture, diff)
		}
		for file, want := range map[string]string{
			"hssgate": "hssgate for linux-" + architecture, "licenses/LICENSES.txt": "licences for linux-" + architecture,
			"etc/ssl/certs/ca-certificates.crt": "BEGIN CERTIFICATE",
		} {
			if got := contents[file]; !strings.Contains(got, want) {
				t.Errorf("/%s is %q, want %q in it", file, got, want)
			}
		}
	}
}

// TestTheShellOfTheImageForPipelines runs what is in that image: a shell that needs no other program, and hssgate.
func TestTheShellOfTheImageForPipelines(t *testing.T) {
	t.Parallel()
	folder, architecture := t.TempDir(), runtime.GOARCH
	bin := filepath.Join(folder, "linux-"+architecture)
	write(t, filepath.Join(bin, "LICENSES.txt"), "licences")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", "../..", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=v1.2.3", "-o", filepath.Join(bin, "hssgate"), "./cmd/hssgate")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	output := filepath.Join(folder, "image")
	must(t, run([]string{"-f", "../../Dockerfile", "-target", "ci", "-bin", filepath.Join(folder, "{os}-{arch}"), "-platform", "linux/" + architecture, "-o", output}))
	_, contents := filesOf(t, imageOf(t, output, architecture))
	root := filepath.Join(folder, "root")
	for file, content := range contents {
		if !strings.HasSuffix(file, "/") {
			write(t, filepath.Join(root, file), content)
		}
	}
	script := exec.CommandContext(t.Context(), filepath.Join(root, "bin/sh"), "-euc", "mkdir -p builds && cd builds && hssgate version > v && cat v && ls ../licenses")
	script.Dir, script.Env = root, []string{"PATH=" + filepath.Join(root, "bin")}
	out, err := script.CombinedOutput()
	if got := string(out); err != nil || !strings.Contains(got, "v1.2.3") || !strings.Contains(got, "LICENSES.txt\nbusybox.txt\n") {
		t.Errorf("got %v and %s, want the version and the licences", err, got)
	}
}

func TestTheSameFilesGiveTheSameDigest(t *testing.T) {
	t.Parallel()
	var indexes [2]string
	for i := range indexes {
		output := filepath.Join(t.TempDir(), "image")
		must(t, run([]string{"-f", "hss-simulator.Dockerfile", "-bin", newPrograms(t), "-o", output}))
		index, err := os.ReadFile(filepath.Join(output, "index.json"))
		must(t, err)
		indexes[i] = string(index)
	}
	if diff := cmp.Diff(indexes[0], indexes[1]); diff != "" {
		t.Error(diff)
	}
}

func TestPush(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	folder := t.TempDir()
	write(t, filepath.Join(folder, "Dockerfile"), "FROM scratch\nCOPY motd /etc/\nENV A=1\nUSER 1:1\nENTRYPOINT [\"/a\"]\nCMD [\"b\"]\n")
	write(t, filepath.Join(folder, "motd"), "hello")
	reference := strings.TrimPrefix(server.URL, "http://") + "/team/app:v1"
	must(t, run([]string{"-f", filepath.Join(folder, "Dockerfile"), "-push", reference, folder}))
	parsed, err := name.ParseReference(reference)
	must(t, err)
	image, err := remote.Image(parsed)
	must(t, err)
	config, err := image.ConfigFile()
	must(t, err)
	want := v1.Config{User: "1:1", Entrypoint: []string{"/a"}, Cmd: []string{"b"}, Env: []string{"A=1"}}
	if diff := cmp.Diff(want, config.Config, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if _, contents := filesOf(t, image); contents["etc/motd"] != "hello" {
		t.Errorf("files: %q", contents)
	}
}

func TestWhatItDoesNotKnowIsAnError(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ dockerfile, want, target string }{
		"another base":             {"FROM alpine\n", `unknown base image "alpine" (allowed: scratch)`, ""},
		"a command":                {"FROM scratch\nRUN make\n", "RUN is not supported", ""},
		"a changed mode":           {"FROM scratch\nCOPY --chmod=755 a /a\n", "--chmod and --chown are not supported", ""},
		"a missing file":           {"FROM scratch\nCOPY a /a\n", "no such file", ""},
		"a stage that isn't there": {"FROM scratch AS other\n", `has no stage "a"`, "a"},
	} {
		folder := t.TempDir()
		file := filepath.Join(folder, "Dockerfile")
		write(t, file, tt.dockerfile)
		err := run([]string{"-f", file, "-target", tt.target, "-o", filepath.Join(folder, "image"), folder})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, tt.want)
		}
	}
}

// newPrograms returns a folder of programs and their licences for two platforms.
func newPrograms(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for _, platform := range []string{"linux-amd64", "linux-arm64"} {
		for _, program := range []string{"hssgate", "hss-simulator"} {
			write(t, filepath.Join(folder, platform, program), program+" for "+platform)
		}
		write(t, filepath.Join(folder, platform, "LICENSES.txt"), "licences for "+platform)
	}
	return filepath.Join(folder, "{os}-{arch}")
}

// must ends a test that can't go on.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, []byte(content), 0o755))
}

// imageOf returns the image of an architecture in a layout.
func imageOf(t *testing.T, folder, architecture string) v1.Image {
	t.Helper()
	index, err := layout.ImageIndexFromPath(folder)
	must(t, err)
	images, err := partial.FindImages(index, match.Platforms(v1.Platform{OS: "linux", Architecture: architecture}))
	must(t, err)
	if len(images) != 1 {
		t.Fatalf("%d images for %s, want 1", len(images), architecture)
	}
	return images[0]
}

// filesOf lists the files of an image and returns their contents.
func filesOf(t *testing.T, image v1.Image) (string, map[string]string) {
	t.Helper()
	var list strings.Builder
	contents := map[string]string{}
	layers, err := image.Layers()
	must(t, err)
	for _, layer := range layers {
		content, err := layer.Uncompressed()
		must(t, err)
		defer content.Close()
		for files := tar.NewReader(content); ; {
			header, err := files.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			must(t, err)
			data, err := io.ReadAll(files)
			must(t, err)
			contents[header.Name] = string(data)
			fmt.Fprintf(&list, "%s %d %s\n", header.FileInfo().Mode(), header.Uid, header.Name)
		}
	}
	return list.String(), contents
}
