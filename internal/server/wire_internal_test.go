package server

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/image"
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

// answer is what HSS answers to every call, and what a review says then (empty: nothing).
type answer struct {
	body string
	deny bool
	say  string
}

// checkAnswers checks the reviews of an image after HSS's answers.
func checkAnswers(t *testing.T, answers map[string]answer) {
	t.Helper()
	each(t, answers, func(t *testing.T, a answer) {
		allowed, text := answering(t, a.body).pod(t, "60s")
		if allowed == a.deny || !strings.Contains(text, a.say) || a.say == "" && text != "" || len(text) > 2000 || strings.Contains(text, "struct") {
			t.Errorf("%.100s: allowed is %v, want %v: %.2000s", a.body, allowed, !a.deny, text)
		}
	})
}

func TestAReviewIsOfWhatHSSWroteUnderTheExactNameOfEachField(t *testing.T) {
	t.Parallel()
	const malware = `"malicious_file_num":3`
	bad := strings.Replace(goodRow(), `"malicious_file_num":0`, malware, 1)
	of := func(row string) string { return list(`{` + row + `}`) }
	checkAnswers(t, map[string]answer{
		"the good row":                             {of(goodRow()), false, ""},
		"the bad row":                              {of(bad), true, "3 malicious files"},
		"a good count after it in other letters":   {of(bad + `,"Malicious_File_Num":0,"MALICIOUS_FILE_NUM":0`), true, "3 malicious files"},
		"a bad count after it in other letters":    {of(goodRow() + `,"Malicious_File_Num":3`), false, ""},
		"a good count after it, the name escaped":  {of(bad + `,"malicious\u005ffile_num":0`), false, "malicious_file_num is there twice"},
		"a good count after it":                    {of(bad + `,"malicious_file_num":0`), false, "malicious_file_num is there twice"},
		"a good count before it":                   {of(goodRow() + `,` + malware), false, "malicious_file_num is there twice"},
		"a name after it in other letters":         {of(bad + `,"Image_Name":"other","IMAGE_VERSION":"9"`), true, "3 malicious files"},
		"a status in other letters only":           {of(strings.Replace(goodRow(), "scan_status", "Scan_Status", 1)), true, `unknown scan status ""`},
		"a letter that only looks the same folded": {of(bad + `,"maliciouſ_file_num":0`), true, "3 malicious files"},
		"an architecture in other letters":         {of(goodRow() + `,"is_multiple_arch":true,"association_images":[{"image_digest":"sha256:a","scan_status":"success",` + malware + `,"Malicious_File_Num":0}]`), true, "3 malicious files"},
		"an architecture's count twice":            {of(goodRow() + `,"association_images":[{"scan_status":"success",` + malware + `,"malicious_file_num":0}]`), false, "association_images[0].malicious_file_num is there twice"},
	})
}

func TestAFieldOfAnotherTypeMakesTheImageUnavailableIfAVerdictNeedsIt(t *testing.T) {
	t.Parallel()
	answers := map[string]answer{}
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
			own := func(pair string) bool { return strings.HasPrefix(pair, `"`+field+`"`) }
			row := append(slices.DeleteFunc(strings.Split(goodRow(), ","), own), `"`+field+`":`+value)
			a := answer{body: list(`{` + strings.Join(row, ",") + `}`)}
			if needed {
				a.say = field + " is "
			}
			answers[field] = a
		}
	}
	checkAnswers(t, answers)
}

func TestAListWithoutEndIsUnavailableWithAReason(t *testing.T) {
	t.Parallel()
	good := `{` + goodRow() + `},`
	checkAnswers(t, map[string]answer{
		"201 rows":          {list(strings.Repeat(good, 200) + `{}`), false, "there are more than the 200 rows that a page may have"},
		"101 architectures": {list(`{` + goodRow() + `,"association_images":[` + strings.Repeat(`{},`, 100) + `{}]}`), false, "association_images has more than 100 elements"},
		"a long name":       {list(`{` + strings.Replace(goodRow(), `"app"`, `"`+strings.Repeat("x", 1025)+`"`, 1) + `}`), false, "image_name has 1025 bytes, at most 1024 are read"},
		"nested objects":    {strings.Repeat(`{"data_list":`, 20_000), false, "HSS answered 200"},
		"17 MiB":            {`{"other":"` + strings.Repeat("x", 17<<20) + `","data_list":[]}`, true, "16777216 bytes"},
	})
}

