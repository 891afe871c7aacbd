package hss_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
)

func TestRowsAreDecoded(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1691748641788).UTC()
	for _, tc := range []struct {
		name string
		row  string
		want hss.Image
	}{
		{"every field", fullRow, hss.Image{
			ID: "42", Namespace: "prod", Name: "app", ImageID: "i1", Digest: "sha256:aa", Version: "1.4",
			Type: hss.ImageTypeInstance, RegistryID: "r1", RegistryName: "swr", RegistryType: hss.RegistryTypeSWREnterprise,
			MultiArch: true, ScanStatus: hss.ScanStatusFailed, ScanFailedCode: "unknown_error", ScanFailedDescription: "<why>",
			LatestUpdateTime: at, LatestScanTime: at, LatestSyncTime: at,
			Vulnerabilities: new(1), UnsafeSettings: new(0), MaliciousFiles: new(3),
			InstanceName: "in", InstanceID: "ii", InstanceURL: "https://x", Severity: hss.SeverityLow,
			Architectures: []hss.AssociatedImage{{ID: "43", ImageID: "i2", Digest: "sha256:bb", ScanStatus: hss.ScanStatusSuccess, Vulnerabilities: new(0)}},
		}},
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
		got, err := read(t, `{"data_list":[`+tc.row+`]}`)
		must(t, err)
		wantEqual(t, tc.name, []hss.Image{tc.want}, got.Images)
	}
}

func TestRowsThatCannotBeReadAreMarked(t *testing.T) {
	t.Parallel()
	long, fields := strings.Repeat("长", 100), `"a":0`
	for n := range 200 {
		fields += fmt.Sprintf(`,"b%d":0`, n)
	}
	for row, want := range map[string]string{
		`"x"`:                                 `the row is "x", not an object`,
		`[]`:                                  "the row is a list, not an object",
		`{"image_name":["a"]}`:                `image_name is a list`,
		`{"image_digest":{"a":1}}`:            `image_digest is an object`,
		`{"is_multiple_arch":{}}`:             `is_multiple_arch is an object`,
		`{"latest_scan_time":[]}`:             `latest_scan_time is a list`,
		`{"latest_scan_time":"2026-01-02"}`:   `latest_scan_time is "2026-01-02"`,
		`{"latest_scan_time":"\u0007\n"}`:     `latest_scan_time is "\a\n"`,
		`{"is_multiple_arch":"maybe"}`:        `is_multiple_arch is "maybe"`,
		`{"is_multiple_arch":"` + long + `"}`: `长"…`,
		`{"image_name":"` + strings.Repeat("a", 2000) + `"}`: "image_name has 2000 bytes, at most 1024 are read",
		`{"severity_level":"High","severity_level":"Low"}`:   "severity_level is there twice",
		`{"association_images":{}}`:                          "association_images is an object",
		`{` + fields + `}`:                                   "the row has more than 200 fields",
	} {
		got, err := read(t, `{"data_list":[`+row+`]}`)
		must(t, err)
		if why := got.Images[0].Unreadable; !strings.Contains(why, want) || len(why) > 200 {
			t.Errorf("%.80s is unreadable because %q, want %q in it", row, why, want)
		}
	}
}

// fullRow has every field of the API.
const fullRow = `{"id":42,"namespace":"prod","image_name":"app","image_id":"i1","image_digest":"sha256:aa","image_version":"1.4",` +
	`"image_type":"instance_image","latest_version":true,"scan_status":"failed","scan_failed_code":"unknown_error","scan_failed_desc":"<why>",` +
	`"image_size":"1000 单位(Bytes)","latest_update_time":1691748641788,"latest_scan_time":1691748641788,"latest_sync_time":1691748641788,` +
	`"vul_num":1,"unsafe_setting_num":0,"malicious_file_num":3,"domain_name":"dom","shared_status":"effective","scannable":true,` +
	`"registry_id":"r1","registry_name":"swr","registry_type":"SwrEnterprise","instance_name":"in","instance_id":"ii","instance_url":"https://x",` +
	`"severity_level":"Low","is_multiple_arch":true,"association_images":[{"id":43,"image_id":"i2","image_name":"app","image_version":"1.4",` +
	`"image_type":"instance_image","namespace":"prod","image_digest":"sha256:bb","scan_status":"success","vul_num":0}]}`

