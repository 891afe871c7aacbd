package cluster_test

import (
	"testing"
)

// testAudit installs the chart as the first install, and rolls out what a
// policy would deny.
func testAudit(t *testing.T, w *world) {
	w.deploy(t, "install", "audit", "--create-namespace")
	for kind := range workloads {
		w.create(t, kind, "audited-"+kind, badImage)
	}
	for kind := range workloads {
		w.awaitRollout(t, "audited-"+kind)
	}
	w.sweep(t)
}

// testEnforce upgrades with other values, and tries good and bad images.
func testEnforce(t *testing.T, w *world) {
	w.deploy(t, "upgrade", "enforce")
	eventually(t, func() error {
		// The replicas are asked by turns.
		for range 4 {
			if err := w.judges(t.Context()); err != nil {
				return err
			}
		}
		return nil
	})
	for kind := range workloads {
		w.create(t, kind, "good-"+kind, goodImage)
		w.create(t, kind, "bad-"+kind, badImage)
	}
	for kind, refuser := range workloads {
		w.awaitRollout(t, "good-"+kind)
		w.awaitRefusal(t, refuser, "bad-"+kind)
	}
	w.sweep(t)
}

// testRollback goes back to the first revision.
func testRollback(t *testing.T, w *world) {
	w.runHelm(t, "rollback", release, "1", "--wait")
	eventually(t, func() error { return w.try(t.Context(), badImage) })
	w.create(t, "deployment", "rolled-back", badImage)
	w.awaitRollout(t, "rolled-back")
	w.sweep(t)
}
