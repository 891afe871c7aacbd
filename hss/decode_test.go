package hss_test

import (
	"encoding/json"
	"fmt"
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
		{"booleans sent as strings and numbers", `{"latest_version":"true","scannable":"True","is_multiple_arch":1}`,
			hss.Image{LatestVersion: true, Scannable: true, MultiArch: true}},
		{"false in every form", `{"latest_version":"false","scannable":0,"is_multiple_arch":""}`, hss.Image{}},
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
				ID: "7", ImageID: "i", Name: "n", Version: "v", Type: hss.ImageTypeHarbor, Namespace: "ns", Digest: "sha256:d",
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

func TestSizesDecodeWithAndWithoutUnits(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]int64{
		`1000`:                   1000,
		`"1000"`:                 1000,
		`"1000 单位(Bytes)"`:       1000,
		`"12 单位(KB)"`:            12 << 10,
		`"1.5 MB"`:               3 << 19,
		`"2GiB"`:                 2 << 30,
		`"9007199254740993"`:     9007199254740993,
		`""`:                     0,
		`"large"`:                0,
		`"7 parsecs"`:            0,
		`"1.2.3"`:                0,
		`-5`:                     0,
		`"99999999999 GB"`:       0,
		`9223372036854775807999`: 0,
	} {
		var got hss.Image
		if err := json.Unmarshal([]byte(`{"image_size":`+sent+`}`), &got); err != nil {
			t.Errorf("%s: %v", sent, err)
		}
		if got.Size != want {
			t.Errorf("%s is %d bytes, want %d", sent, got.Size, want)
		}
	}
}

func TestRowsThatCannotBeReadAreErrors(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("长", 100)
	for _, tc := range []struct{ name, row, want string }{
		{"null", `null`, "null in place of a row"},
		{"text", `"x"`, "cannot unmarshal"},
		{"a list for a name", `{"image_name":["a"]}`, `is no single value`},
		{"an object for an id", `{"id":{"a":1}}`, `is no single value`},
		{"an object for a size", `{"image_size":{}}`, `is no single value`},
		{"an object for a flag", `{"scannable":{}}`, `is no single value`},
		{"a list for a time", `{"latest_scan_time":[]}`, `is no single value`},
		{"a date for a time", `{"latest_scan_time":"2026-01-02"}`, `"\"2026-01-02\"" is no time in milliseconds`},
		{"a word for a flag", `{"scannable":"maybe"}`, `is neither true nor false`},
		{"a long word for a flag, shortened", `{"scannable":"` + long + `"}`, `长"… is neither true nor false`},
		{"a null architecture", `{"association_images":[null]}`, "null in place of a row"},
		{"architectures that are no list", `{"association_images":{}}`, "cannot unmarshal"},
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
	var architecture hss.AssociatedImage
	if err := json.Unmarshal([]byte(`null`), &architecture); err == nil {
		t.Error("a null architecture decodes")
	}
	if err := json.Unmarshal([]byte(`{"id":[]}`), &architecture); err == nil {
		t.Error("an architecture with a list for an id decodes")
	}
}

func TestPagesWithoutAListAreErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, page, want string }{
		{"an empty object", `{}`, "no data_list"},
		{"a total alone", `{"total_num":0}`, "no data_list"},
		{"a null list", `{"total_num":0,"data_list":null}`, "no data_list"},
		{"a list that is an object", `{"data_list":{}}`, "cannot unmarshal"},
		{"an error object", `{"error_code":"HSS.0001","error_msg":"m"}`, "error_code"},
		{"an error object with a list", `{"error_code":"HSS.0001","data_list":[]}`, "error_code"},
		{"a null row", `{"data_list":[{},null]}`, "data_list[1]: null in place of a row"},
		{"null", `null`, "no data_list"},
		{"a bare list", `[]`, "cannot unmarshal"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var got hss.ListResponse
			err := json.Unmarshal([]byte(tc.page), &got)
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
		var got hss.ListResponse
		if err := json.Unmarshal([]byte(`{`+sent+`"data_list":[]}`), &got); err != nil || got.Total != want {
			t.Errorf("%s: total %d, error %v, want %d", sent, got.Total, err, want)
		}
	}
}

