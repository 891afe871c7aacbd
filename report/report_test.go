package report_test

import (
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/report"
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
	high.Listed = &report.ListedImage{Reference: high.Reference, Counted: 111, Listed: []report.Vulnerability{
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
	away := report.Image{Place: image.PlaceContainer, Name: "app", Reference: "h.io/away:1", State: report.Unavailable, Known: "HSS cannot be asked"}
	violation := func(effect, onPod v1alpha1.Enforcement) report.Violation {
		return report.Violation{
			Place: image.PlaceContainer, Name: "app", Reference: high.Reference, Policy: "production", Effect: effect, PodEffect: onPod,
			Findings: []report.Finding{
				{Check: policy.CheckSeverityLevel, Message: "severity High, allowed Medium"},
				{Check: policy.CheckVulnerabilities, Message: "111 vulnerabilities, allowed 0"},
			},
		}
	}
	line := `container "app": ` + high.Reference + " — severity High, allowed Medium; 111 vulnerabilities, allowed 0 [policy production]"
	for _, one := range []report.Result{
		{Source: "manifests/web.yaml", Line: 4, Namespace: "shop", Kind: "Pod", Name: "web", Verdict: report.Denied, Images: []report.Image{clean, high}, Policies: []string{"production"}, Violations: []report.Violation{violation("Deny", "Deny")}, Message: "pod \"web\" denied by 1 policy:\n- " + line + "\nto do: mend it <now> & then"},
		{Source: "manifests/web.yaml", Line: 30, Namespace: "shop", Kind: "Deployment", Name: "web", Verdict: report.Warned, Images: []report.Image{high}, Policies: []string{"production"}, Violations: []report.Violation{violation("Warn", "Deny")}, Warnings: []string{"its pods will be denied: " + line}},
		{Namespace: "shop", Kind: "Pod", Name: "api-1", Owner: "ReplicaSet/api", Verdict: report.Admitted, Images: []report.Image{clean}, Policies: []string{"production"}},
		{Namespace: "shop", Kind: "Pod", Name: "api-2", Owner: "ReplicaSet/api", Verdict: report.Admitted, Images: []report.Image{clean}, Policies: []string{"production"}},
		{Namespace: "dev", Kind: "Pod", Name: "try", Verdict: report.Admitted, Images: []report.Image{high, poor}, Policies: []string{"audit"}, Violations: []report.Violation{violation("Audit", "Audit")}},
		{Namespace: "dev", Kind: "Pod", Name: "away", Verdict: report.Unknown, Images: []report.Image{away}, Policies: []string{"audit"}},
		{Kind: "Image", Name: "Upper|*_`<x>", Verdict: report.Denied, Images: []report.Image{{Place: image.PlaceContainer, Name: "image", Reference: "Upper|*_`<x>", State: report.Invalid, Known: "not an image's name"}}, Policies: []string{"production"}, Message: "no", Violations: []report.Violation{{Place: image.PlaceContainer, Name: "image", Reference: `"Upper|*_<x>"`, Policy: "production", Effect: "Deny", PodEffect: "Deny", Findings: []report.Finding{{Check: gate.CheckReference, Message: "invalid\x1b[31m image reference"}}}}},
	} {
		r.Add(one)
	}
	r.Finish()
	return r
}

func written(t *testing.T, r interface {
	Write(w io.Writer, f report.Format) error
}, f report.Format,
) string {
	t.Helper()
	var b strings.Builder
	if err := r.Write(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestFormats compares every format with what a person has read.
func TestFormats(t *testing.T) {
	t.Parallel()
	for _, output := range report.Outputs() {
		t.Run(string(output), func(t *testing.T) {
			t.Parallel()
			got := written(t, everything(), report.Format{Output: output})
			golden := filepath.Join("testdata", "everything."+string(output))
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got; -update writes it anew):\n%s", diff)
			}
		})
	}
}

func TestNothingSteersATerminal(t *testing.T) {
	t.Parallel()
	for _, output := range []report.Output{report.TableOutput, report.JUnit, report.Markdown} {
		if text := written(t, everything(), report.Format{Output: output}); strings.Contains(text, "\x1b") {
			t.Errorf("%s holds an escape character:\n%q", output, text)
		}
	}
}

func TestWhatProgramsReadIsWhole(t *testing.T) {
	t.Parallel()
	want := everything()
	for output, read := range map[report.Output]func([]byte, any) error{
		report.JSON: json.Unmarshal, report.YAML: func(data []byte, v any) error { return yaml.UnmarshalStrict(data, v) },
	} {
		var got report.Report
		if err := read([]byte(written(t, want, report.Format{Output: output})), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Vulnerabilities, got.Vulnerabilities); diff != "" {
			t.Errorf("%s (-want +got):\n%s", output, diff)
		}
		if diff := cmp.Diff(want.Results, got.Results, cmpopts.IgnoreFields(report.Image{}, "Listed")); diff != "" || got.Summary != want.Summary {
			t.Errorf("%s: %+v (-want +got):\n%s", output, got.Summary, diff)
		}
	}
}

func TestTheWorstDecides(t *testing.T) {
	t.Parallel()
	problem := []report.Problem{{Message: "unread"}}
	tests := map[string]struct {
		report report.Report
		want   report.Verdict
	}{
		"nothing":                 {report.Report{}, report.Admitted},
		"only admitted":           {report.Report{Summary: report.Summary{Admitted: 9}}, report.Admitted},
		"a warning":               {report.Report{Summary: report.Summary{Admitted: 9, Warned: 1}}, report.Warned},
		"one that's unknown":      {report.Report{Summary: report.Summary{Warned: 9, Unknown: 1}}, report.Unknown},
		"something unread":        {report.Report{Summary: report.Summary{Warned: 9}, Problems: problem}, report.Unknown},
		"something skipped":       {report.Report{Skipped: problem}, report.Admitted},
		"if that is strict":       {report.Report{Skipped: problem, Strict: true}, report.Unknown},
		"a denial beside unknown": {report.Report{Summary: report.Summary{Denied: 1, Unknown: 9}, Problems: problem}, report.Denied},
	}
	for name, tt := range tests {
		if got := tt.report.Outcome(); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

func TestOutputsHaveNames(t *testing.T) {
	t.Parallel()
	for _, output := range report.Outputs() {
		if got, err := report.ParseOutput(string(output)); err != nil || got != output {
			t.Errorf("%s: got %s, %v", output, got, err)
		}
	}
	if got, err := report.ParseOutput(""); err != nil || got != report.TableOutput {
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := report.ParseOutput("xml"); err == nil || !strings.Contains(err.Error(), `or `) || !strings.HasSuffix(err.Error(), `not "xml"`) {
		t.Errorf("got %v", err)
	}
}

// full is a disk that is.
type full struct{}

var errFull = errors.New("disk full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestAReportThatCannotBeWrittenIsAnError(t *testing.T) {
	t.Parallel()
	for _, output := range report.Outputs() {
		if err := everything().Write(full{}, report.Format{Output: output}); !errors.Is(err, errFull) {
			t.Errorf("%s: got %v", output, err)
		}
	}
}

func TestALongTableLeavesOutWhatIsAdmitted(t *testing.T) {
	t.Parallel()
	r := &report.Report{Policies: []string{"p"}}
	for range 101 {
		r.Add(report.Result{Kind: "Pod", Name: "good", Verdict: report.Admitted})
	}
	r.Add(report.Result{Kind: "Pod", Name: "bad", Verdict: report.Denied})
	text := written(t, r, report.Format{})
	if strings.Contains(text, "Pod/good") || !strings.Contains(text, "Pod/bad") || !strings.Contains(text, "The 101 that are admitted") {
		t.Errorf("got\n%s", text)
	}
	if wide := written(t, r, report.Format{Output: report.WideOutput}); strings.Count(wide, "Pod/good") != 101 {
		t.Errorf("got\n%s", wide)
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
	for state, facts := range map[report.State]*policy.Facts{
		report.NotAsked: nil, report.NotFound: {State: policy.StateNotFound}, report.Unavailable: {},
	} {
		if got := report.NewImage(image.Use{Image: "h.io/a"}, facts, time.Now()); got.State != state || got.Reference != "h.io/a:latest" {
			t.Errorf("got %+v, want %s", got, state)
		}
	}
}
