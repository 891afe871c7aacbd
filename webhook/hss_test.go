package webhook_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// front is a webhook with all that stands behind it, before an HSS that answers
// by a script: the tests here are of verdicts, whatever leads to them.
type front struct {
	handler http.Handler
	clock   *clocktesting.FakeClock
	mu      sync.Mutex
	// pages are the answers to the questions for the list, by offset.
	pages map[string]string
}

// require is what the policy of most tests here requires: no result is bad but
// that of severity High.
func require(s *v1alpha1.ImageScanPolicySpec) {
	s.Require.SeverityLevel = &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityMedium}
}

// nowhere labels no namespace.
type nowhere struct{}

func (nowhere) NamespaceLabels(context.Context, string) (map[string]string, error) { return nil, nil }

// one has one policy in force.
type one struct{ index *gate.Index }

func (o one) Index() *gate.Index { return o.index }

// frontTime is when the tests begin.
var frontTime = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func newFront(t *testing.T, change ...func(*v1alpha1.ImageScanPolicySpec)) *front {
	t.Helper()
	f := &front{clock: clocktesting.NewFakeClock(frontTime)}
	server := httptest.NewServer(http.HandlerFunc(f.serveHSS))
	t.Cleanup(server.Close)
	client, err := hss.NewClient(hss.Config{
		Endpoint: server.URL, AllowInsecure: true, ProjectID: "p", Credentials: hss.StaticCredentials(hss.Credentials{AccessKey: "a", SecretKey: hss.NewSecret("s")}),
	})
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	p, r := config.DefaultProject(), config.DefaultRegistry()
	p.Name, p.Region = "bj4", "cn-north-4"
	r.Name, r.Hosts = "swr", []string{"swr.example.com"}
	c.Projects, c.Registries = []config.Project{p}, []config.Registry{r}
	i, err := inventory.New(inventory.Options{Config: c, Clients: map[string]inventory.Lister{"bj4": client}, Clock: f.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	spec := &v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
	for _, c := range append([]func(*v1alpha1.ImageScanPolicySpec){require}, change...) {
		c(&spec.Spec)
	}
	compiled, err := policy.Compile(spec)
	if err != nil {
		t.Fatal(err)
	}
	f.handler = newHandler(&gate.Gate{
		Policies: one{gate.NewIndex([]*policy.Policy{compiled})}, Namespaces: nowhere{}, Facts: i, Clock: f.clock,
	})
	return f
}

func (f *front) serveHSS(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	page, ok := f.pages[r.URL.Query().Get("offset")]
	if !ok {
		page = `{"total_num":0,"data_list":[]}`
	}
	_, _ = fmt.Fprint(w, page)
}

// lists has HSS send these pages, each with the total, and then an empty one.
func (f *front) lists(total string, pages ...[]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pages = map[string]string{}
	offset := 0
	for _, rows := range append(pages, nil) {
		at := ""
		if offset > 0 {
			at = fmt.Sprint(offset)
		}
		if f.pages[at] == "" {
			f.pages[at] = `{` + total + `"data_list":[` + strings.Join(rows, ",") + `]}`
		}
		offset += len(rows)
	}
}

// counts is the total_num of a page.
func counts(n int) string { return fmt.Sprintf(`"total_num":%d,`, n) }

// says reviews a pod of an image, and returns the reason of its denial; empty:
// it is admitted.
func (f *front) says(t *testing.T, image string) string {
	t.Helper()
	answer := send(t, f.handler, reviewOf(t, admissionv1.Create, pod(image), nil))
	if answer.Allowed {
		return ""
	}
	return answer.Result.Message
}

const frontImage = "swr.example.com/prod/app:1"

func sha(c string) string { return "sha256:" + strings.Repeat(c, 64) }

// fields are those of a row, in JSON.
type fields map[string]string

// hssRow is the row of a good image, with other fields; a field that is empty is
// left out.
func hssRow(id int, change fields) string {
	row := fields{
		"id": fmt.Sprint(id), "namespace": `"prod"`, "image_name": `"app"`, "image_version": `"1"`, "image_digest": `"` + sha("a") + `"`,
		"image_type": `"private_image"`, "scan_status": `"success"`, "severity_level": `"Low"`, "vul_num": "0", "malicious_file_num": "0",
		"unsafe_setting_num": "0", "latest_scan_time": millisecondsAgo(time.Hour), "latest_update_time": millisecondsAgo(2 * time.Hour),
	}
	maps.Copy(row, change)
	var parts []string
	for name, value := range row {
		if value != "" {
			parts = append(parts, fmt.Sprintf("%q:%s", name, value))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func millisecondsAgo(d time.Duration) string { return fmt.Sprint(frontTime.Add(-d).UnixMilli()) }

// others are rows of other versions, from id on.
func others(n, id int) []string {
	rows := make([]string, n)
	for i := range rows {
		rows[i] = hssRow(id+i, fields{"image_version": fmt.Sprintf(`"v%d"`, id+i), "image_digest": `"` + sha("f") + `"`})
	}
	return rows
}

// lenient admits images that HSS does not know or did not scan, as its author
// wants for a start.
func lenient(s *v1alpha1.ImageScanPolicySpec) {
	s.When.NotFound, s.When.NotScanned = v1alpha1.ActionWarn, v1alpha1.ActionWarn
}

func TestAListThatIsNotWholeAdmitsNothing(t *testing.T) {
	t.Parallel()
	good, bad := hssRow(1, nil), hssRow(2, fields{"severity_level": `"High"`, "image_type": `"shared_image"`})
	first := append(others(199, 100), good)
	for _, tc := range []struct {
		name  string
		total int
		pages [][]string
		want  string // in the denial; empty: admitted
	}{
		{"whole, and good", 1, [][]string{{good}}, ""},
		{"whole, and bad", 2, [][]string{{good, bad}}, "severity High, allowed Medium"},
		{"whole on two pages, the bad one on the second", 201, [][]string{first, {bad}}, "severity High, allowed Medium"},
		{"whole, though a row came twice", 201, [][]string{first, {good, bad}}, "severity High, allowed Medium"},
		{"the bad row pushed off the first page by a repeated one", 2, [][]string{{good, good}}, "it shows 1 of 2 rows"},
		{"the bad row pushed off the second page by a row of the first", 201, [][]string{first, {good}}, "it shows 200 of 201 rows"},
		{"the only row of the image pushed off", 201, [][]string{others(200, 100), others(1, 100)}, "it shows 200 of 201 rows"},
		{"more rows counted than shown", 3, [][]string{{good}}, "it shows 1 of 3 rows"},
		{"rows counted and none shown", 5, [][]string{nil}, "it shows 0 of 5 rows"},
		{"no rows", 0, [][]string{nil}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFront(t, lenient)
			f.lists(counts(tc.total), tc.pages...)
			if got := f.says(t, frontImage); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestOfOneRowInTwoStatesTheWorseDecides(t *testing.T) {
	t.Parallel()
	good, bad := hssRow(1, nil), hssRow(1, fields{"severity_level": `"High"`})
	unreadable := hssRow(1, fields{"association_images": `"-"`})
	scanning := hssRow(1, fields{"scan_status": `"scanning"`, "severity_level": "", "latest_scan_time": ""})
	between := func(a, b string) [][]string { return [][]string{append(others(199, 100), a), {b}} }
	for _, tc := range []struct {
		name  string
		pages [][]string
		want  string
	}{
		{"good and good", [][]string{{good, good}}, ""},
		{"good and bad", [][]string{{good, bad}}, "severity High, allowed Medium"},
		{"bad and good", [][]string{{bad, good}}, "severity High, allowed Medium"},
		{"good and bad on two pages", between(good, bad), "severity High, allowed Medium"},
		{"bad and good on two pages", between(bad, good), "severity High, allowed Medium"},
		{"good and unreadable", [][]string{{good, unreadable}}, "can't be read"},
		{"unreadable and good", [][]string{{unreadable, good}}, "can't be read"},
		{"unreadable and good on two pages", between(unreadable, good), "can't be read"},
		{"good and being scanned", [][]string{{good, scanning}}, "being scanned, and no completed scan is known"},
		{"being scanned and good", [][]string{{scanning, good}}, "being scanned, and no completed scan is known"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFront(t)
			f.lists(counts(1+199*(len(tc.pages)-1)), tc.pages...)
			if got := f.says(t, frontImage); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestWhatIsSeenOfAListThatIsNotWholeCanDeny(t *testing.T) {
	t.Parallel()
	good, bad := hssRow(1, nil), hssRow(1, fields{"severity_level": `"High"`})
	unreadable := hssRow(1, fields{"association_images": `"-"`})
	for _, tc := range []struct {
		name  string
		total int
		rows  []string
		want  string // in the denial; empty: admitted with a warning
	}{
		{"good, and counted twice", 2, []string{good, good}, ""},
		{"good and bad of one ID, both counted", 2, []string{good, bad}, "severity High, allowed Medium"},
		{"bad and good of one ID, both counted", 2, []string{bad, good}, "severity High, allowed Medium"},
		{"bad, and another row is missing", 2, []string{bad}, "severity High, allowed Medium"},
		{"bad and unreadable", 1, []string{bad, unreadable}, "severity High, allowed Medium"},
		{"unreadable and bad", 1, []string{unreadable, bad}, "severity High, allowed Medium"},
		{"good and unreadable", 1, []string{good, unreadable}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFront(t, func(s *v1alpha1.ImageScanPolicySpec) { s.When.Unavailable = v1alpha1.ActionWarn })
			f.lists(counts(tc.total), tc.rows)
			for _, image := range []string{frontImage, frontImage + "@" + sha("a")} {
				if got := f.says(t, image); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
					t.Errorf("%s: got %q, want %q", image, got, tc.want)
				}
			}
		})
	}
}

// architecturesOf are rows of association_images, each of a digest with so many
// malicious files.
func architecturesOf(digest string, files ...int) string {
	rows := make([]string, len(files))
	for i, n := range files {
		rows[i] = fmt.Sprintf(`{"id":%d,"image_digest":%q,"scan_status":"success","vul_num":0,"unsafe_setting_num":0,"malicious_file_num":%d}`, 70+i, digest, n)
	}
	return "[" + strings.Join(rows, ",") + "]"
}

func noMalware(s *v1alpha1.ImageScanPolicySpec) {
	s.Require.MaliciousFiles = &v1alpha1.CountRequirement{Max: 0}
}

func TestADigestStandsForEveryArchitectureThatHasIt(t *testing.T) {
	t.Parallel()
	const malware = "3 malicious files, allowed 0"
	multi := func(architectures string, change fields) string {
		row := fields{"is_multiple_arch": "true", "association_images": architectures}
		maps.Copy(row, change)
		return hssRow(1, row)
	}
	for _, tc := range []struct {
		name, row, want string
	}{
		{"one, and it is good", multi(architecturesOf(sha("c"), 0), nil), ""},
		{"two good ones", multi(architecturesOf(sha("c"), 0, 0), nil), ""},
		{"a good one and a bad one", multi(architecturesOf(sha("c"), 0, 3), nil), malware},
		{"a bad one and a good one", multi(architecturesOf(sha("c"), 3, 0), nil), malware},
		{"the last of five is bad", multi(architecturesOf(sha("c"), 0, 0, 0, 0, 3), nil), malware},
		{"the row's own, and that of a bad architecture", multi(architecturesOf(sha("c"), 3), fields{"image_digest": `"` + sha("c") + `"`}), malware},
		{"the bad row's own, and that of a good architecture",
			multi(architecturesOf(sha("c"), 0), fields{"image_digest": `"` + sha("c") + `"`, "malicious_file_num": "3"}), malware},
		{"in a row that does not call itself one of several", multi(architecturesOf(sha("c"), 0, 3), fields{"is_multiple_arch": "false"}), malware},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFront(t, noMalware)
			f.lists(counts(1), []string{tc.row})
			for _, image := range []string{frontImage + "@" + sha("c"), "swr.example.com/prod/app@" + sha("c")} {
				if got := f.says(t, image); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
					t.Errorf("%s: got %q, want %q", image, got, tc.want)
				}
			}
		})
	}
}

func TestAScanWithoutATimeIsNotScanned(t *testing.T) {
	t.Parallel()
	const none = "the time of its scan is unknown"
	pinned := fields{"is_multiple_arch": "true", "association_images": architecturesOf(sha("c"), 0)}
	with := func(time string, change fields) string {
		row := fields{"latest_scan_time": time}
		maps.Copy(row, change)
		return hssRow(1, row)
	}
	for _, tc := range []struct {
		name, row, want string
	}{
		{"missing", with("", nil), none},
		{"null", with("null", nil), none},
		{"0", with("0", nil), none},
		{"negative", with("-1", nil), none},
		{"an empty text", with(`""`, nil), none},
		{"no time of an update either", with("0", fields{"latest_update_time": ""}), none},
		{"unreadable", with(`"-"`, nil), `latest_scan_time is "-"`},
		{"of several architectures", with("0", pinned), none},
		{"a good time", with(millisecondsAgo(time.Hour), nil), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFront(t)
			f.lists(counts(1), []string{tc.row})
			images := []string{frontImage, frontImage + "@" + sha("a")}
			if strings.Contains(tc.row, sha("c")) {
				images = append(images, frontImage+"@"+sha("c"))
			}
			for _, image := range images {
				if got := f.says(t, image); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
					t.Errorf("%s: got %q, want %q", image, got, tc.want)
				}
			}
		})
	}
}

func TestAnImagePushedAgainUnchangedKeepsItsResult(t *testing.T) {
	t.Parallel()
	const late = "after its last scan"
	pushed := fields{"latest_update_time": millisecondsAgo(-10 * time.Minute)}
	again := func(changes ...fields) string {
		row := maps.Clone(pushed)
		for _, change := range changes {
			maps.Copy(row, change)
		}
		return hssRow(1, row)
	}
	scanning := fields{"scan_status": `"scanning"`, "severity_level": "", "vul_num": "", "latest_scan_time": ""}
	waiting := fields{"scan_status": `"waiting_for_scan"`}
	another := fields{"image_digest": `"` + sha("b") + `"`}
	undigested := fields{"image_digest": ""}
	good, bad := hssRow(1, nil), fields{"severity_level": `"High"`}
	for _, tc := range []struct {
		name string
		// history is the row as it was, oldest first.
		history []string
		want    string
	}{
		{"the same digest", []string{good, again()}, ""},
		{"twice", []string{good, again(), again(fields{"latest_update_time": millisecondsAgo(-20 * time.Minute)})}, ""},
		{"and is scanned again", []string{good, again(), again(scanning)}, ""},
		{"and is scanned again at once", []string{good, again(scanning)}, ""},
		{"and waits for a scan that shows the last result", []string{good, again(waiting)}, ""},
		{"and its scan is done", []string{good, again(scanning), hssRow(1, fields{"latest_scan_time": millisecondsAgo(-time.Minute)})}, ""},
		{"while it is scanned again", []string{good, hssRow(1, scanning), again(scanning), again()}, ""},
		{"its result was bad", []string{hssRow(1, bad), again(bad)}, "severity High, allowed Medium"},
		{"its result was bad and is hidden", []string{hssRow(1, bad), again(scanning)}, "severity High, allowed Medium"},
		{"and is found to be bad", []string{good, again(), hssRow(1, fields{"latest_scan_time": millisecondsAgo(-time.Minute), "severity_level": `"High"`})},
			"severity High, allowed Medium"},
		{"another digest", []string{good, again(another)}, late},
		{"another digest that is scanned", []string{good, again(another, scanning)}, "no completed scan is known"},
		{"another digest, and the first again", []string{good, again(another), again()}, late},
		{"another digest with the times of the first", []string{good, hssRow(1, another)}, late},
		{"another digest with the times of the first, later", []string{good, hssRow(1, another), hssRow(1, another)}, late},
		{"another digest with the times of the first, once it is scanned",
			[]string{good, hssRow(1, another), hssRow(1, fields{"latest_scan_time": millisecondsAgo(-time.Minute), "image_digest": another["image_digest"]})}, ""},
		{"no digest", []string{hssRow(1, undigested), again(undigested)}, late},
		{"no digest any more", []string{good, again(undigested)}, late},
		{"a digest that was not seen before", []string{again()}, late},
		{"a scan that failed", []string{good, again(fields{"scan_status": `"failed"`})}, "scan failed, allowed success"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFront(t)
			var got string
			for _, row := range tc.history {
				f.clock.Step(10 * time.Minute)
				f.lists(counts(1), []string{row})
				got = f.says(t, frontImage)
			}
			if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
