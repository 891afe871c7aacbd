package charts_test

import (
	"context"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
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
