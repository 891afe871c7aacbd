package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

const (
	release   = "hssgate"
	namespace = "hssgate-system"
	// selector finds hssgate's replicas.
	selector = "app.kubernetes.io/component=gate"
	// shop is a namespace whose pods are evaluated.
	shop = "shop"
	// goodImage and badImage are what HSS says they are; both run.
	goodImage = "swr.cn-north-4.myhuaweicloud.com/prod/good:1"
	badImage  = "swr.cn-north-4.myhuaweicloud.com/prod/bad:1"

	// patience is how long a test waits for what must happen: a busy machine may
	// be slow, a CronJob takes up to a minute, and kubelet backs off.
	patience = 10 * time.Minute
)

// cluster is a node with DNS, a simulated HSS, and images in its registry.
type cluster struct {
	*node
	config *rest.Config
	client kubernetes.Interface
	hss    *hss
	// bin is the folder with the programs that the images hold.
	bin string
	// version is that of the image and the chart, a new one for each run, since the
	// node keeps images.
	version string
	// auditStart is the length of the API server's audit log at the start.
	auditStart int64
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin+"/", "./cmd/hssgate", "./cmd/hss-simulator")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	run(t, build)
	licenses := exec.CommandContext(t.Context(), "hack/licenses.sh", "./cmd/hssgate", "./cmd/hss-simulator")
	licenses.Dir = root
	must(t, os.WriteFile(filepath.Join(bin, "LICENSES.txt"), []byte(run(t, licenses)), 0o644))

	c := &cluster{node: startNode(t), bin: bin, version: fmt.Sprintf("0.0.0-test.%d", time.Now().Unix())}
	c.connect(t)
	c.uninstall(t) // on a node that was kept, hssgate doesn't trust the simulator's new certificate
	log, err := os.Stat(c.auditLog())
	must(t, err)
	c.auditStart = log.Size()
	c.pushChart(t, c.version)
	c.push(t, "hssgate/hssgate:v"+c.version, root+"/Dockerfile", bin, root)
	c.push(t, "hssgate/hss-simulator:v"+c.version, root+"/hack/image/hss-simulator.Dockerfile", bin, root)
	c.hss = c.installHSS(t)
	good, bad := c.newImage(t, "good"), c.newImage(t, "bad")
	bad.SeverityLevel, bad.VulNum = "High", 111
	c.hss.know(t, good, bad)
	c.kubectl(t, "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout", patience.String())
	return c
}

// connect makes a client, at first and after a power cut.
func (c *cluster) connect(t *testing.T) {
	t.Helper()
	c.config = c.newConfig(t)
	client, err := kubernetes.NewForConfig(c.config)
	must(t, err)
	c.client = client
}

// newNamespace creates a namespace with labels, such as "a=b", unless it exists.
func (c *cluster) newNamespace(t *testing.T, name string, labels ...string) {
	t.Helper()
	c.apply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: "+name+"}}")
	if len(labels) > 0 {
		c.kubectl(t, append([]string{"label", "--overwrite", "namespace", name}, labels...)...)
	}
	eventually(t, func() error {
		_, err := c.client.CoreV1().ServiceAccounts(name).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
}

// deleteNamespace deletes a namespace and waits until it is gone.
func (c *cluster) deleteNamespace(t *testing.T, name string) {
	t.Helper()
	c.kubectl(t, "delete", "namespace", name, "--ignore-not-found", "--timeout", patience.String())
}

// newImage builds and pushes an image of a small web server, whose content is
// its name, and returns it as HSS knows it: scanned, nothing found.
func (c *cluster) newImage(t *testing.T, name string) imageRow {
	t.Helper()
	return newImageRow(name, c.pushApp(t, name, name))
}

// pushApp pushes prod/NAME:1, whose web server and `cat /www/index.html` give
// the content, and returns its digest.
func (c *cluster) pushApp(t *testing.T, name, content string) string {
	t.Helper()
	folder := t.TempDir()
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("%v: hack/debian.sh installs busybox-static", err)
	}
	for file, data := range map[string]string{"busybox": string(busybox), "index.html": content} {
		must(t, os.WriteFile(filepath.Join(folder, file), []byte(data), 0o755))
	}
	return c.push(t, "prod/"+name+":1", "testdata/app.Dockerfile", "", folder)
}

