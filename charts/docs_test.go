package charts_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/config"
)

// pages are all documents, by their paths.
func pages(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"../docs/*.md", "../docs/*/*.md", "../*.md", "../config/*.md", chart + "/README.md", chart + "/templates/NOTES.txt"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("there is no %s: %v", pattern, err)
		}
		for _, path := range paths {
			all[path] = readFile(t, path)
		}
	}
	return all
}

func TestLinksOfDocumentsLeadSomewhere(t *testing.T) {
	t.Parallel()
	for path, text := range pages(t) {
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(link[1], "#")
			if strings.HasPrefix(target, "http") {
				continue
			}
			to := path
			if target != "" {
				to = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s: %v", path, link[1], err)
				continue
			}
			if anchor != "" && !hasAnchor(readFile(t, to), anchor) {
				t.Errorf("%s links to %s, which has no such heading", path, link[1])
			}
		}
	}
}

// TestChineseAndEnglishPagesLinkToEachOther reads the line below their titles.
func TestChineseAndEnglishPagesLinkToEachOther(t *testing.T) {
	t.Parallel()
	all := pages(t)
	for path, text := range all {
		if filepath.Dir(path) != "../docs/zh-CN" {
			continue
		}
		link := regexp.MustCompile(`^# .*\n\n\[English[^\]]*\]\((\S+\.md)\)`).FindStringSubmatch(text)
		if link == nil {
			t.Errorf("%s has no link to its English page below its title", path)
			continue
		}
		english := filepath.Join(filepath.Dir(path), link[1])
		back, err := filepath.Rel(filepath.Dir(english), path)
		must(t, err)
		if head, _, _ := strings.Cut(all[english], "\n## "); !strings.Contains(head, "]("+back+")") {
			t.Errorf("%s doesn't link to %s at its top", english, back)
		}
	}
}

// TestRunbooksExist follows the links of alerts, whose page names them, and of the dashboard's panels.
func TestRunbooksExist(t *testing.T) {
	t.Parallel()
	page := readFile(t, "../docs/troubleshooting.md")
	alerts := regexp.MustCompile(`(?s)alert: (\S+).*?runbook_url: \{\{ \$runbook \}\}#(\S+)`).FindAllStringSubmatch(readFile(t, chart+"/templates/prometheusrule.yaml"), -1)
	links := regexp.MustCompile(`"url": "https://github.com/hssgate/hssgate/blob/main/([^"#]+)#?([^"]*)"`).FindAllStringSubmatch(readFile(t, dashboardFile), -1)
	if len(alerts) == 0 || len(links) < 15 {
		t.Fatalf("only %d alerts and %d panels link to a page", len(alerts), len(links))
	}
	for _, alert := range alerts {
		if !strings.Contains(page, alert[1]) || !hasAnchor(page, alert[2]) {
			t.Errorf("docs/troubleshooting.md doesn't speak of alert %s, or has no #%s", alert[1], alert[2])
		}
	}
	for _, link := range links {
		if page := readFile(t, "../"+link[1]); link[2] != "" && !hasAnchor(page, link[2]) {
			t.Errorf("a panel links to %s#%s, which is no heading", link[1], link[2])
		}
	}
}

// hasAnchor reports whether a page has a heading or an explicit anchor.
func hasAnchor(page, anchor string) bool {
	if strings.Contains(page, `id="`+anchor+`"`) {
		return true
	}
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		words := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		if strings.ReplaceAll(words, " ", "-") == anchor {
			return true
		}
	}
	return false
}

// TestValuesInDocumentsExist compares what stands after --set, and what is
// written like a value, with the chart's values.
func TestValuesInDocumentsExist(t *testing.T) {
	t.Parallel()
	var values map[string]any
	must(t, yaml.Unmarshal([]byte(readFile(t, chart+"/values.yaml")), &values))
	for path, text := range pages(t) {
		if slices.Contains([]string{"CHANGELOG.md", "tracing.md"}, filepath.Base(path)) { // former values, and attributes
			continue
		}
		for _, match := range regexp.MustCompile("(?:--set |`)([a-zA-Z]+(?:\\.[a-zA-Z]+)+)").FindAllStringSubmatch(text, -1) {
			keys := strings.Split(match[1], ".")
			_, known := values[keys[0]]
			// The configuration file has a webhook, too, with these fields.
			fields := []string{"caSecret", "certDir", "configurationName", "hosts", "mutatingConfigurationName"}
			if !known || keys[1] == "hssgate" || keys[0] == "webhook" && slices.Contains(fields, keys[1]) {
				continue
			}
			if !exists(values, keys) {
				t.Errorf("%s names %s, which is no value", path, match[1])
			}
		}
	}
}

