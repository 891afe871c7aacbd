package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	glassImage  = "main.example.com/prod/glass:1"
	glassReason = "INC-7: the shop is down"
)

func breakable(spec *v1alpha1.ImageScanPolicySpec) { spec.BreakGlass = v1alpha1.PermissionAllow }

// breaking annotates a pod to break the glass.
func breaking(reason string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations = map[string]string{v1alpha1.BreakGlassAnnotation: reason} }
}

// testBreakGlass breaks the glass with and without the right to.
func testBreakGlass(t *testing.T, f *fixture) {
	add(f.hss["main"], row("glass", high), row("glass-clean"))
	f.hss["glass"].Inject(hsstest.HangFault().Times(0))
	for name, test := range map[string]func(*testing.T, *fixture){
		"who may, gets past, and everyone can see it":           testGlassBroken,
		"who may not, doesn't":                                  testGlassForged,
		"the right to one policy is not that to another":        testGlassOfTwoPolicies,
		"a policy that doesn't allow it isn't moved by anybody": testGlassForbidden,
		"a workload's pods go by the right of its controller":   testGlassOfWorkloads,
		"an update that brings an image is the same":            testGlassOnUpdate,
		"it works while HSS hangs":                              testGlassWhileHSSHangs,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, f)
		})
	}
}

// as returns the space for a user who may create pods and workloads in it, and
// break the glass of the policies.
func (s *space) as(t *testing.T, user string, policies ...string) *space {
	t.Helper()
	rbac := s.cluster.Clientset(t).RbacV1()
	name := s.name + "-" + strings.ReplaceAll(user, ":", "-")
	subjects := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}}
	role := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
	rules := []rbacv1.PolicyRule{{APIGroups: []string{"", "apps"}, Resources: []string{"pods", "deployments"}, Verbs: []string{"*"}}}
	if len(policies) > 0 {
		rules = append(rules, rbacv1.PolicyRule{
			APIGroups: []string{"hssgate.io"}, Resources: []string{"imagescanpolicies"}, Verbs: []string{"breakglass"}, ResourceNames: policies,
		})
	}
	if _, err := rbac.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: subjects, RoleRef: role}
	if _, err := rbac.ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	own := s.impersonating(t, user)
	eventually(t, func() error {
		_, err := own.client.CoreV1().Pods(s.name).List(t.Context(), metav1.ListOptions{})
		return err
	})
	return own
}

// impersonating returns the space for a user as it is.
func (s *space) impersonating(t *testing.T, user string) *space {
	t.Helper()
	own := &space{gate: s.gate, name: s.name, warnings: &warnings{}}
	config := rest.CopyConfig(s.cluster.Config)
	config.WarningHandlerWithContext = own.warnings
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	var err error
	if own.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	return own
}

func mayNot(user, policy string) string {
	return fmt.Sprintf("break-glass is not honoured: user %q may not breakglass imagescanpolicies.hssgate.io %s", user, policy)
}

func testGlassBroken(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	p := s.enforce(t, "p", breakable)
	alice := s.as(t, "alice", p.Name)
	want := []string{
		"let in by break-glass: " + highLine(s, glassImage),
		fmt.Sprintf("break-glass by user \"alice\" past %s: %s", p.Name, glassReason),
	}
	for _, create := range []func(*testing.T, *corev1.Pod) error{alice.try, alice.run} {
		if err := create(t, newPod("web", glassImage, breaking(glassReason))); err != nil {
			t.Error(err)
		}
		alice.warned(t, want...)
	}
	annotations := s.annotations(t, "web", "break-glass")
	for key, want := range map[string]string{
		"decision": "Admitted", "break-glass": "alice:" + glassReason, "violations": "BreakGlass: " + highLine(s, glassImage),
	} {
		if got := annotations["pods.hssgate.io/"+key]; got != want {
			t.Errorf("annotation %s: got %q, want %q", key, got, want)
		}
	}
	s.checkGlassTold(t, p.Name)

	t.Log("without the annotation, the right is none to anything")
	alice.denied(t, alice.run(t, newPod("plain", glassImage)), `pod "plain"`, []string{highLine(s, glassImage)}, adviseRebuild)
	alice.admitted(t, alice.run(t, newPod("clean", "main.example.com/prod/glass-clean:1", breaking(glassReason))))
}