func TestNoAnswerShowsTheTokenThatAServerEchoes(t *testing.T) {
	t.Parallel()
	const token = `MIIEzQYJKoZIhvcNAQcCoIIEvjCCBLoCAQExDTALBglghkgBZQMEAgEwggMbBgkqhkiG9w0BBwGg/+==-x"y\z<&` // as long as an excerpt
	inJSON, err := json.Marshal(token)
	must(t, err)
	escaped := ""
	for _, r := range token {
		escaped += fmt.Sprintf(`\u%04x`, r)
	}
	ok := func(body string) string { return "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body }
	bad := func(header, body string) string {
		return "HTTP/1.1 400 Bad\r\nConnection: close\r\n" + header + "\r\n" + body
	}
	row := func(field string, value any) string {
		return ok(fmt.Sprintf(`{"total_num":1,"data_list":[{%s,"%s":%s}]}`, strings.Replace(goodRow(), `"`+field+`"`, `"_"`, 1), field, value))
	}
	each(t, map[string]string{
		"a request id":               bad("X-Request-Id: "+token+"\r\n", "{}"),
		"a trace id":                 bad("X-IAM-Trace-Id: "+token+"\r\n", "{}"),
		"a body's request id":        bad("", `{"error_code":"x","request_id":`+string(inJSON)+`}`),
		"a message":                  bad("", `{"error_msg":`+string(inJSON)+`}`),
		"a message in escapes":       bad("", `{"error_msg":"`+escaped+`"}`),
		"a code":                     bad("", `{"error_code":`+string(inJSON)+`}`),
		"a description":              bad("", `{"error_description":`+string(inJSON)+`}`),
		"an error of IAM":            bad("", `{"error":{"code":`+string(inJSON)+`,"message":`+string(inJSON)+`}}`),
		"another JSON":               bad("", `{"fault":`+string(inJSON)+`}`),
		"a 200 that is an error":     ok(`{"error_code":` + string(inJSON) + `,"error_msg":"` + escaped + `"}`),
		"text":                       bad("", token),
		"text in place of a list":    ok(token),
		"a query":                    bad("", url.QueryEscape(token)),
		"a path":                     bad("", url.PathEscape(token)),
		"a page":                     bad("", "<html><title>"+html.EscapeString(token)+"</title>"),
		"a page's raw title":         bad("", "<html><title>"+token+"</title>"),
		"a status":                   "HTTP/1.1 " + token + " Bad\r\n\r\n",
		"a status' reason":           "HTTP/1.1 400 " + token + "\r\n\r\n",
		"a broken status line":       token + "\r\n\r\n",
		"a protocol":                 token + "/1.1 200 OK\r\n\r\n",
		"a broken header":            "HTTP/1.1 200 OK\r\n" + token + "\r\n\r\n",
		"a length":                   "HTTP/1.1 200 OK\r\nContent-Length: " + token + "\r\n\r\n",
		"an encoding":                "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + token + "\r\n\r\n",
		"a chunk":                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + token + "\r\n",
		"a redirect":                 "HTTP/1.1 302 Found\r\nLocation: https://" + url.PathEscape(token) + ".example.com/\r\n\r\n",
		"a time to wait":             "HTTP/1.1 503 Busy\r\nRetry-After: " + token + "\r\n\r\n",
		"a name in a row":            row("image_name", inJSON),
		"a row's severity":           row("severity_level", inJSON),
		"a row's severity, escaped":  row("severity_level", `"`+escaped+`"`),
		"a row's status":             row("scan_status", inJSON),
		"why a scan failed":          row("scan_status", `"failed","scan_failed_code":`+string(inJSON)+`,"scan_failed_desc":"`+escaped+`"`),
		"a row's time":               row("latest_scan_time", inJSON),
		"a row's time, escaped":      row("latest_scan_time", `"`+escaped+`"`),
		"a row's time of an object":  row("latest_scan_time", `{`+string(inJSON)+`:`+string(inJSON)+`}`),
		"a row's registry":           row("registry_name", inJSON),
		"a row's flag":               row("is_multiple_arch", inJSON),
		"an architecture's status":   row("association_images", `[{"scan_status":`+string(inJSON)+`}]`),
		"the name of a row's field":  row("a", `1,`+string(inJSON)+`:{}`),
		"a row that is none":         ok(`{"total_num":1,"data_list":[` + string(inJSON) + `]}`),
		"a total":                    ok(`{"total_num":` + string(inJSON) + `}`),
		"a list":                     ok(`{"data_list":` + string(inJSON) + `}`),
		"JSON that ends in the name": ok(`{` + string(inJSON)),
		"JSON that goes wrong":       ok(`{` + string(inJSON) + `:` + token + `}`),
		"JSON that goes on":          ok(`{"data_list":[]}` + string(inJSON)),
	}, func(t *testing.T, answer string) {
		credentials := fmt.Sprintf("{source: TokenFile, tokenFile: %q}", secretFile(t, token))
		d := newDoor(t, map[string]string{"endpoint": "http://127.0.0.1", "credentials": credentials}, nil)
		d.wire = answer
		ref, err := image.Parse("main.example.com/prod/app:1")
		must(t, err)
		review := d.review(t, "20s", "prod", "Pod", "app")
		explained := d.inventory.Explain(ref)
		shown := fmt.Sprintf("%s %+v %#v %+v", said(review), review, explained, d.inventory.Facts(t.Context(), ref))
		for _, secret := range []string{token, token[:20], string(inJSON), url.QueryEscape(token)[:20]} {
			if strings.Contains(shown, secret) {
				t.Fatalf("%q is shown by %s", secret, shown)
			}
		}
	})
}
