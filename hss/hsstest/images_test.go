package hsstest_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss/hsstest"
)

func TestTheInventoryCanBeReplaced(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(versions("1")...))
	h.SetImages(versions("2", "3")...)
	if got := ask(t, h, ""); got.tags() != "2 3" {
		t.Errorf("after SetImages: got %s", got.tags())
	}
	h.Update(func(rows []hsstest.Image) []hsstest.Image {
		rows[0].ImageVersion = "changed"
		return append(rows, versions("4")...)
	})
	if got := ask(t, h, ""); got.tags() != "changed 3 4" {
		t.Errorf("after Update: got %s", got.tags())
	}
}

func TestRowsWithoutAnIDAreGivenOne(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(
		hsstest.Image{ImageName: "a"},
		hsstest.Image{ImageName: "b", ID: 7, AssociationImages: []hsstest.Architecture{{}, {ID: 9}}},
		hsstest.Image{ImageName: "c"},
	))
	rows := h.Images()
	got := []int64{rows[0].ID, rows[1].ID, rows[1].AssociationImages[0].ID, rows[1].AssociationImages[1].ID, rows[2].ID}
	if diff := cmp.Diff([]int64{10, 7, 11, 9, 12}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	h.Update(func(rows []hsstest.Image) []hsstest.Image { return rows[2:] })
	if got := h.Images()[0].ID; got != 12 {
		t.Errorf("an update changed the id of c to %d", got)
	}
}