// fullImage has every field set.
func fullImage() hss.Image {
	at := time.UnixMilli(1691748641788).UTC()
	return hss.Image{
		ID: "42", Namespace: "prod", Name: "app", ImageID: "i1", Digest: "sha256:aa", Version: "1.4",
		Type: hss.ImageTypeInstance, RegistryID: "r1", RegistryName: "swr", RegistryType: hss.RegistryTypeSWREnterprise,
		LatestVersion: true, Scannable: true, MultiArch: true, ScanStatus: hss.ScanStatusFailed,
		ScanFailedCode: "unknown_error", ScanFailedDescription: "<why>", Size: 1 << 40,
		LatestUpdateTime: at, LatestScanTime: at.Add(time.Hour), LatestSyncTime: at.Add(2 * time.Hour),
		Vulnerabilities: new(1), UnsafeSettings: new(0), MaliciousFiles: new(3),
		DomainName: "dom", SharedStatus: "effective", InstanceName: "in", InstanceID: "ii", InstanceURL: "https://x",
		Severity: hss.SeverityLow,
		Architectures: []hss.AssociatedImage{{
			ID: "43", ImageID: "i2", Name: "app", Version: "1.4", Type: hss.ImageTypeInstance, Namespace: "prod",
			Digest: "sha256:bb", ScanStatus: hss.ScanStatusSuccess, Vulnerabilities: new(0),
		}},
	}
}

func TestRowsSurviveARoundTrip(t *testing.T) {
	t.Parallel()
	odd := hss.Image{ID: "007", Namespace: "a"}
	want := hss.ListResponse{Total: 3, Images: []hss.Image{fullImage(), odd, {}}}
	encoded, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got hss.ListResponse
	if err := json.Unmarshal(encoded, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
	single, err := json.Marshal(fullImage().Architectures[0])
	if err != nil {
		t.Fatal(err)
	}
	var architecture hss.AssociatedImage
	if err := json.Unmarshal(single, &architecture); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fullImage().Architectures[0], architecture); diff != "" {
		t.Errorf("architecture (-want +got):\n%s", diff)
	}
}

func TestRowsAreWrittenInTheFormOfTheAPI(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		value any
		want  string
	}{
		{"an empty page has a list", hss.ListResponse{}, `{"total_num":0,"data_list":[]}`},
		{"an unknown total is left out", hss.ListResponse{Total: hss.UnknownTotal}, `{"data_list":[]}`},
		{"what is unknown is left out", hss.Image{Name: "a"}, `{"image_name":"a","latest_version":false,"scannable":false,"is_multiple_arch":false,"image_size":0}`},
		{"an id that is a number is one", hss.AssociatedImage{ID: "7"}, `{"id":7}`},
		{"an id with zeros before it stays text", hss.AssociatedImage{ID: "007"}, `{"id":"007"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := json.Marshal(tc.value)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("JSON (-want +got):\n%s", diff)
			}
		})
	}
}

// wholePage is a page of as many rows as the API allows.
func wholePage(t testing.TB) []byte {
	t.Helper()
	page := hss.ListResponse{Total: 5000}
	for i := range hss.MaxLimit {
		image := fullImage()
		image.ID = fmt.Sprint(i)
		page.Images = append(page.Images, image)
	}
	encoded, err := json.Marshal(page)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func BenchmarkDecodePage(b *testing.B) {
	page := wholePage(b)
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	for b.Loop() {
		var got hss.ListResponse
		if err := json.Unmarshal(page, &got); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzDecodePage(f *testing.F) {
	f.Add(readTestdata(f, "example-response.json"))
	f.Add(wholePage(f)[:2000])
	for _, seed := range []string{`{"data_list":[]}`, `{"data_list":[null]}`, `{"data_list":[{"id":1,"vul_num":-1,"image_size":"1 KB"}]}`, `{"error_code":"x"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var first hss.ListResponse
		if err := json.Unmarshal(data, &first); err != nil {
			return
		}
		encoded, err := json.Marshal(first)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		var second hss.ListResponse
		if err := json.Unmarshal(encoded, &second); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("changed on the way:\n%s", diff)
		}
		for _, image := range first.Images {
			if n := image.Vulnerabilities; n != nil && *n < 0 {
				t.Errorf("a count is %d", *n)
			}
		}
	})
}
