package cluster_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"
)

const (
	accessKey = "CLUSTERACCESSKEY"
	secretKey = "cluster-secret-key-that-must-not-be-seen"
)

// hss is a simulated HSS that runs in the cluster, at https://hss.hss.svc.
type hss struct {
	cluster *cluster
	rows    map[string]imageRow
	ca      string
}

// imageRow is an image as HSS lists it.
type imageRow struct {
	Namespace        string `json:"namespace"`
	ImageName        string `json:"image_name"`
	ImageVersion     string `json:"image_version"`
	ImageType        string `json:"image_type"`
	ImageDigest      string `json:"image_digest"`
	ScanStatus       string `json:"scan_status"`
	SeverityLevel    string `json:"severity_level"`
	VulNum           int    `json:"vul_num"`
	UnsafeSettingNum int    `json:"unsafe_setting_num"`
	MaliciousFileNum int    `json:"malicious_file_num"`
	LatestUpdateTime string `json:"latest_update_time"`
	LatestScanTime   string `json:"latest_scan_time"`
	LatestSyncTime   string `json:"latest_sync_time"`
}

// newImageRow returns prod/NAME:1, scanned, without findings.
func newImageRow(name, digest string) imageRow {
	return imageRow{
		Namespace: "prod", ImageName: name, ImageVersion: "1", ImageType: "private_image", ImageDigest: digest,
		ScanStatus: "success", SeverityLevel: "Low", LatestUpdateTime: "-48h", LatestScanTime: "-6h", LatestSyncTime: "-5h",
	}
}

// know adds or changes images that HSS knows, and waits until the simulator has
// read them: hssgate remembers for a while what HSS doesn't know.
func (h *hss) know(t *testing.T, rows ...imageRow) {
	t.Helper()
	for _, row := range rows {
		h.rows[row.ImageName] = row
	}
	before := h.reads(t)
	if out := h.writeInventory(t); strings.Contains(out, "unchanged") {
		return
	}
	eventually(t, func() error {
		if h.reads(t) == before {
			return errors.New("the simulated HSS has not read its inventory again")
		}
		return nil
	})
}

// forget removes the images that know added, but for those of the cluster itself.
func (h *hss) forget() {
	maps.DeleteFunc(h.rows, func(name string, _ imageRow) bool { return name != "good" && name != "bad" })
}

// reads returns how often the simulator has read its inventory again.
func (h *hss) reads(t *testing.T) int {
	t.Helper()
	return strings.Count(h.cluster.kubectl(t, "-n", "hss", "logs", "deployment/hss"), "inventory reloaded")
}

func (h *hss) writeInventory(t *testing.T) string {
	t.Helper()
	images := []imageRow{}
	for _, name := range slices.Sorted(maps.Keys(h.rows)) {
		images = append(images, h.rows[name])
	}
	return h.cluster.apply(t, toYAML(t, map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": metav1.ObjectMeta{Name: "inventory", Namespace: "hss"},
		"data": map[string]string{"inventory.yaml": toYAML(t, map[string]any{"images": images})},
	}))
}

// installHSS starts the simulator.
func (c *cluster) installHSS(t *testing.T) *hss {
	t.Helper()
	certificate, key, err := cert.GenerateSelfSignedCertKey("hss.hss.svc", nil, nil)
	must(t, err)
	h := &hss{cluster: c, rows: map[string]imageRow{}, ca: string(certificate)}
	c.newNamespace(t, "hss")
	h.writeInventory(t)
	c.apply(t, toYAML(t, map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": metav1.ObjectMeta{Name: "hss-tls", Namespace: "hss"}, "type": "kubernetes.io/tls",
		"stringData": map[string]string{"tls.crt": string(certificate), "tls.key": string(key)},
	}))
	manifests, err := os.ReadFile("testdata/hss.yaml")
	must(t, err)
	c.apply(t, strings.ReplaceAll(string(manifests), "VERSION", "v"+c.version))
	c.kubectl(t, "-n", "hss", "rollout", "status", "deployment/hss", "--timeout", patience.String())
	return h
}

// testDoctor has doctor run in a pod of hssgate, with the pod's configuration and credentials.
func testDoctor(t *testing.T, c *cluster) {
	c.enforce(t)
	command := c.plugin(t, "doctor", "-n", namespace, "-o", "json")
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	var r struct {
		Projects []struct {
			Findings []struct{ Check, Verdict, Found string }
		}
	}
	if json.Unmarshal(out, &r) != nil || len(r.Projects) != 1 {
		t.Fatalf("got %v, want a report of one project\n%s\n%s", err, out, stderr.String())
	}
	verdicts := map[string]string{}
	for _, f := range r.Projects[0].Findings {
		verdicts[f.Check] = f.Verdict
	}
	for _, check := range []string{"credentials", "project ID", "clock", "permission: list of images", "filters"} {
		if verdicts[check] != "OK" {
			t.Errorf("%s is %q, want OK\n%s\n%s", check, verdicts[check], out, stderr.String())
		}
	}
}
