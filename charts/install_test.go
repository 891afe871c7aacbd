package charts_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/controlplanetest"
)

// page is a document, cut into its sections by their headings.
type page struct {
	path string
	text string
}

// block returns the first block in a language below a heading, an empty one for
// those of none.
func (p page) block(t *testing.T, heading, language string) string {
	t.Helper()
	_, section, found := strings.Cut(p.text, "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	match := regexp.MustCompile("(?ms)^```" + language + "\n(.*?)^```$").FindStringSubmatch(section)
	if language == "" { // the end of a block looks like the start of one of no language
		match = regexp.MustCompile("(?ms)^```sh\n.*?^```$\n\n^```\n(.*?)^```$").FindStringSubmatch(section)
	}
	if !found || match == nil {
		t.Fatalf("%s has no such block below %q", p.path, heading)
	}
	return match[1]
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
	program, built := controlplanetest.StartBuild(t)
	const path = "../docs/install.md"
	install := page{path, readFile(t, path)}
	g := newTestGate(t)
	values := slices.Concat(set(setIn(install.block(t, "Install", "sh"))...), g.values(), set("deployment.enabled=true", "webhook.timeoutSeconds=2"))
	c.install(t, values...)
	bad := scannedImage()
	bad.SeverityLevel = "High"
	if err := <-built; err != nil {
		t.Fatal(err)
	}
	config := configFileAsking(t, knowing(t, bad), values...)
	g.startProgram(t, c, program, config)
	want := install.block(t, "See what it would deny", "")
	eventually(t, func(ctx context.Context) string {
		var got strings.Builder
		for command := range strings.Lines(install.block(t, "See what it would deny", "sh")) {
			got.WriteString(c.says(ctx, t, command))
		}
		return cmp.Diff(want, got.String())
	})
	c.isProbed(t, install, program, config, values...)
	if log := g.log.String(); !strings.Contains(log, `"msg":"denied"`) || !strings.Contains(log, scannedReference) {
		t.Errorf("no line of the log tells of it:\n%s", log)
	}
	g.scrapedFitPage(t)
	g.stop(t)
	c.helm(t, "uninstall", release)
}

// isProbed checks that the API server calls the gate, as the page says, and runs
// the commands of helm test that need no Service.
func (c *cluster) isProbed(t *testing.T, install page, program, config string, values ...string) {
	t.Helper()
	_, section, _ := strings.Cut(install.text, "always gets a comment")
	blocks := regexp.MustCompile("(?ms)^```(?:sh)?\n(.*?)^```$").FindAllStringSubmatch(section, 2)
	if len(blocks) != 2 {
		t.Fatalf("%s shows no probe", install.path)
	}
	// The program of a test has no version.
	want := strings.Replace(blocks[1][1], "v0.1.0", "unknown", 1)
	if diff := cmp.Diff(want, c.says(t.Context(), t, blocks[0][1])); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
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
				args[slices.Index(args, "--config=/etc/hssgate/config/config.yaml")] = "--config=" + config
			}
			if out, stderr, err := run(t, exec.CommandContext(t.Context(), program, args...)); err != nil || !strings.Contains(out, says[container.Name]) {
				t.Errorf("hssgate %q: %v\n%s%s", args, err, out, stderr)
			}
		}
	}
}

// configFileAsking writes the chart's configuration file, but that its only
// project is a server of the test's.
func configFileAsking(t *testing.T, known *hsstest.Server, values ...string) string {
	t.Helper()
	for _, object := range render(t, values...).ofKind("ConfigMap") {
		text, _, err := unstructured.NestedString(object.Object, "data", "config.yaml")
		if err != nil || text == "" {
			continue
		}
		var c map[string]any
		if err := yaml.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err)
		}
		c["projects"] = []any{map[string]any{
			"name": "default", "endpoint": known.URL, "projectID": "p1",
			"credentials": map[string]any{"source": "TokenFile", "tokenFile": writeFile(t, "token", "a-token")},
		}}
		data, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return writeFile(t, "config.yaml", string(data))
	}
	t.Fatal("no ConfigMap holds config.yaml")
	return ""
}

