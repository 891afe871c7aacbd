//go:build browser

package report_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/report"
)

// browser speaks the DevTools protocol with a headless Chromium, over the pipes
// of --remote-debugging-pipe: JSON that ends in a zero byte.
type browser struct {
	t       *testing.T
	in      *os.File
	out     *bufio.Reader
	id      int
	session string
	// Problems are errors on the console, and requests to anywhere.
	problems []string
	loaded   bool
}

type message struct {
	ID        int             `json:"id,omitempty"`
	Method    string          `json:"method,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     json.RawMessage `json:"error,omitempty"`
}

// startBrowser starts Chromium for the time of a test. It needs one installed;
// hack/debian.sh installs it where it may.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	path := os.Getenv("CHROMIUM")
	if path == "" {
		path = "chromium"
	}
	if _, err := exec.LookPath(path); err != nil {
		t.Fatalf("the browser tests need Chromium: install it, run hack/debian.sh as root, or set $CHROMIUM: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	profile, err := os.MkdirTemp("", "hssgate-browser-") // Chromium may still write while it ends
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(ctx, path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
		"--remote-debugging-pipe", "--user-data-dir="+profile)
	theirIn, in := pipe(t)
	out, theirOut := pipe(t)
	command.ExtraFiles = []*os.File{theirIn, theirOut}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirIn.Close(), theirOut.Close()
	t.Cleanup(func() {
		_, _ = in.Close(), command.Process.Kill()
		_ = command.Wait()
		cancel()
		_ = os.RemoveAll(profile)
	})
	b := &browser{t: t, in: in, out: bufio.NewReader(out)}
	var target struct{ TargetID, SessionID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &target)
	b.session = target.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

func pipe(t *testing.T) (read, write *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return read, write
}

// call calls a method and hears events until its answer comes.
func (b *browser) call(method string, params any, result any) {
	b.t.Helper()
	b.id++
	if params == nil {
		params = struct{}{}
	}
	data, err := json.Marshal(map[string]any{"id": b.id, "method": method, "params": params, "sessionId": b.session})
	if b.session == "" {
		data, err = json.Marshal(map[string]any{"id": b.id, "method": method, "params": params})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(data, 0)); err != nil {
		b.t.Fatal(err)
	}
	for {
		m := b.hear()
		if m.ID != b.id {
			continue
		}
		if m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatal(err)
			}
		}
		return
	}
}

// hear reads a message and notes what should not be.
func (b *browser) hear() message {
	b.t.Helper()
	data, err := b.out.ReadBytes(0)
	if err != nil {
		b.t.Fatalf("Chromium ended: %v", err)
	}
	var m message
	if err := json.Unmarshal(data[:len(data)-1], &m); err != nil {
		b.t.Fatal(err)
	}
	var request struct {
		Request struct{ URL string } `json:"request"`
	}
	switch m.Method {
	case "Page.loadEventFired":
		b.loaded = true
	case "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded":
		b.problems = append(b.problems, m.Method+": "+string(m.Params))
	case "Network.requestWillBeSent":
		if err := json.Unmarshal(m.Params, &request); err != nil {
			b.t.Fatal(err)
		}
		if u := request.Request.URL; !strings.HasPrefix(u, "file:") && !strings.HasPrefix(u, "data:") {
			b.problems = append(b.problems, "it asks for "+u)
		}
	}
	return m
}

// open opens a file at a width in CSS pixels, in a colour scheme.
func (b *browser) open(path string, width int, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	b.loaded = false
	b.call("Page.navigate", map[string]any{"url": (&url.URL{Scheme: "file", Path: path}).String()}, nil)
	for !b.loaded {
		b.hear()
	}
}

// eval evaluates JavaScript, whose value must fit into.
func (b *browser) eval(expression string, into any) {
	b.t.Helper()
	var got struct {
		Result           struct{ Value json.RawMessage } `json:"result"`
		ExceptionDetails json.RawMessage                 `json:"exceptionDetails"`
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &got)
	if got.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, got.ExceptionDetails)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(got.Result.Value, into); err != nil {
		b.t.Fatalf("%s: %v of %s", expression, err, got.Result.Value)
	}
}

// shoot writes a screenshot of the page, as far as it fits, into $SCREENSHOTS, if that is set.
func (b *browser) shoot(name string, width int) {
	b.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	clip := map[string]any{"x": 0, "y": 0, "width": width, "height": 3000, "scale": 1}
	b.call("Page.captureScreenshot", map[string]any{"captureBeyondViewport": true, "clip": clip}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), data, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// page writes a report as a file.
func page(t *testing.T, r *report.Report) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, []byte(written(t, r, report.Format{Output: report.HTML})), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
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

func TestThePageInABrowser(t *testing.T) {
	b := startBrowser(t)
	for name, r := range map[string]*report.Report{
		"sample": everything(), "large": large(), "empty": {Subject: "nothing"}, "audit": audited(t), "empty-audit": {Audit: &report.Audit{}},
	} {
		path := page(t, r)
		for _, view := range []struct {
			name, scheme string
			width        int
		}{{"light", "light", 1280}, {"dark", "dark", 1280}, {"phone", "light", 390}} {
			b.open(path, view.width, view.scheme)
			b.shoot(name+"-"+view.name, view.width)
			var wide float64
			if b.eval("document.documentElement.scrollWidth", &wide); wide > float64(view.width) {
				t.Errorf("%s, %s: the page is %v wide", name, view.name, wide)
			}
			checkContrast(t, b, name+", "+view.name)
			checkLandmarks(t, b, name)
		}
	}
	if len(b.problems) > 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(b.problems, "\n"))
	}
}

// contrast returns the texts whose contrast is below 4.5:1, the bound of WCAG's
// level AA.
const contrast = `(() => {
  const rgb = (text) => { const m = text.match(/[\d.]+/g).map(Number); return {c: m.slice(0, 3), a: m.length > 3 ? m[3] : 1}; };
  const light = ({c}) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
  const back = (e) => { for (; e; e = e.parentElement) { const b = rgb(getComputedStyle(e).backgroundColor); if (b.a === 1) return b; } return {c: [255, 255, 255]}; };
  const bad = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || ["SCRIPT", "STYLE", "TITLE"].includes(e.tagName.toUpperCase())) continue;
    const [x, y] = [light(rgb(getComputedStyle(e).color)), light(back(e))];
    const ratio = (Math.max(x, y) + .05) / (Math.min(x, y) + .05);
    if (ratio < 4.5) bad.add(e.className + " " + walk.currentNode.data.trim().slice(0, 30) + ": " + ratio.toFixed(2));
  }
  return [...bad];
})()`

func checkContrast(t *testing.T, b *browser, name string) {
	t.Helper()
	var bad []string
	if b.eval(contrast, &bad); len(bad) > 0 {
		t.Errorf("%s: too little contrast: %q", name, bad)
	}
}

func checkLandmarks(t *testing.T, b *browser, name string) {
	t.Helper()
	for what, expression := range map[string]string{
		"a heading of the page":        "document.querySelectorAll('h1').length === 1",
		"landmarks":                    "['header', 'nav', 'main', 'footer'].every((e) => document.querySelectorAll(e).length === 1)",
		"headers of all columns":       "[...document.querySelectorAll('thead th')].every((e) => e.scope === 'col' && e.textContent)",
		"a header of every row":        "[...document.querySelectorAll('tbody tr')].every((e) => e.querySelector('th[scope=row]'))",
		"names of sections":            "[...document.querySelectorAll('section, [role=region]')].every((e) => e.getAttribute('aria-label') || document.getElementById(e.getAttribute('aria-labelledby')))",
		"words for every chart":        "[...document.querySelectorAll('svg')].every((e) => e.ariaHidden === 'true' || (e.getAttribute('role') === 'img' && e.ariaLabel))",
		"a label of the search":        "document.querySelector('label[for=search]') !== null",
		"ids that are there once":      "new Set([...document.querySelectorAll('[id]')].map((e) => e.id)).size === document.querySelectorAll('[id]').length",
		"links that lead somewhere":    "[...document.querySelectorAll('a')].every((e) => document.querySelector(e.getAttribute('href')))",
		"no markup from what is shown": "document.querySelectorAll('main b').length === document.querySelectorAll('.legend b, .bars b').length",
	} {
		var good bool
		if b.eval(expression, &good); !good {
			t.Errorf("%s: no %s", name, what)
		}
	}
}

func TestThePageIsSearched(t *testing.T) {
	b := startBrowser(t)
	b.open(page(t, everything()), 1280, "light")
	const rows = "[...document.querySelectorAll('[data-row]')].filter((e) => e.offsetParent).length"
	var all, some, none int
	b.eval(rows, &all)
	key := func(text, name string) {
		b.call("Input.dispatchKeyEvent", map[string]any{"type": "keyDown", "key": name, "text": text}, nil)
		b.call("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": name}, nil)
	}
	key("/", "/")
	for _, c := range "away DEV" {
		key(string(c), string(c))
	}
	b.eval(rows, &some)
	var found string
	b.eval("document.getElementById('found').textContent", &found)
	if some != 1 || found != "1 row" {
		t.Errorf("of %d rows it shows %d and says %q, want 1", all, some, found)
	}
	key("~", "~")
	b.eval(rows, &none)
	key("", "Escape")
	var again int
	if b.eval(rows, &again); none != 0 || again != all {
		t.Errorf("it shows %d rows for nonsense, and %d of %d after Escape", none, again, all)
	}
	if len(b.problems) > 0 {
		t.Errorf("the browser complains: %q", b.problems)
	}
}

func TestThePageIsPrinted(t *testing.T) {
	b := startBrowser(t)
	path := page(t, large())
	b.open(path, 1280, "dark")
	var pdf struct{ Data string }
	b.call("Page.printToPDF", map[string]any{"printBackground": true}, &pdf)
	if len(pdf.Data) < 10_000 {
		t.Errorf("the PDF has only %d bytes", len(pdf.Data))
	}
	const paper = 718 // A4 less margins
	b.open(path, paper, "dark")
	b.call("Emulation.setEmulatedMedia", map[string]any{"media": "print"}, nil)
	b.shoot("large-print", paper)
	var wide int
	if b.eval("document.documentElement.scrollWidth", &wide); wide > paper {
		t.Errorf("what is printed is %d wide, the paper %d", wide, paper)
	}
	var hidden bool
	if b.eval("getComputedStyle(document.querySelector('nav')).display === 'none' && getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)'", &hidden); !hidden {
		t.Error("the navigation is printed, or the background is dark")
	}
}
