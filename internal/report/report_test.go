package report_test

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files anew")

const host = "swr.cn-north-4.myhuaweicloud.com"

// everything is a report with every verdict, and with texts that would break
// the formats if they weren't quoted.
func everything() *report.Report {
	r := &report.Report{
		Subject: "manifests/ <all>", Time: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Version: "v1.0.0",
		Policies: []string{"production", "audit"},
		Problems: []report.Problem{{Source: "bad.yaml", Line: 7, Message: "read the YAML: <b>&"}, {Message: "policy \"x\" is invalid"}},
		Skipped:  []report.Problem{{Source: "manifests/custom.yaml", Line: 3, Message: "Rollout/a\x1b[31m (argoproj.io/v1alpha1): no pod template\nfound <b>"}},
	}
	high := report.Image{
		Place: image.PlaceContainer, Name: "app", Reference: host + "/prod/high:1.0", Line: 9, State: report.Found,
		Known: "severity High, 111 vulnerabilities", Severity: v1alpha1.SeverityHigh, Vulnerabilities: new(111), MaliciousFiles: new(1), UnsafeSettings: new(3),
	}
	high.Listed = &report.ListedImage{Reference: high.Reference, Counted: 111, Listed: []policy.Vulnerability{
		{ID: "CVE-2024-1111", Severity: "High", Package: "openssl", Installed: "1.1.1k", Fix: "1.1.1n"},
		{ID: "CVE-2024-2222<b>", Severity: "Odd|", Package: "busy\x1b[31mbox", Installed: "1.36\u202e", Fix: ""},
		{ID: "RHSA-2022:4991", Severity: "Low", Package: "xz-libs", Installed: "5.2.4-3.el8", Fix: "To upgrade the affected software"},
	}}
	clean := report.Image{
		Place: image.PlaceInitContainer, Name: "setup", Reference: host + "/prod/clean:1.0", State: report.Found,
		Known: "severity Low", Severity: v1alpha1.SeverityLow, Vulnerabilities: new(0),
	}
	poor := report.Image{
		Place: image.PlaceContainer, Name: "app", Reference: host + "/prod/poor:1.0", State: report.Found, Known: "severity Low, 1 vulnerability",
		Severity: v1alpha1.SeverityLow, Vulnerabilities: new(1), Listed: &report.ListedImage{Reference: host + "/prod/poor:1.0", Counted: 1, Unlisted: "HSS answered 500"},
	}
	poor.Reference += "@sha256:" + strings.Repeat("0123456789abcdef", 4)
	poor.Listed.Reference = poor.Reference
	away := report.Image{Place: image.PlaceContainer, Name: "app", Reference: "h.io/away:1", State: report.Unavailable, Known: "HSS is unreachable"}
	violation := func(effect, onPod v1alpha1.Enforcement) report.Violation {
		return report.Violation{
			Place: image.PlaceContainer, Name: "app", Reference: high.Reference, Policy: "production", Effect: effect, PodEffect: onPod,
			Findings: []policy.Finding{
				{Check: policy.CheckSeverityLevel, Message: "severity High, allowed Medium"},
				{Check: policy.CheckVulnerabilities, Message: "111 vulnerabilities, allowed 0"},
			},
		}
	}
	line := `container "app": ` + high.Reference + " — severity High, allowed Medium; 111 vulnerabilities, allowed 0 [policy production]"
	for _, one := range []report.Result{
		{Source: "manifests/web.yaml", Line: 4, Namespace: "shop", Kind: "Pod", Name: "web", Verdict: report.Denied, Images: []report.Image{clean, high}, Policies: []string{"production"}, Violations: []report.Violation{violation("Deny", "Deny")}, Message: "pod \"web\" denied by 1 policy:\n- " + line + "\nto do: mend it <now> & then"},
		{Source: "manifests/web.yaml", Line: 30, Namespace: "shop", Kind: "Deployment", Name: "web", Verdict: report.PodsDenied, Images: []report.Image{high}, Policies: []string{"production"}, Violations: []report.Violation{violation("Warn", "Deny")}, Warnings: []string{"its pods will be denied: " + line}},
		{Namespace: "shop", Kind: "Pod", Name: "api-1", Owner: "ReplicaSet/api", Verdict: report.Admitted, Images: []report.Image{clean}, Policies: []string{"production"}},
		{Namespace: "shop", Kind: "Pod", Name: "api-2", Owner: "ReplicaSet/api", Verdict: report.Admitted, Images: []report.Image{clean}, Policies: []string{"production"}},
		{Namespace: "dev", Kind: "Pod", Name: "try", Verdict: report.Admitted, Images: []report.Image{high, poor}, Policies: []string{"audit"}, Violations: []report.Violation{violation("Audit", "Audit")}},
		{Namespace: "dev", Kind: "Pod", Name: "away", Verdict: report.Unknown, Images: []report.Image{away}, Policies: []string{"audit"}},
		{Kind: "Image", Name: "Upper|*_`<x>", Verdict: report.Denied, Images: []report.Image{{Place: image.PlaceContainer, Name: "image", Reference: "Upper|*_`<x>", State: report.Invalid, Known: "not an image reference"}}, Policies: []string{"production"}, Message: "no", Violations: []report.Violation{{Place: image.PlaceContainer, Name: "image", Reference: `"Upper|*_<x>"`, Policy: "production", Effect: "Deny", PodEffect: "Deny", Findings: []policy.Finding{{Check: gate.CheckReference, Message: "invalid\x1b[31m image reference"}}}}},
	} {
		r.Add(one)
	}
	r.Finish()
	return r
}

