package cluster_test

import (
	"fmt"
	"strings"
	"testing"
)

// testAudit has the image of running pods turn bad and good again. test/e2e does it
// with more pods; here hssgate has no other rights than the chart's.
func testAudit(t *testing.T, c *cluster) {
	c.deleteNamespace(t, shop)
	c.newNamespace(t, shop)
	c.kubectl(t, "apply", "--server-side", "-f", root+"/test/e2e/testdata/openreports.yaml")
	c.deploy(t, helm4, "audit", "--set", "config.audit.interval=15s", "--set", "config.cache.freshFor=1s")
	turns := c.newImage(t, "turns")
	c.hss.know(t, turns)
	c.createDeployment(t, "turns", "swr.cn-north-4.myhuaweicloud.com/prod/turns:1", 2)
	c.awaitDeployment(t, "turns")
	policy := []string{"get", "imagescanpolicy", release + "-default", "-o", "jsonpath={.status.lastAudit.evaluated} {.status.lastAudit.violations} {.status.lastAudit.firstViolations[*].name}"}
	c.awaitOutput(t, "2 0 ", policy...)

	bad := turns
	bad.SeverityLevel = "High"
	c.hss.know(t, bad)
	c.awaitOutput(t, "2 2 turns", policy...)
	c.awaitOutput(t, `2 pods violate policy hssgate-default (Deny): container "app": swr.cn-north-4.myhuaweicloud.com/prod/turns:1 — severity High, allowed Medium`,
		"-n", shop, "get", "events", "--field-selector", "reason=ImageViolation", "-o", "jsonpath={.items[*].message}")
	c.awaitOutput(t, "1 Deployment/turns", "-n", shop, "get", "reports.openreports.io", "hssgate", "--ignore-not-found", "-o",
		"jsonpath={.summary.fail} {.results[0].resources[0].kind}/{.results[0].resources[0].name}")

	c.hss.know(t, turns)
	c.awaitOutput(t, "2 0 ", policy...)
	c.kubectl(t, "-n", shop, "delete", "deployment/turns")
}

// testMovedTag moves a tag after HSS has scanned it. The scan of what was there before
// admits the pods, and the audit shows that they run another image, until HSS knows it.
func testMovedTag(t *testing.T, c *cluster) {
	c.deleteNamespace(t, shop)
	c.newNamespace(t, shop)
	c.deploy(t, helm4, "audit", "--set", "config.audit.interval=15s", "--set", "config.cache.freshFor=1s")
	scanned := c.newImage(t, "moves")
	c.hss.know(t, scanned)
	moved := c.pushApp(t, "moves", "moved")
	c.createDeployment(t, "moves", "swr.cn-north-4.myhuaweicloud.com/prod/moves:1", 2)
	c.awaitDeployment(t, "moves")
	policy := []string{"get", "imagescanpolicy", release + "-default", "-o", "jsonpath={.status.lastAudit.evaluated} {.status.lastAudit.violations} {.status.lastAudit.otherImages};"}
	c.awaitOutput(t, "2 0 2;", policy...)
	c.awaitOutput(t, fmt.Sprintf("2 pods run an image that is not the one HSS scanned under its tag: container %q: swr.cn-north-4.myhuaweicloud.com/prod/moves:1 runs as %s, and HSS scanned %s",
		"app", moved, scanned.ImageDigest), "-n", shop, "get", "events", "--field-selector", "reason=RunsOtherImage,involvedObject.kind=Deployment", "-o", "jsonpath={.items[*].message}")
	eventually(t, func() error {
		leader, _ := c.leader(t)
		metrics := c.kubectl(t, "get", "--raw", "/api/v1/namespaces/"+namespace+"/pods/"+leader.Name+":8080/proxy/metrics")
		if want := `hssgate_audit_other_image_pods{policy="` + release + `-default"} 2`; !strings.Contains(metrics, want) {
			return fmt.Errorf("the leader's metrics lack %s", want)
		}
		return nil
	})
	rescanned := newImageRow("moves", moved)
	rescanned.LatestScanTime = "-1h" // with the old time it would be the scan of the other image
	c.hss.know(t, rescanned)
	c.awaitOutput(t, "2 0 ;", policy...)
	c.kubectl(t, "-n", shop, "delete", "deployment/moves")
}

// awaitOutput waits until kubectl prints a text.
func (c *cluster) awaitOutput(t *testing.T, want string, args ...string) {
	t.Helper()
	eventually(t, func() error {
		if out := c.kubectl(t, args...); !strings.Contains(out, want) {
			return fmt.Errorf("kubectl %s: got %q, want %q", strings.Join(args, " "), out, want)
		}
		return nil
	})
}