func TestMissingFieldsAreNotServed(t *testing.T) {
	t.Parallel()
	got := ask(t, open(t, hsstest.WithImages(hsstest.Image{ID: 1})), "")
	want := map[string]any{"id": 1.0, "namespace": "", "image_name": "", "image_version": "",
		"latest_version": false, "scannable": false, "is_multiple_arch": false}
	if diff := cmp.Diff(want, got.DataList[0]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParametersAreChecked(t *testing.T) {
	t.Parallel()
	h := open(t)
	long := func(n int) string { return strings.Repeat("%E4%B8%AD", n) } // a character of three bytes
	tests := map[string]string{                                          // query: what is allowed; empty: the query is fine
		"limit=1": "", "limit=200": "",
		"limit=0": "a whole number from 1 to 200", "limit=201": "from 1 to 200", "limit=-1": "from 1 to 200",
		"limit=ten": "from 1 to 200", "limit=": "from 1 to 200", "limit=%2B5": "from 1 to 200", "limit=1.5": "from 1 to 200",
		"limit=99999999999999999999": "from 1 to 200",
		"offset=0":                   "", "offset=2000000": "", "offset=2000001": "from 0 to 2000000", "offset=-1": "from 0 to 2000000",
		"image_size=0": "", "image_size=2147483547": "", "image_size=2147483548": "from 0 to 2147483547",
		"namespace=" + long(128): "", "namespace=" + long(129): "1 to 128 characters", "namespace=": "1 to 128 characters",
		"image_name=" + long(128): "", "image_name=" + long(129): "1 to 128 characters",
		"image_version=" + long(64): "", "image_version=" + long(65): "1 to 64 characters",
		"registry_name=" + long(128): "", "registry_name=": "1 to 128 characters",
		"enterprise_project_id=" + long(256): "", "enterprise_project_id=" + long(257): "1 to 256 characters",
		"instance_id=": "", "instance_id=" + long(128): "", "instance_id=" + long(129): "0 to 128 characters",
		"instance_name=": "", "instance_name=" + long(129): "0 to 128 characters",
		"image_type=harbor": "", "image_type=Harbor": "private_image, shared_image, instance_image, harbor, jfrog",
		"scan_status=waiting_for_scan": "", "scan_status=download_failed": "unscan, success, scanning, failed, waiting_for_scan",
		"severity_level=Security": "", "severity_level=Critical": "Security, Low, Medium, High",
		"sort_key=latest_scan_time&sort_dir=desc": "", "sort_key=image_name": "latest_scan_time", "sort_dir=DESC": "asc, desc",
		"latest_version=true": "", "latest_version=1": "true, false", "has_vul=false": "", "has_vul=yes": "true, false",
		"has_malicious_file=": "true, false", "has_unsafe_setting=TRUE": "true, false", "risky=t": "true, false", "is_multarch=0": "true, false",
		"is_multiple_arch=true":                                   `parameter "is_multiple_arch" is not known`,
		"namespace=a&namespace=b":                                 `parameter "namespace" is given 2 times, allowed is once`,
		"start_latest_scan_time=0":                                "",
		"end_latest_scan_time=9223372036854775807":                "",
		"end_latest_scan_time=9223372036854775808":                "from 0 to 9223372036854775807",
		"start_latest_update_time=-1":                             "from 0 to 9223372036854775807",
		"start_latest_sync_time=5&end_latest_sync_time=5":         "",
		"start_latest_sync_time=6&end_latest_sync_time=5":         `parameter "start_latest_sync_time" is 6, allowed: at most "end_latest_sync_time", which is 5`,
		"namespace=%zz":                                           "cannot parse the query",
		"limit=" + strings.Repeat("9", 5000):                      "from 1 to 200",
		"namespace=a&image_name=b&image_version=c&limit=5&risky=": "true, false",
	}
	for query, allowed := range tests {
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

// fleet returns rows that differ in every filter.
func fleet(now time.Time) []hsstest.Image {
	none := new(0)
	return []hsstest.Image{
		{ImageVersion: "clean", LatestVersion: new(true), Namespace: "prod", ImageName: "app", ImageType: "private_image", RegistryName: "swr", ScanStatus: "success",
			SeverityLevel: "Low", VulNum: none, UnsafeSettingNum: none, MaliciousFileNum: none, ImageSize: 1000,
			LatestScanTime: now.Add(-3 * time.Hour), LatestUpdateTime: now.Add(-4 * time.Hour), LatestSyncTime: now.Add(-time.Hour)},
		{ImageVersion: "vul", Namespace: "prod", ImageName: "app", ImageType: "shared_image", RegistryName: "swr", ScanStatus: "success",
			SeverityLevel: "High", VulNum: new(3), LatestScanTime: now.Add(-2 * time.Hour), LatestUpdateTime: now.Add(-2 * time.Hour)},
		{ImageVersion: "unsafe", Namespace: "prod", ImageName: "app-server", ImageType: "harbor", RegistryName: "corp", ScanStatus: "scanning",
			UnsafeSettingNum: new(1), LatestScanTime: now.Add(-time.Hour)},
		{ImageVersion: "malware", Namespace: "production", ImageName: "app", ImageType: "instance_image", InstanceID: "i-1", InstanceName: "swr-ee",
			ScanStatus: "failed", MaliciousFileNum: new(1)},
		{ImageVersion: "arches", Namespace: "prod", ImageName: "multi", MultiArch: true, ScanStatus: "unscan",
			AssociationImages: []hsstest.Architecture{{VulNum: none}, {VulNum: new(2)}}},
		{ImageVersion: "other", Namespace: "prod", ImageName: "app", EnterpriseProjectID: "e1"},
		{ImageVersion: "elsewhere", Namespace: "prod", ImageName: "app", ProjectID: "p2"},
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	at := newClock()
	ms := func(ago time.Duration) int64 { return at.now().Add(-ago).UnixMilli() }
	h := open(t, hsstest.WithImages(fleet(at.now())...), hsstest.WithClock(at.now))
	tests := map[string]string{ // query: versions
		"":                                      "clean vul unsafe malware arches",
		"enterprise_project_id=0":               "clean vul unsafe malware arches",
		"enterprise_project_id=e1":              "other",
		"enterprise_project_id=e2":              "",
		"enterprise_project_id=all_granted_eps": "clean vul unsafe malware arches other",
		"namespace=prod":                        "clean vul unsafe arches",
		"namespace=prod&image_name=app":         "clean vul",
		"image_name=app":                        "clean vul malware",
		"image_name=ap":                         "",
		"image_name=APP":                        "",
		"image_version=vul":                     "vul",
		"registry_name=corp":                    "unsafe",
		"image_type=shared_image":               "vul",
		"instance_id=i-1":                       "malware",
		"instance_id=":                          "clean vul unsafe malware arches",
		"instance_name=swr-ee":                  "malware",
		"scan_status=success":                   "clean vul",
		"severity_level=High":                   "vul",
		"image_size=1000":                       "clean",
		"has_vul=true":                          "vul arches",
		"has_vul=false":                         "clean unsafe malware",
		"has_unsafe_setting=true":               "unsafe",
		"has_malicious_file=true":               "malware",
		"risky=true":                            "vul unsafe malware arches",
		"risky=false":                           "clean",
		"is_multarch=true":                      "arches",
		"is_multarch=false":                     "clean vul unsafe malware",
		"latest_version=true":                   "clean",
		"latest_version=false":                  "clean vul unsafe malware arches",
		"namespace=prod&image_name=app&image_type=jfrog":                                                          "",
		"sort_key=latest_scan_time":                                                                               "malware arches clean vul unsafe",
		"sort_key=latest_scan_time&sort_dir=asc":                                                                  "malware arches clean vul unsafe",
		"sort_key=latest_scan_time&sort_dir=desc&limit=3":                                                         "unsafe vul clean",
		"sort_key=latest_scan_time&namespace=prod&image_name=app":                                                 "clean vul",
		"sort_key=latest_scan_time&sort_dir=desc&namespace=prod&image_name=app":                                   "vul clean",
		fmt.Sprintf("start_latest_scan_time=%d", ms(2*time.Hour)):                                                 "vul unsafe",
		fmt.Sprintf("end_latest_scan_time=%d", ms(2*time.Hour)):                                                   "clean vul",
		fmt.Sprintf("start_latest_scan_time=%d&end_latest_scan_time=%d", ms(150*time.Minute), ms(90*time.Minute)): "vul",
		fmt.Sprintf("start_latest_update_time=%d", ms(3*time.Hour)):                                               "vul",
		"start_latest_sync_time=0":                                                                                "clean",
		fmt.Sprintf("start_latest_sync_time=%d", ms(-time.Hour)):                                                  "",
	}
	for query, want := range tests {
		got, wanted := strings.Fields(ask(t, h, query).tags()), strings.Fields(want)
		if !strings.Contains(query, "sort_key") {
			slices.Sort(got)
			slices.Sort(wanted)
		}
		if !slices.Equal(got, wanted) {
			t.Errorf("%s: got %v, want %v", query, got, wanted)
		}
	}
}

// numbered makes n rows with the versions 0 to n-1.
func numbered(n int) []hsstest.Image {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprint(i))
	}
	return versions(names...)
}

func TestAPageHasTenRowsByDefault(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(numbered(25)...))
	for query, want := range map[string]string{
		"":                  "0 1 2 3 4 5 6 7 8 9",
		"offset=20":         "20 21 22 23 24",
		"limit=2&offset=3":  "3 4",
		"limit=2&offset=25": "",
		"offset=2000000":    "",
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
	h := open(t, hsstest.WithRepeatedRows(), hsstest.WithImages(numbered(5)...))
	for query, want := range map[string]string{"limit=2": "0 1", "limit=2&offset=2": "1 2", "limit=2&offset=6": ""} {
		if got := ask(t, h, query).tags(); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	order := func(seed uint64) (rows []string) {
		h := open(t, hsstest.WithShuffledRows(seed), hsstest.WithImages(numbered(50)...))
		for offset := 0; offset < 50; offset += 7 {
			rows = append(rows, strings.Fields(ask(t, h, fmt.Sprintf("limit=7&offset=%d", offset)).tags())...)
		}
		return rows
	}
	if one := order(1); !slices.Equal(one, order(1)) || slices.Equal(one, order(2)) || len(slices.Compact(slices.Sorted(slices.Values(one)))) != 50 {
		t.Errorf("the order by a seed is %v", one)
	}
}

// askFor sends a request for an endpoint, below the project p1, to the handler itself.
func askFor(t *testing.T, h http.Handler, method, path, body string, edits ...func(*http.Request)) answer {
	t.Helper()
	path, query, _ := strings.Cut(path, "?")
	r := httptest.NewRequestWithContext(t.Context(), method, "/v5/p1/"+path, io.NopCloser(bytes.NewBufferString(body)))
	r.URL.RawQuery = query
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, edit := range edits {
		edit(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return read(t, w.Result())
}

// ids lists the vulnerabilities by their ID.
func (a answer) ids() string {
	var ids []string
	for _, row := range a.DataList {
		ids = append(ids, row["vul_id"].(string))
	}
	return strings.Join(ids, " ")
}

const ofApp = "image/aa11/vulnerabilities?image_type=private_image&namespace=prod&image_name=app&tag_name=1.0"

// vulnerableApp is an image with vulnerabilities of all kinds.
func vulnerableApp() hsstest.Image {
	return hsstest.Image{ImageID: "aa11", ImageType: "private_image", Namespace: "prod", ImageName: "app", ImageVersion: "1.0",
		Vulnerabilities: []hsstest.Vulnerability{
			{VulID: "CVE-2024-1", RepairNecessity: "immediate_repair", AppName: "openssl"},
			{VulID: "CVE-2024-12", RepairNecessity: "delay_repair", AppName: "log4j", AppPath: "/app/log4j.jar"},
			{VulID: "CVE-2023-7", RepairNecessity: "not_needed_repair", AppName: "zlib", Handled: true},
			{VulID: "EulerOS-SA-1", Type: "app_vul"},
		}}
}

func TestVulnerabilitiesAreFilteredAndPaged(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(vulnerableApp()))
	for query, want := range map[string]string{
		"":                                   "CVE-2024-1 CVE-2024-12 CVE-2023-7 EulerOS-SA-1",
		"&offset=1":                          "CVE-2024-12 CVE-2023-7 EulerOS-SA-1",
		"&offset=4":                          "",
		"&limit=10&offset=3":                 "EulerOS-SA-1",
		"&repair_necessity=immediate_repair": "CVE-2024-1",
		"&vul_id=2024-1":                     "CVE-2024-1 CVE-2024-12",
		"&vul_id=":                           "CVE-2024-1 CVE-2024-12 CVE-2023-7 EulerOS-SA-1",
		"&app_name=zlib":                     "CVE-2023-7",
		"&type=linux_vul":                    "CVE-2024-1 CVE-2023-7",
		"&type=app_vul":                      "CVE-2024-12 EulerOS-SA-1",
		"&handle_status=handled":             "CVE-2023-7",
		"&handle_status=unhandled&vul_id=1":  "CVE-2024-1 CVE-2024-12 EulerOS-SA-1",
		"&enterprise_project_id=all_granted_eps&instance_id=": "CVE-2024-1 CVE-2024-12 CVE-2023-7 EulerOS-SA-1",
	} {
		if got := askFor(t, h, http.MethodGet, ofApp+query, ""); got.Status != 200 || got.ids() != want {
			t.Errorf("%s: got %d %s, want %q", query, got.Status, got.Raw, want)
		}
	}
	if got := askFor(t, h, http.MethodGet, ofApp+"&limit=10&offset=3", ""); got.TotalNum != 4 {
		t.Errorf("the total is %d", got.TotalNum)
	}
}

func TestVulnerabilityParametersAreChecked(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(vulnerableApp()))
	for path, want := range map[string]string{
		"image/aa11/vulnerabilities?namespace=prod&image_name=app&tag_name=1.0":                 `parameter "image_type" is missing`,
		"image/aa11/vulnerabilities?image_type=private_image&image_name=app&tag_name=1.0":       `parameter "namespace" is missing`,
		"image/aa11/vulnerabilities?image_type=private_image&namespace=prod&tag_name=1.0":       `parameter "image_name" is missing`,
		"image/aa11/vulnerabilities?image_type=private_image&namespace=prod&image_name=app":     `parameter "tag_name" is missing`,
		"image/aa11/vulnerabilities?image_type=quay&namespace=prod&image_name=app&tag_name=1.0": "private_image, shared_image, instance_image, harbor, jfrog, cicd",
		ofApp + "&limit=9":                             "a whole number from 10 to 200",
		ofApp + "&limit=201":                           "a whole number from 10 to 200",
		ofApp + "&offset=-1":                           "a whole number from 0 to 2000000",
		ofApp + "&repair_necessity=High":               "immediate_repair, delay_repair, not_needed_repair",
		ofApp + "&handle_status=done":                  "unhandled, handled",
		ofApp + "&type=vul":                            "linux_vul, app_vul",
		ofApp + "&vul_id=" + strings.Repeat("x", 129):  "0 to 128 characters",
		ofApp + "&app_name=" + strings.Repeat("x", 65): "0 to 64 characters",
		ofApp + "&has_vul=true":                        `parameter "has_vul" is not known`,
		ofApp + "&namespace=other":                     "given 2 times",
	} {
		got := askFor(t, h, http.MethodGet, path, "")
		if got.Status != 400 || got.ErrorCode != "HSS.0001" || !strings.Contains(got.ErrorDescription, want) {
			t.Errorf("%s: got %d %s, want HSS.0001 with %q", path, got.Status, got.Raw, want)
		}
	}
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
	const found = "CVE-2024-1 CVE-2024-12 CVE-2023-7 EulerOS-SA-1"
	for path, want := range map[string]string{ // empty: not found
		ofApp: found,
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
		if want == "" && got.ErrorCode != "HSS.0011" || want != "" && got.ids() != want {
			t.Errorf("%s: got %d %s, want %q", path, got.Status, got.Raw, want)
		}
	}
}
