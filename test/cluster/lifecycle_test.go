package cluster_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// testLifecycle takes one release through its life with one Helm.
func testLifecycle(helm string) func(*testing.T, *cluster) {
	return func(t *testing.T, c *cluster) {
		c.uninstall(t) // what the scenario before left
		c.deleteNamespace(t, shop)
		c.newNamespace(t, shop)
		c.deploy(t, helm, "audit")
		c.checkContainer(t)
		c.startPod(t, shop, newPod("good", goodImage))
		eventually(t, func() error { return c.warns(t) })
		c.startPod(t, shop, newPod("bad", badImage))

		c.deploy(t, helm, "enforce")
		eventually(t, func() error { return c.enforces(t.Context()) })

		if out := c.helm(t, helm, "test", release, "--namespace", namespace, "--timeout", patience.String()); !strings.Contains(out, "Succeeded") {
			t.Errorf("helm test: %s", out)
		}

		c.helm(t, helm, "rollback", release, "1", "--namespace", namespace, "--wait", "--timeout", patience.String())
		eventually(t, func() error { return c.review(t.Context(), badImage) })

		c.uninstall(t)
		c.startPod(t, shop, newPod("after", badImage))
		c.deleteNamespace(t, shop)
	}
}

// testTutorial runs all commands of docs/tutorial.md, and logs the time to the first denied pod.
func testTutorial(t *testing.T, c *cluster) {
	c.uninstall(t)
	c.deleteNamespace(t, shop)
	content, err := os.ReadFile(root + "/docs/tutorial.md")
	must(t, err)
	page := strings.ReplaceAll(string(content), "oci://ghcr.io/hssgate/charts/hssgate --version 0.1.0", chartReference+" --plain-http --version "+c.version)
	first, rest, _ := strings.Cut(page, "\n## 3. ")
	start := time.Now()
	c.follow(t, first)
	t.Logf("the first pod was denied %s after the first command", time.Since(start).Round(time.Second))
	// The node would wait two minutes for the registry of images that don't exist.
	c.follow(t, strings.Replace(rest, "kubectl delete namespace", "kubectl -n shop delete pods --all --force\nkubectl delete namespace", 1))
}

// follow runs the commands of a part of a page, and checks that they show what it shows.
func (c *cluster) follow(t *testing.T, page string) {
	t.Helper()
	script, shown := "exec 2>&1; set -e; cd \"$HOME\"; PATH="+c.bin+":$PATH\n", []string{}
	for _, block := range regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		if block[1] == "sh" {
			script += block[2]
			continue
		}
		shown = append(shown, block[2])
		for _, command := range regexp.MustCompile(`(?m)^\$ (.*)$`).FindAllStringSubmatch(block[2], -1) {
			script += "echo '$ " + command[1] + "'; " + command[1] + " || true\n"
			if strings.Contains(command[1], "create namespace") { // nobody types that fast
				script += "until kubectl -n " + shop + " get serviceaccount default >/dev/null 2>&1; do sleep 0.1; done\n"
			}
		}
	}
	out := c.exec(t, "env", "HOME="+t.TempDir(), "bash", "-c", script)
	for _, block := range shown {
		if !strings.Contains(out, block) {
			t.Errorf("docs/tutorial.md shows\n%s\nand its commands\n%s", block, out)
		}
	}
}

// uninstall removes the release, if there is one, and what belongs to it.
func (c *cluster) uninstall(t *testing.T) {
	t.Helper()
	c.helm(t, helm4, "uninstall", release, "--namespace", namespace, "--ignore-not-found", "--wait", "--timeout", patience.String())
	c.deleteNamespace(t, namespace)
}

// testUninstall looks through every kind of object that the API server has, but for
// events, which expire, and APIServices, which come and go with their definitions.
func testUninstall(t *testing.T, c *cluster) {
	c.enforce(t)
	c.helm(t, helm4, "uninstall", release, "--namespace", namespace, "--wait", "--timeout", patience.String())
	kinds := strings.ReplaceAll(strings.TrimSpace(c.kubectl(t, "api-resources", "--verbs=list", "-o", "name")), "\n", ",")
	of := regexp.MustCompile(`(?m)^\w+ (?:` + namespace + `/\S+|\S*/\S*hssgate\S*)$`)
	ofEveryNamespace := regexp.MustCompile(`^(Event|APIService|Namespace) |/(default|kube-root-ca\.crt)$`)
	want := []string{
		"ConfigMap hssgate-system/hss-ca", // of the test itself, with the Secret
		"CustomResourceDefinition /clusterimagescanexceptions.hssgate.io",
		"CustomResourceDefinition /imagescanexceptions.hssgate.io",
		"CustomResourceDefinition /imagescanpolicies.hssgate.io",
		"Secret hssgate-system/hss-keys",
	}
	eventually(t, func() error {
		all := c.kubectl(t, "get", kinds, "-A", "-o", `jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{"\n"}{end}`)
		left := slices.DeleteFunc(of.FindAllString(all, -1), ofEveryNamespace.MatchString)
		slices.Sort(left)
		if diff := cmp.Diff(want, slices.Compact(left)); diff != "" {
			return fmt.Errorf("what is left behind (-want +got):\n%s", diff)
		}
		return nil
	})
	c.startPod(t, shop, newPod("after-uninstall", badImage))
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
