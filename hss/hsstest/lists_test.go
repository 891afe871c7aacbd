package hsstest_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/hss/hsstest"
)

func TestRowsWithoutAnIDAreGivenOne(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(
		hsstest.Image{ImageName: "a"},
		hsstest.Image{ImageName: "b", ID: 7, AssociationImages: []hsstest.Architecture{{}, {ID: 9}}},
		hsstest.Image{ImageName: "c"},
	))
	rows := h.Images()
	got := []int64{rows[0].ID, rows[1].ID, rows[1].AssociationImages[0].ID, rows[1].AssociationImages[1].ID, rows[2].ID}
	wantEqual(t, "IDs", []int64{10, 7, 11, 9, 12}, got)
	h.Update(func(rows []hsstest.Image) []hsstest.Image {
		rows[2].ImageVersion = "changed"
		return append(rows[2:], hsstest.Image{ImageVersion: "added"})
	})
	if got := h.Images()[0].ID; got != 12 || ask(t, h, "").tags() != "changed added" {
		t.Errorf("after an update the id of c is %d, and the rows are %s", got, ask(t, h, "").tags())
	}
}

func TestMissingFieldsAreNotServed(t *testing.T) {
	t.Parallel()
	got := ask(t, open(t, hsstest.WithImages(hsstest.Image{ID: 1})), "")
	want := map[string]any{"id": 1.0, "namespace": "", "image_name": "", "image_version": "",
		"latest_version": false, "scannable": false, "is_multiple_arch": false}
	wantEqual(t, "row", want, got.DataList[0])
}