// must ends a test that can't go on.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func writtenAs(t *testing.T, r *report.Report, o report.Output) string {
	t.Helper()
	var b strings.Builder
	must(t, r.Write(&b, o))
	return b.String()
}

// TestFormats compares every format with a file that a person has read.
func TestFormats(t *testing.T) {
	t.Parallel()
	all := map[string]*report.Report{"everything": everything(), "audit": audited(), "changes": changed(), "tests": tested()}
	for _, width := range []int{80, 140} {
		r := everything()
		r.Width = width
		all[fmt.Sprint("everything-", width)] = r
	}
	for name, r := range all {
		outputs := report.Outputs()
		switch {
		case r.Width > 0:
			outputs = outputs[:2]
		case r.Changes != nil:
			outputs = report.ChangeOutputs()
		case r.Tests != nil:
			outputs = report.TestOutputs()
		}
		for _, output := range outputs {
			t.Run(name+" as "+output, func(t *testing.T) {
				t.Parallel()
				got := writtenAs(t, r, output)
				golden := filepath.Join("testdata", name+"."+output)
				if *update {
					must(t, os.WriteFile(golden, []byte(got), 0o600))
				}
				want, err := os.ReadFile(golden)
				must(t, err)
				if diff := cmp.Diff(string(want), got); diff != "" {
					t.Errorf("(-want +got; -update writes the file):\n%s", diff)
				}
			})
		}
	}
}