// read lists images by a client that gets an answer.
func read(t testing.TB, body string) (*hss.ListResponse, error) {
	t.Helper()
	return scripted(t, newScript(step{status: http.StatusOK, body: body}), once).List(t.Context(), hss.ListRequest{})
}

func FuzzDecodePage(f *testing.F) {
	f.Add(example(f))
	f.Add(`{"data_list":[` + fullRow + `]}`)
	for _, seed := range []string{`{"data_list":[]}`, `{"data_list":[null]}`, `{"data_list":[{"id":1,"vul_num":-1,"image_size":"1 KB"}]}`, `{"error_code":"x"}`} {
		f.Add(seed)
	}
	// Rows that share memory: with other fields, in another order, with some twice, null, or none at all.
	f.Add(`{"data_list":[` + strings.Join([]string{
		fullRow, `{"image_name":"b"}`, `{"image_version":"2","namespace":"c","image_name":null}`, `{"vul_num":1,"vul_num":2,"image_name":"d"}`, `[]`, `{}`,
		`{"IMAGE_NAME":"e","x":{"image_name":"f"},"image\u005fname":"g"}`, `{"association_images":[{"image_digest":"h"},{}],"is_multiple_arch":1}`, fullRow,
	}, ",") + `]}`)
	f.Fuzz(func(t *testing.T, data string) {
		list, err := read(t, data)
		if err != nil {
			return
		}
		if !json.Valid([]byte(data)) {
			t.Error("what is not JSON was read")
		}
		var rows struct {
			List []json.RawMessage `json:"data_list"`
		}
		_ = json.Unmarshal([]byte(data), &rows)
		for i, image := range list.Images {
			if len(rows.List) == len(list.Images) { // the field may be of another case
				alone, err := read(t, `{"data_list":[`+string(rows.List[i])+`]}`)
				must(t, err)
				wantEqual(t, "a row among others", alone.Images[0], image)
			}
			if n := image.Vulnerabilities; n != nil && *n < 0 {
				t.Errorf("a count is %d", *n)
			}
		}
	})
}

// example returns the answer that the API's reference page shows.
func example(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("testdata/example-response.json")
	must(t, err)
	return string(data)
}

func TestReferencePageExampleDecodes(t *testing.T) {
	t.Parallel()
	got, err := read(t, example(t))
	must(t, err)
	if got.Total != 3 || len(got.Images) != 3 || *got.Images[0].Vulnerabilities != 111 || got.Images[1].ScanFailedDescription == "" {
		t.Errorf("got %+v", got)
	}
	for _, row := range got.Images {
		if row.Unreadable != "" || row.Name == "" || row.ScanStatus == "" || row.LatestUpdateTime.IsZero() {
			t.Errorf("got %+v", row)
		}
	}
}

