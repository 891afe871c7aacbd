package hss_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
)

// fullRequest has every field set.
func fullRequest() hss.ListRequest {
	at := time.UnixMilli(1700000000000)
	return hss.ListRequest{
		EnterpriseProjectID: hss.AllGrantedEnterpriseProjects, Namespace: "prod", ImageName: "app", ImageVersion: "1.4",
		RegistryName: "swr", ImageType: hss.ImageTypePrivate, Offset: 400, Limit: hss.MaxLimit,
		SortKey: hss.SortByLatestScanTime, SortDir: hss.SortDescending, LatestVersion: new(true), ImageSize: new(int64(0)),
		ScanStatus: hss.ScanStatusSuccess, StartLatestUpdateTime: at, EndLatestUpdateTime: at,
		StartLatestScanTime: at.Add(time.Second), EndLatestScanTime: at.Add(2 * time.Second),
		StartLatestSyncTime: time.UnixMilli(0), EndLatestSyncTime: at,
		HasMaliciousFile: new(false), HasUnsafeSetting: new(true), HasVulnerability: new(true), Risky: new(false),
		MultiArch: new(true), InstanceID: "ii", InstanceName: "in", Severity: hss.SeverityHigh,
	}
}

func TestQueryHasAllParameters(t *testing.T) {
	t.Parallel()
	want := url.Values{}
	for name, value := range map[string]string{
		"enterprise_project_id": "all_granted_eps", "namespace": "prod", "image_name": "app", "image_version": "1.4",
		"registry_name": "swr", "image_type": "private_image", "offset": "400", "limit": "200",
		"sort_key": "latest_scan_time", "sort_dir": "desc", "latest_version": "true", "image_size": "0",
		"scan_status": "success", "start_latest_update_time": "1700000000000", "end_latest_update_time": "1700000000000",
		"start_latest_scan_time": "1700000001000", "end_latest_scan_time": "1700000002000",
		"start_latest_sync_time": "0", "end_latest_sync_time": "1700000000000",
		"has_malicious_file": "false", "has_unsafe_setting": "true", "has_vul": "true", "risky": "false",
		"is_multarch": "true", "instance_id": "ii", "instance_name": "in", "severity_level": "High",
	} {
		want.Set(name, value)
	}
	if len(want) != 27 {
		t.Fatalf("the test has %d parameters, the API 27", len(want))
	}
	if diff := cmp.Diff(want, fullRequest().Query()); diff != "" {
		t.Errorf("query (-want +got):\n%s", diff)
	}
	if err := fullRequest().Validate(); err != nil {
		t.Errorf("a full request is refused: %v", err)
	}
}

