package hsstest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hssgate/hssgate/hss/hsstest"
)

const (
	allVulnerabilities = "images/vulnerabilities?image_type=registry&type=linux_vul&handle_status=unhandled"
	affected           = "vulnerability/images?image_type=registry&type=linux_vul&is_handled=false&vul_id="
)

// advised are images with vulnerabilities of both types and statuses.
func advised() []hsstest.Image {
	notice := hsstest.Vulnerability{VulID: "SA-1", CVEs: []hsstest.CVE{{ID: "CVE-2024-1", CVSS: new(6.1)}, {ID: "CVE-2024-10", CVSS: new(7.5)}}}
	with := func(name string, list ...hsstest.Vulnerability) hsstest.Image {
		return hsstest.Image{ImageName: name, ImageVersion: name, ImageID: "id-" + name, ImageDigest: "sha256:" + name, Namespace: "prod",
			RegistryName: "swr", RegistryType: "SwrPrivate", ScanStatus: "success", Vulnerabilities: list}
	}
	ignored := notice
	ignored.Status = "vul_status_ignored"
	application := hsstest.Vulnerability{VulID: "HCVD-1", Type: "app_vul", RepairNecessity: "delay_repair"}
	unscanned := with("unscanned", notice)
	unscanned.ScanStatus = "unscan"
	again := with("again", notice)
	again.ScanStatus, again.LatestScanTime = "scanning", time.UnixMilli(1641035700000)
	elsewhere := with("elsewhere", notice)
	elsewhere.EnterpriseProjectID = "e1"
	multi := with("multi")
	multi.MultiArch = true
	multi.AssociationImages = []hsstest.Architecture{{ImageID: "id-arm", ImageDigest: "sha256:arm", Namespace: "prod", ImageName: "multi", ImageVersion: "multi",
		Vulnerabilities: []hsstest.Vulnerability{notice}}}
	return []hsstest.Image{with("app", notice, notice, application), with("ignoring", ignored), with("critical", hsstest.Vulnerability{VulID: "CVE-2024-10",
		CVEs: []hsstest.CVE{{ID: "CVE-2024-10", CVSS: new(9.8)}}}), with("plain", hsstest.Vulnerability{VulID: "CVE-2024-2"}), unscanned, again, elsewhere, multi}
}

func TestVulnerabilitiesOfAllImagesFollowFromTheImages(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(advised()...))
	for query, want := range map[string]string{
		"":                           "CVE-2024-10 CVE-2024-2 SA-1",
		"&cve_id=CVE-2024-10":        "CVE-2024-10 SA-1",
		"&cve_id=CVE-2024-1":         "SA-1",
		"&cve_id=CVE-2024-2":         "CVE-2024-2",
		"&vul_id=SA-1":               "SA-1",
		"&vul_id=SA":                 "",
		"&limit=10&offset=1":         "CVE-2024-2 SA-1",
		"&enterprise_project_id=e1":  "SA-1",
		"&enterprise_project_id=e2":  "",
		"&cve_id=CVE-2024-3":         "",
		"&cve_id=&vul_id=CVE-2024-2": "CVE-2024-2",
	} {
		wantEqual(t, query, want, askFor(t, h, http.MethodGet, allVulnerabilities+query, "").names("vul_id"))
	}
	for path, want := range map[string]string{
		strings.Replace(allVulnerabilities, "unhandled", "handled", 1): "SA-1",
		strings.Replace(allVulnerabilities, "linux_vul", "app_vul", 1): "HCVD-1",
		strings.Replace(allVulnerabilities, "registry", "cicd", 1):     "",
	} {
		wantEqual(t, path, want, askFor(t, h, http.MethodGet, path, "").names("vul_id"))
	}
	got := askFor(t, h, http.MethodGet, allVulnerabilities+"&vul_id=SA-1", "").DataList
	wantEqual(t, "row", []map[string]any{{"vul_name": "SA-1", "vul_id": "SA-1", "type": "linux_vul", "image_type": "registry", "severity_level": "High",
		"image_num": 3.0, "max_cvss_score": 7.5, "cve_list": []any{map[string]any{"cve_id": "CVE-2024-1", "cvss": 6.1}, map[string]any{"cve_id": "CVE-2024-10", "cvss": 7.5}}}}, got)
	wantEqual(t, "levels", "Critical High High", askFor(t, h, http.MethodGet, allVulnerabilities, "").names("severity_level"))
	fuzzy := open(t, hsstest.WithImages(advised()...), hsstest.WithBehavior(hsstest.Behavior{Filters: "substring"}))
	wantEqual(t, "by a part of an ID", "CVE-2024-10 SA-1", askFor(t, fuzzy, http.MethodGet, allVulnerabilities+"&cve_id=CVE-2024-1", "").names("vul_id"))
}