func TestAMarkedRowHasOnlyNames(t *testing.T) {
	t.Parallel()
	for row, want := range map[string]hss.Image{
		`{"id":7,"namespace":"prod","image_name":"app","image_version":"1","image_id":"i","image_digest":"sha256:a","image_type":"harbor",` +
			`"registry_id":"ri","registry_name":"rn","registry_type":"Harbor","instance_id":"ii","instance_name":"in",` +
			`"scan_status":"success","severity_level":"Low","vul_num":0,"latest_scan_time":"-"}`: {
			ID: "7", Namespace: "prod", Name: "app", Version: "1", ImageID: "i", Digest: "sha256:a", Type: "harbor",
			RegistryID: "ri", RegistryName: "rn", RegistryType: "Harbor", InstanceID: "ii", InstanceName: "in",
			Unreadable: `latest_scan_time is "-"`,
		},
		`{"image_name":"app","is_multiple_arch":"perhaps"}`: {Name: "app", MultiArch: true, Unreadable: `is_multiple_arch is "perhaps"`},
		`{"image_name":"app","association_images":[{"image_digest":"sha256:b","scan_status":{}}]}`: {
			Name: "app", MultiArch: true, Architectures: []hss.AssociatedImage{{Digest: "sha256:b"}},
			Unreadable: `association_images[0].scan_status is an object`,
		},
		`{"image_name":"app","association_images":[{"image_digest":"sha256:b"},{"image_digest":{}}]}`: {
			Name: "app", MultiArch: true, Unreadable: `association_images[1].image_digest is an object`,
		},
		`{"image_name":"app","association_images":[null]}`: {Name: "app", MultiArch: true, Unreadable: "association_images[0] is null, not an object"},
		`{"id":7,"namespace":"prod","image_name":{}}`:      {Unreadable: "image_name is an object"},
		`{"namespace":["prod"],"image_name":"app"}`:        {Unreadable: `namespace is a list`},
		`null`: {Unreadable: "the row is null, not an object"},
	} {
		got, err := read(t, `{"total_num":3,"data_list":[{"id":1,"image_name":"a"},`+row+`,{"id":"2","image_name":"b","vul_num":"3"}]}`)
		must(t, err)
		page := &hss.ListResponse{Total: 3, Images: []hss.Image{{ID: "1", Name: "a"}, want, {ID: "2", Name: "b", Vulnerabilities: new(3)}}}
		wantEqual(t, row, page, got)
		if got.Images[1].Anonymous() != (want.Name == "") || got.Images[0].Anonymous() {
			t.Errorf("%s: anonymous: %t and %t", row, got.Images[1].Anonymous(), got.Images[0].Anonymous())
		}
	}
}

func TestIdentifyingFieldsMustBeReadable(t *testing.T) {
	t.Parallel()
	for _, field := range []string{"registry_id", "instance_id", "instance_name"} {
		for _, identifying := range []bool{false, true} {
			s := newScript(step{status: 200, body: `{"data_list":[{"image_name":"app","` + field + `":{}}]}`})
			got, err := scripted(t, s, func(c *hss.Config) {
				if identifying {
					c.IdentifyingFields = []string{field}
				}
			}).List(t.Context(), hss.ListRequest{})
			must(t, err)
			want := hss.Image{Name: "app"}
			if identifying {
				want = hss.Image{Unreadable: field + " is an object"}
			}
			wantEqual(t, fmt.Sprintf("%s, identifying %t", field, identifying), []hss.Image{want}, got.Images)
		}
	}
}