// says runs a command line of kubectl and returns all that a terminal shows.
func (c *cluster) says(ctx context.Context, t testing.TB, line string) string {
	t.Helper()
	words := strings.Fields(line)
	if words[0] != "kubectl" {
		t.Fatalf("%q is no command of kubectl", line)
	}
	command := exec.CommandContext(ctx, c.kubectlPath, append([]string{"--kubeconfig", c.kubeconfig}, words[1:]...)...)
	out, err := command.CombinedOutput()
	if err != nil {
		return line + err.Error() + "\n" + string(out)
	}
	return string(out)
}

// TestLogsOfDocumentsAreThoseOfAllReplicas: a Deployment stands for only one of
// its pods.
func TestLogsOfDocumentsAreThoseOfAllReplicas(t *testing.T) {
	t.Parallel()
	pods := labels.Set(deployment(t, working()...).Spec.Template.Labels)
	found := 0
	for path, text := range withGuides(t) {
		text = strings.ReplaceAll(text, "{{ .Release.Name }}", release)
		for _, match := range regexp.MustCompile(`kubectl [^\n`+"`"+`]*\blogs (\S+)( \S+)?`).FindAllStringSubmatch(text, -1) {
			if match[1] == "POD" {
				continue
			}
			found++
			if parsed, err := labels.Parse(strings.TrimSpace(match[2])); match[1] != "-l" || err != nil || parsed.Empty() || !parsed.Matches(pods) {
				t.Errorf("%s: %q doesn't select the replicas", path, match[0])
			}
		}
	}
	if found == 0 {
		t.Error("no document reads a log")
	}
}

// TestHelmCommandsOfDocumentsRender gives what the documents say to the chart.
func TestHelmCommandsOfDocumentsRender(t *testing.T) {
	t.Parallel()
	found := 0
	for path, text := range withGuides(t) {
		if filepath.Ext(path) != ".md" {
			continue
		}
		for _, command := range helmCommands(text) {
			values := setIn(command)
			if !slices.ContainsFunc(values, func(v string) bool { return strings.HasPrefix(v, "hss.region=") }) {
				values = append(values, "hss.region=cn-north-4") // it is reused
			}
			found++
			if _, err := template(t, set(values...)...); err != nil {
				t.Errorf("%s: %s: %v", path, command, err)
			}
			if strings.Contains(command, "--reuse-values") || !strings.Contains(command, namespace) {
				t.Errorf("%s: %s: it takes no new defaults, or is for another namespace", path, command)
			}
		}
	}
	if found < 8 {
		t.Errorf("only %d commands were found", found)
	}
}

// helmCommands are those that install or upgrade hssgate, one line each and
// without quotes.
func helmCommands(text string) []string {
	text = strings.NewReplacer("\\\n", " ", "'", "", `"`, "").Replace(text)
	commands := regexp.MustCompile("helm [^\n`]*\\b(install|upgrade) [^\n`]*oci://[^\n`]*").FindAllString(text, -1)
	for i, command := range commands {
		commands[i] = strings.Join(strings.Fields(command), " ")
	}
	return commands
}

// TestBlocksOfDocumentsAreCommands: whoever pastes a line of flags runs nothing.
func TestBlocksOfDocumentsAreCommands(t *testing.T) {
	t.Parallel()
	for path, text := range withGuides(t) {
		text = strings.ReplaceAll(text, "\\\n", " ")
		for _, block := range regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```$").FindAllStringSubmatch(text, -1) {
			for line := range strings.Lines(block[1]) {
				if strings.HasPrefix(strings.TrimSpace(line), "-") {
					t.Errorf("%s: %q is no command", path, line)
				}
			}
		}
	}
}
