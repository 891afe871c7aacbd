package charts_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/hssgate/hssgate/internal/controlplanetest"
)

// blocks returns the first n code blocks of a page behind some words.
func blocks(t testing.TB, path, words string, n int) []string {
	t.Helper()
	_, section, found := strings.Cut(readFile(t, path), words)
	all := regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```$").FindAllStringSubmatch(section, n)
	if !found || len(all) != n {
		t.Fatalf("%s has not %d blocks behind %q", path, n, words)
	}
	texts := make([]string, n)
	for i := range all {
		texts[i] = all[i][1]
	}
	return texts
}

// setIn returns what a command gives by --set.
func setIn(command string) []string {
	var values []string
	words := strings.Fields(command)
	for i, word := range words {
		if word == "--set" && i+1 < len(words) {
			values = append(values, words[i+1])
		}
	}
	return values
}

// testFirstSteps does what docs/install.md says: after its helm install, its
// commands show what it says that they show.
func testFirstSteps(t *testing.T, c *cluster) {
	const path = "../docs/install.md"
	g := newGate(t)
	values := slices.Concat(set(setIn(blocks(t, path, "\n## Install\n", 1)[0])...), g.values(), set("webhook.timeoutSeconds=2"))
	c.install(t, values...)
	g.start(t, c, scannedImage("High"), values...)
	for _, words := range []string{"\n## See what it would deny\n", "always gets a comment"} {
		shown := blocks(t, path, words, 2)
		// The program of a test has no version.
		want := strings.Replace(shown[1], "v0.1.0", "unknown", 1)
		eventually(t, func(ctx context.Context) string {
			var got strings.Builder
			for command := range strings.Lines(shown[0]) {
				got.WriteString(c.says(ctx, t, command))
			}
			return cmp.Diff(want, got.String())
		})
	}
	c.isProbed(t, g, values...)
	if log := readFile(t, g.logFile); !strings.Contains(log, `"msg":"denied"`) || !strings.Contains(log, scannedReference) {
		t.Errorf("no line of the log tells of it:\n%s", log)
	}
	g.scrapedFitPage(t)
	g.stop()
	c.helm(t, "uninstall", release)
}

// isProbed runs the commands of helm test that need no Service.
func (c *cluster) isProbed(t *testing.T, g *gate, values ...string) {
	t.Helper()
	says := map[string]string{"api-server": `evaluates pods of namespace "default"`, "hss": "HSS answers, images: 1"}
	for _, object := range render(t, values...).ofKind("Pod") {
		for _, container := range decode[corev1.Pod](t, object).Spec.Containers {
			args := container.Args
			switch container.Name {
			case "webhook":
				continue
			case "api-server":
				args = append(args, "--kubeconfig", c.kubeconfig)
			case "hss":
				args[slices.Index(args, "--config=/etc/hssgate/config/config.yaml")] = "--config=" + g.configFile
			}
			if out, stderr, err := run(t, exec.CommandContext(t.Context(), c.program, args...)); err != nil || !strings.Contains(out, says[container.Name]) {
				t.Errorf("hssgate %q: %v\n%s%s", args, err, out, stderr)
			}
		}
	}
}

// says runs a command line of kubectl and returns all that a terminal shows.
func (c *cluster) says(ctx context.Context, t testing.TB, line string) string {
	t.Helper()
	words := strings.Fields(line)
	if words[0] != "kubectl" {
		t.Fatalf("%q is no command of kubectl", line)
	}
	command := exec.CommandContext(ctx, c.Kubectl, append([]string{"--kubeconfig", c.kubeconfig}, words[1:]...)...)
	out, err := command.CombinedOutput()
	if err != nil {
		return line + err.Error() + "\n" + string(out)
	}
	return string(out)
}

// testTutorial runs the commands of docs/tutorial.md in a shell, but those that build programs and make a cluster.
func testTutorial(t *testing.T, c *cluster) {
	dir, addresses := t.TempDir(), controlplanetest.FreeAddresses(t, 2)
	must(t, os.Mkdir(filepath.Join(dir, "bin"), 0o700))
	for name, target := range map[string]string{
		"charts": "../charts", "config": "../config",
		"bin/hssgate": c.program, "bin/kubectl": c.Kubectl, "bin/helm": tool(t, "helm"),
	} {
		path, err := filepath.Abs(target)
		must(t, err)
		must(t, os.Symlink(path, filepath.Join(dir, name)))
	}
	simulator := filepath.Join(dir, "bin/hss-simulator")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", simulator, "../cmd/hss-simulator")
	if _, stderr, err := run(t, build); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	_, page, _ := strings.Cut(readFile(t, "../docs/tutorial.md"), "\n## 2. ")
	page, _, _ = strings.Cut(page, "\n## Remove it")
	page = strings.NewReplacer(
		"172.18.0.1:9443", addresses[0], "172.18.0.1", "127.0.0.1", "127.0.0.1:8443", addresses[1],
		"\nwebhook:\n", "\nwebhook:\n  bindAddress: "+addresses[0]+"\n",
		"--inventory inventory.yaml\n", "--inventory inventory.yaml --listen "+addresses[1]+" >hss.log 2>&1 &\n",
		"--log-format text\n", "--log-format text >gate.log 2>&1 &\n", "probe --api-server", "probe --api-server --timeout 5m").Replace(page)
	script := "set -e; trap 'kill $(jobs -p)' EXIT\n"
	var shown []string
	for _, block := range regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		switch block[1] {
		case "yaml":
			script += "cat >hssgate.yaml <<'END'\n" + block[2] + "END\n"
		case "sh":
			script += block[2]
		case "console":
			shown = append(shown, block[2])
			for _, command := range regexp.MustCompile(`(?m)^\$ (.*)$`).FindAllStringSubmatch(block[2], -1) {
				script += "echo '$ " + command[1] + "'\n" + command[1] + " || true\n"
			}
		}
	}
	shell := exec.CommandContext(t.Context(), "bash", "-c", "exec 2>&1\n"+script)
	path := filepath.Join(dir, "bin") + ":" + os.Getenv("PATH")
	shell.Dir, shell.Env = dir, slices.Concat(helm(t).Env, []string{"KUBECONFIG=" + c.kubeconfig, "PATH=" + path})
	out, _, err := run(t, shell)
	for _, block := range shown {
		if !strings.Contains(out, block) {
			t.Errorf("docs/tutorial.md shows\n%s", block)
		}
	}
	if err != nil || t.Failed() || len(shown) == 0 {
		t.Errorf("%d blocks are shown; %v\n%s", len(shown), err, out)
	}
	c.helm(t, "uninstall", release)
}
