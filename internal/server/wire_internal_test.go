package server

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// goodRow returns the fields of a row that the preset baseline admits.
func goodRow() string {
	return `"id":7,"namespace":"prod","image_name":"app","image_version":"1","image_type":"private_image","scan_status":"success",` +
		`"severity_level":"Low","vul_num":0,"unsafe_setting_num":0,"malicious_file_num":0,"latest_scan_time":1000000`
}

// answering returns a door whose HSS answers every call with a body.
func answering(t *testing.T, body string) *door {
	t.Helper()
	d := newDoor(t, nil, nil)
	d.hss.Inject(hsstest.BodyFault(http.StatusOK, "application/json", body).Times(0))
	return d
}

func list(rows string) string { return `{"total_num":1,"data_list":[` + rows + `]}` }

// reviewed checks the review of an image for which HSS answers with a body.
func reviewed(t *testing.T, body string, deny bool, say string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		allowed, text := answering(t, body).pod(t, "60s")
		if allowed == deny || !strings.Contains(text, say) || say == "" && text != "" || len(text) > 2000 || strings.Contains(text, "struct") {
			t.Errorf("%.100s: allowed is %v, want %v: %.2000s", body, allowed, !deny, text)
		}
	})
}

func TestAReviewIsOfWhatHSSWroteUnderTheExactNameOfEachField(t *testing.T) {
	t.Parallel()
	const malware = `"malicious_file_num":3`
	bad := strings.Replace(goodRow(), `"malicious_file_num":0`, malware, 1)
	for name, tt := range map[string]struct {
		row  string
		deny bool
		say  string
	}{
		"the good row":                             {row: goodRow()},
		"the bad row":                              {row: bad, deny: true, say: "3 malicious files"},
		"a good count after it in other letters":   {row: bad + `,"Malicious_File_Num":0,"MALICIOUS_FILE_NUM":0`, deny: true, say: "3 malicious files"},
		"a bad count after it in other letters":    {row: goodRow() + `,"Malicious_File_Num":3`},
		"a good count after it, the name escaped":  {row: bad + `,"malicious\u005ffile_num":0`, say: "malicious_file_num is there twice"},
		"a good count after it":                    {row: bad + `,"malicious_file_num":0`, say: "malicious_file_num is there twice"},
		"a good count before it":                   {row: goodRow() + `,` + malware, say: "malicious_file_num is there twice"},
		"a name after it in other letters":         {row: bad + `,"Image_Name":"other","IMAGE_VERSION":"9"`, deny: true, say: "3 malicious files"},
		"a status in other letters only":           {row: strings.Replace(goodRow(), "scan_status", "Scan_Status", 1), deny: true, say: `unknown scan status ""`},
		"a letter that only looks the same folded": {row: bad + `,"maliciouſ_file_num":0`, deny: true, say: "3 malicious files"},
		"an architecture in other letters":         {row: goodRow() + `,"is_multiple_arch":true,"association_images":[{"image_digest":"sha256:a","scan_status":"success",` + malware + `,"Malicious_File_Num":0}]`, deny: true, say: "3 malicious files"},
		"an architecture's count twice":            {row: goodRow() + `,"association_images":[{"scan_status":"success",` + malware + `,"malicious_file_num":0}]`, say: "association_images[0].malicious_file_num is there twice"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reviewed(t, list(`{`+tt.row+`}`), tt.deny, tt.say)
		})
	}
}

func TestAFieldOfAnotherTypeMakesTheImageUnavailableIfAVerdictNeedsIt(t *testing.T) {
	t.Parallel()
	for needed, fields := range map[bool]map[string]string{
		false: {
			"id": `{}`, "image_id": `[1,{"a":1,"a":2}]`, "registry_id": `"maybe"`, "latest_version": `-1`, "scannable": `{}`, "scan_failed_code": `null`,
			"scan_failed_desc": `[]`, "image_size": `1e999`, "latest_sync_time": `true`, "domain_name": `{}`, "shared_status": `[]`, "instance_name": `{}`,
			"instance_id": `1,"instance_id":2`, "instance_url": `"` + strings.Repeat("x", 1<<16) + `"`, "a_field_of_tomorrow": `{"a":[{}]}`,
		},
		true: {
			"namespace": `{}`, "image_name": `[]`, "image_version": `{}`, "image_digest": `{}`, "image_type": `[]`, "registry_type": `{}`, "registry_name": `{}`,
			"scan_status": `{}`, "severity_level": `[]`, "latest_scan_time": `"soon"`, "latest_update_time": `{}`, "is_multiple_arch": `"perhaps"`, "association_images": `{}`,
		},
	} {
		for field, value := range fields {
			t.Run(field, func(t *testing.T) {
				t.Parallel()
				row := slices.DeleteFunc(strings.Split(goodRow(), ","), func(pair string) bool { return strings.HasPrefix(pair, `"`+field+`"`) })
				want := ""
				if needed {
					want = field + " is "
				}
				reviewed(t, list(`{`+strings.Join(append(row, `"`+field+`":`+value), ",")+`}`), false, want)
			})
		}
	}
}

func TestAListWithoutEndIsUnavailableWithAReason(t *testing.T) {
	t.Parallel()
	good := `{` + goodRow() + `},`
	for name, tt := range map[string]struct {
		body string
		deny bool
		say  string
	}{
		"201 rows":          {list(strings.Repeat(good, 200) + `{}`), false, "there are more than the 200 rows that a page may have"},
		"101 architectures": {list(`{` + goodRow() + `,"association_images":[` + strings.Repeat(`{},`, 100) + `{}]}`), false, "association_images has more than 100 elements"},
		"a long name":       {list(`{` + strings.Replace(goodRow(), `"app"`, `"`+strings.Repeat("x", 1025)+`"`, 1) + `}`), false, "image_name has 1025 bytes, at most 1024 are read"},
		"nested objects":    {strings.Repeat(`{"data_list":`, 20_000), false, "HSS answered 200"},
		"17 MiB":            {`{"other":"` + strings.Repeat("x", 17<<20) + `","data_list":[]}`, true, "16777216 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reviewed(t, tt.body, tt.deny, tt.say)
		})
	}
}