func TestAffectedImagesFollowFromTheImages(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(advised()...))
	for path, want := range map[string]string{
		affected + "SA-1":                          "sha256:app sha256:again sha256:arm",
		affected + "SA-1&enterprise_project_id=e1": "sha256:elsewhere",
		affected + "CVE-2024-2":                    "sha256:plain",
		affected + "SA":                            "",
		strings.Replace(affected, "is_handled=false", "is_handled=true", 1) + "SA-1": "sha256:ignoring",
		strings.Replace(affected, "linux_vul", "app_vul", 1) + "HCVD-1":              "sha256:app",
		strings.Replace(affected, "registry", "local", 1) + "SA-1":                   "",
	} {
		wantEqual(t, path, want, askFor(t, h, http.MethodGet, path, "").names("image_digest"))
	}
	got := askFor(t, h, http.MethodGet, affected+"SA-1&limit=10&offset=1", "").DataList
	wantEqual(t, "row", map[string]any{"image_id": "id-again", "image_name": "again", "organization": "prod", "image_version": "again", "image_digest": "sha256:again",
		"vul_id": "SA-1", "repair_necessity": "High", "status": "vul_status_unfix", "latest_scan_time": "1641035700000", "image_type": "registry",
		"registry_type": "SwrPrivate", "registry_name": "swr", "is_multi_arch": "false"}, got[0])
}

func TestListsOfFindingsCheckTheirParameters(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(advised()...))
	const names = "image_type=private_image&namespace=prod&image_name=app"
	for path, want := range map[string]string{
		"images/vulnerabilities?image_type=registry&type=linux_vul":        `parameter "handle_status" is missing`,
		"images/vulnerabilities?image_type=registry&handle_status=handled": `parameter "type" is missing`,
		allVulnerabilities + "&status=x":                                   `parameter "status" is not known`,
		"vulnerability/images?image_type=registry&type=linux_vul&vul_id=A": `parameter "is_handled" is missing`,
		"vulnerability/images?type=linux_vul&vul_id=A&is_handled=1":        "true, false",
		"image/id-app/sensitive?" + names + "&tag_name=app":                `parameter "tag_name" is not known`,
		"image/id-app/malwares?" + names + "&image_version=app":            `parameter "image_version" is not known`,
		"image/id-app/malwares?" + names:                                   `parameter "tag_name" is missing`,
		"image/id-app/sensitive?image_type=jfrog":                          "private_image, shared_image, instance_image, harbor, cicd",
		"image/vulnerability/SA-1/cve?limit=201":                           "a whole number from 10 to 200",
		"image/pay-per-scan/statistics?limit=10":                           `parameter "limit" is not known`,
	} {
		if got := askFor(t, h, http.MethodGet, path, ""); got.ErrorCode != "HSS.0001" || !strings.Contains(got.ErrorDescription, want) {
			t.Errorf("%s: got %d %s, want HSS.0001 with %q", path, got.Status, got.Raw, want)
		}
	}
	if got := askFor(t, h, http.MethodGet, "image/none/sensitive?"+names+"&image_version=app", ""); got.ErrorCode != "HSS.0011" {
		t.Errorf("secrets of an unknown image: got %d %s", got.Status, got.Raw)
	}
	wantEqual(t, "CVEs", "CVE-2024-1 CVE-2024-10", askFor(t, h, http.MethodGet, "image/vulnerability/SA-1/cve", "").names("cve_id"))
	wantEqual(t, "CVEs of a CVE", "CVE-2024-2", askFor(t, h, http.MethodGet, "image/vulnerability/CVE-2024-2/cve", "").names("cve_id"))
}

func TestSuccessfulScansAreCounted(t *testing.T) {
	t.Parallel()
	at := newClock()
	h := open(t, hsstest.WithClock(at.Now), hsstest.WithImages(hsstest.Image{ID: 1, ImageName: "a"}, hsstest.Image{ID: 2, ImageName: "b"},
		hsstest.Image{ID: 3, ImageName: "c", Outcome: &hsstest.ScanOutcome{ScanStatus: "failed"}}))
	wantCounted := func(what string, want float64) {
		t.Helper()
		got := map[string]any{}
		if err := json.Unmarshal([]byte(askFor(t, h, http.MethodGet, "image/pay-per-scan/statistics", "").Raw), &got); err != nil {
			t.Fatal(err)
		}
		wantEqual(t, what, map[string]any{"repository_scan_num": want, "cicd_scan_num": 0.0, "free_quota_num": 10.0, "already_given": true, "image_free_quota": 10.0}, got)
	}
	askFor(t, h, http.MethodPost, scanPath, `{"image_info":[{"id":1},{"id":2},{"id":3}]}`)
	wantCounted("before the end", 0)
	at.Step(time.Minute)
	h.ResetStats()
	wantCounted("after the end", 2)
}
