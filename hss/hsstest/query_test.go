package hsstest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss/hsstest"
)

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
		"namespace=%zz":                                           "can't be parsed",
		"limit=" + strings.Repeat("9", 5000):                      "from 1 to 200",
		"namespace=a&image_name=b&image_version=c&limit=5&risky=": "true, false",
	}
	for query, allowed := range tests {
		t.Run(fmt.Sprintf("%.60s", query), func(t *testing.T) {
			t.Parallel()
			got := ask(t, h, query)
			if allowed == "" {
				if got.Status != http.StatusOK {
					t.Errorf("got %d %s, want 200", got.Status, got.Raw)
				}
				return
			}
			if got.Status != 400 || got.ErrorCode != "HSS.0001" || got.ErrorMsg == "" || !strings.Contains(got.ErrorDescription, allowed) {
				t.Errorf("got %d %s, want HSS.0001 with %q", got.Status, got.Raw, allowed)
			}
			if len(got.Raw) > 1000 {
				t.Errorf("the error has %d bytes", len(got.Raw))
			}
		})
	}
}

func TestUnknownParametersCanBeIgnored(t *testing.T) {
	t.Parallel()
	if got := ask(t, open(t, hsstest.WithUnknownParameters()), "color=red"); got.Status != 200 {
		t.Errorf("got %d %s", got.Status, got.Raw)
	}
}

// fleet has rows that differ in all that can be asked for.
func fleet(now time.Time) []hsstest.Image {
	none := new(0)
	return []hsstest.Image{
		{ImageVersion: "clean", Namespace: "prod", ImageName: "app", ImageType: "private_image", RegistryName: "swr", ScanStatus: "success",
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
		"latest_version=true":                   "vul unsafe malware arches clean",
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
		t.Run("the query "+query, func(t *testing.T) {
			t.Parallel()
			got := ask(t, h, query)
			sortedWords := cmp.Transformer("words", func(s string) map[string]int {
				words := map[string]int{}
				for word := range strings.FieldsSeq(s) {
					words[word]++
				}
				return words
			})
			options := cmp.Options{}
			if !strings.Contains(query, "sort_key") {
				options = append(options, sortedWords)
			}
			if diff := cmp.Diff(want, got.tags(), options); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestRowsOfOneProjectAreNotSeenByAnother(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(fleet(time.Now())...))
	got := ask(t, h, "namespace=prod&image_name=app", func(r *http.Request) {
		r.URL.Path = strings.Replace(listPath, "p1", "p2", 1)
	})
	if got.tags() != "clean vul elsewhere" {
		t.Errorf("got %s", got.tags())
	}
}

func TestTextFiltersCanMatchParts(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(fleet(time.Now())...), hsstest.WithSubstringMatching())
	for query, want := range map[string]string{
		"namespace=prod&image_name=app": "clean vul unsafe malware",
		"image_version=l":               "clean vul malware",
		"registry_name=or":              "unsafe",
		"image_type=harbor":             "unsafe",
	} {
		if got := ask(t, h, query); got.tags() != want {
			t.Errorf("%s: got %s, want %s", query, got.tags(), want)
		}
	}
}

func TestTheLatestVersionIsTheOneUpdatedLastUnlessARowSaysSo(t *testing.T) {
	t.Parallel()
	now := time.Now()
	no := false
	h := open(t, hsstest.WithImages(
		hsstest.Image{ImageName: "a", ImageVersion: "1", LatestUpdateTime: now},
		hsstest.Image{ImageName: "a", ImageVersion: "2", LatestUpdateTime: now.Add(-time.Hour)},
		hsstest.Image{ImageName: "b", ImageVersion: "3"},
		hsstest.Image{ImageName: "b", ImageVersion: "4"},
		hsstest.Image{ImageName: "c", ImageVersion: "5", LatestVersion: &no},
		hsstest.Image{ImageName: "b", ImageVersion: "6", RegistryName: "another"},
	))
	if got := ask(t, h, "latest_version=true"); got.tags() != "1 4 6" {
		t.Errorf("got %s, want 1 4 6", got.tags())
	}
}
