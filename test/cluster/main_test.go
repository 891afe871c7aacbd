package cluster_test

import (
	"os"
	"testing"
)

// TestCluster runs all scenarios on one node, one after the other.
func TestCluster(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("the tests of test/cluster need root, since they start a node with kubelet and containerd: sudo make e2e")
	}
	c := newCluster(t)
	for _, scenario := range []struct {
		name string
		test func(*testing.T, *cluster)
	}{
		{"installed, upgraded, rolled back and uninstalled with Helm 4", testLifecycle(helm4)},
		{"installed, upgraded, rolled back and uninstalled with Helm 3", testLifecycle(helm3)},
		{"a rolling update fails no review", testRollingUpdate},
		{"a killed leader", testLeaderKilled},
		{"an evicted replica fails no review", testEviction},
		{"both replicas deleted at once fail no review", testAllDeleted},
		{"a replica that hangs fails few reviews", testReplicaStopped},
		{"the Secret of the CA comes back", testCADeleted},
		{"a damaged caBundle is repaired", testCABundleDamaged},
		{"kubelet and containerd killed fail no review", testKubeletKilled},
		{"an API server gone for a minute", testAPIServerGone},
		{"a power cut heals without a hand", testPowerCut},
		{"pods refused while the gate was gone come back", testGateGone},
	} {
		t.Run(scenario.name, func(t *testing.T) {
			t.Cleanup(func() { c.report(t) })
			scenario.test(t, c)
		})
	}
}
