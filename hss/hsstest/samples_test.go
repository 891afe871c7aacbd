package hsstest_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/hss/inventoryfile"
)

const samples = "../../config/samples/inventory.yaml"

// TestTheSamplesHaveEveryCaseOfTheDemonstration keeps a case from being lost
// in an edit.
func TestTheSamplesHaveEveryCaseOfTheDemonstration(t *testing.T) {
	t.Parallel()
	start := newClock().now()
	inventory, err := inventoryfile.Load(samples, start)
	if err != nil {
		t.Fatal(err)
	}
	h := open(t, hsstest.WithInventory(inventory), hsstest.WithClock(newClock().now))
	const named = "&enterprise_project_id=all_granted_eps&namespace="
	for query, want := range map[string]int{
		"severity_level=Low&risky=false" + named + "prod&image_name=clean&image_version=1.0":            1,
		"severity_level=High&has_vul=true" + named + "prod&image_name=high&image_version=1.0":           1,
		"severity_level=Medium&has_vul=true" + named + "prod&image_name=vulnerable":                     1,
		"has_malicious_file=true" + named + "prod&image_name=malware":                                   1,
		"has_unsafe_setting=true&has_vul=false" + named + "prod&image_name=unsafe":                      1,
		"scan_status=unscan" + named + "prod&image_name=unscanned":                                      1,
		"scan_status=scanning" + named + "prod&image_name=scanning":                                     1,
		"scan_status=scanning&start_latest_scan_time=0" + named + "prod&image_name=scanning":            0,
		"scan_status=failed" + named + "prod&image_name=failed":                                         1,
		"risky=false" + named + "prod&image_name=digest":                                                1,
		"is_multarch=true&has_vul=true" + named + "prod&image_name=multiarch-bad":                       1,
		"is_multarch=true&risky=false" + named + "prod&image_name=multiarch-good":                       1,
		"scan_status=scanning&start_latest_scan_time=1&risky=false" + named + "prod&image_name=rescan":  1,
		"scan_status=success" + named + "prod&image_name=moved":                                         1,
		"scan_status=success&risky=false" + named + "prod&image_name=old":                               1,
		"" + named + "prod&image_name=twins&image_version=1.0":                                          2,
		"image_type=shared_image&severity_level=High" + named + "prod&image_name=twins":                 1,
		"risky=false" + named + "prod&image_name=sidecar&image_version=2.0":                             1,
		"severity_level=High" + named + "prod&image_name=init-bad":                                      1,
		"severity_level=High" + named + "prod&image_name=debug-bad":                                     1,
		"severity_level=High" + named + "prod&image_name=model-bad":                                     1,
		"risky=false" + named + "prod&image_name=team%2Fapp":                                            1,
		"risky=false" + named + "prod&image_name=team%24svc":                                            1,
		"image_type=harbor&registry_name=corp-harbor" + named + "shop&image_name=web&image_version=2.1": 1,
		"image_type=instance_image&instance_name=swr-ee" + named + "payments&image_name=ledger":         1,
	} {
		if got := ask(t, h, query); got.TotalNum != want {
			t.Errorf("%s: got %d rows %s, want %d", query, got.TotalNum, got.Raw, want)
		}
	}
}

func TestTheSamplesAreOfTheRightAges(t *testing.T) {
	t.Parallel()
	start := newClock().now()
	inventory, err := inventoryfile.Load(samples, start)
	if err != nil {
		t.Fatal(err)
	}
	digest := regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	for _, image := range inventory.Images {
		if !digest.MatchString(image.ImageDigest) {
			t.Errorf("%s has the digest %q", image.ImageName, image.ImageDigest)
		}
		scanned := !image.LatestScanTime.IsZero()
		if moved := scanned && image.LatestUpdateTime.After(image.LatestScanTime); moved != (image.ImageName == "moved") {
			t.Errorf("%s: updated after its scan is %v", image.ImageName, moved)
		}
		if old := scanned && start.Sub(image.LatestScanTime) > 7*24*time.Hour; old != (image.ImageName == "old") {
			t.Errorf("%s: scanned over a week ago is %v", image.ImageName, old)
		}
	}
}
