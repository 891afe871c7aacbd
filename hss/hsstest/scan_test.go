package hsstest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/hss/hsstest"
)

const scanPath, syncPath = "image/image-scan/tasks", "image/image-sync/tasks"

// unscanned returns a row without a scan.
func unscanned(version string) hsstest.Image {
	return hsstest.Image{Namespace: "prod", ImageName: "app", ImageVersion: version, ImageType: "private_image", ScanStatus: "unscan",
		ImageDigest: "sha256:" + version, RegistryID: "r1", RegistryType: "SwrPrivate"}
}

// status lists the rows by version and status.
func status(h *hsstest.Handler) string {
	var rows []string
	for _, row := range h.Images() {
		rows = append(rows, row.ImageVersion+":"+row.ScanStatus)
	}
	return strings.Join(rows, " ")
}

// post sends a body, which is accepted by an empty 200.
func post(t *testing.T, h *hsstest.Handler, path, body string) {
	t.Helper()
	if got := askFor(t, h, http.MethodPost, path, body); got.Status != 200 || got.Raw != "" {
		t.Fatalf("%s: got %d %q, want an empty 200", path, got.Status, got.Raw)
	}
}

func TestAScanProgressesByTheClock(t *testing.T) {
	t.Parallel()
	at := newClock()
	failing, bad, multi := unscanned("failing"), unscanned("bad"), unscanned("multi")
	failing.Outcome = &hsstest.ScanOutcome{ScanStatus: "failed", ScanFailedCode: "download_failed", ScanFailedDesc: "why"}
	bad.Outcome = &hsstest.ScanOutcome{SeverityLevel: "High", VulNum: new(7), UnsafeSettingNum: new(1), MaliciousFileNum: new(2)}
	multi.AssociationImages = []hsstest.Architecture{{ImageID: "arm", ScanStatus: "unscan"}}
	h := open(t, hsstest.WithImages(unscanned("good"), failing, bad, multi, unscanned("left")), hsstest.WithClock(at.now),
		hsstest.WithScanTimes(10*time.Second, 20*time.Second, 0))
	for _, version := range []string{"good", "failing", "bad", "multi"} {
		body := fmt.Sprintf(`{"scan_scope":2147483647,"is_all":false,"image_info":[{"image_name":"app","image_version":%q}]}`, version)
		post(t, h, scanPath+"?global_image_type=registry", body)
	}
	for _, step := range []struct {
		after time.Duration
		want  string
	}{
		{10*time.Second - 1, "good:waiting_for_scan failing:waiting_for_scan bad:waiting_for_scan multi:waiting_for_scan left:unscan"},
		{1, "good:scanning failing:scanning bad:scanning multi:scanning left:unscan"},
		{20 * time.Second, "good:success failing:failed bad:success multi:success left:unscan"},
	} {
		at.advance(step.after)
		wantEqual(t, step.after.String()+" later", step.want, status(h))
	}
	rows := h.Images()
	if r := rows[0]; r.SeverityLevel != "Security" || *r.VulNum != 0 || !r.LatestScanTime.Equal(at.now()) {
		t.Errorf("the good one is %+v", r)
	}
	if r := rows[1]; r.ScanFailedCode != "download_failed" || r.VulNum != nil || r.SeverityLevel != "" {
		t.Errorf("the failing one is %+v", r)
	}
	if r := rows[2]; r.SeverityLevel != "High" || *r.VulNum != 7 || *r.UnsafeSettingNum != 1 || *r.MaliciousFileNum != 2 {
		t.Errorf("the bad one is %+v", r)
	}
	if a := rows[3].AssociationImages[0]; a.ScanStatus != "success" || *a.VulNum != 0 {
		t.Errorf("the architecture is %+v", a)
	}
	wantEqual(t, "scans", 4, h.Stats().Scans)
}