func TestTheHeadlineNamesTheWorst(t *testing.T) {
	t.Parallel()
	problem := []report.Problem{{Message: "unread"}}
	tests := map[string]struct {
		report report.Report
		want   string
	}{
		"nothing":                        {report.Report{}, "all 0 admitted ✅"},
		"only admitted":                  {report.Report{Summary: report.Summary{Objects: 9, Admitted: 9}}, "all 9 admitted ✅"},
		"a warning":                      {report.Report{Summary: report.Summary{Admitted: 9, Warned: 1}}, "all admitted, 1 with a warning ⚠️"},
		"an unknown verdict":             {report.Report{Summary: report.Summary{Objects: 10, Warned: 9, Unknown: 1}}, "1 of 10 could not be evaluated: HSS is unreachable ❔"},
		"something unread":               {report.Report{Summary: report.Summary{Warned: 9}, Problems: problem}, "not everything could be evaluated ❔"},
		"something skipped":              {report.Report{Skipped: problem}, "0 admitted, 1 skipped ⚠️"},
		"something skipped, if strict":   {report.Report{Skipped: problem, Strict: true}, "not everything could be evaluated ❔"},
		"a denial beside unknown":        {report.Report{Summary: report.Summary{Objects: 10, Denied: 1, Unknown: 9}, Problems: problem}, "1 of 10 would be denied ❌"},
		"pods of an admitted workload":   {report.Report{Summary: report.Summary{Objects: 2, Denied: 1, PodsDenied: 1}}, "1 of 2 would be denied ❌"},
		"an audit without a violation":   {report.Report{Audit: &report.Audit{Pods: 5}}, "no running pod violates a policy ✅"},
		"an audit with something unread": {report.Report{Audit: &report.Audit{Pods: 5}, Problems: problem}, "no running pod violates a policy ❔"},
		"an audit with an unknown pod":   {report.Report{Audit: &report.Audit{Pods: 5, Unknown: 1}, Summary: report.Summary{Unknown: 1}}, "1 of 5 running pods could not be evaluated ❔"},
		"an audit with mere warnings":    {report.Report{Audit: &report.Audit{Pods: 5, Violating: 2, Unknown: 1}, Summary: report.Summary{Warned: 2}}, "2 of 5 running pods violate a policy ⚠️"},
	}
	for name, tt := range tests {
		got, _, _ := strings.Cut(writtenAs(t, &tt.report, report.Markdown), "\n")
		if want := "## hssgate: " + tt.want; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestTheWorstOfAnImagesRecordsIsShown(t *testing.T) {
	t.Parallel()
	facts := &policy.Facts{State: policy.StateFound, Records: []policy.Record{
		{Severity: v1alpha1.SeverityLow, Scan: policy.Scan{Vulnerabilities: new(1), UnsafeSettings: new(5)}},
		{Severity: v1alpha1.SeverityMedium, Scan: policy.Scan{Vulnerabilities: new(3)}, Architectures: []policy.Architecture{{Scan: policy.Scan{Vulnerabilities: new(7)}}}},
	}}
	got := report.NewImage(image.Use{Image: "h.io/a"}, facts, time.Now())
	if got.Severity != v1alpha1.SeverityMedium || *got.Vulnerabilities != 7 || *got.UnsafeSettings != 5 || got.MaliciousFiles != nil || got.State != report.Found {
		t.Errorf("got %+v", got)
	}
}

func TestWhatHSSKnowsIsDescribed(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	scanned := func(change func(*policy.Record)) *policy.Facts {
		r := policy.Record{Severity: "Low", Scan: policy.Scan{Status: v1alpha1.ScanStatusSuccess}, ScannedAt: now.Add(-6 * time.Hour), UpdatedAt: now.Add(-48 * time.Hour)}
		change(&r)
		return &policy.Facts{State: policy.StateFound, Records: []policy.Record{r}}
	}
	at := func(age time.Duration) *policy.Facts {
		return scanned(func(r *policy.Record) { r.ScannedAt = now.Add(-age) })
	}
	for want, facts := range map[string]*policy.Facts{
		"not looked up":                       nil,
		"nothing":                             {State: policy.StateNotFound},
		"HSS is unreachable":                  {},
		"severity Low, scanned 6h ago":        at(6 * time.Hour),
		"severity Low, scanned 5m from now":   at(-5 * time.Minute),
		"severity Low, scanned 292y from now": scanned(func(r *policy.Record) { r.ScannedAt = time.UnixMilli(253402300799999) }),
		"no severity, scanned 6h ago":         scanned(func(r *policy.Record) { r.Severity = "" }),
		"severity Low, 1 vulnerability, 1 malicious file, 2 unsafe settings, scanned 6h ago": scanned(func(r *policy.Record) {
			r.Scan.Vulnerabilities, r.Scan.MaliciousFiles, r.Scan.UnsafeSettings = new(1), new(1), new(2)
		}),
		"waiting for a scan again; last severity Low, scanned 6h ago": scanned(func(r *policy.Record) { r.Scan.Status = v1alpha1.ScanStatusWaitingForScan }),
		"scan paused": scanned(func(r *policy.Record) { r.Scan.Status, r.ScannedAt = "paused", time.Time{} }),
		"severity Low, scanned 6h ago, pushed 2d from now": scanned(func(r *policy.Record) { r.UpdatedAt = now.Add(50 * time.Hour) }),
	} {
		if got := report.NewImage(image.Use{Image: "h.io/a"}, facts, now).Known; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := report.NewImage(image.Use{Image: "h.io/A"}, nil, now); got.State != report.Invalid || got.Known != "not an image reference" {
		t.Errorf("got %+v", got)
	}
}

func TestATableLeavesOutTheHostOfMostImages(t *testing.T) {
	t.Parallel()
	r := &report.Report{Results: []report.Result{{Verdict: report.Denied, Images: []report.Image{
		{Reference: "UPPER/Case:1", State: report.Invalid}, {Reference: "/Case:1", State: report.Invalid}, {Reference: "UPPER/Other:1", State: report.Invalid}, {Reference: "a.example.com/app:1", State: report.Found},
	}}}, Width: 120}
	if got := writtenAs(t, r, report.TableOutput); !strings.Contains(got, " UPPER/Case:1") || !strings.Contains(got, " app:1") || !strings.HasSuffix(got, "Images shown without a registry are from a.example.com.\n") {
		t.Errorf("got\n%s", got)
	}
	if got := writtenAs(t, r, report.WideOutput); !strings.Contains(got, " a.example.com/app:1") || !strings.Contains(got, " /Case:1") {
		t.Errorf("got\n%s", got)
	}
}

// Words are whole at any width, and lines fit unless a word doesn't.
func TestATableFitsTheTerminal(t *testing.T) {
	t.Parallel()
	for _, width := range []int{1, 30, 80, 109, 110, 140, 300} {
		for _, output := range []report.Output{report.TableOutput, report.WideOutput} {
			r := everything()
			r.Width = width
			text := writtenAs(t, r, output)
			for line := range strings.Lines(text) {
				words := strings.Fields(line)
				if width < 110 && len(words) > 1 && utf8.RuneCountInString(strings.TrimRight(line, "\n")) > width && output != report.WideOutput {
					t.Errorf("%d columns, %s: a line is too long: %q", width, output, line)
				}
			}
			for _, word := range []string{"prod/clean:1.0:", "prod/poor:1.0@sha256:0123456", "Deployment/web"} {
				if !strings.Contains(text, word) {
					t.Errorf("%d columns, %s: %s is broken in\n%s", width, output, word, text)
				}
			}
		}
	}
}

// A custom resource may give its containers no names.
func TestImagesOfOneNameKeepTheirFindings(t *testing.T) {
	t.Parallel()
	one := report.Result{Kind: "Task", Verdict: report.Denied, Source: "https://example.com/a.yaml"}
	for reference, severity := range map[string]v1alpha1.Severity{"h.io/a:1": v1alpha1.SeverityHigh, "h.io/b:1": v1alpha1.SeverityLow} {
		one.Images = append(one.Images, report.Image{Place: image.PlaceContainer, Name: "steps", Reference: reference, State: report.Found, Severity: severity})
		one.Violations = append(one.Violations, report.Violation{
			Place: image.PlaceContainer, Name: "steps", Reference: reference, Policy: "p", Effect: "Deny", PodEffect: "Deny",
			Findings: []policy.Finding{{Check: policy.CheckSeverityLevel, Message: "too bad"}, {Check: policy.CheckMaliciousFiles, Message: "a virus"}},
		})
	}
	r := &report.Report{}
	r.Add(one)
	r.Finish()
	for output, want := range map[report.Output]string{
		report.HTML: "(a virus.*too bad.*){2}", report.TableOutput: `"steps": too bad; a virus; container "steps": too bad; a virus `, report.SARIF: `"uri": "https://example.com/a.yaml".*"severityLevel/high".*"severityLevel/low"`,
	} {
		got := writtenAs(t, r, output)
		if !regexp.MustCompile("(?s)"+want).MatchString(got) || strings.Count(got, "<li>too bad") > 2 || strings.Contains(got, "policies p") {
			t.Errorf("%s: want %s in\n%s", output, want, got)
		}
	}
}

func TestTheWidthIsThatOfTheTerminalOrOfCOLUMNS(t *testing.T) {
	for columns, want := range map[string]int{"97": 97, "": 0, "-1": 0, "wide": 0} {
		t.Setenv("COLUMNS", columns)
		if got := report.TerminalWidth(io.Discard); got != want {
			t.Errorf("COLUMNS=%s: got %d, want %d", columns, got, want)
		}
	}
}
