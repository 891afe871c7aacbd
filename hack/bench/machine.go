package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
)

// describeMachine says what the figures are of.
func describeMachine() []string {
	return []string{
		"machine: " + processor(),
		"system: " + runtime.GOOS + "/" + runtime.GOARCH + " " + kernel(),
		"load at the start: " + firstLine("/proc/loadavg"),
		"go: " + runtime.Version(),
		"hssgate: " + revision(),
		"compared with: " + versions("sigs.k8s.io/controller-runtime", "k8s.io/api"),
	}
}

func processor() string {
	model := "unknown processor"
	if content, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range bytes.Lines(content) {
			if name, value, ok := strings.Cut(string(line), ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
			}
		}
	}
	return format(runtime.NumCPU()) + " × " + model
}

// kernel is its version without what its builder added.
func kernel() string {
	version, _, _ := strings.Cut(firstLine("/proc/sys/kernel/osrelease"), "-")
	return version
}

func firstLine(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return "unknown"
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Scan()
	return lines.Text()
}

// revision asks git, since a program run by "go run" isn't stamped.
func revision() string {
	out, err := exec.Command("git", "describe", "--tags", "--always", "--dirty").Output() //nolint:noctx // takes no time
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func versions(paths ...string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	var found []string
	for _, path := range paths {
		for _, module := range info.Deps {
			if module.Path == path {
				found = append(found, path+" "+module.Version)
			}
		}
	}
	return strings.Join(found, ", ")
}
