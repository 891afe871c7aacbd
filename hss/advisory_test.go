package hss_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
)

// reads is one of the lists of findings.
type reads func(t testing.TB, c *hss.Client) (rows []any, err error)

func of[T any](rows func(*hss.Client, testing.TB) iter.Seq2[T, error]) reads {
	return func(t testing.TB, c *hss.Client) (list []any, err error) {
		for row, err := range rows(c, t) {
			if err != nil {
				return list, err
			}
			list = append(list, row)
		}
		return list, nil
	}
}

func lists() map[string]reads {
	const id, key = "aa11", "HCE2-SA-2024-0012"
	return map[string]reads{
		"CVEs": of(func(c *hss.Client, t testing.TB) iter.Seq2[hss.CVE, error] {
			return c.CVEs(t.Context(), hss.CVERequest{VulnerabilityID: key})
		}),
		"vulnerabilities of all images": of(func(c *hss.Client, t testing.TB) iter.Seq2[hss.ImageVulnerability, error] {
			return c.ImageVulnerabilities(t.Context(), hss.ImageVulnerabilityRequest{Type: hss.VulnerabilityTypeLinux})
		}),
		"affected images": of(func(c *hss.Client, t testing.TB) iter.Seq2[hss.AffectedImage, error] {
			return c.AffectedImages(t.Context(), hss.AffectedImageRequest{VulnerabilityID: key, Type: hss.VulnerabilityTypeLinux})
		}),
		"secrets": of(func(c *hss.Client, t testing.TB) iter.Seq2[hss.ImageSecret, error] {
			return c.Secrets(t.Context(), hss.SecretRequest{ImageID: id, ImageType: hss.ImageTypePrivate, Namespace: "prod", ImageName: "app", Version: "1"})
		}),
		"malicious files": of(func(c *hss.Client, t testing.TB) iter.Seq2[hss.MaliciousFile, error] {
			return c.MaliciousFiles(t.Context(), hss.MaliciousFileRequest{ImageID: id, ImageType: hss.ImageTypePrivate, Namespace: "prod", ImageName: "app", Version: "1"})
		}),
	}
}

