package server

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// goodRow returns the fields of a row that the preset baseline admits.
func goodRow() string {
	return `"id":7,"namespace":"prod","image_name":"app","image_version":"1","image_type":"private_image","scan_status":"success",` +
		`"severity_level":"Low","vul_num":0,"unsafe_setting_num":0,"malicious_file_num":0,"latest_scan_time":1000000`
}

// answerOf makes HSS answer every list with a body.
func answerOf(body string) hsstest.Fault {
	return hsstest.BodyFault(http.StatusOK, "application/json", body).Times(0)
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
			d := newDoor(t, nil, false)
			d.hss.Inject(answerOf(`{"total_num":1,"data_list":[{`+tt.row+`}]}`).ForImage("", "app"))
			got := d.review(t, "app:1", "60s")
			if got.Allowed == tt.deny || !strings.Contains(said(got), tt.say) {
				t.Errorf("allowed is %v, want %v and %q: %s", got.Allowed, !tt.deny, tt.say, said(got))
			}
			if tt.say == "" && len(got.Warnings) > 0 {
				t.Errorf("a warning: %s", said(got))
			}
		})
	}
}

func TestAnErrorOfHSSIsReadUnderTheExactNamesOfItsFields(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil, false)
	d.hss.Inject(hsstest.BodyFault(http.StatusBadRequest, "application/json", `{"error_code":"HSS.0011","error_msg":"true","Error_Code":"HSS.0013","Error_Msg":"forged"}`).Times(0))
	if got := said(d.review(t, "app:1", "60s")); !strings.Contains(got, "HSS answered 400 HSS.0011: true") || strings.Contains(got, "forged") {
		t.Errorf("it says %s", got)
	}
}

func TestAFieldThatNoVerdictNeedsHidesNoImage(t *testing.T) {
	t.Parallel()
	values := []string{
		`{}`, `[1,{"a":1,"a":2}]`, `"maybe"`, `-1`, `null`, `true`, `1e999`, `"` + strings.Repeat("x", 1<<20) + `"`,
	}
	for _, field := range []string{
		"id", "image_id", "registry_id", "latest_version", "scannable", "scan_failed_code", "scan_failed_desc", "image_size", "latest_sync_time",
		"domain_name", "shared_status", "instance_name", "instance_id", "instance_url", "a_field_of_tomorrow",
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			for _, value := range append(slices.Clone(values), `1,"`+field+`":2`) {
				row := strings.Replace(goodRow(), `"id":7,`, "", 1) + `,"` + field + `":` + value
				d := newDoor(t, nil, false)
				d.hss.Inject(answerOf(`{"total_num":1,"data_list":[{` + row + `}]}`))
				if got := d.review(t, "app:1", "60s"); !got.Allowed || len(got.Warnings) > 0 {
					t.Errorf("%.40s: allowed is %v: %s", value, got.Allowed, said(got))
				}
			}
		})
	}
}

func TestAListWithoutEndIsUnavailableWithAReason(t *testing.T) {
	t.Parallel()
	good := `{` + goodRow() + `},`
	for name, tt := range map[string]struct{ body, say string }{
		"15 MiB of empty rows":   {`{"data_list":[` + good + strings.Repeat(`{},`, 5<<20) + `{}]}`, "there are more than the 200 rows that a page may have"},
		"201 rows":               {`{"data_list":[` + strings.Repeat(good, 200) + `{}]}`, "there are more than the 200 rows that a page may have"},
		"17 MiB":                 {`{"other":"` + strings.Repeat("x", 17<<20) + `","data_list":[]}`, "16777216 bytes"},
		"15 MiB of one array":    {`{"total_num":1,"data_list":[{` + goodRow() + `,"association_images":[` + strings.Repeat(`{},`, 5<<20) + `{}]}]}`, "association_images has more than 100 elements"},
		"a name of 15 MiB":       {`{"total_num":1,"data_list":[{` + strings.Replace(goodRow(), `"app"`, `"`+strings.Repeat("x", 15<<20)+`"`, 1) + `}]}`, "image_name has 15728640 bytes, at most 1024 are read"},
		"objects without an end": {strings.Repeat(`{"data_list":`, 1<<20), "HSS answered 200"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, nil, false)
			d.hss.Inject(answerOf(tt.body))
			if got := said(d.review(t, "app:1", "60s")); !strings.Contains(got, tt.say) || len(got) > 2000 {
				t.Errorf("it says %.2000s", got)
			}
		})
	}
}

func TestAFieldThatAVerdictNeedsMakesTheImageUnavailable(t *testing.T) {
	t.Parallel()
	for field, value := range map[string]string{
		"namespace": `{}`, "image_name": `[]`, "image_version": `{}`, "image_digest": `{}`, "image_type": `[]`, "registry_type": `{}`, "registry_name": `{}`,
		"scan_status": `{}`, "severity_level": `[]`, "latest_scan_time": `"soon"`, "latest_update_time": `{}`, "is_multiple_arch": `"perhaps"`, "association_images": `{}`,
	} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			var rows []string
			for pair := range strings.SplitSeq(goodRow(), ",") {
				if !strings.HasPrefix(pair, `"`+field+`"`) {
					rows = append(rows, pair)
				}
			}
			d := newDoor(t, nil, false)
			d.hss.Inject(answerOf(`{"total_num":1,"data_list":[{` + strings.Join(append(rows, `"`+field+`":`+value), ",") + `}]}`))
			if got := said(d.review(t, "app:1", "60s")); !strings.Contains(got, "can't be read") || !strings.Contains(got, field+" is ") || strings.Contains(got, "struct") {
				t.Errorf("it says %q", got)
			}
		})
	}
}
