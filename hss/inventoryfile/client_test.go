package inventoryfile_test

import (
	"iter"
	"testing"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/hsstest"
)

// TestAClientAnswersAsAServerOfTheFile compares it with the real client of a
// server that serves the same file.
func TestAClientAnswersAsAServerOfTheFile(t *testing.T) {
	t.Parallel()
	const text = `
images:
- {namespace: prod, image_name: app, image_version: "1", image_digest: "sha256:d1", scan_status: success, severity_level: High, vul_num: 2,
   latest_scan_time: -2h, unsafe_setting_num: 0, vulnerabilities: [{vul_id: CVE-1, app_name: a}, {vul_id: CVE-2, status: vul_status_ignored},
   {vul_id: CVE-1, app_name: b}, {vul_id: SA-1, type: app_vul}], secrets: [{sensitive_info_id: s, severity: high, file_path: /key, content: hunter2}],
   malicious_files: [{file_name: xmrig, size: 5}, {file_name: another}]}
- {namespace: prod, image_name: app, image_version: "2", scan_status: failed, scan_failed_code: unknown_error, scan_failed_desc: 认证失败}
- {namespace: prod, image_name: app, image_version: "1", image_type: harbor, id: 9}
- {namespace: prod, image_name: app, image_version: "3", hidden: true}
- {namespace: prod, image_name: app, image_version: "4", project_id: another}
- {namespace: prod, image_name: app, image_version: "5", project_id: p1, enterprise_project_id: e1}
- {namespace: prod, image_name: apple, image_version: "1"}
- {namespace: prod, image_name: multi, image_version: "1", association_images: [{image_digest: "sha256:a1", vulnerabilities: [{vul_id: CVE-3},
   {vul_id: SA-1, cves: [{cve_id: CVE-9, cvss_score: 9.8, publish_time: -60d}, {cve_id: CVE-8}]}], secrets: [{severity: low}]}, {vul_num: 1}]}
`
	app := hss.ListRequest{Namespace: "prod", ImageName: "app"}
	with := func(change func(*hss.ListRequest)) hss.ListRequest {
		r := app
		change(&r)
		return r
	}
	file := parse(t, text)
	client, err := file.Client("p1")
	must(t, err)
	server := hsstest.NewServer(hsstest.WithInventory(parse(t, text)), hsstest.WithoutAuthentication())
	t.Cleanup(server.Close)
	served := realClient(t, server.URL)
	for name, request := range map[string]hss.ListRequest{
		"by name":                    app,
		"by version":                 with(func(r *hss.ListRequest) { r.ImageVersion = "1" }),
		"by type":                    with(func(r *hss.ListRequest) { r.ImageType = hss.ImageTypeHarbor }),
		"of an enterprise project":   with(func(r *hss.ListRequest) { r.EnterpriseProjectID = "e1" }),
		"of all of them":             with(func(r *hss.ListRequest) { r.EnterpriseProjectID = hss.AllGrantedEnterpriseProjects }),
		"with several architectures": {Namespace: "prod", ImageName: "multi"},
		"of an unknown name":         {Namespace: "prod", ImageName: "ap"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			equal(t, "server's", collect(t, served.All(t.Context(), request)), collect(t, client.All(t.Context(), request)))
		})
	}
	for name, request := range map[string]hss.VulnerabilityRequest{
		"of an image":        {ImageID: "d1", ImageType: hss.ImageTypePrivate, Namespace: "prod", ImageName: "app", Tag: "1"},
		"of an architecture": {ImageID: "a1", ImageType: hss.ImageTypePrivate, Namespace: "prod", ImageName: "multi", Tag: "1"},
	} {
		t.Run("vulnerabilities "+name, func(t *testing.T) {
			t.Parallel()
			got := collect(t, client.Vulnerabilities(t.Context(), request))
			if equal(t, "server's", collect(t, served.Vulnerabilities(t.Context(), request)), got); len(got) == 0 {
				t.Error("there are none")
			}
		})
	}
	for name, id := range map[string]string{"app": "d1", "multi": "a1"} {
		secrets := hss.SecretRequest{ImageID: id, ImageType: hss.ImageTypePrivate, Namespace: "prod", ImageName: name, Version: "1"}
		got := collect(t, client.Secrets(t.Context(), secrets))
		if equal(t, "server's secrets", collect(t, served.Secrets(t.Context(), secrets)), got); len(got) != 1 {
			t.Errorf("%s has the secrets %v", name, got)
		}
		files := hss.MaliciousFileRequest(secrets)
		equal(t, "server's malicious files", collect(t, served.MaliciousFiles(t.Context(), files)), collect(t, client.MaliciousFiles(t.Context(), files)))
	}
	for id, want := range map[string]int{"CVE-1": 1, "CVE-2": 1, "SA-1": 2, "SA-2": 0} {
		got := collect(t, client.CVEs(t.Context(), hss.CVERequest{VulnerabilityID: id}))
		equal(t, "server's CVEs of "+id, collect(t, served.CVEs(t.Context(), hss.CVERequest{VulnerabilityID: id})), got)
		equal(t, "number of CVEs of "+id, want, len(got))
	}
	for v, err := range client.Vulnerabilities(t.Context(), hss.VulnerabilityRequest{ImageID: "d1", ImageType: hss.ImageTypeHarbor, Namespace: "prod", ImageName: "app", Tag: "1"}) {
		if err == nil {
			t.Errorf("an image that isn't in the file has the vulnerability %v", v)
		}
	}
}

func TestAClientOfAnUnknownProjectSeesTheRowsOfAll(t *testing.T) {
	t.Parallel()
	client, err := parse(t, "images: [{image_name: app, project_id: p1}, {image_name: app, project_id: p2}]").Client("")
	must(t, err)
	equal(t, "rows", 2, len(collect(t, client.All(t.Context(), hss.ListRequest{ImageName: "app"}))))
}

func realClient(t *testing.T, url string) *hss.Client {
	t.Helper()
	known := hsstest.DefaultCredential()
	client, err := hss.NewClient(hss.Config{Endpoint: url, ProjectID: "p1", Credentials: hss.StaticCredentials(hss.Credentials{
		AccessKey: known.AccessKey, SecretKey: hss.NewSecret(known.SecretKey),
	})})
	must(t, err)
	return client
}

func collect[T any](t *testing.T, rows iter.Seq2[T, error]) []T {
	t.Helper()
	var list []T
	for row, err := range rows {
		must(t, err)
		list = append(list, row)
	}
	return list
}
