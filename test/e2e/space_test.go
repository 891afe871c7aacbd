package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// gateLabel, on a namespace, names the gate that evaluates what is in it.
const gateLabel = "gate"

// space is a namespace of a test's own, evaluated by one gate, with a client whose warnings are kept apart.
type space struct {
	*gate

	name     string
	client   client.Client
	warnings *warnings
}

func (g *gate) newSpace(t *testing.T) *space {
	t.Helper()
	s := g.spaceOf(t, fmt.Sprintf("space-%d", g.cluster.spaces.Add(1)))
	g.cluster.newNamespace(t, s.name, map[string]string{gateLabel: g.name})
	return s
}

// spaceOf returns the space of a namespace.
func (g *gate) spaceOf(t *testing.T, namespace string) *space {
	t.Helper()
	s := &space{gate: g, name: namespace, warnings: &warnings{}}
	s.client = g.cluster.newClient(t, s.warnings, client.Options{Scheme: g.cluster.Scheme(), Mapper: g.cluster.RESTMapper()})
	return s
}

// inParallel runs tests of the space at the same time, each with a client and warnings of its own.
func (s *space) inParallel(t *testing.T, all tests[*space]) {
	t.Helper()
	for name, test := range all {
		all[name] = func(t *testing.T, s *space) { test(t, s.spaceOf(t, s.name)) }
	}
	inParallel(t, s, all)
}

// newPolicy returns the policy of the design, for this namespace only.
func (s *space) newPolicy(name string, change ...func(*v1alpha1.ImageScanPolicySpec)) *v1alpha1.ImageScanPolicy {
	return newPolicy(s.name+"-"+name, corev1.LabelMetadataName, s.name, change...)
}

// newPolicy returns the policy of the design, for namespaces with a label.
func newPolicy(name, label, value string, change ...func(*v1alpha1.ImageScanPolicySpec)) *v1alpha1.ImageScanPolicy {
	p := &v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ImageScanPolicySpec{
		Match: v1alpha1.Match{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{label: value}}},
		Require: v1alpha1.Requirements{
			SeverityLevel:   &v1alpha1.SeverityRequirement{Max: v1alpha1.SeverityMedium},
			Vulnerabilities: &v1alpha1.VulnerabilityRequirement{},
			MaliciousFiles:  &v1alpha1.CountRequirement{},
			UnsafeSettings:  &v1alpha1.CountRequirement{Max: 10},
			ScanStatus:      &v1alpha1.ScanStatusRequirement{In: []v1alpha1.ScanStatus{v1alpha1.ScanStatusSuccess}},
			ScanAge:         &v1alpha1.ScanAgeRequirement{Max: metav1.Duration{Duration: 7 * 24 * time.Hour}},
		},
	}}
	for _, f := range change {
		f(&p.Spec)
	}
	return p
}

// enforce creates the policy, for good, and waits until it is in force.
func (s *space) enforce(t *testing.T, name string, change ...func(*v1alpha1.ImageScanPolicySpec)) *v1alpha1.ImageScanPolicy {
	t.Helper()
	p := s.newPolicy(name, change...)
	s.cluster.create(t, p)
	s.settle(t)
	return p
}

// enforced returns a new space in which policy p is in force.
func (g *gate) enforced(t *testing.T, change ...func(*v1alpha1.ImageScanPolicySpec)) *space {
	t.Helper()
	s := g.newSpace(t)
	s.enforce(t, "p", change...)
	return s
}

// settle waits until the gate has seen every change of policies and exceptions up to now: it adds a policy and an exception from
// it, which the gate sees after them, and waits until both are in force. The policy remains, for an image that no one has.
func (s *space) settle(t *testing.T) {
	t.Helper()
	name := fmt.Sprintf("fence-%d", s.cluster.fences.Add(1))
	image := "fence.example.com/" + name
	p := s.newPolicy(name, func(spec *v1alpha1.ImageScanPolicySpec) { spec.Match.Images = []string{image} })
	e := s.newException(name, excepting(image), func(e *v1alpha1.ImageScanException) { e.Spec.Policies = []string{p.Name} })
	for _, o := range []client.Object{p, e} {
		// Until the API server trusts a gate that has just started, it may fail.
		eventually(t, func() error { return client.IgnoreAlreadyExists(s.cluster.Create(t.Context(), o)) })
	}
	eventually(t, func() error {
		err := s.try(t, newPod("fence", image))                                                                   // other policies may deny it
		if got := strings.Join(s.warnings.take(), "\n"); !strings.Contains(got, "ImageScanException "+name+" ") { // in any language
			return fmt.Errorf("%s is not in force, got %q and: %w", name, got, orNotYet(err))
		}
		return nil
	})
}

func orNotYet(err error) error {
	if err == nil {
		return errNotYet
	}
	return err
}

// await waits until a pod of the image would be denied by one policy, and says why; empty: until it would be admitted.
func (s *space) await(t *testing.T, image, why string) {
	t.Helper()
	eventually(t, func() error {
		err := s.try(t, newPod("awaited", image))
		if (err == nil) != (why == "") || err != nil && !strings.Contains(err.Error(), why) {
			return fmt.Errorf("want it denied for %q: %w", why, orNotYet(err))
		}
		return nil
	})
	s.warnings.take()
}

// run creates the pod.
func (s *space) run(t *testing.T, pod *corev1.Pod) error {
	t.Helper()
	pod.Namespace = s.name
	return s.client.Create(t.Context(), pod)
}

// try asks what would become of the pod, and makes it that.
func (s *space) try(t *testing.T, pod *corev1.Pod) error {
	t.Helper()
	pod.Namespace = s.name
	return s.client.Create(t.Context(), pod, client.DryRunAll)
}

// pod returns one that is stored.
func (s *space) pod(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	return get(t, s.client, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: name}})
}

// patch patches a pod.
func (s *space) patch(t *testing.T, pod, patch string) error {
	t.Helper()
	o := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: pod}}
	return s.client.Patch(t.Context(), o, client.RawPatch(types.StrategicMergePatchType, []byte(patch)))
}

// swap changes the image of a pod's only container.
func (s *space) swap(t *testing.T, pod, image string) error {
	t.Helper()
	return s.patch(t, pod, fmt.Sprintf(`{"spec":{"containers":[{"name":"app","image":%q}]}}`, image))
}

// debug adds an ephemeral container to a pod.
func (s *space) debug(t *testing.T, pod, name, image string) error {
	t.Helper()
	p := s.pod(t, pod)
	p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name, Image: image},
	})
	return s.client.SubResource("ephemeralcontainers").Update(t.Context(), p)
}

// runAs has a pod run that was admitted, as a kubelet would report it, with an image.
func (c *cluster) runAs(ctx context.Context, namespace string, pod *corev1.Pod, imageID string) error {
	pod.Namespace = namespace
	if err := c.Create(ctx, pod); err != nil {
		return err
	}
	pod.Status.Phase = corev1.PodRunning
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", Image: pod.Spec.Containers[0].Image, ImageID: imageID}}
	return c.Status().Update(ctx, pod)
}

func newPod(name, image string, change ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
	pod.Spec.Containers = []corev1.Container{{Name: "app", Image: image}}
	for _, f := range change {
		f(pod)
	}
	return pod
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

// warned checks all warnings since the last time, but for what to do.
func (s *space) warned(t *testing.T, want ...string) {
	t.Helper()
	got := slices.DeleteFunc(s.warnings.take(), func(w string) bool { return strings.HasPrefix(w, "to do: ") })
	if !slices.Equal(got, want) {
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
