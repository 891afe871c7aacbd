package inventoryfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// start is what ages count from.
func start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func parse(t *testing.T, text string) *inventoryfile.File {
	t.Helper()
	inventory, err := inventoryfile.Parse([]byte(text), start())
	if err != nil {
		t.Fatal(err)
	}
	return inventory
}

func TestARowNeedsOnlyAName(t *testing.T) {
	t.Parallel()
	got := parse(t, "images: [{image_name: app}]")
	want := []inventoryfile.Image{{ImageName: "app", ImageType: "private_image", RegistryType: "SwrPrivate",
		RegistryName: "SwrPrivate", ScanStatus: "unscan", Scannable: true}}
	if diff := cmp.Diff(want, got.Images); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestEveryFieldOfARowIsRead(t *testing.T) {
	t.Parallel()
	got := parse(t, `
images:
- {id: 5, project_id: p1, enterprise_project_id: e1, namespace: ns, image_name: i, image_version: "1.0", image_id: ii,
   image_digest: "sha256:d", image_type: harbor, registry_id: r, registry_name: rn, registry_type: Other, latest_version: false,
   scannable: false, is_multiple_arch: false, scan_status: failed, scan_failed_code: authentication_failed,
   scan_failed_desc: 认证失败, severity_level: High, vul_num: 1, unsafe_setting_num: 2, malicious_file_num: 0, image_size: 9,
   latest_update_time: -2h, latest_scan_time: "2026-03-01T10:00:00Z", latest_sync_time: 1772359200000, domain_name: dn,
   shared_status: expired, instance_id: id, instance_name: in, instance_url: u,
   association_images: [{id: 6, image_digest: "sha256:a", vul_num: 7, scan_status: success},
     {namespace: an, image_name: ai, image_version: av, image_id: aid, image_type: jfrog, unsafe_setting_num: 0, malicious_file_num: 1}]}
`).Images[0]
	no := false
	at := start().Add(-2 * time.Hour)
	want := inventoryfile.Image{
		ID: 5, ProjectID: "p1", EnterpriseProjectID: "e1", Namespace: "ns", ImageName: "i", ImageVersion: "1.0", ImageID: "ii",
		ImageDigest: "sha256:d", ImageType: "harbor", RegistryID: "r", RegistryName: "rn", RegistryType: "Other", LatestVersion: &no,
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
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestScansRegistriesAndVulnerabilitiesAreRead(t *testing.T) {
	t.Parallel()
	got := parse(t, `
images:
- {image_name: app, hidden: true, scan_outcome: {scan_status: failed, scan_failed_code: unknown_error, scan_failed_desc: d}}
- {image_name: bad, scan_outcome: {severity_level: High, vul_num: 3, unsafe_setting_num: 2, malicious_file_num: 1}}
- image_name: vulnerable
  vulnerabilities:
  - {vul_id: CVE-1, app_name: xz, version: "5.6", solution: update, url: u, description: d, position: p, app_path: a, type: app_vul, handled: true}
  - {vul_id: CVE-2, repair_necessity: delay_repair}
- {image_name: counted, vul_num: 9, vulnerabilities: [{vul_id: CVE-3}], association_images: [{vulnerabilities: [{vul_id: CVE-4}]}]}
registries:
- {id: r1, registry_type: SwrPrivate, registry_addr: swr.example.com, project_id: p1, status: accessing, fail_reason: f, latest_sync_time: -1h, protocol: http, registry_name: name}
- {id: r2, registry_type: Harbor}
`)
	images := got.Images
	if diff := cmp.Diff([]*inventoryfile.ScanOutcome{
		{ScanStatus: "failed", ScanFailedCode: "unknown_error", ScanFailedDesc: "d"},
		{SeverityLevel: "High", VulNum: new(3), UnsafeSettingNum: new(2), MaliciousFileNum: new(1)},
	}, []*inventoryfile.ScanOutcome{images[0].Outcome, images[1].Outcome}); diff != "" || !images[0].Hidden || images[1].Hidden {
		t.Errorf("hidden %v, %v, outcomes (-want +got):\n%s", images[0].Hidden, images[1].Hidden, diff)
	}
	if diff := cmp.Diff([]inventoryfile.Vulnerability{
		{VulID: "CVE-1", RepairNecessity: "immediate_repair", AppName: "xz", Version: "5.6", Solution: "update", URL: "u",
			Description: "d", Position: "p", AppPath: "a", Type: "app_vul", Handled: true},
		{VulID: "CVE-2", RepairNecessity: "delay_repair"},
	}, images[2].Vulnerabilities); diff != "" {
		t.Errorf("vulnerabilities (-want +got):\n%s", diff)
	}
	if *images[2].VulNum != 2 || *images[3].VulNum != 9 || *images[3].AssociationImages[0].VulNum != 1 {
		t.Errorf("the counts are %d, %d, %d", *images[2].VulNum, *images[3].VulNum, *images[3].AssociationImages[0].VulNum)
	}
	if id := images[3].ImageID; id == "" || id == images[3].AssociationImages[0].ImageID || images[0].ImageID != "" {
		t.Errorf("vulnerabilities are found by %q, %q", id, images[3].AssociationImages[0].ImageID)
	}
	if diff := cmp.Diff([]inventoryfile.Registry{
		{ID: "r1", Name: "name", Type: "SwrPrivate", Address: "swr.example.com", Protocol: "http", Status: "accessing", FailReason: "f",
			ProjectID: "p1", LatestSyncTime: start().Add(-time.Hour)},
		{ID: "r2", Name: "Harbor", Type: "Harbor", Protocol: "https"},
	}, got.Registries); diff != "" {
		t.Errorf("registries (-want +got):\n%s", diff)
	}
}

func TestTheImageTypeImpliesTheRegistry(t *testing.T) {
	t.Parallel()
	for imageType, want := range map[string]string{
		"private_image": "SwrPrivate", "shared_image": "SwrShared", "instance_image": "SwrEnterprise", "harbor": "Harbor", "jfrog": "Jfrog",
	} {
		row := parse(t, "images: [{image_name: a, image_type: "+imageType+"}]").Images[0]
		if row.RegistryType != want {
			t.Errorf("%s: got %s, want %s", imageType, row.RegistryType, want)
		}
	}
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

func TestErrorsNameTheRowAndTheField(t *testing.T) {
	t.Parallel()
	const row = "images:\n- image_name: ok\n- image_name: a\n  "
	tests := map[string]struct {
		text string
		want []string
	}{
		"an unknown field":           {row + "imagename: b", []string{`images row 2: unknown field "imagename"`}},
		"an unknown document field":  {"rows: []", []string{`document: unknown field "rows"`}},
		"a value that isn't one":     {row + "scan_status: done", []string{`images row 2: field "scan_status" is "done", allowed: unscan, success, scanning`}},
		"a version without quotes":   {row + "image_version: 1.0", []string{`images row 2: field "image_version" is of type number, allowed: a text (in quotes`}},
		"a negative count":           {row + "vul_num: -1", []string{`field "vul_num" is -1, allowed: a whole number from 0 to 2147483647`}},
		"a broken count":             {row + "vul_num: 1.5", []string{`field "vul_num" is of type number 1.5, allowed: a whole number`}},
		"a text for a flag":          {row + "scannable: maybe", []string{`field "scannable" is of type string, allowed: true, false`}},
		"a text for a flag of HSS":   {row + "hidden: perhaps", []string{`field "hidden" is of type string, allowed: true, false`}},
		"a time without a sign":      {row + "latest_scan_time: 2h", []string{`field "latest_scan_time" is "2h", allowed: milliseconds since 1970`, "-2h or -60d"}},
		"too many days":              {row + "latest_scan_time: -99999999d", []string{`field "latest_scan_time" is "-99999999d"`}},
		"a time before 1970":         {row + "latest_scan_time: 1960-01-01T00:00:00Z", []string{`field "latest_scan_time" is "1960-`}},
		"an id that isn't one":       {row + "id: abc", []string{`field "id" is of type string, allowed: a whole number`}},
		"a negative id":              {row + "id: -1", []string{`field "id" is -1`}},
		"an id twice":                {"images: [{image_name: a, id: 3}, {image_name: b, id: 3}]", []string{`images row 2: field "id" is 3, as in row 1`}},
		"no name":                    {"images: [{namespace: a}]", []string{`images row 1: field "image_name" is missing`}},
		"a wrong architecture":       {row + "association_images: [{}, {severity_level: Low}]", []string{`images row 2: unknown field "association_images[1].severity_level"`}},
		"an architecture's status":   {row + "association_images: [{scan_status: done}]", []string{`field "association_images.scan_status" is "done"`}},
		"a wrong outcome":            {row + "scan_outcome: {scan_status: unscan}", []string{`field "scan_outcome.scan_status" is "unscan", allowed: success, failed`}},
		"a nameless vulnerability":   {row + "vulnerabilities: [{app_name: x}]", []string{`field "vulnerabilities.vul_id" is missing`}},
		"a repair that isn't one":    {row + "vulnerabilities: [{vul_id: C, repair_necessity: soon}]", []string{`field "repair_necessity" is "soon", allowed: immediate_repair`}},
		"half a registry":            {"registries: [{id: r1}]", []string{`registries row 1: field "registry_type" is missing`}},
		"a registry of no type":      {"registries: [{id: r1, registry_type: quay}]", []string{`field "registry_type" is "quay", allowed: SwrPrivate`}},
		"half a project":             {"iam_projects: [{id: p}]", []string{`iam_projects row 1: field "name" is missing`}},
		"two things at once":         {row + "severity_level: x\n  scan_status: z", []string{`field "severity_level" is "x"`, `field "scan_status" is "z"`}},
		"two rows at once":           {"images: [{x: 1}, {z: 2}]", []string{`row 1: unknown field "x"`, `row 2: unknown field "z"`}},
		"a field twice in YAML":      {row + "id: 1\n  id: 2", []string{`"id" already set`}},
		"a field twice in JSON":      {`{"images":[{"image_name":"a","image_name":"b"}]}`, []string{`images row 1: duplicate field "image_name"`}},
		"rows that are no list":      {"images: {a: b}", []string{`document: field "images" is of type object, allowed: a list`}},
		"a row that is no object":    {"images: [5]", []string{"images row 1 is not an object with fields"}},
		"no object at all":           {"hello", []string{"document is not an object with fields"}},
		"nothing at all":             {"", []string{"document is not an object with fields"}},
		"no YAML":                    {"images: [", []string{"not YAML and not JSON"}},
		"two documents":              {"images: []\n---\nimages: []", []string{"more than one YAML document, allowed is one"}},
		"half a credential":          {"credentials: [{access_key: a}]", []string{`credentials row 1: field "secret_key" is missing`}},
		"a fault of no kind":         {"faults: [{times: 2}]", []string{`faults row 1: field "kind" is missing`}},
		"a fault of an unknown kind": {"faults: [{kind: flood}]", []string{`field "kind" is "flood", allowed: cut, empty, error, garbage, hang, html, huge, no_data_list, reset, slow, status, throttle`}},
		"a fault of no endpoint":     {"faults: [{kind: cut, endpoint: tasks}]", []string{`field "endpoint" is "tasks", allowed: images, vulnerabilities`}},
		"a pause that isn't one":     {"faults: [{kind: slow, pause: long}]", []string{`field "pause" is "long", allowed: a duration such as 100ms`}},
		"a status that isn't one":    {"faults: [{kind: status, status: 42}]", []string{`field "status" is 42, allowed: a whole number from 200 to 599`}},
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

func TestErrorsShowNoSecrets(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"credentials: [{access_key: a, secret_key: [s3cret]}]",
		"credentials: [{access_key: a, secret_key: k, security_token: {s3cret: 1}}]",
		"tokens: s3cret",
		"tokens: [{a: s3cret}]",
	} {
		_, err := inventoryfile.Parse([]byte(text), start())
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

func TestAnInventoryMayBeJSON(t *testing.T) {
	t.Parallel()
	got := parse(t, "{\n\t\"images\": [{\"image_name\": \"a\\/b\\ud83d\\ude00\", \"image_digest\": null}],\n\t\"tokens\": [\"t\"]\n}")
	if got.Images[0].ImageName != "a/b😀" || got.Tokens[0] != "t" {
		t.Errorf("got %+v", got)
	}
}

func TestErrorsNameTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "wrong.yaml")
	if _, err := inventoryfile.Load(path, time.Now()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(path, []byte("rows: 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := inventoryfile.Load(path, time.Now()); err == nil || !strings.Contains(err.Error(), "wrong.yaml: document: unknown field") {
		t.Errorf("got %v", err)
	}
}

func FuzzParseInventory(f *testing.F) {
	for _, seed := range []string{
		"", "images: [{image_name: a}]", `{"images":[{"image_name":"a","id":1}]}`, "images:\n- image_name: a\n  latest_scan_time: -2h\n",
		"credentials: [{access_key: a, secret_key: b}]", "faults: [{kind: slow, pause: 1s}]", "a: &a [*a]", "---\n---\n", "images: [{association_images: [{}]}]",
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
			if image.ImageName == "" || !slices.Contains(inventoryfile.ScanStatuses(), image.ScanStatus) || !slices.Contains(inventoryfile.ImageTypes(), image.ImageType) {
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