func TestParametersAreChecked(t *testing.T) {
	t.Parallel()
	h := open(t)
	long := func(n int) string { return strings.Repeat("%E4%B8%AD", n) } // a character of three bytes
	for query, allowed := range map[string]string{                       // empty: the query is fine
		"limit=1": "", "limit=200": "",
		"limit=0": "a whole number from 1 to 200", "limit=201": "from 1 to 200",
		"limit=%2B5": "from 1 to 200",
		"offset=0":   "", "offset=2000000": "", "offset=2000001": "from 0 to 2000000", "offset=-1": "from 0 to 2000000",
		"namespace=" + long(128): "", "namespace=" + long(129): "1 to 128 characters", "namespace=": "1 to 128 characters",
		"image_version=" + long(64): "", "image_version=" + long(65): "1 to 64 characters",
		"enterprise_project_id=" + long(256): "", "enterprise_project_id=" + long(257): "1 to 256 characters",
		"image_type=harbor": "", "image_type=Harbor": "private_image, shared_image, instance_image, harbor, jfrog",
		"sort_key=latest_scan_time&sort_dir=desc": "", "sort_key=image_name": "latest_scan_time", "sort_dir=DESC": "asc, desc",
		"is_multiple_arch=true":              `parameter "is_multiple_arch" is not known`,
		"namespace=a&namespace=b":            `parameter "namespace" is given 2 times, allowed is once`,
		"start_latest_scan_time=0":           "",
		"start_latest_update_time=-1":        "from 0 to 9223372036854775807",
		"namespace=%zz":                      "cannot parse the query",
		"limit=" + strings.Repeat("9", 5000): "from 1 to 200",
	} {
		got := ask(t, h, query)
		switch {
		case allowed == "" && got.Status != http.StatusOK:
			t.Errorf("%.60s: got %d %s, want 200", query, got.Status, got.Raw)
		case allowed != "" && (got.Status != 400 || got.ErrorCode != "HSS.0001" || got.ErrorMsg == "" || len(got.Raw) > 1000 ||
			!strings.Contains(got.ErrorDescription, allowed)):
			t.Errorf("%.60s: got %d %s, want HSS.0001 with %q", query, got.Status, got.Raw, allowed)
		}
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	at := newClock()
	ago := func(d time.Duration) time.Time { return at.Now().Add(-d) }
	h := open(t, hsstest.WithClock(at.Now), hsstest.WithImages(
		hsstest.Image{ImageVersion: "a", Namespace: "prod", ImageName: "app", ImageType: "private_image", RegistryName: "swr",
			LatestScanTime: ago(3 * time.Hour), LatestUpdateTime: ago(4 * time.Hour), LatestSyncTime: ago(time.Hour)},
		hsstest.Image{ImageVersion: "b", Namespace: "prod", ImageName: "app", ImageType: "shared_image", RegistryName: "swr",
			LatestScanTime: ago(2 * time.Hour), LatestUpdateTime: ago(2 * time.Hour)},
		hsstest.Image{ImageVersion: "c", Namespace: "prod", ImageName: "app-server", ImageType: "harbor", RegistryName: "corp", LatestScanTime: ago(time.Hour),
			ScanStatus: "success"},
		hsstest.Image{ImageVersion: "d", Namespace: "production", ImageName: "app", ImageType: "instance_image"},
		hsstest.Image{ImageVersion: "other", Namespace: "prod", ImageName: "app", EnterpriseProjectID: "e1"},
		hsstest.Image{ImageVersion: "elsewhere", Namespace: "prod", ImageName: "app", ProjectID: "p2"},
	))
	for query, want := range map[string]string{ // versions
		"":                                      "a b c d",
		"enterprise_project_id=0":               "a b c d",
		"enterprise_project_id=e1":              "other",
		"enterprise_project_id=all_granted_eps": "a b c d other",
		"namespace=prod":                        "a b c",
		"image_name=app":                        "a b d",
		"image_name=ap":                         "",
		"image_version=b":                       "b",
		"registry_name=corp":                    "c",
		"image_type=shared_image":               "b",
		"scan_status=success":                   "c",
		"namespace=prod&image_name=app&image_type=jfrog":                      "",
		"sort_key=latest_scan_time":                                           "d a b c",
		"sort_key=latest_scan_time&sort_dir=desc&limit=3":                     "c b a",
		fmt.Sprint("start_latest_scan_time=", ago(2*time.Hour).UnixMilli()):   "b c",
		fmt.Sprint("start_latest_update_time=", ago(3*time.Hour).UnixMilli()): "b",
		"start_latest_sync_time=0":                                            "a",
	} {
		wantEqual(t, query, want, ask(t, h, query).tags())
	}
}

// numbered makes n rows with the versions 0 to n-1.
func numbered(n int) []hsstest.Image {
	rows := make([]hsstest.Image, n)
	for i := range rows {
		rows[i] = hsstest.Image{Namespace: "prod", ImageName: "app", ImageVersion: fmt.Sprint(i)}
	}
	return rows
}

func TestAPageHasTenRowsByDefault(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(numbered(25)...))
	for query, want := range map[string]string{
		"":                  "0 1 2 3 4 5 6 7 8 9",
		"offset=20":         "20 21 22 23 24",
		"limit=2&offset=3":  "3 4",
		"limit=2&offset=25": "",
	} {
		got := ask(t, h, query)
		if got.tags() != want || got.TotalNum != 25 {
			t.Errorf("%s: got %s of %d, want %s of 25", query, got.tags(), got.TotalNum, want)
		}
		if !strings.Contains(got.Raw, `"data_list":[`) {
			t.Errorf("%s: got %s, want a data_list even if empty", query, got.Raw)
		}
	}
}

func TestPagesMayRepeatOrShuffleRows(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithBehavior(hsstest.Behavior{Paging: "repeated"}), hsstest.WithImages(numbered(5)...))
	for query, want := range map[string]string{"limit=2": "0 1", "limit=2&offset=2": "1 2", "limit=2&offset=6": ""} {
		wantEqual(t, query, want, ask(t, h, query).tags())
	}
	h = open(t, hsstest.WithBehavior(hsstest.Behavior{Paging: "shuffled"}), hsstest.WithImages(numbered(50)...))
	first, second := ask(t, h, "limit=50").tags(), ask(t, h, "limit=50").tags()
	if first == second || len(slices.Compact(slices.Sorted(slices.Values(strings.Fields(second))))) != 50 {
		t.Errorf("two requests show %s and %s", first, second)
	}
}

const ofApp = "image/aa11/vulnerabilities?image_type=private_image&namespace=prod&image_name=app&tag_name=1.0"

// vulnerableApp is an image with vulnerabilities.
func vulnerableApp() hsstest.Image {
	return hsstest.Image{ImageID: "aa11", ImageType: "private_image", Namespace: "prod", ImageName: "app", ImageVersion: "1.0",
		Vulnerabilities: []hsstest.Vulnerability{{VulID: "CVE-1", RepairNecessity: "immediate_repair", AppName: "openssl"}, {VulID: "CVE-2"}, {VulID: "CVE-3"}}}
}

