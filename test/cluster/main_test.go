package cluster_test

import (
	"os"
	"testing"
)

// TestCluster runs all scenarios on one node, one after the other.
func TestCluster(t *testing.T) {
	if os.Getenv("HSSGATE_E2E") == "" { // it takes a quarter of an hour, and go test ends after ten minutes by itself
		t.Skip("the tests of test/cluster are run by make e2e")
	}
	if os.Geteuid() != 0 {
		t.Fatal("the tests of test/cluster need root, since they start a node with kubelet and containerd: sudo make e2e")
	}
	c := newCluster(t)
	for _, scenario := range []struct {
		name string
		test func(*testing.T, *cluster)
	}{
		{"a bad image is denied wherever a pod names one", testImages},
		{"good workloads roll out and bad ones don't", testWorkloads},
		{"a static pod is beyond admission", testStaticPod},
		{"a pinned pod runs what HSS scanned, though the tag has moved", testPinning},
		{"a rolling update fails no review", testRollingUpdate},
		{"a killed leader fails few reviews", testLeaderKilled},
		{"an evicted replica fails no review", testEviction},
		{"both replicas deleted at once fail no review", testAllDeleted},
		{"a replica that hangs fails few reviews", testReplicaStopped},
		{"the audit shows an image that turns bad", testAudit},
		{"the audit shows a pod whose tag moved", testMovedTag},
		// Its requests are refused for a moment whenever an API server starts, and while it ends after an uninstallation.
		{"hssgate requests nothing that it has no right to", testRights},
		// Its own requests are refused, so the audit log is read before.
		{"a stolen token changes nothing but the caBundle", testStolenToken},
		{"kubectl hssgate allow lets an image in for a while", testAllow},
		{"kubectl hssgate doctor runs in a pod of hssgate", testDoctor},
		{"pods with many images keep nobody else waiting", testManyImages},
		{"a flood of all ports ends no replica", testFlood},
		{"the Secret of the CA comes back", testCADeleted},
		{"a damaged caBundle is repaired", testCABundleDamaged},
		{"kubelet and containerd killed fail no review", testKubeletKilled},
		{"an API server gone for a minute", testAPIServerGone},
		{"a power cut heals without a hand", testPowerCut},
		{"pods refused while the gate was gone come back", testGateGone},
		{"installed, upgraded, rolled back and uninstalled with Helm 4", testLifecycle(helm4)},
		{"installed, upgraded, rolled back and uninstalled with Helm 3", testLifecycle(helm3)},
		{"the tutorial", testTutorial},
		{"uninstalled it leaves its definitions and nothing else", testUninstall},
	} {
		t.Run(scenario.name, func(t *testing.T) {
			t.Cleanup(func() { c.report(t) })
			scenario.test(t, c)
		})
	}
}