// checkGlassTold checks the Event, of which there is one for the one pod that
// wasn't only tried, and the metric.
func (s *space) checkGlassTold(t *testing.T, policy string) {
	t.Helper()
	pod, err := s.client.CoreV1().Pods(s.name).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	events := s.events(t, "BreakGlass")
	note := fmt.Sprintf("user \"alice\" broke the glass past policies %s: %s", policy, glassReason)
	if len(events) != 1 || events[0].Message != note || events[0].InvolvedObject.UID != pod.UID || events[0].Type != corev1.EventTypeWarning {
		t.Errorf("got events %+v, want one on the pod: %s", events, note)
	}
	_, metrics, _ := get(t, "http://"+s.metrics+"/metrics")
	if want := fmt.Sprintf("hssgate_breakglass_total{policy=%q} 1\n", policy); !strings.Contains(metrics, want) {
		t.Errorf("metrics lack %s", want)
	}
}

func testGlassForged(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	p := s.enforce(t, "p", breakable)
	mallory := s.as(t, "mallory")
	lines := []string{highLine(s, glassImage)}
	refused := mayNot("mallory", p.Name)
	says(t, mallory.run(t, newPod("web", glassImage, breaking(glassReason))), lines[0], refused)
	mallory.warned(t, refused)
	if got := s.annotations(t, "web", "break-glass-refused"); got["pods.hssgate.io/break-glass-refused"] != refused || got["pods.hssgate.io/break-glass"] != "" {
		t.Errorf("got annotations %v", got)
	}

	t.Log("rights in the namespace only, and on policies in general, are none")
	rbac := s.client.RbacV1()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}}}
	if _, err := rbac.Roles(s.name).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "all"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "all"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "mallory"}}}
	if _, err := rbac.RoleBindings(s.name).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		_, err := mallory.client.CoreV1().Secrets(s.name).List(t.Context(), metav1.ListOptions{})
		return err
	})
	says(t, mallory.run(t, newPod("web", glassImage, breaking(glassReason))), refused)
	says(t, mallory.run(t, newPod("web", glassImage, breaking(" "))), "annotation hssgate.io/break-glass must say why")
}

func testGlassOfTwoPolicies(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	p, q := s.enforce(t, "p", breakable), s.enforce(t, "q", breakable)
	bob := s.as(t, "bob", p.Name)
	says(t, bob.run(t, newPod("web", glassImage, breaking(glassReason))), "denied by 2 policies", mayNot("bob", q.Name))
	carol := s.as(t, "carol", p.Name, q.Name)
	if err := carol.run(t, newPod("web", glassImage, breaking(glassReason))); err != nil {
		t.Error(err)
	}
}

func testGlassForbidden(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	p := s.enforce(t, "p")
	says(t, s.run(t, newPod("web", glassImage, breaking(glassReason))), "break-glass is not honoured: policy "+p.Name+" forbids it")
	s.patchPolicy(t, p, `{"spec":{"breakGlass":"Allow"}}`)
	s.settle(t)
	t.Log("a cluster administrator has every right")
	if err := s.run(t, newPod("web", glassImage, breaking(glassReason))); err != nil {
		t.Error(err)
	}
}

func testGlassOfWorkloads(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	p := s.enforce(t, "p", breakable)
	deployment := newDeployment("web", glassImage)
	deployment.Spec.Template.Annotations = map[string]string{v1alpha1.BreakGlassAnnotation: glassReason}
	if _, err := s.client.AppsV1().Deployments(s.name).Create(t.Context(), deployment, metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
	s.warned(t, "its pods will be denied: "+highLine(s, glassImage),
		"break-glass counts by who creates a pod, and these are created by a controller: its right is what they need")

	const user = "system:serviceaccount:kube-system:replicaset-controller"
	controller := s.as(t, user)
	says(t, controller.run(t, newPod("web", glassImage, breaking(glassReason))), mayNot(user, p.Name)+" (a workload's pods are created by its controller, whose right counts: create the pod itself)")
}

func testGlassOnUpdate(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	p := s.enforce(t, "p", breakable)
	alice, mallory := s.as(t, "alice", p.Name), s.as(t, "mallory")
	alice.admitted(t, alice.run(t, newPod("web", "main.example.com/prod/glass-clean:1")))
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}},"spec":{"containers":[{"name":"app","image":%q}]}}`, v1alpha1.BreakGlassAnnotation, glassReason, glassImage)
	change := func(s *space) error {
		_, err := s.client.CoreV1().Pods(s.name).Patch(t.Context(), "web", types.StrategicMergePatchType, patch, metav1.PatchOptions{})
		return err
	}
	says(t, change(mallory), mayNot("mallory", p.Name))
	if err := change(alice); err != nil {
		t.Error(err)
	}
}

func testGlassWhileHSSHangs(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	p := s.enforce(t, "p", breakable)
	alice := s.as(t, "alice", p.Name)
	const image = "glass.example.com/prod/app:1"
	says(t, alice.run(t, newPod("web", image)), "HSS did not answer in time")
	if err := alice.run(t, newPod("web", image, breaking(glassReason))); err != nil {
		t.Error(err)
	}
}
