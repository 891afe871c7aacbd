package inventoryfile_test

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// start is what ages count from.
func start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// must ends a test that can't go on.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// equal checks that nothing differs.
func equal[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func parse(t *testing.T, text string) *inventoryfile.File {
	t.Helper()
	inventory, err := inventoryfile.Parse([]byte(text), start())
	must(t, err)
	return inventory
}

func TestARowNeedsOnlyAName(t *testing.T) {
	t.Parallel()
	for imageType, want := range map[string]string{
		"": "SwrPrivate", "shared_image": "SwrShared", "instance_image": "SwrEnterprise", "harbor": "Harbor", "jfrog": "Jfrog",
	} {
		got := parse(t, fmt.Sprintf(`{"images": [{"image_name": "a\/b\ud83d\ude00", "image_digest": null, "image_type": %q}]}`, imageType))
		row := inventoryfile.Image{ImageName: "a/b😀", ImageType: cmp.Or(imageType, "private_image"), RegistryType: want, RegistryName: want, ScanStatus: "unscan"}
		equal(t, "rows", []inventoryfile.Image{row}, got.Images)
	}
}

func TestEveryFieldOfARowIsRead(t *testing.T) {
	t.Parallel()
	got := parse(t, `
images:
- {id: 5, project_id: p1, enterprise_project_id: e1, namespace: ns, image_name: i, image_version: "1.0", image_id: ii,
   image_digest: "sha256:d", image_type: harbor, registry_id: r, registry_name: rn, registry_type: Other, latest_version: true,
   scannable: true, is_multiple_arch: true, scan_status: failed, scan_failed_code: authentication_failed,
   scan_failed_desc: 认证失败, severity_level: High, vul_num: 1, unsafe_setting_num: 2, malicious_file_num: 0, image_size: 9,
   latest_update_time: -2h, latest_scan_time: "2026-03-01T10:00:00Z", latest_sync_time: 1772359200000, domain_name: dn,
   shared_status: expired, instance_id: id, instance_name: in, instance_url: u,
   association_images: [{id: 6, image_digest: "sha256:a", vul_num: 7, scan_status: success},
     {namespace: an, image_name: ai, image_version: av, image_id: aid, image_type: jfrog, unsafe_setting_num: 0, malicious_file_num: 1}]}
`).Images[0]
	at := start().Add(-2 * time.Hour)
	want := inventoryfile.Image{
		ID: 5, ProjectID: "p1", EnterpriseProjectID: "e1", Namespace: "ns", ImageName: "i", ImageVersion: "1.0", ImageID: "ii",
		ImageDigest: "sha256:d", ImageType: "harbor", RegistryID: "r", RegistryName: "rn", RegistryType: "Other", LatestVersion: true, Scannable: true, MultiArch: true,
		ScanStatus: "failed", ScanFailedCode: "authentication_failed", ScanFailedDesc: "认证失败", SeverityLevel: "High",
		VulNum: new(1), UnsafeSettingNum: new(2), MaliciousFileNum: new(0), ImageSize: 9,
		LatestUpdateTime: at, LatestScanTime: at, LatestSyncTime: at, DomainName: "dn", SharedStatus: "expired",
		InstanceID: "id", InstanceName: "in", InstanceURL: "u",
		AssociationImages: []inventoryfile.Architecture{
			{ID: 6, Namespace: "ns", ImageName: "i", ImageVersion: "1.0", ImageID: "a", ImageDigest: "sha256:a", ImageType: "harbor",
				ScanStatus: "success", VulNum: new(7)},
			{Namespace: "an", ImageName: "ai", ImageVersion: "av", ImageID: "aid", ImageType: "jfrog", ScanStatus: "failed",
				UnsafeSettingNum: new(0), MaliciousFileNum: new(1)},
		},
	}
	equal(t, "row", want, got)
}

func TestScansRegistriesAndVulnerabilitiesAreRead(t *testing.T) {
	t.Parallel()
	got := parse(t, `
images:
- {image_name: app, hidden: true, scan_outcome: {scan_status: failed, scan_failed_code: unknown_error, scan_failed_desc: d}}
- {image_name: bad, scan_outcome: {severity_level: High, vul_num: 3, unsafe_setting_num: 2, malicious_file_num: 1}}
- image_name: vulnerable
  vulnerabilities:
  - {vul_id: CVE-1, app_name: xz, version: "5.6", solution: update, url: u, description: d, position: p, app_path: a}
  - {vul_id: CVE-2, repair_necessity: delay_repair, type: app_vul, status: vul_status_ignored,
     cves: [{cve_id: CVE-2, cvss_score: 9.8, publish_time: -1h, description: d}, {cve_id: CVE-3}]}
- image_name: leaking
  secrets: [{sensitive_info_id: s, severity: high, name: "n", description: d, position: p, file_path: f, content: c, latest_scan_time: -1h,
    handle_status: handled, operate_accept: ignore}]
  malicious_files: [{file_name: "n", file_path: f, size: 1, description: d}]
- {image_name: counted, vul_num: 9, vulnerabilities: [{vul_id: CVE-3}], association_images: [{vulnerabilities: [{vul_id: CVE-4}]}]}
registries:
- {id: r1, registry_type: SwrPrivate, registry_addr: swr.example.com, project_id: p1, latest_sync_time: -1h, registry_name: name}
- {id: r2, registry_type: Harbor}
`)
	images := got.Images
	equal(t, "outcomes", []*inventoryfile.ScanOutcome{
		{ScanStatus: "failed", ScanFailedCode: "unknown_error", ScanFailedDesc: "d"},
		{SeverityLevel: "High", VulNum: new(3), UnsafeSettingNum: new(2), MaliciousFileNum: new(1)},
	}, []*inventoryfile.ScanOutcome{images[0].Outcome, images[1].Outcome})
	equal(t, "hidden", [2]bool{true, false}, [2]bool{images[0].Hidden, images[1].Hidden})
	equal(t, "vulnerabilities", []inventoryfile.Vulnerability{
		{VulID: "CVE-1", RepairNecessity: "immediate_repair", AppName: "xz", Version: "5.6", Solution: "update", URL: "u",
			Description: "d", Position: "p", AppPath: "a"},
		{VulID: "CVE-2", RepairNecessity: "delay_repair", Type: "app_vul", Status: "vul_status_ignored",
			CVEs: []inventoryfile.CVE{{ID: "CVE-2", CVSS: new(9.8), PublishedAt: start().Add(-time.Hour), Description: "d"}, {ID: "CVE-3"}}},
	}, images[2].Vulnerabilities)
	equal(t, "secrets", []inventoryfile.Secret{{ID: "s", Severity: "high", Name: "n", Description: "d", Position: "p", FilePath: "f", Content: "c",
		LatestScanTime: start().Add(-time.Hour), HandleStatus: "handled", OperateAccept: "ignore"}}, images[3].Secrets)
	equal(t, "malicious files", []inventoryfile.MaliciousFile{{Name: "n", Path: "f", Size: new(1), Description: "d"}}, images[3].MaliciousFiles)
	equal(t, "counts", [4]int{2, 1, 9, 1}, [4]int{*images[2].VulNum, *images[3].MaliciousFileNum, *images[4].VulNum, *images[4].AssociationImages[0].VulNum})
	if id := images[4].ImageID; id == "" || id == images[4].AssociationImages[0].ImageID || images[0].ImageID != "" || images[3].ImageID == "" {
		t.Errorf("findings are found by %q, %q", id, images[4].AssociationImages[0].ImageID)
	}
	equal(t, "registries", []inventoryfile.Registry{
		{ID: "r1", Name: "name", Type: "SwrPrivate", Address: "swr.example.com", ProjectID: "p1", LatestSyncTime: start().Add(-time.Hour)},
		{ID: "r2", Type: "Harbor"},
	}, got.Registries)
}

func TestTimes(t *testing.T) {
	t.Parallel()
	start := start()
	for value, want := range map[string]time.Time{
		"-2h": start.Add(-2 * time.Hour), `"-90m"`: start.Add(-90 * time.Minute), "-60d": start.Add(-60 * 24 * time.Hour),
		"-1h30m": start.Add(-90 * time.Minute), "+5m": start.Add(5 * time.Minute), "-0s": start,
		"1691748641788": time.UnixMilli(1691748641788), `"1691748641788"`: time.UnixMilli(1691748641788), "0": {},
		"2026-01-31T12:00:00Z":          time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC),
		`"2026-01-31T12:00:00.5+08:00"`: time.Date(2026, 1, 31, 4, 0, 0, 5e8, time.UTC),
	} {
		row := parse(t, "images: [{image_name: a, latest_scan_time: "+value+"}]").Images[0]
		if !row.LatestScanTime.Equal(want) {
			t.Errorf("%s: got %v, want %v", value, row.LatestScanTime, want)
		}
	}
}