// newPod returns a pod that Pod Security "restricted" admits.
func newPod(name, image string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: podSpec(image)}
}

func podSpec(image string) corev1.PodSpec {
	return corev1.PodSpec{
		Containers:                    []corev1.Container{newContainer("app", image)},
		TerminationGracePeriodSeconds: new(int64(1)),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
	}
}

func newContainer(name, image string) corev1.Container {
	return corev1.Container{Name: name, Image: image, SecurityContext: &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}}
}

// plugin returns a call of kubectl hssgate on the node.
func (c *cluster) plugin(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if err := os.Symlink("hssgate", filepath.Join(c.bin, "kubectl-hssgate")); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	return c.command(t.Context(), append([]string{"exec", "sh", "-c", `PATH=$0:$PATH exec kubectl hssgate "$@"`, c.bin}, args...)...)
}

// createPod creates a pod.
func (c *cluster) createPod(ctx context.Context, namespace string, pod *corev1.Pod) error {
	_, err := c.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
	return err
}

// startPod creates a pod and waits until it is ready.
func (c *cluster) startPod(t *testing.T, namespace string, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	must(t, c.createPod(t.Context(), namespace, pod))
	return c.awaitPod(t, namespace, pod.Name, isReady)
}

// awaitPod waits until a pod is as it should be.
func (c *cluster) awaitPod(t *testing.T, namespace, name string, is func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	eventually(t, func() (err error) {
		pod, err = c.client.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err == nil && !is(pod) {
			err = fmt.Errorf("pod %s is not yet as it should be: %+v", name, pod.Status)
		}
		return err
	})
	return pod
}

func isReady(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// review sends a server-side dry run of a pod through the API server, and so
// through the Service to hssgate.
func (c *cluster) review(ctx context.Context, image string) error {
	_, err := c.client.CoreV1().Pods(shop).Create(ctx, newPod("reviewed", image), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// warns returns nil if hssgate admits a bad image with a warning of what HSS says of it.
func (c *cluster) warns(t *testing.T) error {
	t.Helper()
	out, err := c.command(t.Context(), "exec", "kubectl", "-n", shop, "run", "reviewed", "--image", badImage, "--dry-run=server").CombinedOutput()
	if err == nil && !strings.Contains(string(out), "severity High") {
		err = errors.New("it has no warning")
	}
	if err != nil {
		return fmt.Errorf("a pod with a bad image: %w: %s", err, out)
	}
	return nil
}

// enforces returns nil if hssgate admits a good image and denies a bad one for
// what HSS says of it.
func (c *cluster) enforces(ctx context.Context) error {
	if err := c.review(ctx, goodImage); err != nil {
		return fmt.Errorf("a good image: %w", err)
	}
	return c.denies(ctx)
}

// denies returns nil if hssgate denies a bad image for what HSS says of it.
func (c *cluster) denies(ctx context.Context) error {
	err := c.review(ctx, badImage)
	switch {
	case err == nil:
		return fmt.Errorf("a pod with a bad image is admitted")
	case !strings.Contains(err.Error(), "severity High"):
		return err
	}
	return nil
}

// report logs what explains a failure.
func (c *cluster) report(t *testing.T) {
	t.Helper()
	if !t.Failed() {
		return
	}
	for _, args := range [][]string{
		{"get", "pods", "-A", "-o", "wide"},
		{"get", "events", "-A", "--sort-by=.lastTimestamp"},
		{"-n", namespace, "logs", "-l", "app.kubernetes.io/name=hssgate", "--prefix", "--tail=20"},
	} {
		out, err := c.command(context.WithoutCancel(t.Context()), append([]string{"exec", "kubectl"}, args...)...).CombinedOutput()
		t.Logf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// must ends a test that can't go on.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until condition returns nil.
func eventually(t *testing.T, condition func() error) {
	t.Helper()
	var wrong error
	is := func(context.Context) (bool, error) {
		wrong = condition()
		return wrong == nil, nil
	}
	if wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, patience, true, is) != nil {
		t.Fatalf("after up to %s: %v", patience, wrong)
	}
}

func toYAML(t *testing.T, value any) string {
	t.Helper()
	data, err := yaml.Marshal(value)
	must(t, err)
	return string(data)
}
