package e2e_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/hssgate/hssgate/hss/hsstest"
)

// How much runs before a gate starts.
const (
	warmPods   = 12
	warmImages = 4
)

// testWarmUp starts gates before a cluster in which pods run already.
func testWarmUp(t *testing.T, f *fixture) {
	for name, test := range map[string]func(*testing.T, *fixture){
		"ready only when the images that run are known": testWarm,
		"ready when time is up although HSS is dead":    testWarmUpWithoutHSS,
		"ready although pods may not be listed":         testWarmUpForbidden,
		"known from the synchronisation":                testWarmFromSync,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, f)
		})
	}
}

// newRunning makes a namespace for a gate that is still to start, with a policy
// and pods, most of which run. Their images have the project's host.
func (c *cluster) newRunning(t *testing.T, project string) (*space, *hsstest.Server) {
	t.Helper()
	s := (&gate{cluster: c, name: project}).newSpace(t)
	s.create(t, s.newPolicy("p"))
	hss := newHSS(t)
	for n := range warmImages + 1 {
		add(hss, row(fmt.Sprintf("app-%d", n)))
	}
	pods := s.client.CoreV1().Pods(s.name)
	for n := range warmPods + 1 {
		pod, err := pods.Create(t.Context(), newPod(fmt.Sprintf("web-%d", n), warmImage(project, n%warmImages)), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		pod.Status.Phase = corev1.PodRunning
		if n == warmPods { // it has an image of its own, and has ended
			pod.Status.Phase = corev1.PodSucceeded
		}
		if _, err := pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return s, hss
}

func warmImage(project string, n int) string {
	return fmt.Sprintf("%s.example.com/prod/app-%d:1", project, n)
}

func testWarm(t *testing.T, f *fixture) {
	s, hss := f.cluster.newRunning(t, "warm")
	// The first call is made alone, then the others side by side.
	hss.SetLatency(6 * time.Second)
	started := f.cluster.launch(t, setup{name: "warm", projects: map[string]*hsstest.Server{"warm": hss}, cache: "freshFor: 10m\nwarmUpTimeout: 1m"})
	eventually(t, func() error {
		code, body, err := get(t, "http://"+started.health+"/readyz/warm-up")
		want := regexp.MustCompile(fmt.Sprintf(`warm-up: 0 of %d images of \d+ running pods are known`, warmImages))
		if err == nil && (code != http.StatusInternalServerError || !want.MatchString(body)) {
			err = fmt.Errorf("got %d %s, want %s", code, body, want)
		}
		return err
	})
	if code, _, err := get(t, "http://"+started.health+"/readyz"); err != nil || code != http.StatusInternalServerError {
		t.Errorf("while it warms up, /readyz answers %d, error %v", code, err)
	}
	started.awaitReady(t)
	if got := lookUps(hss); got != warmImages {
		t.Errorf("HSS was asked %d times for %d images", got, warmImages)
	}
	started.awaitJudgement(t)
	s.gate = started
	for n := range warmImages {
		s.admitted(t, s.run(t, newPod(fmt.Sprintf("new-%d", n), warmImage("warm", n))))
	}
	if got := lookUps(hss); got != warmImages {
		t.Errorf("HSS was asked %d times when pods of known images came", got-warmImages)
	}
	hss.SetLatency(0)
	s.admitted(t, s.run(t, newPod("other", warmImage("warm", warmImages))))
	if got := lookUps(hss); got != warmImages+1 {
		t.Errorf("HSS was asked %d times for the image of a pod that had ended", got-warmImages)
	}
	code, metrics, err := get(t, "http://"+started.metrics+"/metrics")
	if want := fmt.Sprintf("\nhssgate_warm_up_images{state=\"known\"} %d\n", warmImages); err != nil || code != http.StatusOK || !strings.Contains(metrics, want) {
		t.Errorf("metrics: %d, error %v, want in them:%sgot: %q", code, err, want, regexp.MustCompile(`hssgate_warm_up_\S+ \S+`).FindAllString(metrics, -1))
	}
}

func testWarmUpWithoutHSS(t *testing.T, f *fixture) {
	_, hss := f.cluster.newRunning(t, "cold")
	hss.Close()
	began := time.Now()
	g := newGate(t, f.cluster, setup{name: "cold", projects: map[string]*hsstest.Server{"cold": hss}, cache: "warmUpTimeout: 8s"})
	if took := time.Since(began); took < 8*time.Second {
		t.Errorf("it was ready after %s", took)
	}
	g.logs(t, `"msg":"not warmed up in full: HSS will be asked for the rest when it is needed"`, fmt.Sprintf(`"missing":%d`, warmImages), "could not be looked up ahead of time, the first since ")
}

func testWarmUpForbidden(t *testing.T, f *fixture) {
	_, hss := f.cluster.newRunning(t, "blind")
	g := newGate(t, f.cluster, setup{
		name: "blind", projects: map[string]*hsstest.Server{"blind": hss}, cache: "warmUpTimeout: 5m", kubeconfig: f.cluster.withoutPods(t),
	})
	if got := lookUps(hss); got != 0 {
		t.Errorf("HSS was asked %d times", got)
	}
	g.logs(t, `"msg":"not warmed up, as the running pods may not be listed`, `cannot list resource \"pods\"`)
}

// withoutPods returns the kubeconfig of someone who may do what a gate does,
// except to list pods.
func (c *cluster) withoutPods(t *testing.T) string {
	t.Helper()
	const name = "blind"
	all := []string{"*"}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"hssgate.io", "admissionregistration.k8s.io", "coordination.k8s.io", "events.k8s.io"}, Resources: all, Verbs: all},
		{APIGroups: []string{""}, Resources: []string{"namespaces", "secrets", "events"}, Verbs: all},
	}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}},
	}
	rbac := c.Clientset(t).RbacV1()
	if _, err := rbac.ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := rbac.ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.Load(c.KubeConfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range config.AuthInfos {
		user.Impersonate = name
	}
	content, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "kubeconfig", string(content))
}

func testWarmFromSync(t *testing.T, f *fixture) {
	s, hss := f.cluster.newRunning(t, "synced")
	g := newGate(t, f.cluster, setup{
		name: "synced", projects: map[string]*hsstest.Server{"synced": hss}, cache: "freshFor: 10m", project: "sync: {enabled: true}",
	})
	s.gate = g
	for n := range warmImages + 1 {
		s.admitted(t, s.run(t, newPod(fmt.Sprintf("new-%d", n), warmImage("synced", n))))
	}
	if got := hss.Stats().CountImage("prod", "app-0"); got != 0 {
		t.Errorf("HSS was asked %d times for an image that it had listed", got)
	}
}

// logs checks that one line of the log has all these texts.
func (g *gate) logs(t *testing.T, texts ...string) {
	t.Helper()
	for line := range strings.Lines(g.log(t)) {
		found := true
		for _, text := range texts {
			found = found && strings.Contains(line, text)
		}
		if found {
			return
		}
	}
	t.Errorf("no line of the log has %q", texts)
}