func TestFindingsAreDecoded(t *testing.T) {
	t.Parallel()
	type row struct {
		list, body string
		want       []any
		text       string // of the error
	}
	at := time.UnixMilli(1641035700000).UTC()
	each(t, map[string]row{
		"a CVE": {"CVEs", `{"cve_id":"CVE-2021-45960","cvss_score":8.8,"publish_time":1641035700000,"description":"Expat"}`,
			[]any{hss.CVE{ID: "CVE-2021-45960", CVSS: new(8.8), PublishedAt: at, Description: "Expat"}}, ""},
		"a CVE without anything":                     {"CVEs", `{"cve_id":"A","cvss_score":null,"publish_time":0}`, []any{hss.CVE{ID: "A"}}, ""},
		"a CVE with a text for its score":            {"CVEs", `{"cve_id":"A","cvss_score":" 9.8 "}`, []any{hss.CVE{ID: "A", CVSS: new(9.8)}}, ""},
		"a CVE with the highest score":               {"CVEs", `{"cve_id":"A","cvss_score":10}`, []any{hss.CVE{ID: "A", CVSS: new(10.0)}}, ""},
		"a CVE with a score of 0 has none":           {"CVEs", `{"cve_id":"A","cvss_score":0}`, []any{hss.CVE{ID: "A"}}, ""},
		"a CVE with a negative score has none":       {"CVEs", `{"cve_id":"A","cvss_score":-1}`, []any{hss.CVE{ID: "A"}}, ""},
		"a CVE with a score above 10 has none":       {"CVEs", `{"cve_id":"A","cvss_score":10.1}`, []any{hss.CVE{ID: "A"}}, ""},
		"a CVE with a score that is no number":       {"CVEs", `{"cve_id":"A","cvss_score":"NaN"}`, []any{hss.CVE{ID: "A"}}, ""},
		"a CVE with a score that is a list":          {"CVEs", `{"cve_id":"A","cvss_score":[1]}`, []any{hss.CVE{ID: "A"}}, ""},
		"a CVE with a time that is no number":        {"CVEs", `{"cve_id":"A","publish_time":"yesterday"}`, []any{hss.CVE{ID: "A"}}, ""},
		"a CVE whose ID cannot be read":              {"CVEs", `{"cve_id":{}}`, nil, "HSS's list is incomplete: data_list[0]: cve_id is an object"},
		"two CVEs of which one has an unknown score": {"CVEs", `{"cve_id":"A","cvss_score":2},{"cve_id":"B"}`, []any{hss.CVE{ID: "A", CVSS: new(2.0)}, hss.CVE{ID: "B"}}, ""},

		"a vulnerability": {"vulnerabilities of all images", `{"vul_name":"n","vul_id":"HCE2-SA-2024-0012","type":"linux_vul","severity_level":"Critical","image_num":3,` +
			`"cve_list":[{"cve_id":"CVE-1","cvss":9.1},{"cve_id":"CVE-2"}],"max_cvss_score":9.1,"solution_detail":"update"}`,
			[]any{hss.ImageVulnerability{ID: "HCE2-SA-2024-0012", Type: hss.VulnerabilityTypeLinux, Severity: hss.SeverityCritical, Images: new(3),
				CVEs: []hss.CVE{{ID: "CVE-1", CVSS: new(9.1)}, {ID: "CVE-2"}}, MaxCVSS: new(9.1), Solution: "update"}}, ""},
		"a vulnerability without anything":     {"vulnerabilities of all images", `{"vul_id":"A"}`, []any{hss.ImageVulnerability{ID: "A"}}, ""},
		"a vulnerability with a broken CVE":    {"vulnerabilities of all images", `{"vul_id":"A","cve_list":[{"cve_id":[]}]}`, nil, "cve_list has a row of which cve_id is a list"},
		"a vulnerability with a CVE that is 1": {"vulnerabilities of all images", `{"vul_id":"A","cve_list":[1]}`, nil, "cve_list has a row of which the row is 1, not an object"},

		"an image": {"affected images", `{"image_id":"i","image_name":"team/app","organization":"prod","image_version":"1","image_digest":"sha256:aa","status":"vul_status_ignored",` +
			`"latest_scan_time":"1641035700000","image_type":"registry","registry_type":"SwrPrivate","registry_name":"swr"}`,
			[]any{hss.AffectedImage{ImageID: "i", Name: "team/app", Namespace: "prod", Version: "1", Digest: "sha256:aa", Status: hss.VulnerabilityIgnored,
				ScannedAt: at, RegistryType: hss.RegistryTypeSWRPrivate, RegistryName: "swr"}}, ""},
		"an image whose digest cannot be read":    {"affected images", `{"image_name":"app","image_digest":[]}`, nil, "image_digest is a list"},
		"an image whose scan time cannot be read": {"affected images", `{"image_name":"app","latest_scan_time":"-"}`, []any{hss.AffectedImage{Name: "app"}}, ""},

		"a secret": {"secrets", `{"sensitive_info_id":"s1","severity":"critical","name":"RSA","description":"d","position":"layer 2","file_path":"/root/id_rsa",` +
			`"content":"hunter2","latest_scan_time":1,"handle_status":"handled","operate_accept":"ignore"}`,
			[]any{hss.ImageSecret{ID: "s1", Severity: hss.SecretCritical, Name: "RSA", Position: "layer 2", FilePath: "/root/id_rsa",
				HandleStatus: "handled", OperateAccept: "ignore"}}, ""},
		"a secret with an undocumented severity":     {"secrets", `{"severity":"fatal"}`, []any{hss.ImageSecret{Severity: "fatal"}}, ""},
		"a secret whose severity cannot be read":     {"secrets", `{"severity":{},"content":"hunter2"}`, nil, "data_list[0]: severity is an object"},
		"a secret whose path cannot be read":         {"secrets", `{"file_path":[],"content":"hunter2"}`, nil, "data_list[0]: file_path is a list"},
		"a secret whose content is no text is a row": {"secrets", `{"content":{"hunter2":1}}`, []any{hss.ImageSecret{}}, ""},
		"a malicious file": {"malicious files", `{"file_name":"xmrig","file_path":"/tmp/xmrig","size":5,"description":"miner"}`,
			[]any{hss.MaliciousFile{Name: "xmrig", Path: "/tmp/xmrig", Size: 5, Description: "miner"}}, ""},
		"a malicious file without a size": {"malicious files", `{"file_name":"xmrig"}`, []any{hss.MaliciousFile{Name: "xmrig", Size: -1}}, ""},
		"a malicious file that is a text": {"malicious files", `"xmrig"`, nil, `data_list[0]: the row is "xmrig", not an object`},
	}, func(t *testing.T, tc row) {
		rows := max(len(tc.want), 1)
		body := fmt.Sprintf(`{"total_num":%d,"data_list":[%s]}`, rows, tc.body)
		got, err := lists()[tc.list](t, scripted(t, newScript(step{status: 200, body: body}), nil))
		wantError(t, err, tc.text)
		wantEqual(t, "rows", tc.want, got)
		if strings.Contains(fmt.Sprintf("%+v %v", got, err), "hunter2") {
			t.Errorf("the secret is in %+v, %v", got, err)
		}
	})
}