func TestOtherListsCheckTheirParameters(t *testing.T) {
	t.Parallel()
	h := open(t)
	for path, want := range map[string]string{
		"image/aa11/vulnerabilities?namespace=prod&image_name=app&tag_name=1.0":                 `parameter "image_type" is missing`,
		"image/aa11/vulnerabilities?image_type=quay&namespace=prod&image_name=app&tag_name=1.0": "private_image, shared_image, instance_image, harbor, jfrog, cicd",
		ofApp + "&limit=9":         "a whole number from 10 to 200",
		"image/registries?limit=5": "a whole number from 10 to 200",
	} {
		if got := askFor(t, h, http.MethodGet, path, ""); got.ErrorCode != "HSS.0001" || !strings.Contains(got.ErrorDescription, want) {
			t.Errorf("%s: got %d %s, want HSS.0001 with %q", path, got.Status, got.Raw, want)
		}
	}
}

func TestRegistriesAreListed(t *testing.T) {
	t.Parallel()
	at := newClock().Now()
	h := open(t, hsstest.WithRegistries(hsstest.Registry{ID: "r1", Name: "swr", Type: "SwrPrivate", Address: "swr.example.com", LatestSyncTime: at},
		hsstest.Registry{ID: "r2", Type: "Jfrog", ProjectID: "p2"}))
	want := []map[string]any{{"id": "r1", "registry_name": "swr", "registry_type": "SwrPrivate", "registry_addr": "swr.example.com",
		"latest_sync_time": float64(at.UnixMilli())}}
	wantEqual(t, "registries", want, askFor(t, h, http.MethodGet, "image/registries", "").DataList)
}

func TestVulnerabilitiesAreOfExactlyOneImage(t *testing.T) {
	t.Parallel()
	app := vulnerableApp()
	other := vulnerableApp()
	other.EnterpriseProjectID, other.ImageID, other.InstanceID = "e1", "bb22", "i-1"
	foreign := vulnerableApp()
	foreign.ProjectID, foreign.ImageID = "p2", "cc33"
	multi := hsstest.Image{Namespace: "prod", ImageName: "app", ImageVersion: "1.0", ImageType: "private_image",
		AssociationImages: []hsstest.Architecture{{ImageID: "dd44", Namespace: "prod", ImageName: "app", ImageVersion: "1.0",
			Vulnerabilities: []hsstest.Vulnerability{{VulID: "CVE-ARM"}}}}}
	h := open(t, hsstest.WithImages(app, other, foreign, multi))
	const found = "CVE-1 CVE-2 CVE-3"
	for path, want := range map[string]string{ // empty: not found
		ofApp: found, ofApp + "&offset=1": "CVE-2 CVE-3", ofApp + "&limit=10&offset=2": "CVE-3", ofApp + "&instance_id=": found,
		strings.Replace(ofApp, "aa11", "dd44", 1):                                               "CVE-ARM",
		strings.Replace(ofApp, "aa11", "ee55", 1):                                               "",
		strings.Replace(ofApp, "1.0", "1.1", 1):                                                 "",
		strings.Replace(ofApp, "private_image", "harbor", 1):                                    "",
		strings.Replace(ofApp, "namespace=prod", "namespace=pro", 1):                            "",
		strings.Replace(ofApp, "aa11", "bb22", 1):                                               "",
		strings.Replace(ofApp, "aa11", "bb22", 1) + "&enterprise_project_id=e1":                 found,
		strings.Replace(ofApp, "aa11", "bb22", 1) + "&enterprise_project_id=e1&instance_id=i-1": found,
		strings.Replace(ofApp, "aa11", "bb22", 1) + "&enterprise_project_id=e1&instance_id=i-2": "",
		strings.Replace(ofApp, "aa11", "cc33", 1):                                               "",
	} {
		got := askFor(t, h, http.MethodGet, path, "")
		if want == "" && got.ErrorCode != "HSS.0011" || want != "" && got.names("vul_id") != want {
			t.Errorf("%s: got %d %s, want %q", path, got.Status, got.Raw, want)
		}
	}
}
