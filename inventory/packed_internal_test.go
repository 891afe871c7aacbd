package inventory

import (
	"cmp"
	"math"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// plain is what a row is reduced to, in so many words.
func plain(row *hss.Image) policy.Record {
	r := policy.Record{
		ID: row.ID, ImageType: string(row.Type), RegistryType: string(row.RegistryType), RegistryName: row.RegistryName,
		InstanceID: row.InstanceID, InstanceName: row.InstanceName,
		Namespace: row.Namespace, Name: row.Name, Version: row.Version, Digest: row.Digest,
		Scan: policy.Scan{
			Status: v1alpha1.ScanStatus(row.ScanStatus), FailedCode: row.ScanFailedCode, FailedDescription: row.ScanFailedDescription,
			Vulnerabilities: row.Vulnerabilities, UnsafeSettings: row.UnsafeSettings, MaliciousFiles: row.MaliciousFiles,
		},
		Severity: v1alpha1.Severity(row.Severity), ScannedAt: row.LatestScanTime, UpdatedAt: row.LatestUpdateTime, MultiArch: row.MultiArch,
	}
	if row.ScanFailedCode == "" {
		r.ImageID = idOf(row.ImageID, row.Vulnerabilities)
	}
	for _, a := range row.Architectures {
		r.Architectures = append(r.Architectures, policy.Architecture{ID: a.ID, ImageID: idOf(a.ImageID, a.Vulnerabilities), Digest: a.Digest, Scan: policy.Scan{
			Status: v1alpha1.ScanStatus(a.ScanStatus), Vulnerabilities: a.Vulnerabilities, UnsafeSettings: a.UnsafeSettings, MaliciousFiles: a.MaliciousFiles,
		}})
	}
	return r
}

// idOf is the ID of an image that has vulnerabilities.
func idOf(id string, vulnerabilities *int) string {
	if vulnerabilities == nil || *vulnerabilities <= 0 {
		return ""
	}
	return id
}

// FuzzPacking has any row come out of memory as it went in.
func FuzzPacking(f *testing.F) {
	f.Add("17", "prod", "team$app", "1.4", "sha256:ab", "failed", "High", "why", int64(1700000000000), int64(3), true)
	f.Add("17", "prod", "app", "1.4", "sha256:ab", "", "High", "ab", int64(1700000000000), int64(3), true)
	f.Add("", "", "", "", "", "", "", "", int64(0), int64(-1), false)
	f.Add(strings.Repeat("x", 40000), strings.Repeat("y", 40000), "a", "b", "c", "", "Odd", "", int64(1), int64(1<<40), true)
	f.Fuzz(func(t *testing.T, id, namespace, name, version, digest, status, severity, description string, at, count int64, multi bool) {
		if at <= 0 || at > math.MaxInt32*int64(1000) {
			at = 0 // what hss reads as none, and times that are none
		}
		row := hss.Image{
			ID: id, Namespace: namespace, Name: name, Version: version, Digest: digest, Type: "private_image", MultiArch: multi,
			RegistryType: "SwrPrivate", RegistryName: namespace, InstanceID: id, InstanceName: name,
			ScanStatus: hss.ScanStatus(status), Severity: hss.Severity(severity), ScanFailedCode: status, ScanFailedDescription: description, ImageID: description,
			LatestScanTime: timeOf(at), LatestUpdateTime: timeOf(at / 2),
		}
		if count >= 0 {
			row.Vulnerabilities, row.MaliciousFiles = new(int(min(count, math.MaxInt32))), new(0)
		}
		if multi {
			row.Architectures = []hss.AssociatedImage{
				{ID: name, ImageID: version, Digest: digest, ScanStatus: hss.ScanStatus(severity), Vulnerabilities: row.Vulnerabilities}, {UnsafeSettings: row.Vulnerabilities},
			}
		}
		packed, err := pack(&row)
		if length := len(id + namespace + name + version + digest + status + description + description); err != nil {
			if length <= maxText {
				t.Fatalf("%d bytes are refused: %v", length, err)
			}
			return
		}
		var got policy.Record
		packed.unpack(&got, new([3]int))
		if d := gocmp.Diff(plain(&row), got); d != "" {
			t.Error(d)
		}
		again, err := pack(&row)
		if err != nil || !packed.isSame(&again) || packed.isSameRow(&again) != hasID(id) {
			t.Errorf("packed again it differs: %v", err)
		}
	})
}

func TestACountBeyondWhatHSSDocumentsIsTheLargest(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int32{0: 0, 1: 1, math.MaxInt32: math.MaxInt32, math.MaxInt32 + 1: math.MaxInt32, math.MaxInt: math.MaxInt32, -1: unknown} {
		if got := packCount(&n); got != want {
			t.Errorf("%d is kept as %d, want %d", n, got, want)
		}
	}
	if packCount(nil) != unknown {
		t.Error("what is not sent is kept as a number")
	}
}

func TestWhatMakesTwoRecordsDiffer(t *testing.T) {
	t.Parallel()
	base := func() hss.Image {
		return hss.Image{
			ID: "1", Namespace: "n", Name: "a", Version: "1", Digest: "d", Type: "private_image", ScanStatus: "success", Severity: "Low",
			LatestScanTime: time.UnixMilli(5), LatestUpdateTime: time.UnixMilli(6), Vulnerabilities: new(1),
			Architectures: []hss.AssociatedImage{{ID: "x", Digest: "e", ScanStatus: "success"}},
		}
	}
	c, err := newCache(defaultCache())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change  func(*hss.Image)
		sameRow bool
	}{
		"nothing, which is the same": {func(*hss.Image) {}, true},
		"its id":                     {func(r *hss.Image) { r.ID = "2" }, false},
		"where its texts part":       {func(r *hss.Image) { r.Namespace, r.Name = "na", "" }, true},
		"its digest":                 {func(r *hss.Image) { r.Digest = "f" }, false},
		"its type":                   {func(r *hss.Image) { r.Type = "shared_image" }, false},
		"its status":                 {func(r *hss.Image) { r.ScanStatus = "failed" }, true},
		"its severity":               {func(r *hss.Image) { r.Severity = "High" }, true},
		"a number":                   {func(r *hss.Image) { r.Vulnerabilities = new(2) }, true},
		"a number that is not sent":  {func(r *hss.Image) { r.Vulnerabilities = nil }, true},
		"when it was scanned":        {func(r *hss.Image) { r.LatestScanTime = time.UnixMilli(7) }, true},
		"when it was pushed":         {func(r *hss.Image) { r.LatestUpdateTime = time.Time{} }, true},
		"an architecture's status":   {func(r *hss.Image) { r.Architectures[0].ScanStatus = "failed" }, true},
		"an architecture less":       {func(r *hss.Image) { r.Architectures = nil }, true},
	} {
		one, other := base(), base()
		test.change(&other)
		a, errA := pack(&one)
		b, errB := pack(&other)
		if err := cmp.Or(errA, errB); err != nil {
			t.Fatal(err)
		}
		same := strings.HasPrefix(name, "nothing")
		if a.isSame(&b) != same || (a.content(c.seed) == b.content(c.seed)) != same || a.isSameRow(&b) != test.sameRow {
			t.Errorf("%s: the same %v, the same row %v", name, a.isSame(&b), a.isSameRow(&b))
		}
	}
}