func TestListsOfFindingsNeverEndEarlyWithoutAnError(t *testing.T) {
	t.Parallel()
	for name, read := range lists() {
		for body, want := range map[string]string{
			`{"total_num":2,"data_list":[{}]}`: "it repeats itself",
			`{"total_num":2,"data_list":[]}`:   "it shows 0 of 2 rows",
			`{"total_num":0}`:                  "the answer has no data_list",
			``:                                 "an empty answer",
			`{"error_code":"HSS.0011","data_list":[]}`:             "HSS answered 200 HSS.0011",
			`{"total_num":2,"data_list":[{"a":1},null]}`:           "the row is null, not an object",
			`{"total_num":1,"data_list":[{"content":"hunter2"}],}`: "the answer is not JSON from byte",
			`{"total_num":1,"data_list":{"content":"hunter2"}}`:    "data_list is an object",
		} {
			_, err := read(t, scripted(t, newScript(step{status: 200, body: body}), once))
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %s: error is %v, want %q", name, body, err, want)
			}
		}
	}
}

// once makes a client try each request once.
func once(c *hss.Config) { c.Retry = func(context.Context, error) bool { return false } }

// TestARowThatChangesWhileAListIsReadIsOneRow shows that it does not stand for a row that was missed.
func TestARowThatChangesWhileAListIsReadIsOneRow(t *testing.T) {
	t.Parallel()
	for name, rows := range map[string][2]string{
		"vulnerabilities of all images": {`{"vul_id":"A","image_num":1}`, `{"vul_id":"A","image_num":2}`},
		"affected images": {`{"image_id":"i","image_name":"app","status":"vul_status_unfix","latest_scan_time":"1"}`,
			`{"image_id":"i","image_name":"app","status":"vul_status_ignored","latest_scan_time":"2"}`},
	} {
		page := step{status: 200, body: `{"total_num":2,"data_list":[` + rows[0] + "," + rows[1] + `]}`}
		end := step{status: 200, body: `{"total_num":2,"data_list":[]}`}
		got, err := lists()[name](t, scripted(t, newScript(page, end, page, end, page, end), nil))
		wantError(t, err, "it shows 1 of 2 rows")
		wantEqual(t, name+": states of the row", 2, len(got))
	}
}

func TestFindingRequestsAreValidated(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		request interface{ Query() (url.Values, error) }
		want    string // the query, or the error
	}{
		"CVEs":                               {hss.CVERequest{VulnerabilityID: "RHSA-2024:1_~."}, ""},
		"CVEs of nothing":                    {hss.CVERequest{}, `invalid CVE request: vul_id is ""`},
		"CVEs of an ID that leaves the path": {hss.CVERequest{VulnerabilityID: "../x"}, `vul_id is "../x"`},
		"vulnerabilities": {hss.ImageVulnerabilityRequest{Type: "app_vul", CVE: "CVE-1", EnterpriseProjectID: "0"},
			"cve_id=CVE-1&enterprise_project_id=0&handle_status=unhandled&image_type=registry&type=app_vul"},
		"handled vulnerabilities": {hss.ImageVulnerabilityRequest{Type: "app_vul", Handled: true, VulnerabilityID: "A"},
			"handle_status=handled&image_type=registry&type=app_vul&vul_id=A"},
		"vulnerabilities of no type": {hss.ImageVulnerabilityRequest{}, "invalid image vulnerability request: type is missing"},
		"images": {hss.AffectedImageRequest{VulnerabilityID: "../a b", Type: "linux_vul"},
			"image_type=registry&is_handled=false&type=linux_vul&vul_id=..%2Fa+b"},
		"images of nothing": {hss.AffectedImageRequest{}, "invalid affected image request: vul_id is missing; type is missing"},
		"secrets": {hss.SecretRequest{ImageID: "i", ImageType: "harbor", ImageName: "a"},
			"image_name=a&image_type=harbor&image_version=&namespace="},
		"secrets of no image": {hss.SecretRequest{ImageType: "harbor", ImageName: "a"}, `invalid secret request: image_id is ""`},
		"malicious files": {hss.MaliciousFileRequest{ImageID: "i", ImageType: "harbor", Namespace: "n", ImageName: "a", Version: "1"},
			"image_name=a&image_type=harbor&namespace=n&tag_name=1"},
		"malicious files of no name": {hss.MaliciousFileRequest{ImageID: "i", ImageType: "harbor"}, "invalid malicious file request: image_name is missing"},
	} {
		query, err := tc.request.Query()
		if err == nil {
			wantEqual(t, name, tc.want, query.Encode())
			continue
		}
		if _, invalid := errors.AsType[*hss.InvalidRequestError](err); !invalid || !strings.Contains(err.Error(), tc.want) || tc.want == "" {
			t.Errorf("%s: error is %v, want %q in it", name, err, tc.want)
		}
	}
}