func TestScanRequestsAreChecked(t *testing.T) {
	t.Parallel()
	elsewhere, row := unscanned("elsewhere"), unscanned("1")
	elsewhere.EnterpriseProjectID, row.ID = "e1", 7
	h := open(t, hsstest.WithImages(row, elsewhere))
	one := func(fields string) string { return `{"is_all":false,"image_info":[{` + fields + `}]}` }
	for name, tc := range map[string]struct{ query, body, code, want string }{ // code empty: taken
		"by its id":                      {"", one(`"id":7`), "", ""},
		"by all that the row says":       {"?global_image_type=registry&enterprise_project_id=all_granted_eps", one(`"id":7,"image_digest":"sha256:1","registry_id":"r1","registry_type":"SwrPrivate","namespace":"prod","image_name":"app","image_version":"1"`), "", ""},
		"of another enterprise project":  {"?enterprise_project_id=e1", one(`"image_name":"app","image_version":"elsewhere"`), "", ""},
		"nobody asked for that project":  {"", one(`"image_name":"app","image_version":"elsewhere"`), "HSS.0011", "image_info row 1"},
		"an id that isn't there":         {"", one(`"id":8`), "HSS.0011", "image_info row 1"},
		"an image without any name":      {"", one(`"registry_id":"r1"`), "HSS.0011", "image_info row 1"},
		"no image":                       {"", `{"is_all":false}`, "HSS.0001", "image_info names no image"},
		"all images":                     {"", `{"is_all":true,"image_info":[{"id":7}]}`, "HSS.0001", "which this server does not do"},
		"a field that isn't one":         {"", `{"images":[]}`, "HSS.0001", `unknown field "images"`},
		"nothing":                        {"", ``, "HSS.0001", "cannot read the body"},
		"a parameter of another request": {"?limit=5", one(`"id":7`), "HSS.0001", `parameter "limit" is not known`},
	} {
		got := askFor(t, h, http.MethodPost, scanPath+tc.query, tc.body)
		if tc.code == "" && (got.Status != 200 || got.Raw != "") ||
			tc.code != "" && (got.Status != 400 || got.ErrorCode != tc.code || !strings.Contains(got.ErrorDescription, tc.want)) {
			t.Errorf("%s: got %d %s, want %s with %q", name, got.Status, got.Raw, tc.code, tc.want)
		}
	}
	wantEqual(t, "of a body too large", 413, askFor(t, h, http.MethodPost, scanPath, strings.Repeat(" ", 2<<20)).Status)
}

func TestASynchronisationShowsHiddenRows(t *testing.T) {
	t.Parallel()
	at := newClock()
	mine, other, shared := unscanned("mine"), unscanned("other"), unscanned("shared")
	mine.Hidden, other.Hidden, shared.Hidden = true, true, true
	other.RegistryID, shared.RegistryType = "r2", "SwrShared"
	h := open(t, hsstest.WithImages(mine, other, shared), hsstest.WithClock(at.now), hsstest.WithScanTimes(0, 0, 5*time.Second),
		hsstest.WithRegistries(hsstest.Registry{ID: "r1", Type: "SwrPrivate"}, hsstest.Registry{ID: "r2", Type: "SwrPrivate"}))
	listed := func() string { return ask(t, h, "").tags() }
	wantEqual(t, "before", "", listed())
	post(t, h, syncPath, `{"sync_all_registries":false,"registry_info":[{"registry_id":"r1","registry_type":"SwrPrivate"}]}`)
	wantEqual(t, "at once", "", listed())
	at.advance(5 * time.Second)
	wantEqual(t, "then", "mine", listed())
	if r := h.Registries(); !r[0].LatestSyncTime.Equal(at.now()) || !r[1].LatestSyncTime.IsZero() {
		t.Errorf("the registries are %+v", r)
	}
	if row := h.Images()[0]; !row.LatestSyncTime.Equal(at.now()) || row.ScanStatus != "unscan" {
		t.Errorf("the row is %+v", row)
	}
	wantEqual(t, "synchronisations and scans", [2]int{1, 0}, [2]int{h.Stats().Syncs, h.Stats().Scans})
}

func TestSyncRequestsAreChecked(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(unscanned("1")), hsstest.WithRegistries(hsstest.Registry{ID: "p2", Type: "Harbor", ProjectID: "p2"}))
	for body, want := range map[string]string{
		`{"sync_all_registries":false}`: "registry_info names no registry",
		`{"sync_all_registries":true}`:  "which this server does not do",
		`{"sync_all_registries":false,"registry_info":[{"registry_id":"r9","registry_type":"SwrPrivate"}]}`: `there is no registry "r9" of type "SwrPrivate"`,
		`{"sync_all_registries":false,"registry_info":[{"registry_id":"p2","registry_type":"Harbor"}]}`:     `there is no registry "p2"`,
		`[]`: "cannot read the body",
	} {
		got := askFor(t, h, http.MethodPost, syncPath, body)
		if got.Status != 400 || !strings.Contains(got.ErrorDescription, want) {
			t.Errorf("%s: got %d %s, want %q", body, got.Status, got.Raw, want)
		}
	}
	wantEqual(t, "synchronisations", 0, h.Stats().Syncs)
}
