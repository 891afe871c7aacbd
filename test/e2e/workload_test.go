package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	cleanImage = "main.example.com/prod/places-clean:1"
	badImage   = "main.example.com/prod/places-bad:1"
)

// testPlaces creates pods whose images stand in every place of a pod.
func testPlaces(t *testing.T, f *fixture) {
	add(f.hss["main"], row("places-clean"), row("places-bad", high))
	s := f.newSpace(t)
	s.enforce(t, "p")
	for name, place := range map[string]struct {
		with func(image string) func(*corev1.Pod)
		says string
	}{"init-container": {initContainer, `init container "setup": `}, "image-volume": {imageVolume, `image volume "data": `}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := s.with(t)
			err := s.run(t, newPod(name+"-bad", cleanImage, place.with(badImage)))
			s.denied(t, err, fmt.Sprintf("pod %q", name+"-bad"), []string{place.says + highFinding(s, badImage)}, adviseRebuild)
			s.admitted(t, s.run(t, newPod(name+"-clean", cleanImage, place.with(cleanImage))))
		})
	}
	t.Run("ephemeral containers", func(t *testing.T) {
		t.Parallel()
		testEphemeralContainer(t, s.with(t))
	})
	t.Run("all places are told at once", func(t *testing.T) {
		t.Parallel()
		s := s.with(t)
		err := s.run(t, newPod("all", badImage, initContainer(badImage), imageVolume(badImage)))
		s.denied(t, err, `pod "all"`, []string{
			`init container "setup": ` + highFinding(s, badImage),
			highLine(s, badImage),
			`image volume "data": ` + highFinding(s, badImage),
		}, adviseRebuild)
	})
}

func initContainer(image string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{{Name: "setup", Image: image}}
	}
}

func imageVolume(image string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: image}}}}
	}
}

func testEphemeralContainer(t *testing.T, s *space) {
	s.admitted(t, s.run(t, newPod("debugged", cleanImage)))

	t.Log("as a person would")
	_, stderr, err := s.cluster.kubectl(t, "", "debug", "--namespace", s.name, "debugged", "--image", badImage, "--container", "shell")
	if want := `ephemeral container "shell": ` + highFinding(s, badImage); err == nil || !strings.Contains(stderr, want) {
		t.Errorf("kubectl debug: got %v and %q, want %q", err, stderr, want)
	}

	t.Log("as a program would")
	err = s.debug(t, "debugged", "shell", badImage)
	s.denied(t, err, `pod "debugged"`, []string{`ephemeral container "shell": ` + highFinding(s, badImage)}, adviseRebuild)
	s.admitted(t, s.debug(t, "debugged", "shell", cleanImage))
}

// debug adds an ephemeral container to a pod.
func (s *space) debug(t *testing.T, pod, name, image string) error {
	t.Helper()
	pods := s.client.CoreV1().Pods(s.name)
	p, err := pods.Get(t.Context(), pod, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: name, Image: image},
	})
	_, err = pods.UpdateEphemeralContainers(t.Context(), pod, p, metav1.UpdateOptions{})
	return err
}

const templateImage = "main.example.com/prod/template:1"

