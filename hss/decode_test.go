package hss_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
)

func TestRowsDecodeTolerantly(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1691748641788).UTC()
	for _, tc := range []struct {
		name string
		row  string
		want hss.Image
	}{
		{"an empty row knows nothing", `{}`, hss.Image{}},
		{"nulls are as if not sent", `{"id":null,"image_name":null,"vul_num":null,"latest_scan_time":null,"scannable":null,"image_size":null,"association_images":null}`, hss.Image{}},
		{"fields that are not documented are ignored", `{"new_field":{"a":[1]},"image_name":"a"}`, hss.Image{Name: "a"}},
		{"an id that is a number", `{"id":9007199254740993}`, hss.Image{ID: "9007199254740993"}},
		{"an id that is a string", `{"id":"111(私有镜像举例)"}`, hss.Image{ID: "111(私有镜像举例)"}},
		{"numbers sent as strings", `{"vul_num":"111","unsafe_setting_num":" 2 ","malicious_file_num":"0","latest_scan_time":"1691748641788"}`,
			hss.Image{Vulnerabilities: new(111), UnsafeSettings: new(2), MaliciousFiles: new(0), LatestScanTime: at}},
		{"numbers in the notation of doubles", `{"vul_num":3.0,"latest_scan_time":1.691748641788E12}`,
			hss.Image{Vulnerabilities: new(3), LatestScanTime: at}},
		{"a boolean sent as a string", `{"is_multiple_arch":"True"}`, hss.Image{MultiArch: true}},
		{"a boolean sent as a number", `{"is_multiple_arch":1}`, hss.Image{MultiArch: true}},
		{"false as an empty string", `{"is_multiple_arch":""}`, hss.Image{}},
		{"text sent as a number", `{"image_version":1.10,"namespace":42}`, hss.Image{Version: "1.10", Namespace: "42"}},
		{"values that are not documented are kept", `{"severity_level":"Critical","scan_status":"paused","image_type":"quay","registry_type":"Quay"}`,
			hss.Image{Severity: "Critical", ScanStatus: "paused", Type: "quay", RegistryType: "Quay"}},
		{"negative counts are unknown", `{"vul_num":-1,"unsafe_setting_num":"-5"}`, hss.Image{}},
		{"counts that are no numbers are unknown", `{"vul_num":"many","unsafe_setting_num":[],"malicious_file_num":{}}`, hss.Image{}},
		{"counts that are no whole numbers are unknown", `{"vul_num":1.5,"unsafe_setting_num":true,"malicious_file_num":""}`, hss.Image{}},
		{"counts too large for any number are unknown", `{"vul_num":99999999999999999999,"unsafe_setting_num":1e300}`, hss.Image{}},
		{"times of 0 and below are none", `{"latest_scan_time":0,"latest_update_time":-1,"latest_sync_time":"0"}`, hss.Image{}},
		{"an architecture of its own", `{"is_multiple_arch":true,"association_images":[{"id":7,"image_id":"i","image_name":"n","image_version":"v","image_type":"harbor","namespace":"ns","image_digest":"sha256:d","scan_status":"success","vul_num":"1","unsafe_setting_num":2,"malicious_file_num":-3}]}`,
			hss.Image{MultiArch: true, Architectures: []hss.AssociatedImage{{
				ID: "7", ImageID: "i", Digest: "sha256:d",
				ScanStatus: hss.ScanStatusSuccess, Vulnerabilities: new(1), UnsafeSettings: new(2),
			}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var got hss.Image
			if err := json.Unmarshal([]byte(tc.row), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRowsThatCannotBeReadAreErrors(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("长", 100)
	for _, tc := range []struct{ name, row, want string }{
		{"null", `null`, "the row is null, not an object"},
		{"text", `"x"`, `the row is "x", not an object`},
		{"a list for a name", `{"image_name":["a"]}`, `image_name is a list`},
		{"an object for a digest", `{"image_digest":{"a":1}}`, `image_digest is an object`},
		{"an object for a flag", `{"is_multiple_arch":{}}`, `is_multiple_arch is an object`},
		{"a list for a time", `{"latest_scan_time":[]}`, `latest_scan_time is a list`},
		{"a date for a time", `{"latest_scan_time":"2026-01-02"}`, `latest_scan_time is "2026-01-02"`},
		{"a word for a flag", `{"is_multiple_arch":"maybe"}`, `is_multiple_arch is "maybe"`},
		{"a long word for a flag, shortened", `{"is_multiple_arch":"` + long + `"}`, `长"…`},
		{"a name without end", `{"image_name":"` + strings.Repeat("a", 2000) + `"}`, "image_name has 2000 bytes, at most 1024 are read"},
		{"a severity twice", `{"severity_level":"High","severity_level":"Low"}`, "severity_level is there twice"},
		{"a null architecture", `{"association_images":[null]}`, "association_images[0] is null, not an object"},
		{"architectures that are no list", `{"association_images":{}}`, "association_images is an object"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var got hss.Image
			err := json.Unmarshal([]byte(tc.row), &got)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error is %v, want %q in it", err, tc.want)
			}
			if len(err.Error()) > 200 {
				t.Errorf("the error is long: %v", err)
			}
		})
	}
}

func TestPagesWithoutAListAreErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, page, want string }{
		{"an empty object", `{}`, "no data_list"},
		{"a total alone", `{"total_num":0}`, "no data_list"},
		{"a null list", `{"total_num":0,"data_list":null}`, "no data_list"},
		{"a list that is an object", `{"data_list":{}}`, "data_list is an object"},
		{"a list in other letters", `{"Data_List":[]}`, "no data_list"},
		{"two lists", `{"data_list":[],"data_list":[]}`, "data_list is there twice"},
		{"an error object", `{"error_code":"HSS.0001","error_msg":"m"}`, "HSS.0001: m"},
		{"an error object with a list", `{"error_code":"HSS.0001","data_list":[]}`, "HSS.0001"},
		{"null", `null`, "the answer is null, not an object"},
		{"a bare list", `[]`, "the answer is a list, not an object"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := read(t, tc.page)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestTotalIsUnknownRatherThanWrong(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]int{
		`"total_num":3,`:     3,
		`"total_num":"3",`:   3,
		`"total_num":-3,`:    hss.UnknownTotal,
		`"total_num":"few",`: hss.UnknownTotal,
		`"total_num":null,`:  hss.UnknownTotal,
		``:                   hss.UnknownTotal,
	} {
		if got, err := read(t, `{`+sent+`"data_list":[]}`); err != nil || got.Total != want {
			t.Errorf("%s: got %+v, error %v, want %d", sent, got, err, want)
		}
	}
}

// fullRow has every field of the API.
func fullRow(id int) string {
	return fmt.Sprintf(`{"id":%d,"namespace":"prod","image_name":"app","image_id":"i1","image_digest":"sha256:aa","image_version":"1.4",`+
		`"image_type":"instance_image","latest_version":true,"scan_status":"failed","scan_failed_code":"unknown_error","scan_failed_desc":"<why>",`+
		`"image_size":"1000 单位(Bytes)","latest_update_time":1691748641788,"latest_scan_time":1691748641788,"latest_sync_time":1691748641788,`+
		`"vul_num":1,"unsafe_setting_num":0,"malicious_file_num":3,"domain_name":"dom","shared_status":"effective","scannable":true,`+
		`"registry_id":"r1","registry_name":"swr","registry_type":"SwrEnterprise","instance_name":"in","instance_id":"ii","instance_url":"https://x",`+
		`"severity_level":"Low","is_multiple_arch":true,"association_images":[{"id":43,"image_id":"i2","image_name":"app","image_version":"1.4",`+
		`"image_type":"instance_image","namespace":"prod","image_digest":"sha256:bb","scan_status":"success","vul_num":0}]}`, id)
}

// wholePage is a page of as many rows as the API allows.
func wholePage() string {
	rows := make([]string, hss.MaxLimit)
	for i := range rows {
		rows[i] = fullRow(i)
	}
	return `{"total_num":5000,"data_list":[` + strings.Join(rows, ",") + `]}`
}

// read has a client read an answer.
func read(t testing.TB, body string) (*hss.ListResponse, error) {
	t.Helper()
	client, err := hss.NewClient(hss.Config{
		Endpoint: "https://hss.example.com", ProjectID: "p1", Credentials: hss.StaticCredentials(accessKey()),
		Retry: hss.RetryPolicy{MaxAttempts: 1},
		Transport: transportFunc(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return client.List(t.Context(), hss.ListRequest{})
}

func TestAWholePageIsRead(t *testing.T) {
	t.Parallel()
	got, err := read(t, wholePage())
	if err != nil || got.Total != 5000 || len(got.Images) != hss.MaxLimit {
		t.Fatalf("got %+v, error %v", got, err)
	}
	at := time.UnixMilli(1691748641788).UTC()
	want := hss.Image{
		ID: "42", Namespace: "prod", Name: "app", ImageID: "i1", Digest: "sha256:aa", Version: "1.4",
		Type: hss.ImageTypeInstance, RegistryID: "r1", RegistryName: "swr", RegistryType: hss.RegistryTypeSWREnterprise,
		MultiArch: true, ScanStatus: hss.ScanStatusFailed, ScanFailedCode: "unknown_error", ScanFailedDescription: "<why>",
		LatestUpdateTime: at, LatestScanTime: at, LatestSyncTime: at,
		Vulnerabilities: new(1), UnsafeSettings: new(0), MaliciousFiles: new(3),
		InstanceName: "in", InstanceID: "ii", InstanceURL: "https://x", Severity: hss.SeverityLow,
		Architectures: []hss.AssociatedImage{{ID: "43", ImageID: "i2", Digest: "sha256:bb", ScanStatus: hss.ScanStatusSuccess, Vulnerabilities: new(0)}},
	}
	if diff := cmp.Diff(want, got.Images[42]); diff != "" {
		t.Errorf("row 42 (-want +got):\n%s", diff)
	}
}

func BenchmarkDecodePage(b *testing.B) {
	page := wholePage()
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := read(b, page); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzDecodePage(f *testing.F) {
	f.Add(string(readTestdata(f, "example-response.json")))
	f.Add(wholePage()[:2000])
	for _, seed := range []string{`{"data_list":[]}`, `{"data_list":[null]}`, `{"data_list":[{"id":1,"vul_num":-1,"image_size":"1 KB"}]}`, `{"error_code":"x"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		list, err := read(t, data)
		if err != nil {
			return
		}
		if !json.Valid([]byte(data)) {
			t.Error("what is not JSON was read")
		}
		for _, image := range list.Images {
			if n := image.Vulnerabilities; n != nil && *n < 0 {
				t.Errorf("a count is %d", *n)
			}
		}
	})
}