// TestNoAnswerTakesMuchMoreMemoryThanItsSize isn't parallel, as it counts what the process allocates.
func TestNoAnswerTakesMuchMoreMemoryThanItsSize(t *testing.T) {
	const size, most = 4 << 20, 16
	fill := func(what string) string { return strings.Repeat(what, size/len(what)) }
	list := func(rows string) string { return `{"total_num":1,"data_list":[` + rows + `]}` }
	for name, tc := range map[string]struct{ body, want string }{
		"rows":                 {list(fill(`{},`) + `{}`), "there are more than the 200 rows that a page may have"},
		"architectures":        {list(`{"association_images":[` + fill(`{},`) + `{}]}`), ""},
		"a name":               {list(`{"image_name":"` + fill("n") + `"}`), ""},
		"a count":              {list(`{"vul_num":` + fill("9") + `}`), ""},
		"an unknown field":     {list(`{"other":[` + fill(`{"a":[]},`) + `1]}`), ""},
		"the name of a field":  {list(`{"` + fill("a") + `":1}`), ""},
		"fields":               {list(`{` + fill(`"a":1,`) + `"a":1}`), ""},
		"a field many times":   {list(`{` + fill(`"vul_num":1,`) + `"vul_num":1}`), ""},
		"an error":             {`{"error_code":"HSS.0001","error_msg":"` + fill("m") + `"}`, "HSS"},
		"text that is no JSON": {fill("a"), "not JSON"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := read(t, tc.body)
		runtime.ReadMemStats(&after)
		wantError(t, err, tc.want)
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > most*size {
			t.Errorf("%s: an answer of %d MiB allocated %d MiB, at most %d are allowed", name, size>>20, used>>20, most*size>>20)
		}
	}
}

// servePages serves rows 0 to total-1, moved by shift(page) rows, with a total_num of count(rows).
func servePages(t *testing.T, total int, shift, count func(int) int) (endpoint string, queries *[]string) {
	t.Helper()
	queries = new([]string)
	endpoint, _ = serve(t, func(w http.ResponseWriter, r *http.Request) {
		offset, _ := strconv.Atoi(r.URL.Query().Get("offset"))
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		offset += shift(len(*queries))
		*queries = append(*queries, r.URL.RawQuery)
		rows := []string{}
		for i := max(offset, 0); i < min(offset+limit, total); i++ {
			rows = append(rows, fmt.Sprintf(`{"id":%d,"image_name":"app"}`, i))
		}
		_, _ = fmt.Fprintf(w, `{"total_num":%d,"data_list":[%s]}`, count(len(rows)), strings.Join(rows, ","))
	})
	return endpoint, queries
}

func steady(int) int { return 0 }

func uncounted(int) int { return hss.UnknownTotal }

// collect returns all rows' IDs.
func collect(t *testing.T, client *hss.Client, r hss.ListRequest) (ids []string, err error) {
	t.Helper()
	rows, err := every(client.All(t.Context(), r))
	for n := range rows {
		ids = append(ids, rows[n].ID)
	}
	return ids, err
}

func TestAllReadsToTheFirstEmptyPageUnlessTheFirstIsSurelyTheWholeList(t *testing.T) {
	t.Parallel()
	counted := func(n int) func(int) int { return func(int) int { return n } }
	ofPage := func(rows int) int { return rows }
	type testCase struct {
		total   int
		count   func(rows int) int
		request hss.ListRequest
		queries []string
	}
	each(t, map[string]testCase{
		"no rows":                   {0, uncounted, hss.ListRequest{}, []string{"limit=200"}},
		"small pages":               {3, uncounted, hss.ListRequest{Limit: 2}, []string{"limit=2", "limit=2&offset=2", "limit=2&offset=3"}},
		"full pages":                {400, uncounted, hss.ListRequest{}, []string{"limit=200", "limit=200&offset=200", "limit=200&offset=400"}},
		"a short page that says so": {5, counted(5), hss.ListRequest{}, []string{"limit=200"}},
		"a page of the API's default limit is perhaps cut there": {10, ofPage, hss.ListRequest{}, []string{"limit=200", "limit=200&offset=10"}},
		"one row less is not":                                            {9, ofPage, hss.ListRequest{}, []string{"limit=200"}},
		"a page that is as long as was requested":                        {5, counted(5), hss.ListRequest{Limit: 5}, []string{"limit=5", "limit=5&offset=5"}},
		"the last of several pages, which the list may have moved under": {5, counted(5), hss.ListRequest{Limit: 3}, []string{"limit=3", "limit=3&offset=3", "limit=3&offset=5"}},
	}, func(t *testing.T, tc testCase) {
		endpoint, queries := servePages(t, tc.total, steady, tc.count)
		got, err := collect(t, newClient(t, endpoint, nil), tc.request)
		var want []string
		for i := range tc.total {
			want = append(want, strconv.Itoa(i))
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("error %v, ids (-want +got):\n%s", err, diff)
		}
		wantEqual(t, "queries", tc.queries, *queries)
	})
}

func TestAllNeverEndsEarlyWithoutAnError(t *testing.T) {
	t.Parallel()
	type testCase struct {
		total   int
		shift   func(int) int
		change  func(*hss.Config)
		request hss.ListRequest
		rows    int
		want    string
	}
	each(t, map[string]testCase{
		"when there are too many pages": {1100, steady, nil, hss.ListRequest{Limit: 1}, 1000, "it has more than 1000 pages of 1 rows"},
		"when the offset is ignored": {100, func(page int) int { return -page * 10 }, nil, hss.ListRequest{Limit: 10}, 10,
			"it repeats itself: 3 pages before offset 40 brought nothing new"},
		"when the request is invalid": {1, steady, nil, hss.ListRequest{ImageVersion: strings.Repeat("1", 65)}, 0, "image_version has 65 characters"},
	}, func(t *testing.T, tc testCase) {
		endpoint, _ := servePages(t, tc.total, tc.shift, uncounted)
		got, err := collect(t, newClient(t, endpoint, tc.change), tc.request)
		wantError(t, err, tc.want)
		wantEqual(t, "rows", tc.rows, len(got))
	})
}

func TestAllNamesTheRowsThatCouldNotBeRead(t *testing.T) {
	t.Parallel()
	s := newScript(step{status: 200, body: `{"data_list":[{"id":1},{"id":2}]}`}, step{status: 400, body: `{"error_code":"HSS.0013"}`})
	got, err := collect(t, scripted(t, s, nil), hss.ListRequest{})
	wantError(t, err, "rows from 2 on: HSS answered 400 HSS.0013")
	wantEqual(t, "rows", 2, len(got))
}

func TestAllStopsWithTheCallerAndCanBeReadAgain(t *testing.T) {
	t.Parallel()
	endpoint, queries := servePages(t, 500, steady, uncounted)
	rows := newClient(t, endpoint, nil).All(t.Context(), hss.ListRequest{})
	for range 2 {
		for image, err := range rows {
			if err != nil || image.ID != "0" {
				t.Errorf("first row is %q, error %v", image.ID, err)
			}
			break
		}
	}
	wantEqual(t, "queries", 2, len(*queries))
}

func TestAListWithMissingRowsIsReadAgain(t *testing.T) {
	t.Parallel()
	const (
		a, b, c  = `{"id":1,"image_name":"a"}`, `{"id":2,"image_name":"b"}`, `{"id":3,"image_name":"c"}`
		changedA = `{"id":1,"image_name":"a","severity_level":"High"}`
		badA     = `{"id":1,"image_name":"a","latest_scan_time":"-"}`
		noID     = `{"image_name":"a"}`
	)
	type pages = map[string]string
	list := func(total string, rows ...string) string {
		if total != "" {
			total = `"total_num":` + total + ","
		}
		return "{" + total + `"data_list":[` + strings.Join(rows, ",") + "]}"
	}
	whole := pages{"": list("3", a, b, c)}
	type testCase struct {
		reads []pages // by offset; the last again and again
		calls int
		want  string // the IDs, or the error
	}
	each(t, map[string]testCase{
		"a row repeated on the next page":                        {[]pages{{"": list("3", a, b), "2": list("3", b), "3": list("3")}, whole}, 4, "1 2 3"},
		"a row repeated on the same page":                        {[]pages{{"": list("3", a, b, b), "3": list("3")}, whole}, 3, "1 2 3"},
		"a row moved out of a short list":                        {[]pages{{"": list("2", a, a), "2": list("2")}}, 6, "it shows 1 of 2 rows"},
		"rows missing each time":                                 {[]pages{{"": list("3", a, b), "2": list("3")}}, 6, "it shows 2 of 3 rows"},
		"an empty list that counts rows":                         {[]pages{{"": list("5")}}, 3, "it shows 0 of 5 rows"},
		"an empty list that counts rows, once":                   {[]pages{{"": list("5")}, whole}, 2, "1 2 3"},
		"a row deleted between two pages, and so another missed": {[]pages{{"": list("3", a, b), "2": list("2")}, {"": list("2", b, c)}}, 3, "1 2 3"},
		"a row added between two pages":                          {[]pages{{"": list("3", a, b), "2": list("4", b, c), "4": list("4")}, whole}, 4, "1 2 3"},
		"a row added behind the last page":                       {[]pages{{"": list("2", a, b, c), "3": list("3")}}, 2, "1 2 3"},
		"a row in two states":                                    {[]pages{{"": list("1", a, changedA), "2": list("1")}}, 2, "1 1"},
		"a row in two states and another missed":                 {[]pages{{"": list("2", a, changedA), "2": list("2")}, {"": list("2", changedA, b)}}, 3, "1 1 2"},
		"a row in two states, one unreadable":                    {[]pages{{"": list("1", badA, a), "2": list("1")}}, 2, "1 1"},
		"rows without an ID that are equal":                      {[]pages{{"": list("2", noID, noID), "2": list("2")}}, 6, "it shows 1 of 2 rows"},
		"one ID of two types of image":                           {[]pages{{"": list("2", a, `{"id":1,"image_type":"harbor"}`)}}, 1, "1 1"},
		"one ID with two digests":                                {[]pages{{"": list("2", a, `{"id":1,"image_digest":"x"}`), "2": list("2")}}, 6, "it shows 1 of 2 rows"},
		"rows without an ID that differ":                         {[]pages{{"": list("2", noID, `{"image_name":"a","vul_num":9}`)}}, 1, " "},
		"an ID of 0, and other versions":                         {[]pages{{"": list("2", `{"id":0,"image_version":"1"}`, `{"id":0,"image_version":"2"}`)}}, 1, "0 0"},
		"no count":                                               {[]pages{{"": list("", a, b), "2": list("")}}, 2, "1 2"},
		"no count and no rows":                                   {[]pages{{"": list("")}}, 1, ""},
		"no count and a row repeated":                            {[]pages{{"": list("", a, b), "2": list("", b), "3": list("")}}, 9, "it shows rows twice, and HSS does not say how many there are"},
		"a count that is no number":                              {[]pages{{"": list(`"many"`, a, b), "2": list("-1")}}, 2, "1 2"},
		"a count of 0":                                           {[]pages{{"": list("0", a, b), "2": list("0")}}, 2, "1 2"},
		"a count of 0 and a row repeated":                        {[]pages{{"": list("0", a, a), "2": list("0")}}, 6, "it shows rows twice, and HSS does not say how many there are"},
		"a count that is too small":                              {[]pages{{"": list("1", a, b), "2": list("1")}}, 2, "1 2"},
		"a count that only the last page names":                  {[]pages{{"": list("", a, b), "2": list("3")}, whole}, 3, "1 2 3"},
		"no rows and a count of 0":                               {[]pages{{"": list("0")}}, 1, ""},
	}, func(t *testing.T, tc testCase) {
		var asked []string
		read := -1
		endpoint, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			offset := r.URL.Query().Get("offset")
			if asked = append(asked, offset); offset == "" {
				read++
			}
			page, ok := tc.reads[min(read, len(tc.reads)-1)][offset]
			if !ok {
				t.Errorf("read %d asks for offset %q", read, offset)
			}
			_, _ = w.Write([]byte(page))
		})
		ids, err := collect(t, newClient(t, endpoint, nil), hss.ListRequest{})
		got := strings.Join(ids, " ")
		var part *hss.IncompleteListError
		if errors.As(err, &part) {
			got = part.Reason
		}
		if got != tc.want || (err != nil) != (part != nil) || len(asked) != tc.calls {
			t.Errorf("got %q by %d calls, error %v; want %q by %d", got, len(asked), err, tc.want, tc.calls)
		}
	})
}