// testTemplates creates every kind of workload: people apply Deployments, not
// pods.
func testTemplates(t *testing.T, f *fixture) {
	add(f.hss["main"], row("template", high), row("template-clean"))
	// A custom resource that hssgate knows nothing of.
	for _, args := range [][]string{{"apply", "-f", "-"}, {"wait", "--for=condition=Established", "--timeout=5m", "crd/rollouts.argoproj.io"}} {
		f.cluster.mustKubectl(t, `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rollouts.argoproj.io}
spec:
  group: argoproj.io
  scope: Namespaced
  names: {kind: Rollout, plural: rollouts}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`, args...)
	}
	for _, templates := range []v1alpha1.TemplateAction{v1alpha1.TemplateWarn, v1alpha1.TemplateDeny, v1alpha1.TemplateIgnore} {
		t.Run(string(templates), func(t *testing.T) {
			t.Parallel()
			s := f.newSpace(t)
			s.enforce(t, "p", func(spec *v1alpha1.ImageScanPolicySpec) { spec.Templates = templates })
			for kind := range workloads() {
				t.Run(kind, func(t *testing.T) {
					t.Parallel()
					s := s.with(t)
					err := s.createWorkload(t, kind, "bad", templateImage)
					switch templates {
					case v1alpha1.TemplateDeny:
						s.denied(t, err, fmt.Sprintf(`%s "bad"`, strings.ToLower(kind)), []string{highLine(s, templateImage)}, adviseRebuild)
						s.warned(t)
					case v1alpha1.TemplateWarn:
						if err != nil {
							t.Error(err)
						}
						s.warned(t, "its pods will be denied: "+highLine(s, templateImage))
					default:
						s.admitted(t, err)
					}
					s.admitted(t, s.createWorkload(t, kind, "clean", "main.example.com/prod/template-clean:1"))
				})
			}
		})
	}
	t.Run("a person sees the warning", func(t *testing.T) {
		t.Parallel()
		testKubectlApply(t, f)
	})
}

// workloads are the versions and specs of the kinds that hold a pod template.
func workloads() map[string][2]string {
	return map[string][2]string{
		"Deployment":            {"apps/v1", "spec: {selector: {matchLabels: {app: web}}, template: POD}"},
		"StatefulSet":           {"apps/v1", "spec: {selector: {matchLabels: {app: web}}, template: POD}"},
		"DaemonSet":             {"apps/v1", "spec: {selector: {matchLabels: {app: web}}, template: POD}"},
		"ReplicaSet":            {"apps/v1", "spec: {selector: {matchLabels: {app: web}}, template: POD}"},
		"ReplicationController": {"v1", "spec: {selector: {app: web}, template: POD}"},
		"PodTemplate":           {"v1", "template: POD"},
		"Job":                   {"batch/v1", "spec: {template: JOBPOD}"},
		"CronJob":               {"batch/v1", "spec: {schedule: 0 0 * * *, jobTemplate: {spec: {template: JOBPOD}}}"},
		"Rollout":               {"argoproj.io/v1alpha1", "spec: {template: POD}"},
	}
}

// manifest returns a workload of a kind.
func manifest(kind, name, image string) string {
	pod := fmt.Sprintf("{metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: %q}]}}", image)
	job := strings.Replace(pod, "spec: {", "spec: {restartPolicy: Never, ", 1)
	w := workloads()[kind]
	return fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {name: %s}, %s}", w[0], kind, name, strings.NewReplacer("JOBPOD", job, "POD", pod).Replace(w[1]))
}

// createWorkload creates a workload of a kind.
func (s *space) createWorkload(t *testing.T, kind, name, image string) error {
	t.Helper()
	body, err := yaml.YAMLToJSON([]byte(manifest(kind, name, image)))
	if err != nil {
		t.Fatal(err)
	}
	path := strings.Replace("/apis/"+workloads()[kind][0], "/apis/v1", "/api/v1", 1)
	return s.client.Discovery().RESTClient().Post().AbsPath(path, "namespaces", s.name, strings.ToLower(kind)+"s").
		SetHeader("Content-Type", "application/json").Body(body).Do(t.Context()).Error()
}

func testKubectlApply(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p")
	stdout, stderr, err := s.cluster.kubectl(t, manifest("Deployment", "web", templateImage), "apply", "--namespace", s.name, "-f", "-")
	if err != nil || stdout != "deployment.apps/web created\n" {
		t.Errorf("kubectl apply: %v, %q", err, stdout)
	}
	if want := "Warning: its pods will be denied: " + highLine(s, templateImage) + "\n"; stderr != want {
		t.Errorf("got:  %s\nwant: %s", stderr, want)
	}
	_, stderr, err = s.cluster.kubectl(t, "", "run", "web", "--namespace", s.name, "--image", templateImage)
	want := `Error from server (Forbidden): admission webhook "pods.hssgate.io" denied the request: pod "web" denied by 1 policy: container "web": ` + highFinding(s, templateImage) + "\nto do: " + adviseRebuild + "\nnote: " + noteSeverity + "\n"
	if err == nil || stderr != want {
		t.Errorf("kubectl run: %v\ngot:  %s\nwant: %s", err, stderr, want)
	}
}