func TestEmptyRequestSendsNothing(t *testing.T) {
	t.Parallel()
	if q := (hss.ListRequest{}).Query(); len(q) != 0 {
		t.Errorf("query is %v", q)
	}
	if err := (hss.ListRequest{}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateBounds(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1700000000000)
	chars := func(n int) string { return strings.Repeat("镜", n) }
	for _, tc := range []struct {
		name    string
		request hss.ListRequest
		want    string // empty: valid
	}{
		{"lengths count characters, not bytes", hss.ListRequest{EnterpriseProjectID: chars(256), Namespace: chars(128), ImageName: chars(128),
			ImageVersion: chars(64), RegistryName: chars(128), InstanceID: chars(128), InstanceName: chars(128)}, ""},
		{"enterprise project too long", hss.ListRequest{EnterpriseProjectID: chars(257)}, "enterprise_project_id has 257 characters, at most 256 are allowed"},
		{"namespace too long", hss.ListRequest{Namespace: chars(129)}, "namespace has 129"},
		{"image name too long", hss.ListRequest{ImageName: chars(129)}, "image_name has 129"},
		{"image version too long", hss.ListRequest{ImageVersion: chars(65)}, "image_version has 65 characters, at most 64"},
		{"registry name too long", hss.ListRequest{RegistryName: chars(129)}, "registry_name has 129"},
		{"instance id too long", hss.ListRequest{InstanceID: chars(129)}, "instance_id has 129"},
		{"instance name too long", hss.ListRequest{InstanceName: chars(129)}, "instance_name has 129"},
		{"bytes that are no text", hss.ListRequest{ImageName: "\xff"}, "image_name is no valid UTF-8"},
		{"offset at its bound", hss.ListRequest{Offset: 2_000_000}, ""},
		{"offset past its bound", hss.ListRequest{Offset: 2_000_001}, "offset is 2000001, allowed are 0 to 2000000"},
		{"negative offset", hss.ListRequest{Offset: -1}, "offset is -1"},
		{"limit at its bound", hss.ListRequest{Limit: 200}, ""},
		{"limit past its bound", hss.ListRequest{Limit: 201}, "limit is 201, allowed are 1 to 200"},
		{"negative limit", hss.ListRequest{Limit: -1}, "limit is -1"},
		{"size at its bound", hss.ListRequest{ImageSize: new(int64(2147483547))}, ""},
		{"size past its bound", hss.ListRequest{ImageSize: new(int64(2147483548))}, "image_size is 2147483548"},
		{"negative size", hss.ListRequest{ImageSize: new(int64(-1))}, "image_size is -1"},
		{"unknown image type", hss.ListRequest{ImageType: "quay"}, `image_type is "quay", allowed are private_image, shared_image, instance_image, harbor, jfrog`},
		{"unknown sort key", hss.ListRequest{SortKey: "id"}, "sort_key is"},
		{"unknown sort direction", hss.ListRequest{SortDir: "up"}, "sort_dir is"},
		{"unknown scan status", hss.ListRequest{ScanStatus: "done"}, "scan_status is"},
		{"a scan status that rows have but the filter does not", hss.ListRequest{ScanStatus: hss.ScanStatusDownloadFailed}, "scan_status is"},
		{"unknown severity", hss.ListRequest{Severity: "high"}, "severity_level is"},
		{"a range of one moment", hss.ListRequest{StartLatestScanTime: at, EndLatestScanTime: at}, ""},
		{"a range that is one millisecond when sent", hss.ListRequest{StartLatestScanTime: at.Add(500 * time.Microsecond), EndLatestScanTime: at}, ""},
		{"a range with one end", hss.ListRequest{EndLatestScanTime: at}, ""},
		{"scan times in the wrong order", hss.ListRequest{StartLatestScanTime: at.Add(time.Millisecond), EndLatestScanTime: at},
			"start_latest_scan_time (2023-11-14T22:13:20.001Z) is after end_latest_scan_time (2023-11-14T22:13:20Z)"},
		{"update times in the wrong order", hss.ListRequest{StartLatestUpdateTime: at.Add(time.Hour), EndLatestUpdateTime: at}, "start_latest_update_time"},
		{"sync times in the wrong order", hss.ListRequest{StartLatestSyncTime: at.Add(time.Hour), EndLatestSyncTime: at}, "start_latest_sync_time"},
		{"a time before the epoch", hss.ListRequest{StartLatestScanTime: time.UnixMilli(-1)}, "start_latest_scan_time is 1969-12-31T23:59:59.999Z"},
		{"a time past all milliseconds", hss.ListRequest{EndLatestScanTime: time.Unix(1<<62, 0)}, "end_latest_scan_time is"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := tc.request.Validate()
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error is %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestValidateNamesAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	err := hss.ListRequest{Offset: -1, Limit: 500, ImageType: "x\ny", Severity: "Worst", Namespace: strings.Repeat("a", 200)}.Validate()
	want := `invalid list request: namespace has 200 characters, at most 128 are allowed; ` +
		`image_type is "x\ny", allowed are private_image, shared_image, instance_image, harbor, jfrog; ` +
		`severity_level is "Worst", allowed are Security, Low, Medium, High; ` +
		`offset is -1, allowed are 0 to 2000000; limit is 500, allowed are 1 to 200`
	if err == nil {
		t.Fatal("not refused")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestARequestThatBreaksABoundIsToldFromAnAnswer(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	for name, request := range map[string]interface{ Validate() error }{
		"list":            hss.ListRequest{Namespace: long},
		"vulnerability":   hss.VulnerabilityRequest{ImageID: "a", ImageType: hss.ImageTypePrivate, ImageName: "a", Tag: long},
		"registry":        hss.RegistryRequest{Name: long},
		"task":            hss.TaskRequest{EnterpriseProjectID: long},
		"scan":            hss.ScanRequest{},
		"synchronisation": hss.SyncRequest{},
	} {
		var invalid *hss.InvalidRequestError
		err := request.Validate()
		if !errors.As(err, &invalid) || invalid.Request != name || len(invalid.Problems) == 0 {
			t.Errorf("%s: error is %#v", name, err)
			continue
		}
		if want := "invalid " + name + " request: " + strings.Join(invalid.Problems, "; "); err.Error() != want {
			t.Errorf("error is %q, want %q", err, want)
		}
	}
}
