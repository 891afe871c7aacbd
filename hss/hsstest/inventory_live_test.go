package hsstest_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss/hsstest"
)

func TestTheInventoryCanBeReplacedWhileItRuns(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(versions("1")...))
	h.SetImages(versions("2", "3")...)
	if got := ask(t, h, ""); got.tags() != "2 3" {
		t.Errorf("after SetImages: got %s", got.tags())
	}
	h.Update(func(rows []hsstest.Image) []hsstest.Image {
		rows[0].ImageVersion = "changed"
		return append(rows, versions("4")...)
	})
	if got := ask(t, h, ""); got.tags() != "changed 3 4" {
		t.Errorf("after Update: got %s", got.tags())
	}
}

func TestRowsWithoutAnIDAreGivenOne(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(
		hsstest.Image{ImageName: "a"},
		hsstest.Image{ImageName: "b", ID: 7, AssociationImages: []hsstest.Architecture{{}, {ID: 9}}},
		hsstest.Image{ImageName: "c"},
	))
	var ids []int64
	for _, image := range h.Images() {
		ids = append(ids, image.ID)
		for _, a := range image.AssociationImages {
			ids = append(ids, a.ID)
		}
	}
	if diff := cmp.Diff([]int64{10, 7, 11, 9, 12}, ids); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	h.Update(func(rows []hsstest.Image) []hsstest.Image { return rows[2:] })
	if got := h.Images()[0].ID; got != 12 {
		t.Errorf("an update changed the id of c to %d", got)
	}
}

func TestImagesIsACopy(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(hsstest.Image{ImageVersion: "1", AssociationImages: []hsstest.Architecture{{ImageName: "a"}}}))
	copied := h.Images()
	copied[0].ImageVersion, copied[0].AssociationImages[0].ImageName = "2", "b"
	if got := ask(t, h, ""); got.tags() != "1" || strings.Contains(got.Raw, `"b"`) {
		t.Errorf("got %s", got.Raw)
	}
}

func TestEveryFieldIsServed(t *testing.T) {
	t.Parallel()
	at := newClock().now()
	yes := true
	h := open(t, hsstest.WithImages(hsstest.Image{
		ID: 5, Namespace: "n", ImageName: "i", ImageID: "ii", ImageDigest: "d", ImageVersion: "v", ImageType: "harbor",
		RegistryID: "r", RegistryName: "rn", RegistryType: "Harbor", LatestVersion: &yes, Scannable: true, MultiArch: true,
		ScanStatus: "failed", ScanFailedCode: "c", ScanFailedDesc: "认证失败", ImageSize: 9,
		LatestUpdateTime: at, LatestScanTime: at, LatestSyncTime: at,
		VulNum: new(1), UnsafeSettingNum: new(2), MaliciousFileNum: new(0),
		DomainName: "dn", SharedStatus: "effective", InstanceID: "id", InstanceName: "in", InstanceURL: "u", SeverityLevel: "High",
		AssociationImages: []hsstest.Architecture{{ID: 6, Namespace: "n", ImageName: "i", ImageVersion: "v", ImageID: "ai",
			ImageDigest: "ad", ImageType: "harbor", ScanStatus: "success", VulNum: new(0),
			UnsafeSettingNum: new(0), MaliciousFileNum: new(3)}},
	}))
	ms := float64(at.UnixMilli())
	want := map[string]any{
		"id": 5.0, "namespace": "n", "image_name": "i", "image_id": "ii", "image_digest": "d", "image_version": "v",
		"image_type": "harbor", "registry_id": "r", "registry_name": "rn", "registry_type": "Harbor", "latest_version": true,
		"scannable": true, "is_multiple_arch": true, "scan_status": "failed", "scan_failed_code": "c", "scan_failed_desc": "认证失败",
		"image_size": 9.0, "latest_update_time": ms, "latest_scan_time": ms, "latest_sync_time": ms,
		"vul_num": 1.0, "unsafe_setting_num": 2.0, "malicious_file_num": 0.0, "domain_name": "dn", "shared_status": "effective",
		"instance_id": "id", "instance_name": "in", "instance_url": "u", "severity_level": "High",
		"association_images": []any{map[string]any{"id": 6.0, "namespace": "n", "image_name": "i", "image_version": "v",
			"image_id": "ai", "image_digest": "ad", "image_type": "harbor", "scan_status": "success", "vul_num": 0.0,
			"unsafe_setting_num": 0.0, "malicious_file_num": 3.0}},
	}
	if diff := cmp.Diff(want, ask(t, h, "").DataList[0]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWhatARowLacksIsNotServed(t *testing.T) {
	t.Parallel()
	got := ask(t, open(t, hsstest.WithImages(hsstest.Image{ID: 1})), "")
	want := map[string]any{"id": 1.0, "namespace": "", "image_name": "", "image_version": "",
		"latest_version": true, "scannable": false, "is_multiple_arch": false}
	if diff := cmp.Diff(want, got.DataList[0]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestManyMayAskAndChangeAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t, hsstest.WithImages(numbered(20)...), hsstest.WithFaults(hsstest.EmptyFault().Times(5)))
	var group sync.WaitGroup
	for n := range 8 {
		group.Go(func() {
			for range 20 {
				switch n % 4 {
				case 0:
					h.SetImages(numbered(20)...)
				case 1:
					h.Update(func(rows []hsstest.Image) []hsstest.Image { return append(rows, rows[0]) })
				case 2:
					h.Inject(hsstest.StatusFault(503))
					h.Stats()
				}
				ask(t, h, "limit=5")
			}
		})
	}
	group.Wait()
	if got := h.Stats(); got.Requests != 160 || got.InFlight != 0 || got.Faults == 0 {
		t.Errorf("got %+v", got)
	}
}