// testUpdates changes pods that are there. Only an image that an update brings
// in is evaluated.
func testUpdates(t *testing.T, f *fixture) {
	add(f.hss["main"], row("updates-clean"), row("updates-bad", high))
	s := f.newSpace(t)
	const hanging = "hang.example.com/prod/updates:1"
	// These two are older than the policy.
	s.admitted(t, s.run(t, newPod("dying", hanging, func(p *corev1.Pod) { p.Finalizers = []string{"example.com/wait"} })))
	s.admitted(t, s.run(t, newPod("old", hanging)))
	s.enforce(t, "p")
	t.Run("labels and finalizers don't ask HSS", func(t *testing.T) {
		t.Parallel()
		s := s.with(t)
		s.admitted(t, s.patch(t, "old", `{"metadata":{"labels":{"a":"b"},"finalizers":["example.com/wait"]}}`))
		s.admitted(t, s.patch(t, "old", `{"metadata":{"finalizers":null}}`))
	})
	t.Run("a pod that is being deleted isn't held up while HSS is dead", func(t *testing.T) {
		t.Parallel()
		testDeletion(t, s.with(t))
	})
	t.Run("a pod whose image has turned bad can be labelled", func(t *testing.T) {
		t.Parallel()
		testTurned(t, f, s.with(t))
	})
	t.Run("an update that brings in an image is evaluated", func(t *testing.T) {
		t.Parallel()
		testNewImage(t, s.with(t))
	})
}

// patch patches a pod.
func (s *space) patch(t *testing.T, pod, patch string) error {
	t.Helper()
	_, err := s.client.CoreV1().Pods(s.name).Patch(t.Context(), pod, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// swap changes the image of a pod's only container.
func (s *space) swap(t *testing.T, pod, image string) error {
	t.Helper()
	return s.patch(t, pod, fmt.Sprintf(`{"spec":{"containers":[{"name":"app","image":%q}]}}`, image))
}

func testDeletion(t *testing.T, s *space) {
	if err := s.client.CoreV1().Pods(s.name).Delete(t.Context(), "dying", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.swap(t, "dying", "hang.example.com/prod/other:1"); err == nil || !strings.Contains(err.Error(), "denied by 1 policy") { // 403, or 503 if HSS took all the time
		t.Errorf("a new image in a pod that is being deleted: %v", err)
	}
	s.admitted(t, s.patch(t, "dying", `{"metadata":{"finalizers":null}}`))
}

func testTurned(t *testing.T, f *fixture, s *space) {
	add(f.hss["main"], row("updates-turns"))
	const image = "main.example.com/prod/updates-turns:1"
	s.admitted(t, s.run(t, newPod("turned", image)))
	change(f.hss["main"], "updates-turns", func(i *hsstest.Image) { high(i) })
	s.awaitVerdict(t, image, false)
	s.admitted(t, s.patch(t, "turned", `{"metadata":{"labels":{"a":"b"}}}`))
}

func testNewImage(t *testing.T, s *space) {
	const clean, bad = "main.example.com/prod/updates-clean:1", "main.example.com/prod/updates-bad:1"
	s.admitted(t, s.run(t, newPod("swapped", clean)))
	s.denied(t, s.swap(t, "swapped", bad), `pod "swapped"`, []string{highLine(s, bad)}, adviseRebuild)
	s.admitted(t, s.swap(t, "swapped", clean+"@"+digest("a")))
	// The pod that is older than the policy, too.
	s.denied(t, s.swap(t, "old", bad), `pod "old"`, []string{highLine(s, bad)}, adviseRebuild)
}
