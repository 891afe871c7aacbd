package charts_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// documents are the pages about the chart, with the chart's own.
func documents(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	for _, path := range []string{
		"install", "upgrade", "uninstall", "gitops", "threat-model", "emergency", "troubleshooting", "certificates",
	} {
		path = filepath.Join("..", "docs", path+".md")
		pages[path] = readFile(t, path)
	}
	for _, path := range []string{filepath.Join(chart, "README.md"), filepath.Join(chart, "templates", "NOTES.txt")} {
		pages[path] = readFile(t, path)
	}
	return pages
}

// withGuides are the documents, and the guides beside them, the page about
// metrics, the security policy, and the README that leads to all of them.
func withGuides(t *testing.T) map[string]string {
	t.Helper()
	pages := documents(t)
	guides, err := filepath.Glob("../docs/guides/*.md")
	if err != nil || len(guides) == 0 {
		t.Fatalf("there are no guides: %v", err)
	}
	for _, path := range append(guides, "../docs/reference/metrics.md", "../SECURITY.md", "../README.md") {
		pages[path] = readFile(t, path)
	}
	return pages
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestLinksOfDocumentsLeadSomewhere(t *testing.T) {
	t.Parallel()
	for path, text := range withGuides(t) {
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

// TestAlertsLinkToTheirPage follows the runbooks of alerts.
func TestAlertsLinkToTheirPage(t *testing.T) {
	t.Parallel()
	page := readFile(t, "../docs/troubleshooting.md")
	rules := readFile(t, chart+"/templates/prometheusrule.yaml")
	anchors := regexp.MustCompile(`runbook_url: \{\{ \$runbook \}\}#(\S+)`).FindAllStringSubmatch(rules, -1)
	if len(anchors) == 0 {
		t.Fatal("no alert links to a page")
	}
	for _, anchor := range anchors {
		if !hasAnchor(page, anchor[1]) {
			t.Errorf("docs/troubleshooting.md has no #%s", anchor[1])
		}
	}
	for _, alert := range regexp.MustCompile(`alert: (\S+)`).FindAllStringSubmatch(rules, -1) {
		if !strings.Contains(page, alert[1]) {
			t.Errorf("docs/troubleshooting.md doesn't speak of alert %s", alert[1])
		}
	}
}

// hasAnchor tells whether a page has a heading or an explicit anchor.
func hasAnchor(page, anchor string) bool {
	if strings.Contains(page, `id="`+anchor+`"`) {
		return true
	}
	for line := range strings.Lines(page) {
		heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		heading = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
		if strings.ReplaceAll(heading, " ", "-") == anchor {
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
	if err := yaml.Unmarshal([]byte(readFile(t, chart+"/values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	for path, text := range documents(t) {
		for _, match := range regexp.MustCompile("(?:--set |`)([a-zA-Z]+(?:\\.[a-zA-Z]+)+)").FindAllStringSubmatch(text, -1) {
			keys := strings.Split(match[1], ".")
			_, known := values[keys[0]]
			// webhook is a part of the configuration file, too, which certificates.md speaks of.
			if !known || keys[1] == "hssgate" || keys[0] == "webhook" && strings.HasSuffix(path, "certificates.md") || keys[0] == "webhook" && keys[1] == "configurationName" {
				continue
			}
			if !exists(values, keys) {
				t.Errorf("%s names %s, which is no value", path, match[1])
			}
		}
	}
}

// exists tells whether a path leads to a value, or into one that is free.
func exists(values map[string]any, path []string) bool {
	value, ok := values[path[0]]
	if !ok || len(path) == 1 {
		return ok
	}
	inner, isMap := value.(map[string]any)
	if !isMap {
		return false
	}
	return len(inner) == 0 || exists(inner, path[1:])
}

func TestImagesOfDocumentsAreSmall(t *testing.T) {
	t.Parallel()
	const most = 300 << 10
	images, err := filepath.Glob("../docs/images/*")
	if err != nil || len(images) == 0 {
		t.Fatalf("there are no images: %v", err)
	}
	for _, path := range images {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > most {
			t.Errorf("%s has %d bytes, more than %d", path, info.Size(), most)
		}
	}
}
