package charts_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
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
	values := slices.Concat(set(setIn(blocks(t, path, "\n## Install\n", 1)[0])...), g.values(), set("webhook.timeoutSeconds=2", "metrics.secure=true"))
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
	fitPage(t, g.scrapeSecurely(t, c))
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

// testTutorial runs the commands of docs/tutorial.md in a shell. There's no node, so the gate and the simulator run here, by
// what the chart renders; test/cluster runs them all.
func testTutorial(t *testing.T, c *cluster) {
	const path = "../docs/tutorial.md"
	g, dir, address := newGate(t), t.TempDir(), controlplanetest.FreeAddresses(t, 1)[0]
	must(t, os.Mkdir(filepath.Join(dir, "bin"), 0o700))
	for name, target := range map[string]string{"charts": "../charts", "bin/hssgate": c.program, "bin/kubectl": c.Kubectl, "bin/helm": tool(t, "helm")} {
		path, err := filepath.Abs(target)
		must(t, err)
		must(t, os.Symlink(path, filepath.Join(dir, name)))
	}
	values := slices.Concat(set(setIn(blocks(t, path, "\n## 1. ", 1)[0])...), g.values())
	c.install(t, values...)
	g.serve(t, c, c.simulate(t, address, dir, render(t, values...)), values...)

	_, page, _ := strings.Cut(readFile(t, path), "\n## 2. ")
	page, _, _ = strings.Cut(page, "\n## Remove it")
	page = strings.NewReplacer("oci://ghcr.io/hssgate/charts/hssgate --version 0.1.0", "charts/hssgate", "--wait --timeout 5m ", "").Replace(page)
	// The loop stands for a kubelet.
	script := "set -e; trap 'kill $(jobs -p)' EXIT\n" +
		`while sleep 1; do kubectl -n ` + namespace + ` get configmap hssgate-simulator -o 'jsonpath={.data.inventory\.yaml}' >new && mv new known.yaml; done &` + "\n"
	var shown []string
	for _, block := range regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		if block[1] == "sh" {
			script += block[2]
			continue
		}
		shown = append(shown, block[2])
		for _, command := range regexp.MustCompile(`(?m)^\$ (.*)$`).FindAllStringSubmatch(block[2], -1) {
			script += "echo '$ " + command[1] + "'\n" + command[1] + " || true\n"
		}
	}
	shell := exec.CommandContext(t.Context(), "bash", "-c", "exec 2>&1\n"+script)
	shell.Dir, shell.Env = dir, slices.Concat(helm(t).Env, []string{"KUBECONFIG=" + c.kubeconfig, "PATH=" + filepath.Join(dir, "bin") + ":" + os.Getenv("PATH")})
	out, _, err := run(t, shell)
	for _, block := range shown {
		if !strings.Contains(out, block) {
			t.Errorf("%s shows\n%s", path, block)
		}
	}
	if err != nil || t.Failed() || len(shown) == 0 {
		t.Errorf("%d blocks are shown; %v\n%s", len(shown), err, out)
	}
	g.stop()
	c.helm(t, "uninstall", release)
}

// simulate runs the simulator with the inventory that the chart renders, in dir/known.yaml, and returns the rendered project
// with the address and the keys' files of this machine.
func (c *cluster) simulate(t *testing.T, address, dir string, rendered objects) map[string]any {
	t.Helper()
	inventory := filepath.Join(dir, "known.yaml")
	must(t, os.WriteFile(inventory, []byte(rendered.at(t, `ConfigMap/hssgate-simulator .data['inventory\.yaml']`)), 0o600))
	simulator := exec.CommandContext(t.Context(), "go", "run", "../cmd/hss-simulator", "--inventory", inventory, "--listen", address)
	simulator.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, simulator.Start())
	t.Cleanup(func() { _ = syscall.Kill(-simulator.Process.Pid, syscall.SIGTERM); _ = simulator.Wait() }) // ended by a signal
	keys := decode[corev1.Secret](t, rendered.named(t, "Secret", "hssgate-credentials")).Data
	project := rendered.one(t, "Configuration").Object["projects"].([]any)[0].(map[string]any)
	project["endpoint"] = "http://" + address
	project["credentials"] = map[string]any{
		"source": "Files", "accessKeyFile": writeFile(t, "ak", string(keys["access-key"])), "secretKeyFile": writeFile(t, "sk", string(keys["secret-key"])),
	}
	return project
}