// exists reports whether a path leads to a value, or into one that is free.
func exists(values map[string]any, path []string) bool {
	value, ok := values[path[0]]
	if !ok || len(path) == 1 {
		return ok
	}
	inner, isMap := value.(map[string]any)
	return isMap && (len(inner) == 0 || exists(inner, path[1:]))
}

func TestConfigurationsInDocumentsAreValid(t *testing.T) {
	t.Parallel()
	found := 0
	for path, text := range pages(t) {
		for _, block := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
			if !strings.Contains(block[1], "kind: "+config.Kind+"\n") {
				continue
			}
			found++
			if _, err := config.Parse(path, []byte(block[1])); err != nil {
				t.Error(err)
			}
		}
	}
	if found == 0 {
		t.Error("no document shows a configuration")
	}
}

// TestLogsOfDocumentsAreThoseOfAllReplicas: a Deployment stands for only one of
// its pods.
func TestLogsOfDocumentsAreThoseOfAllReplicas(t *testing.T) {
	t.Parallel()
	pods := labels.Set(deployment(t, working()...).Spec.Template.Labels)
	found := 0
	for path, text := range pages(t) {
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
	for path, text := range pages(t) {
		if filepath.Ext(path) != ".md" {
			continue
		}
		text = strings.NewReplacer("\\\n", " ", "'", "", `"`, "").Replace(text)
		for _, command := range regexp.MustCompile("helm [^\n`]*\\b(install|upgrade) [^\n`]*oci://[^\n`]*").FindAllString(text, -1) {
			values := setIn(command)
			if !slices.ContainsFunc(values, func(v string) bool { return strings.HasPrefix(v, "hss.region=") || v == "simulator.enabled=true" }) {
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

// TestTheGuideNamesEveryPanel keeps the guide in step with the dashboard, row by row.
func TestTheGuideNamesEveryPanel(t *testing.T) {
	t.Parallel()
	var dashboard struct {
		Panels []struct{ Type, Title, Description string }
	}
	must(t, json.Unmarshal([]byte(readFile(t, dashboardFile)), &dashboard))
	var want strings.Builder
	for _, p := range dashboard.Panels {
		if p.Type == "row" {
			want.WriteString("\n## " + p.Title + "\n\n| panel | what it shows |\n|---|---|\n")
			continue
		}
		want.WriteString("| " + p.Title + " | " + p.Description + " |\n")
	}
	if guide := readFile(t, "../docs/guides/dashboard.md"); !strings.Contains(guide, want.String()) {
		t.Errorf("docs/guides/dashboard.md has not the tables\n%s", want.String())
	}
}

// TestArtifactHubShowsTheWholeChart compares the annotations of Chart.yaml with the CRDs and the images of the chart.
func TestArtifactHubShowsTheWholeChart(t *testing.T) {
	t.Parallel()
	var metadata struct {
		Icon        string
		Annotations map[string]string
	}
	must(t, yaml.Unmarshal([]byte(readFile(t, chart+"/Chart.yaml")), &metadata))
	readFile(t, "../"+strings.TrimPrefix(metadata.Icon, "https://raw.githubusercontent.com/hssgate/hssgate/main/"))
	rendered := render(t, set("simulator.enabled=true")...)
	for annotation, want := range map[string][]string{
		"crds":   strings.Fields(rendered.at(t, "CustomResourceDefinition .spec.names.kind") + " " + rendered.at(t, "CustomResourceDefinition .metadata.name")),
		"images": strings.Fields(rendered.at(t, "Deployment .spec.template.spec.containers[*].image")),
	} {
		var entries []struct{ Kind, Name, Image string }
		must(t, yaml.Unmarshal([]byte(metadata.Annotations["artifacthub.io/"+annotation]), &entries))
		var got []string
		for _, e := range entries {
			if annotation == "images" {
				got = append(got, e.Image)
			} else {
				got = append(got, e.Kind, e.Name)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		equal(t, annotation, want, got)
	}
}
