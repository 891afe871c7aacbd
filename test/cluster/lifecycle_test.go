package cluster_test

import (
	"regexp"
	"strings"
	"testing"
)

// testLifecycle takes one release through its life with one Helm.
func testLifecycle(helm string) func(*testing.T, *cluster) {
	return func(t *testing.T, c *cluster) {
		c.uninstall(t) // what the scenario before left
		c.deleteNamespace(t, shop)
		c.newNamespace(t, shop)
		c.deploy(t, helm, "audit")
		c.checkContainer(t)
		c.startPod(t, shop, "good", goodImage)
		eventually(t, func() error { return c.warns(t.Context()) })
		c.startPod(t, shop, "bad", badImage)

		c.deploy(t, helm, "enforce")
		eventually(t, func() error { return c.enforces(t.Context()) })

		if out := c.helm(t, helm, "test", release, "--namespace", namespace, "--timeout", patience.String()); !strings.Contains(out, "Succeeded") {
			t.Errorf("helm test: %s", out)
		}

		c.helm(t, helm, "rollback", release, "1", "--namespace", namespace, "--wait", "--timeout", patience.String())
		eventually(t, func() error { return c.review(t.Context(), badImage) })

		c.uninstall(t)
		c.startPod(t, shop, "after", badImage)
		c.deleteNamespace(t, shop)
	}
}

// uninstall removes the release, if there is one, and what belongs to it.
func (c *cluster) uninstall(t *testing.T) {
	t.Helper()
	c.helm(t, helm4, "uninstall", release, "--namespace", namespace, "--ignore-not-found", "--wait", "--timeout", patience.String())
	c.deleteNamespace(t, namespace)
}

// checkContainer checks what hssgate runs as, from its pods and from /proc.
func (c *cluster) checkContainer(t *testing.T) {
	t.Helper()
	for _, replica := range c.replicas(t) {
		for _, volume := range replica.Spec.Volumes {
			if volume.EmptyDir != nil || volume.HostPath != nil {
				t.Errorf("the volume %s of pod %s is writable", volume.Name, replica.Name)
			}
		}
		pid := c.process(t, replica)
		status := c.exec(t, "cat", "/proc/"+pid+"/status")
		for _, want := range []string{
			"Uid:\t65532\t65532\t65532\t65532\n", "CapPrm:\t0000000000000000\n", "CapEff:\t0000000000000000\n",
			"CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n",
		} {
			if !strings.Contains(status, want) {
				t.Errorf("process %s: want %q in its status:\n%s", pid, want, status)
			}
		}
		mounts := c.exec(t, "cat", "/proc/"+pid+"/mountinfo")
		if !regexp.MustCompile(`(?m)^\d+ \d+ \S+ \S+ / ro,`).MatchString(mounts) {
			t.Errorf("process %s: its root file system is not mounted read-only:\n%s", pid, mounts)
		}
	}
}
