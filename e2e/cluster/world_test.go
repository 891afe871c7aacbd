package cluster_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/controlplanetest"
)

const (
	release   = "hssgate"
	namespace = "hssgate-system"
	// shop is a namespace that is judged.
	shop = "shop"
	// goodImage and badImage are what HSS says they are.
	goodImage = "registry.example.com/prod/good:1"
	badImage  = "registry.example.com/prod/bad:1"

	accessKey = "CLUSTERACCESSKEY"
	secretKey = "cluster-secret-key-that-must-not-be-seen"
)

// patience is how long a test waits for what must come: a busy machine may be
// slow, and a CronJob takes up to a minute.
const patience = 10 * time.Minute

// world is a cluster, HSS, and what stands between the API server and hssgate.
type world struct {
	*controlplanetest.Environment
	client     kubernetes.Interface
	kubeconfig string
	helm       string
	hss        *hsstest.Server
	balancer   *balancer
	kubelet    *kubelet
}

func newWorld(t *testing.T) *world {
	t.Helper()
	binary, built := controlplanetest.StartBuild(t)
	w := &world{Environment: controlplanetest.Start(t, controlplanetest.WithoutCRDs(), controlplanetest.WithAuditLog(), controlplanetest.WithControllers())}
	// The limit is meant for controllers.
	w.Config.QPS = -1
	w.Config.WarningHandler = rest.NoWarnings{}
	w.client = w.Clientset(t)
	w.kubeconfig = write(t, "kubeconfig", string(w.KubeConfig))
	w.helm = tool(t, "helm")
	w.hss = newHSS(t)
	controlplanetest.StartProcess(t, tool(t, "kwok"), "--kubeconfig", w.kubeconfig,
		"--config", filepath.Join("testdata", "stages.yaml"), "--manage-all-nodes", "--node-lease-duration-seconds", "40", "--server-address", "")
	for _, name := range []string{"node-a", "node-b", "node-c"} {
		w.newNode(t, name)
	}
	w.newNamespace(t, shop)
	if err := <-built; err != nil {
		t.Fatal(err)
	}
	w.kubelet = newKubelet(t, w, binary)
	w.balancer = newBalancer(t, w.kubelet.ready)
	return w
}

// tool returns the path of a tool that make builds.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", ".cache", "tools", "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s isn't built: run make e2e: %v", name, err)
	}
	return path
}

// newHSS starts a server that knows a good and a bad image.
func newHSS(t *testing.T) *hsstest.Server {
	t.Helper()
	server := hsstest.NewServer(hsstest.WithCredentials(hsstest.Credential{AccessKey: accessKey, SecretKey: secretKey}))
	t.Cleanup(server.Close)
	server.Update(func(images []hsstest.Image) []hsstest.Image {
		good, bad := newImage("good"), newImage("bad")
		bad.SeverityLevel, bad.VulNum = "High", hsstest.Count(111)
		return append(images, good, bad)
	})
	return server
}

func newImage(name string) hsstest.Image {
	now := time.Now()
	return hsstest.Image{
		Namespace: "prod", ImageName: name, ImageVersion: "1",
		ImageType: "private_image", RegistryType: "SwrPrivate", Scannable: true,
		ScanStatus: "success", SeverityLevel: "Low",
		VulNum: hsstest.Count(0), UnsafeSettingNum: hsstest.Count(0), MaliciousFileNum: hsstest.Count(0),
		LatestUpdateTime: now.Add(-2 * time.Hour), LatestScanTime: now.Add(-time.Hour), LatestSyncTime: now.Add(-time.Minute),
	}
}

func (w *world) newNode(t *testing.T, name string) {
	t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelTopologyZone: "zone-" + name,
	}}}
	if _, err := w.client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// newNamespace makes a namespace and waits for what pods in it need.
func (w *world) newNamespace(t *testing.T, name string) {
	t.Helper()
	meta := metav1.ObjectMeta{Name: name}
	if _, err := w.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: meta}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.awaitServiceAccount(t, name)
}

func (w *world) awaitServiceAccount(t *testing.T, namespace string) {
	t.Helper()
	eventually(t, func() error {
		_, err := w.client.CoreV1().ServiceAccounts(namespace).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
}

// write puts a file into a folder of the test's own.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// eventually waits until condition returns nil.
func eventually(t *testing.T, condition func() error) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("after %s: %v", patience, err)
		case <-t.Context().Done():
			t.Fatal(err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
