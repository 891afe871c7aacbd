package hss_test

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
)

// readTestdata returns a file of testdata.
func readTestdata(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestReferencePageExampleDecodes(t *testing.T) {
	t.Parallel()
	got, err := read(t, string(readTestdata(t, "example-response.json")))
	if err != nil {
		t.Fatal(err)
	}
	if got.Total != 3 || len(got.Images) != 3 {
		t.Fatalf("total %d, %d images, want 3 and 3", got.Total, len(got.Images))
	}
	want := hss.Image{
		ID: "111(私有镜像举例)", Namespace: "aaa", Name: "centos7", Version: "common",
		ImageID: "cebcdacde18091448a5040dc55bb1a9f6540b093db8XXXXXX",
		Digest:  "sha256:cebcdacde18091448a5040dc55bb1a9f6540b093db8XXXXXX",
		Type:    hss.ImageTypePrivate, ScanStatus: hss.ScanStatusSuccess,
		LatestUpdateTime: time.UnixMilli(1687664346000).UTC(), LatestScanTime: time.UnixMilli(1691748641788).UTC(),
		Vulnerabilities: new(111), UnsafeSettings: new(1), MaliciousFiles: new(0),
	}
	if diff := cmp.Diff(want, got.Images[0]); diff != "" {
		t.Errorf("first row (-want +got):\n%s", diff)
	}
	if code := got.Images[1].ScanFailedCode; code != "authentication_failed" {
		t.Errorf("second row's scan_failed_code is %q", code)
	}
}
