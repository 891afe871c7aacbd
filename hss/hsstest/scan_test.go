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

func TestAScanProgressesByTheClock(t *testing.T) {
	t.Parallel()
	at := newClock()
	failing, bad, multi := unscanned("failing"), unscanned("bad"), unscanned("multi")
	failing.Outcome = &hsstest.ScanOutcome{ScanStatus: "failed", ScanFailedCode: "download_failed", ScanFailedDesc: "why"}
	bad.Outcome = &hsstest.ScanOutcome{SeverityLevel: "High", VulNum: new(7), UnsafeSettingNum: new(1), MaliciousFileNum: new(2)}
	multi.AssociationImages = []hsstest.Architecture{{ImageID: "arm", ScanStatus: "unscan"}}
	h := open(t, hsstest.WithImages(unscanned("good"), failing, bad, multi, unscanned("left")), hsstest.WithClock(at.Now),
		hsstest.WithScanTimes(10*time.Second, 20*time.Second, 0))
	for _, version := range []string{"good", "failing", "bad", "multi"} {
		body := fmt.Sprintf(`{"scan_scope":2147483647,"is_all":false,"image_info":[{"image_name":"app","image_version":%q}]}`, version)
		wantEqual(t, version, 200, askFor(t, h, http.MethodPost, scanPath+"?global_image_type=registry", body).Status)
	}
	for _, step := range []struct {
		after time.Duration
		want  string
	}{
		{10*time.Second - 1, "waiting_for_scan waiting_for_scan waiting_for_scan waiting_for_scan unscan"},
		{1, "scanning scanning scanning scanning unscan"},
		{20 * time.Second, "success failed success success unscan"},
	} {
		at.Step(step.after)
		wantEqual(t, step.after.String()+" later", step.want, ask(t, h, "").names("scan_status"))
	}
	rows := h.Images()
	if r := rows[0]; r.SeverityLevel != "Security" || *r.VulNum != 0 || !r.LatestScanTime.Equal(at.Now()) {
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

func TestPostsAreChecked(t *testing.T) {
	t.Parallel()
	elsewhere, row := unscanned("elsewhere"), unscanned("1")
	elsewhere.EnterpriseProjectID, row.ID = "e1", 7
	h := open(t, hsstest.WithImages(row, elsewhere), hsstest.WithRegistries(hsstest.Registry{ID: "p2", Type: "Harbor", ProjectID: "p2"}))
	one := func(fields string) string { return `{"is_all":false,"image_info":[{` + fields + `}]}` }
	registry := func(id, kind string) string {
		return fmt.Sprintf(`{"sync_all_registries":false,"registry_info":[{"registry_id":%q,"registry_type":%q}]}`, id, kind)
	}
	for name, tc := range map[string]struct{ path, body, code, want string }{ // code empty: taken
		"by its id":                      {scanPath, one(`"id":7`), "", ""},
		"by all that the row says":       {scanPath + "?global_image_type=registry&enterprise_project_id=all_granted_eps", one(`"id":7,"image_digest":"sha256:1","registry_id":"r1","registry_type":"SwrPrivate","namespace":"prod","image_name":"app","image_version":"1"`), "", ""},
		"of another enterprise project":  {scanPath + "?enterprise_project_id=e1", one(`"image_name":"app","image_version":"elsewhere"`), "", ""},
		"nobody asked for that project":  {scanPath, one(`"image_name":"app","image_version":"elsewhere"`), "HSS.0011", "image_info row 1"},
		"an id that isn't there":         {scanPath, one(`"id":8`), "HSS.0011", "image_info row 1"},
		"an image without any name":      {scanPath, one(`"registry_id":"r1"`), "HSS.0011", "image_info row 1"},
		"no image":                       {scanPath, `{"is_all":false}`, "HSS.0001", "image_info names no image"},
		"all images":                     {scanPath, `{"is_all":true,"image_info":[{"id":7}]}`, "HSS.0001", "which this server does not do"},
		"a field that isn't one":         {scanPath, `{"images":[]}`, "HSS.0001", `unknown field "images"`},
		"nothing":                        {scanPath, ``, "HSS.0001", "cannot read the body"},
		"a parameter of another request": {scanPath + "?limit=5", one(`"id":7`), "HSS.0001", `parameter "limit" is not known`},

		"no registry":                 {syncPath, `{"sync_all_registries":false}`, "HSS.0001", "registry_info names no registry"},
		"all registries":              {syncPath, `{"sync_all_registries":true}`, "HSS.0001", "which this server does not do"},
		"a registry that isn't there": {syncPath, registry("r9", "SwrPrivate"), "HSS.0011", `there is no registry "r9" of type "SwrPrivate"`},
		"another project's registry":  {syncPath, registry("p2", "Harbor"), "HSS.0011", `there is no registry "p2"`},
		"registries in a list":        {syncPath, `[]`, "HSS.0001", "cannot read the body"},
	} {
		got := askFor(t, h, http.MethodPost, tc.path, tc.body)
		if tc.code == "" && (got.Status != 200 || got.Raw != "") ||
			tc.code != "" && (got.Status != 400 || got.ErrorCode != tc.code || !strings.Contains(got.ErrorDescription, tc.want)) {
			t.Errorf("%s: got %d %s, want %s with %q", name, got.Status, got.Raw, tc.code, tc.want)
		}
	}
	wantEqual(t, "scans and synchronisations", [2]int{3, 0}, [2]int{h.Stats().Scans, h.Stats().Syncs})
	wantEqual(t, "of a body too large", 413, askFor(t, h, http.MethodPost, scanPath, strings.Repeat(" ", 2<<20)).Status)
}

func TestASynchronisationShowsHiddenRows(t *testing.T) {
	t.Parallel()
	at := newClock()
	mine, other, shared := unscanned("mine"), unscanned("other"), unscanned("shared")
	mine.Hidden, other.Hidden, shared.Hidden = true, true, true
	other.RegistryID, shared.RegistryType = "r2", "SwrShared"
	h := open(t, hsstest.WithImages(mine, other, shared), hsstest.WithClock(at.Now), hsstest.WithScanTimes(0, 0, 5*time.Second),
		hsstest.WithRegistries(hsstest.Registry{ID: "r1", Type: "SwrPrivate"}, hsstest.Registry{ID: "r2", Type: "SwrPrivate"}))
	listed := func() string { return ask(t, h, "").tags() }
	wantEqual(t, "before", "", listed())
	const body = `{"sync_all_registries":false,"registry_info":[{"registry_id":"r1","registry_type":"SwrPrivate"}]}`
	wantEqual(t, "of the request", 200, askFor(t, h, http.MethodPost, syncPath, body).Status)
	wantEqual(t, "at once", "", listed())
	at.Step(5 * time.Second)
	wantEqual(t, "then", "mine", listed())
	if r := h.Registries(); !r[0].LatestSyncTime.Equal(at.Now()) || !r[1].LatestSyncTime.IsZero() {
		t.Errorf("the registries are %+v", r)
	}
	if row := h.Images()[0]; !row.LatestSyncTime.Equal(at.Now()) || row.ScanStatus != "unscan" {
		t.Errorf("the row is %+v", row)
	}
	wantEqual(t, "synchronisations and scans", [2]int{1, 0}, [2]int{h.Stats().Syncs, h.Stats().Scans})
}
