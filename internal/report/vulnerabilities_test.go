package report_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy"
)

func TestVulnerabilitiesOfAnImageAreGathered(t *testing.T) {
	t.Parallel()
	mild := policy.Vulnerability{ID: "CVE-2024-0001", Severity: "Low", Package: "zlib", Installed: "1", Fix: "2"}
	bad := policy.Vulnerability{ID: "CVE-2024-0002", Severity: "High", Package: "curl", Installed: "1"}
	scan := func(n int, found ...policy.Vulnerability) policy.Scan {
		return policy.Scan{Vulnerabilities: &n, Found: found}
	}
	facts := func(scans ...policy.Scan) policy.Facts {
		r := policy.Record{Scan: scans[0]}
		for _, s := range scans[1:] {
			r.Architectures = append(r.Architectures, policy.Architecture{Scan: s})
		}
		return policy.Facts{State: policy.StateFound, Records: []policy.Record{r}}
	}
	for name, tt := range map[string]struct {
		facts policy.Facts
		want  *report.ListedImage
	}{
		"the worst first":                {facts(scan(3, mild, bad)), &report.ListedImage{Counted: 3, Listed: []policy.Vulnerability{bad, mild}}},
		"what architectures share, once": {facts(scan(0), scan(1, mild), scan(2, mild, bad)), &report.ListedImage{Counted: 2, Listed: []policy.Vulnerability{bad, mild}}},
		"why they aren't known":          {facts(policy.Scan{Vulnerabilities: new(4), Unlisted: "HSS answered\n500"}), &report.ListedImage{Counted: 4, Unlisted: "HSS answered 500"}},
		"nobody asked":                   {facts(scan(3)), nil},
		"HSS counts some and lists none": {facts(policy.Scan{Vulnerabilities: new(4), Found: []policy.Vulnerability{}}), nil},
		"HSS knows nothing of the image": {policy.Facts{State: policy.StateNotFound}, nil},
	} {
		if tt.want != nil {
			tt.want.Reference = "h.io/a:1"
		}
		got := report.NewImage(image.Use{Image: "h.io/a:1"}, &tt.facts, time.Now())
		if diff := cmp.Diff(tt.want, got.Listed); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestListsOfVulnerabilitiesAreBounded(t *testing.T) {
	t.Parallel()
	const images, each = 22, 210
	r := &report.Report{Policies: []string{"p"}}
	for n := range images {
		name := fmt.Sprintf("h.io/app-%03d:1", n)
		one := report.Image{Reference: name, State: report.Found, Vulnerabilities: new(each), Listed: &report.ListedImage{Reference: name, Counted: each}}
		for k := range each {
			one.Listed.Listed = append(one.Listed.Listed, policy.Vulnerability{ID: fmt.Sprintf("CVE-2024-%04d", k), Severity: "High"})
		}
		// Twice: the second object asked nobody any more.
		r.Add(report.Result{Name: fmt.Sprint("a-", n), Verdict: report.Denied, Images: []report.Image{one}})
		one.Listed = nil
		r.Add(report.Result{Name: fmt.Sprint("b-", n), Verdict: report.Denied, Images: []report.Image{one}})
	}
	r.Finish()
	if len(r.Vulnerabilities) != 22 {
		t.Errorf("%d images are listed", len(r.Vulnerabilities))
	}
	for output, tt := range map[report.Output]struct {
		most int
		says string
	}{
		report.TableOutput: {0, "-o wide lists the vulnerabilities of 22 images."},
		report.WideOutput:  {20 * 20, "2 more images have vulnerabilities that are listed; -o json has them all."},
		report.Markdown:    {20 * 20, "| and 190 more |"},
		report.HTML:        {2 * 20 * 200, "10 more are left out; -o json has them all."},
	} {
		text := writtenAs(t, r, output)
		if n := strings.Count(text, "CVE-2024-"); n != tt.most || !strings.Contains(text, tt.says) {
			t.Errorf("%s names %d, want %d, and %q", output, n, tt.most, tt.says)
		}
	}
	for _, output := range []report.Output{report.JSON, report.YAML} {
		if n := strings.Count(writtenAs(t, r, output), "CVE-2024-"); n != 22*210 {
			t.Errorf("%s names %d, want all", output, n)
		}
	}
}
