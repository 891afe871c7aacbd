package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// gateLabel, on a namespace, names the gate that evaluates what is in it.
const gateLabel = "gate"

// space is a namespace of a test's own, evaluated by one gate.
type space struct {
	*gate
	name     string
	client   kubernetes.Interface
	warnings *warnings
}

func (g *gate) newSpace(t *testing.T) *space {
	t.Helper()
	s := &space{gate: g, name: fmt.Sprintf("space-%d", g.cluster.spaces.Add(1))}
	s.client, s.warnings = g.cluster.client(t)
	s.cluster.newNamespace(t, s.name, map[string]string{gateLabel: g.name})
	return s
}

func (c *cluster) newNamespace(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	if _, err := c.Clientset(t).CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// with returns the space with a client and warnings of a subtest's own.
func (s *space) with(t *testing.T) *space {
	t.Helper()
	own := &space{gate: s.gate, name: s.name}
	own.client, own.warnings = s.cluster.client(t)
	return own
}

// newPolicy returns the policy of the design, for this namespace only.
func (s *space) newPolicy(name string, change ...func(*v1alpha1.ImageScanPolicySpec)) *v1alpha1.ImageScanPolicy {
	p := &v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: s.name + "-" + name}, Spec: strict()}
	p.Spec.Match.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: s.name}}
	for _, f := range change {
		f(&p.Spec)
	}
	return p
}

func strict() v1alpha1.ImageScanPolicySpec {
	return v1alpha1.ImageScanPolicySpec{Require: v1alpha1.Requirements{
		SeverityLevel:   &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityMedium},
		Vulnerabilities: &v1alpha1.VulnerabilityRequirement{},
		MaliciousFiles:  &v1alpha1.CountRequirement{},
		UnsafeSettings:  &v1alpha1.CountRequirement{Max: 10},
		ScanStatus:      &v1alpha1.ScanStatusRequirement{In: []v1alpha1.ScanStatus{v1alpha1.ScanStatusSuccess}},
		ScanAge:         &v1alpha1.ScanAgeRequirement{Max: metav1.Duration{Duration: 7 * 24 * time.Hour}},
	}}
}

// enforce creates the policy and waits until it is in force.
func (s *space) enforce(t *testing.T, name string, change ...func(*v1alpha1.ImageScanPolicySpec)) *v1alpha1.ImageScanPolicy {
	t.Helper()
	p := s.newPolicy(name, change...)
	s.create(t, p)
	s.settle(t)
	return p
}

// create creates the policy, for good: it selects this namespace only.
func (s *space) create(t *testing.T, p *v1alpha1.ImageScanPolicy) {
	t.Helper()
	if err := s.cluster.policies.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

// settle waits until the gate has seen every change of policies up to now: it
// adds one more, which the gate sees after them, and waits for its denial.
func (s *space) settle(t *testing.T) {
	t.Helper()
	fence := s.newFence()
	s.create(t, fence)
	s.awaitFence(t, fence)
}

// newFence returns a policy for an image that no one has.
func (s *space) newFence() *v1alpha1.ImageScanPolicy {
	return s.newPolicy(fmt.Sprintf("fence-%d", s.cluster.fences.Add(1)), func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Match.Images = []string{"fence.example.com/**"}
	})
}

func (s *space) awaitFence(t *testing.T, fence *v1alpha1.ImageScanPolicy) {
	t.Helper()
	eventually(t, func() error {
		err := s.try(t, newPod("fence", "fence.example.com/fence"))
		if err == nil || !strings.Contains(err.Error(), "[policy "+fence.Name+"]") {
			return fmt.Errorf("policy %s is not in force, got: %w", fence.Name, orNotYet(err))
		}
		s.warnings.take()
		return nil
	})
}

func orNotYet(err error) error {
	if err == nil {
		return errNotYet
	}
	return err
}

// run creates the pod.
func (s *space) run(t *testing.T, pod *corev1.Pod) error {
	t.Helper()
	_, err := s.client.CoreV1().Pods(s.name).Create(t.Context(), pod, metav1.CreateOptions{})
	return err
}

// try asks what would become of the pod.
func (s *space) try(t *testing.T, pod *corev1.Pod) error {
	t.Helper()
	_, err := s.tried(t, pod)
	return err
}

// tried returns what would become of the pod.
func (s *space) tried(t *testing.T, pod *corev1.Pod) (*corev1.Pod, error) {
	t.Helper()
	return s.client.CoreV1().Pods(s.name).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
}

func newPod(name, image string, change ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: podSpec(image)}
	for _, f := range change {
		f(pod)
	}
	return pod
}

func podSpec(image string) corev1.PodSpec {
	return corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: image}}}
}

// admitted checks that nothing stood in the way but warnings.
func (s *space) admitted(t *testing.T, err error, warnings ...string) {
	t.Helper()
	if err != nil {
		t.Errorf("got error: %v\nwant none", err)
	}
	s.warned(t, warnings...)
}

// denied checks the whole message of a denial: what is denied, each line, and
// what to do.
func (s *space) denied(t *testing.T, err error, object string, lines []string, advice ...string) {
	t.Helper()
	want := `admission webhook "pods.hssgate.io" denied the request: ` + object + " denied by 1 policy: " + strings.Join(lines, "\n- ")
	for _, line := range advice {
		want += "\nto do: " + line
	}
	if strings.Contains(want, ", allowed Medium") {
		want += "\nnote: " + noteSeverity
	}
	if err == nil || err.Error() != want {
		t.Errorf("got error:  %v\nwant error: %s", err, want)
	}
}

// warned checks all warnings since the last time.
func (s *space) warned(t *testing.T, want ...string) {
	t.Helper()
	if got := s.warnings.take(); !slices.Equal(got, want) {
		t.Errorf("got warnings:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// says checks that an error contains all of the texts.
func says(t *testing.T, err error, want ...string) {
	t.Helper()
	for _, text := range want {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got error: %v\nwant in it: %s", err, text)
		}
	}
}
