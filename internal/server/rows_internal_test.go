package server

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// lists has HSS send these pages, each with the total, and then an empty one.
func (d *door) lists(total int, pages ...[]string) {
	d.pages = map[string]string{}
	offset := 0
	for _, rows := range append(pages, nil) {
		at := ""
		if offset > 0 {
			at = fmt.Sprint(offset)
		}
		if d.pages[at] == "" {
			d.pages[at] = fmt.Sprintf(`{"total_num":%d,"data_list":[%s]}`, total, strings.Join(rows, ","))
		}
		offset += len(rows)
	}
}

// now is when the bubbles of synctest begin.
var now = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

const high = "severity High, allowed Medium"

func sha(c string) string { return "sha256:" + strings.Repeat(c, 64) }

// hssFields are those of a row, in JSON.
type hssFields map[string]string

// hssRow is the row of a good image, with other fields; a field that is empty is
// left out.
func hssRow(id int, change hssFields) string {
	row := hssFields{
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

func millisecondsAgo(d time.Duration) string { return fmt.Sprint(now.Add(-d).UnixMilli()) }

// others are rows of other versions, from id on.
func others(n, id int) []string {
	rows := make([]string, n)
	for i := range rows {
		rows[i] = hssRow(id+i, hssFields{"image_version": fmt.Sprintf(`"v%d"`, id+i), "image_digest": `"` + sha("f") + `"`})
	}
	return rows
}

// lenient admits images that HSS does not know or did not scan, as its author
// wants for a start.
func lenient(s *v1alpha1.ImageScanPolicySpec) {
	s.When.NotFound, s.When.NotScanned = v1alpha1.ActionWarn, v1alpha1.ActionWarn
}

// verdict is what a policy decides about images after what HSS has listed.
type verdict struct {
	policy func(*v1alpha1.ImageScanPolicySpec)
	total  int
	pages  [][]string
	want   string // in the denial; empty: admitted
}

// wantVerdict checks that a denial of each image has a text; empty: it is admitted.
func (d *door) wantVerdict(t *testing.T, want string, images ...string) {
	t.Helper()
	for _, image := range images {
		r := d.review(t, "10s", "prod", "Pod", image)
		if text := said(r); r.Allowed != (want == "") || !strings.Contains(text, want) {
			t.Errorf("%s: allowed is %t, want %q: %s", image, r.Allowed, want, text)
		}
	}
}

// newPolicyDoor is a door of one policy, which allows no severity High.
func newPolicyDoor(t *testing.T, change func(*v1alpha1.ImageScanPolicySpec)) *door {
	t.Helper()
	d := newDoor(t, nil, nil)
	p := &v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
	p.Spec.Require.SeverityLevel = &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityMedium}
	change(&p.Spec)
	d.gate.Policies = inForce(t, p)
	return d
}

func checkVerdicts(t *testing.T, images []string, tests map[string]verdict) {
	t.Helper()
	each(t, tests, func(t *testing.T, tc verdict) {
		d := newPolicyDoor(t, tc.policy)
		d.lists(tc.total, tc.pages...)
		d.wantVerdict(t, tc.want, images...)
	})
}

func strict(*v1alpha1.ImageScanPolicySpec) {}

func TestAListThatIsNotWholeAdmitsNothing(t *testing.T) {
	t.Parallel()
	good, bad := hssRow(1, nil), hssRow(2, hssFields{"severity_level": `"High"`, "image_type": `"shared_image"`})
	first := append(others(199, 100), good)
	checkVerdicts(t, []string{"app"}, map[string]verdict{
		"whole, and good": {lenient, 1, [][]string{{good}}, ""},
		"whole, and bad":  {lenient, 2, [][]string{{good, bad}}, high},
		"whole on two pages, the bad one on the second":                {lenient, 201, [][]string{first, {bad}}, high},
		"whole, though a row came twice":                               {lenient, 201, [][]string{first, {good, bad}}, high},
		"the bad row pushed off the first page by a repeated one":      {lenient, 2, [][]string{{good, good}}, "it shows 1 of 2 rows"},
		"the bad row pushed off the second page by a row of the first": {lenient, 201, [][]string{first, {good}}, "it shows 200 of 201 rows"},
		"the only row of the image pushed off":                         {lenient, 201, [][]string{others(200, 100), others(1, 100)}, "it shows 200 of 201 rows"},
		"more rows counted than shown":                                 {lenient, 3, [][]string{{good}}, "it shows 1 of 3 rows"},
		"rows counted and none shown":                                  {lenient, 5, [][]string{nil}, "it shows 0 of 5 rows"},
		"no rows":                                                      {lenient, 0, [][]string{nil}, ""},
	})
}

func TestOfOneRowInTwoStatesTheWorseDecides(t *testing.T) {
	t.Parallel()
	good, bad := hssRow(1, nil), hssRow(1, hssFields{"severity_level": `"High"`})
	unreadable := hssRow(1, hssFields{"association_images": `"-"`})
	scanning := hssRow(1, hssFields{"scan_status": `"scanning"`, "severity_level": "", "latest_scan_time": ""})
	between := func(a, b string) [][]string { return [][]string{append(others(199, 100), a), {b}} }
	warns := func(s *v1alpha1.ImageScanPolicySpec) { s.When.Unavailable = v1alpha1.ActionWarn }
	checkVerdicts(t, []string{"app", "app:1@" + sha("a")}, map[string]verdict{
		"good and good":                    {strict, 1, [][]string{{good, good}}, ""},
		"good and bad":                     {strict, 1, [][]string{{good, bad}}, high},
		"bad and good":                     {strict, 1, [][]string{{bad, good}}, high},
		"good and bad on two pages":        {strict, 200, between(good, bad), high},
		"bad and good on two pages":        {strict, 200, between(bad, good), high},
		"good and unreadable":              {strict, 1, [][]string{{good, unreadable}}, "cannot be read"},
		"unreadable and good":              {strict, 1, [][]string{{unreadable, good}}, "cannot be read"},
		"unreadable and good on two pages": {strict, 200, between(unreadable, good), "cannot be read"},
		"good and being scanned":           {strict, 1, [][]string{{good, scanning}}, "being scanned, and no completed scan is known"},
		"being scanned and good":           {strict, 1, [][]string{{scanning, good}}, "being scanned, and no completed scan is known"},
		// What is seen of a list that is incomplete can deny.
		"good, and counted twice":               {warns, 2, [][]string{{good, good}}, ""},
		"good and bad of one ID, both counted":  {warns, 2, [][]string{{good, bad}}, high},
		"bad and good of one ID, both counted":  {warns, 2, [][]string{{bad, good}}, high},
		"bad, and another row is missing":       {warns, 2, [][]string{{bad}}, high},
		"bad and unreadable":                    {warns, 1, [][]string{{bad, unreadable}}, high},
		"unreadable and bad":                    {warns, 1, [][]string{{unreadable, bad}}, high},
		"good and unreadable, which only warns": {warns, 1, [][]string{{good, unreadable}}, ""},
	})
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
	multi := func(architectures string, change hssFields) [][]string {
		row := hssFields{"is_multiple_arch": "true", "association_images": architectures}
		maps.Copy(row, change)
		return [][]string{{hssRow(1, row)}}
	}
	own := `"` + sha("c") + `"`
	checkVerdicts(t, []string{"app:1@" + sha("c"), "app@" + sha("c")}, map[string]verdict{
		"one, and it is good":                                {noMalware, 1, multi(architecturesOf(sha("c"), 0), nil), ""},
		"two good ones":                                      {noMalware, 1, multi(architecturesOf(sha("c"), 0, 0), nil), ""},
		"a good one and a bad one":                           {noMalware, 1, multi(architecturesOf(sha("c"), 0, 3), nil), malware},
		"a bad one and a good one":                           {noMalware, 1, multi(architecturesOf(sha("c"), 3, 0), nil), malware},
		"the last of five is bad":                            {noMalware, 1, multi(architecturesOf(sha("c"), 0, 0, 0, 0, 3), nil), malware},
		"the row's own, and that of a bad architecture":      {noMalware, 1, multi(architecturesOf(sha("c"), 3), hssFields{"image_digest": own}), malware},
		"the bad row's own, and that of a good architecture": {noMalware, 1, multi(architecturesOf(sha("c"), 0), hssFields{"image_digest": own, "malicious_file_num": "3"}), malware},
		"in a row that does not call itself one of several":  {noMalware, 1, multi(architecturesOf(sha("c"), 0, 3), hssFields{"is_multiple_arch": "false"}), malware},
	})
}

func TestAScanWithoutATimeIsNotScanned(t *testing.T) {
	t.Parallel()
	const none = "the time of its scan is unknown"
	with := func(time string, change hssFields) [][]string {
		row := hssFields{"latest_scan_time": time}
		maps.Copy(row, change)
		return [][]string{{hssRow(1, row)}}
	}
	pinned := hssFields{"is_multiple_arch": "true", "association_images": architecturesOf(sha("c"), 0)}
	checkVerdicts(t, []string{"app", "app:1@" + sha("a")}, map[string]verdict{
		"missing":                     {strict, 1, with("", nil), none},
		"null":                        {strict, 1, with("null", nil), none},
		"0":                           {strict, 1, with("0", nil), none},
		"negative":                    {strict, 1, with("-1", nil), none},
		"an empty text":               {strict, 1, with(`""`, nil), none},
		"no time of an update either": {strict, 1, with("0", hssFields{"latest_update_time": ""}), none},
		"unreadable":                  {strict, 1, with(`"-"`, nil), `latest_scan_time is "-"`},
		"a good time":                 {strict, 1, with(millisecondsAgo(time.Hour), nil), ""},
	})
	checkVerdicts(t, []string{"app", "app:1@" + sha("c")}, map[string]verdict{
		"of several architectures": {strict, 1, with("0", pinned), none},
	})
}

func TestAnImagePushedAgainUnchangedKeepsItsResult(t *testing.T) {
	t.Parallel()
	const late = "after its last scan"
	pushed := hssFields{"latest_update_time": millisecondsAgo(-10 * time.Minute)}
	again := func(changes ...hssFields) string {
		row := maps.Clone(pushed)
		for _, change := range changes {
			maps.Copy(row, change)
		}
		return hssRow(1, row)
	}
	scanning := hssFields{"scan_status": `"scanning"`, "severity_level": "", "vul_num": "", "latest_scan_time": ""}
	waiting := hssFields{"scan_status": `"waiting_for_scan"`}
	another := hssFields{"image_digest": `"` + sha("b") + `"`}
	undigested := hssFields{"image_digest": ""}
	good, bad := hssRow(1, nil), hssFields{"severity_level": `"High"`}
	type testCase struct {
		history []string // the row as it was, oldest first
		want    string
	}
	each(t, map[string]testCase{
		"the same digest":              {[]string{good, again()}, ""},
		"twice":                        {[]string{good, again(), again(hssFields{"latest_update_time": millisecondsAgo(-20 * time.Minute)})}, ""},
		"and is scanned again":         {[]string{good, again(), again(scanning)}, ""},
		"and is scanned again at once": {[]string{good, again(scanning)}, ""},
		"and waits for a scan that shows the last result": {[]string{good, again(waiting)}, ""},
		"and its scan is done":                            {[]string{good, again(scanning), hssRow(1, hssFields{"latest_scan_time": millisecondsAgo(-time.Minute)})}, ""},
		"while it is scanned again":                       {[]string{good, hssRow(1, scanning), again(scanning), again()}, ""},
		"its result was bad":                              {[]string{hssRow(1, bad), again(bad)}, high},
		"its result was bad and is hidden":                {[]string{hssRow(1, bad), again(scanning)}, high},
		"and is found to be bad": {[]string{good, again(), hssRow(1, hssFields{"latest_scan_time": millisecondsAgo(-time.Minute), "severity_level": `"High"`})},
			high},
		"another digest":                                    {[]string{good, again(another)}, late},
		"another digest that is scanned":                    {[]string{good, again(another, scanning)}, "no completed scan is known"},
		"another digest, and the first again":               {[]string{good, again(another), again()}, late},
		"another digest with the times of the first":        {[]string{good, hssRow(1, another)}, late},
		"another digest with the times of the first, later": {[]string{good, hssRow(1, another), hssRow(1, another)}, late},
		"another digest with the times of the first, once it is scanned": {
			[]string{good, hssRow(1, another), hssRow(1, hssFields{"latest_scan_time": millisecondsAgo(-time.Minute), "image_digest": another["image_digest"]})}, ""},
		"no digest":                         {[]string{hssRow(1, undigested), again(undigested)}, late},
		"no digest any more":                {[]string{good, again(undigested)}, late},
		"a digest that was not seen before": {[]string{again()}, late},
		"a scan that failed":                {[]string{good, again(hssFields{"scan_status": `"failed"`})}, "scan failed, allowed success"},
	}, func(t *testing.T, tc testCase) {
		d := newPolicyDoor(t, strict)
		for n, row := range tc.history {
			time.Sleep(10 * time.Minute)
			d.lists(1, []string{row})
			if n < len(tc.history)-1 {
				d.pod(t, "10s")
			}
		}
		d.wantVerdict(t, tc.want, "app")
	})
}