func TestErrorsNameTheField(t *testing.T) {
	t.Parallel()
	const row = "images:\n- image_name: ok\n- image_name: a\n  "
	tests := map[string]struct {
		text string
		want []string
	}{
		"an unknown field":         {row + "imagename: b", []string{"unknown field images[1].imagename"}},
		"a value that isn't one":   {row + "scan_status: done", []string{`images[1].scan_status is "done", allowed: unscan, success, scanning`}},
		"a version without quotes": {row + "image_version: 1.0", []string{"images[1].image_version is a number, allowed: a text (in quotes"}},
		"a broken count":           {row + "vul_num: 1.5", []string{"images[1].vul_num is a number, allowed: a whole number"}},
		"too many days":            {row + "latest_scan_time: -99999999d", []string{`images[1].latest_scan_time is "-99999999d"`}},
		"a time before 1970":       {row + "latest_scan_time: 1960-01-01T00:00:00Z", []string{`images[1].latest_scan_time is "1960-`}},
		"an id twice":              {"images: [{image_name: a, id: 3}, {image_name: b, id: 3}]", []string{"images[1].id is 3, as is that of images[0]"}},
		"no name":                  {"images: [{namespace: a}]", []string{"images[0].image_name is missing"}},
		"a wrong architecture":     {row + "association_images: [{}, {severity_level: Low}]", []string{"unknown field images[1].association_images[1].severity_level"}},
		"a wrong outcome":          {row + "scan_outcome: {scan_status: unscan}", []string{`scan_outcome.scan_status is "unscan", allowed: success, failed`}},
		"a nameless vulnerability": {row + "vulnerabilities: [{app_name: x}]", []string{"vulnerabilities[0].vul_id is missing"}},
		"a score above 10":         {row + "vulnerabilities: [{vul_id: x, cves: [{cve_id: CVE-1, cvss_score: 98}]}]", []string{"cves[0].cvss_score is 98, allowed: 0 to 10"}},
		"a score that is a text":   {row + "vulnerabilities: [{vul_id: x, cves: [{cve_id: CVE-1, cvss_score: high}]}]", []string{"cves[0].cvss_score is a string, allowed: a number"}},
		"two things at once":       {row + "severity_level: x\n  scan_status: z", []string{`severity_level is "x"`, `scan_status is "z"`}},
		"a field twice in YAML":    {row + "id: 1\n  id: 2", []string{`"id" already set`}},
		"a field twice in JSON":    {`{"images":[{"image_name":"a","image_name":"b"}]}`, []string{`"image_name" already set`}},
		"rows that are no list":    {"images: {a: b}", []string{"images is a {, allowed: a list"}},
		"no object at all":         {"hello", []string{"not an object with fields"}},
		"two documents":            {"images: []\n---\nimages: []", []string{"more than one YAML document, allowed is one"}},
	}
	for name, tc := range tests {
		_, err := inventoryfile.Parse([]byte(tc.text), start())
		for _, want := range tc.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q in it", name, err, want)
			}
		}
	}
}

func TestErrorsNameTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "wrong.yaml")
	if _, err := inventoryfile.Load(path, time.Now()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	must(t, os.WriteFile(path, []byte("rows: 1"), 0o600))
	if _, err := inventoryfile.Load(path, time.Now()); err == nil || !strings.Contains(err.Error(), "wrong.yaml: unknown field rows") {
		t.Errorf("got %v", err)
	}
}

func FuzzParseInventory(f *testing.F) {
	for _, seed := range []string{
		"", "images: [{image_name: a}]", `{"images":[{"image_name":"a","id":1}]}`, "images:\n- image_name: a\n  latest_scan_time: -2h\n",
		"registries: [{id: a, registry_type: Other}]", "a: &a [*a]", "---\n---\n", "images: [{association_images: [{}]}]",
	} {
		f.Add([]byte(seed))
	}
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, data []byte) {
		inventory, err := inventoryfile.Parse(data, start)
		if err != nil {
			if inventory != nil {
				t.Error("got an inventory beside an error")
			}
			return
		}
		for i, image := range inventory.Images {
			if image.ImageName == "" || image.ScanStatus == "" || image.ImageType == "" {
				t.Errorf("row %d is %+v", i+1, image)
			}
		}
		// A server can be made of whatever is accepted.
		h := hsstest.NewHandler(hsstest.WithInventory(inventory))
		if got := len(h.Images()); got != len(inventory.Images) {
			t.Errorf("the server has %d rows, want %d", got, len(inventory.Images))
		}
	})
}