// TestFindingsOfAServer reads what package hsstest serves, through all pages.
func TestFindingsOfAServer(t *testing.T) {
	t.Parallel()
	app := hsstest.Image{ImageID: "aa11", ImageType: "private_image", RegistryType: "SwrPrivate", RegistryName: "swr", Namespace: "prod", ImageName: "app",
		ImageVersion: "1", ImageDigest: "sha256:aa11", ScanStatus: "success", LatestScanTime: time.UnixMilli(1641035700000)}
	for n := range 450 {
		cve := hsstest.CVE{ID: fmt.Sprintf("CVE-2024-%04d", n), CVSS: new(float64(n%10) + 0.5)}
		app.Vulnerabilities = append(app.Vulnerabilities, hsstest.Vulnerability{VulID: fmt.Sprint("V-", n), CVEs: []hsstest.CVE{cve}},
			hsstest.Vulnerability{VulID: fmt.Sprint("V-", n), AppName: "another package", Type: "linux_vul"})
		app.Secrets = append(app.Secrets, hsstest.Secret{ID: fmt.Sprint(n), Severity: "high", Content: "hunter2"})
		app.MaliciousFiles = append(app.MaliciousFiles, hsstest.MaliciousFile{Name: fmt.Sprint(n)})
	}
	many := app.Vulnerabilities[0]
	many.VulID, many.CVEs = "HCE2-SA-2024-0012", nil
	for n := range 450 {
		many.CVEs = append(many.CVEs, hsstest.CVE{ID: fmt.Sprint("CVE-", n)})
	}
	app.Vulnerabilities = append(app.Vulnerabilities, many)
	images := []hsstest.Image{app}
	for n := range 449 {
		images = append(images, hsstest.Image{ImageName: fmt.Sprint("copy-", n), ScanStatus: "success", Vulnerabilities: []hsstest.Vulnerability{many}})
	}
	client := newClient(t, faithful(t, hsstest.WithImages(images...)).URL, nil)
	for name, read := range lists() {
		rows, err := read(t, client)
		must(t, err)
		want := 450
		if name == "vulnerabilities of all images" {
			want = 451
		}
		wantEqual(t, name, want, len(rows))
	}
}

func TestScanStatistics(t *testing.T) {
	t.Parallel()
	type row struct {
		body string
		want hss.ScanStatistics
		text string // of the error
	}
	each(t, map[string]row{
		"every field": {`{"repository_scan_num":3,"cicd_scan_num":0,"free_quota_num":"10","already_given":true,"image_free_quota":10,"total":{}}`,
			hss.ScanStatistics{RegistryScans: new(3), PipelineScans: new(0), FreeScans: new(10), ImageFreeScans: new(10), FreeScansGiven: true}, ""},
		"only one":          {`{"repository_scan_num":0}`, hss.ScanStatistics{RegistryScans: new(0)}, ""},
		"a negative number": {`{"repository_scan_num":-1}`, hss.ScanStatistics{}, "the answer has no repository_scan_num"},
		"nothing":           {``, hss.ScanStatistics{}, "HSS answered 200"},
		"an error":          {`{"error_code":"HSS.0013","repository_scan_num":1}`, hss.ScanStatistics{}, "HSS answered 200 HSS.0013"},
	}, func(t *testing.T, tc row) {
		got, err := scripted(t, newScript(step{status: http.StatusOK, body: tc.body}), nil).ScanStatistics(t.Context(), hss.ScanStatisticsRequest{})
		wantError(t, err, tc.text)
		if tc.text == "" {
			wantEqual(t, "statistics", tc.want, got)
		}
	})
}

func FuzzDecodeFindings(f *testing.F) {
	for _, seed := range []string{
		`{"cve_id":"A","cvss_score":9.8,"publish_time":1}`, `{"vul_id":"A","cve_list":[{"cve_id":"B","cvss":1e99}],"max_cvss_score":"0"}`,
		`{"image_name":"a","latest_scan_time":"1"}`, `{"severity":"low","content":"hunter2"}`, `{"file_name":"a","size":-1}`, `null`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, row string) {
		known := func(score *float64) bool { return score == nil || *score > 0 && *score <= 10 }
		for name, read := range lists() {
			rows, err := read(t, scripted(t, newScript(step{status: 200, body: `{"total_num":1,"data_list":[` + row + `]}`},
				step{status: 200, body: `{"data_list":[]}`}), once))
			for _, r := range rows {
				if cve, ok := r.(hss.CVE); ok && !known(cve.CVSS) {
					t.Errorf("%s: a score is %g", name, *cve.CVSS)
				}
				if v, ok := r.(hss.ImageVulnerability); ok && !known(v.MaxCVSS) {
					t.Errorf("%s: a score is %g", name, *v.MaxCVSS)
				}
			}
			if err == nil && strings.Contains(fmt.Sprintf("%+v", rows), "hunter2") && name == "secrets" && !strings.Contains(strings.Replace(row, `"content":"hunter2"`, "", 1), "hunter2") {
				t.Error("the secret was read")
			}
		}
	})
}
