package cluster_test

import "testing"

// TestCluster takes one release through its life. Each step goes on from where
// the one before left the cluster.
func TestCluster(t *testing.T) {
	w := newWorld(t)
	for _, step := range []struct {
		name string
		test func(*testing.T, *world)
	}{
		{"installed in mode audit it denies nothing", testAudit},
		{"upgraded to mode enforce it lets good images roll out and refuses bad ones", testEnforce},
		{"no request fails while every replica and the certificate are replaced", testReplacement},
		{"a replica that is killed costs no more than what it was asked", testKilled},
		{"gone altogether it can come back", testGone},
		{"rolled back it denies nothing again", testRollback},
		{"of a running image that turns bad it tells within one audit interval", testBackgroundAudit},
		{"it asks for nothing that it has no right to", testRights},
		{"uninstalled it leaves its definitions and nothing else", testUninstall},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.test(t, w) }) {
			return
		}
	}
}
