//go:build browser

package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/internal/report"
)

// chromium runs a headless Chromium on a page and returns what it prints. It needs
// one installed; hack/debian.sh installs it where it may.
func chromium(t *testing.T, page string, flags ...string) string {
	t.Helper()
	path := os.Getenv("CHROMIUM")
	if path == "" {
		path = "chromium"
	}
	if _, err := exec.LookPath(path); err != nil {
		t.Fatalf("the browser tests need Chromium: install it, run hack/debian.sh as root, or set $CHROMIUM: %v", err)
	}
	file := filepath.Join(t.TempDir(), "page.html")
	must(t, os.WriteFile(file, []byte(page), 0o600))
	profile, err := os.MkdirTemp("", "hssgate-browser-") // Chromium may still write while it ends
	must(t, err)
	defer os.RemoveAll(profile)
	flags = append(flags, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--enable-logging=stderr", "--user-data-dir="+profile, "file://"+file)
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(t.Context(), path, flags...)
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	for line := range strings.Lines(stderr.String()) {
		if strings.Contains(line, "CONSOLE") {
			t.Errorf("the browser complains: %s", line)
		}
	}
	return stdout.String()
}

// large is a report of many pods with long names.
func large() *report.Report {
	r := everything()
	for i := range 300 {
		one := r.Results[0]
		one.Namespace, one.Name = fmt.Sprintf("team-%d", i%5), fmt.Sprintf("web-%d-with-a-name-that-is-as-long-as-names-of-pods-tend-to-be", i)
		r.Add(one)
	}
	r.Finish()
	return r
}

// TestThePageInABrowser shows reports side by side, each in a frame of the width of
// a screen, a phone or a sheet of paper, and has testdata/browser.js check them.
func TestThePageInABrowser(t *testing.T) {
	script, err := os.ReadFile("testdata/browser.js")
	must(t, err)
	var frames strings.Builder
	add := func(name string, width int, page string) {
		fmt.Fprintf(&frames, `<iframe name="%s, %d wide" style="width:%dpx;height:900px;border:0" srcdoc="%s"></iframe>`, name, width, width, html.EscapeString(page))
	}
	paper := strings.NewReplacer("@media print", "@media all", "@media screen", "@media not all", "Content-Security-Policy", "X-None")
	reports := map[string]*report.Report{
		"sample": everything(), "large": large(), "empty": {Subject: "nothing"}, "audit": audited(), "empty audit": {Audit: &report.Audit{}},
	}
	for _, name := range slices.Sorted(maps.Keys(reports)) {
		page := writtenAs(t, reports[name], report.HTML)
		add(name, 1280, page)
		add(name, 390, page)
		add("printed "+name, 718, paper.Replace(page)) // A4 less margins
	}
	page := "<!DOCTYPE html>" + frames.String() + "<pre id=result></pre><script>" + string(script) + "</script>"
	for scheme, flag := range map[string]string{"light": "1", "dark": "0"} {
		text := chromium(t, page, "--dump-dom", "--blink-settings=preferredColorScheme="+flag)
		var problems []string
		result := regexp.MustCompile(`(?s)<pre id="result">(.*?)</pre>`).FindStringSubmatch(text)
		if result == nil || json.Unmarshal([]byte(html.UnescapeString(result[1])), &problems) != nil {
			t.Fatalf("the checks have no result")
		}
		for _, p := range problems {
			t.Errorf("%s: %s", scheme, p)
		}
	}
}

func TestThePageIsPrinted(t *testing.T) {
	pdf := filepath.Join(t.TempDir(), "report.pdf")
	chromium(t, writtenAs(t, large(), report.HTML), "--print-to-pdf="+pdf)
	if info, err := os.Stat(pdf); err != nil || info.Size() < 10_000 {
		t.Errorf("the PDF is %v, %v", info, err)
	}
}
