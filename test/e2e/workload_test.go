package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	cleanImage = "main.example.com/prod/places-clean:1"
	badImage   = "main.example.com/prod/places-bad:1"
)

// testPlaces creates pods whose images stand in every place of a pod.
func testPlaces(t *testing.T, f *gate) {
	add(f.hss["main"], row("places-clean"), row("places-bad", high))
	shared := f.enforced(t)
	places := tests[*space]{"ephemeral containers": testEphemeralContainer}
	for name, place := range map[string]struct {
		with func(image string) func(*corev1.Pod)
		says string
	}{"init-container": {initContainer, `init container "setup": `}, "image-volume": {imageVolume, `image volume "data": `}} {
		places[name] = func(t *testing.T, s *space) {
			err := s.run(t, newPod(name+"-bad", cleanImage, place.with(badImage)))
			s.denied(t, err, fmt.Sprintf("pod %q", name+"-bad"), []string{place.says + highFinding(s, badImage)}, adviseRebuild)
			s.admitted(t, s.run(t, newPod(name+"-clean", cleanImage, place.with(cleanImage))))
		}
	}
	places["all are told at once"] = func(t *testing.T, s *space) {
		err := s.run(t, newPod("all", badImage, initContainer(badImage), imageVolume(badImage)))
		s.denied(t, err, `pod "all"`, []string{
			`init container "setup": ` + highFinding(s, badImage), highLine(s, badImage), `image volume "data": ` + highFinding(s, badImage),
		}, adviseRebuild)
	}
	shared.inParallel(t, places)
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
	refused := `ephemeral container "shell": ` + highFinding(s, badImage)
	// As a person would, and as a program would.
	_, stderr, err := s.cluster.kubectl(t, "", "debug", "--namespace", s.name, "debugged", "--image", badImage, "--container", "shell")
	if err == nil || !strings.Contains(stderr, refused) {
		t.Errorf("kubectl debug: got %v and %q, want %q", err, stderr, refused)
	}
	s.denied(t, s.debug(t, "debugged", "shell", badImage), `pod "debugged"`, []string{refused}, adviseRebuild)
	s.admitted(t, s.debug(t, "debugged", "shell", cleanImage))
}

const templateImage = "main.example.com/prod/template:1"

// testTemplates creates every kind of workload: people apply Deployments, not
// pods.
func testTemplates(t *testing.T, f *gate) {
	add(f.hss["main"], row("template", high), row("template-clean"))
	// A custom resource that hssgate knows nothing of.
	f.cluster.mustKubectl(t, `
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: rollouts.argoproj.io}, spec: {
  group: argoproj.io, scope: Namespaced, names: {kind: Rollout, plural: rollouts}, versions: [
    {name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}
`, "apply", "-f", "-")
	f.cluster.mustKubectl(t, "", "wait", "--for=condition=Established", "--timeout=5m", "crd/rollouts.argoproj.io")
	all := tests[*gate]{"a person sees the warning": testKubectlApply}
	for _, templates := range []v1alpha1.TemplateAction{v1alpha1.TemplateWarn, v1alpha1.TemplateDeny, v1alpha1.TemplateIgnore} {
		all[string(templates)] = func(t *testing.T, f *gate) {
			s := f.enforced(t, func(spec *v1alpha1.ImageScanPolicySpec) { spec.Templates = templates })
			for kind := range workloads() {
				t.Log(kind)
				err := s.createWorkload(t, kind, "bad", templateImage)
				switch templates {
				case v1alpha1.TemplateDeny:
					s.denied(t, err, fmt.Sprintf(`%s "bad"`, strings.ToLower(kind)), []string{highLine(s, templateImage)}, adviseRebuild)
					s.warned(t)
				case v1alpha1.TemplateWarn:
					s.admitted(t, err, "its pods will be denied: "+highLine(s, templateImage))
				default:
					s.admitted(t, err)
				}
				s.admitted(t, s.createWorkload(t, kind, "clean", "main.example.com/prod/template-clean:1"))
			}
		}
	}
	inParallel(t, f, all)
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
	o := &unstructured.Unstructured{}
	must(t, yaml.Unmarshal([]byte(manifest(kind, name, image)), &o.Object))
	o.SetNamespace(s.name)
	return s.client.Create(t.Context(), o)
}

func testKubectlApply(t *testing.T, f *gate) {
	s := f.enforced(t)
	stdout, stderr, err := s.cluster.kubectl(t, manifest("Deployment", "web", templateImage), "apply", "--namespace", s.name, "-f", "-")
	if err != nil || stdout != "deployment.apps/web created\n" {
		t.Errorf("kubectl apply: %v, %q", err, stdout)
	}
	if want := "Warning: its pods will be denied: " + highLine(s, templateImage) + "\nWarning: to do: " + adviseRebuild + "\n"; stderr != want {
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
func testUpdates(t *testing.T, f *gate) {
	add(f.hss["main"], row("updates-clean"), row("updates-bad", high), row("updates-turns"))
	s := f.newSpace(t)
	const hanging = "hang.example.com/prod/updates:1"
	// These two are older than the policy.
	dying := newPod("dying", hanging, func(p *corev1.Pod) { p.Finalizers = []string{"example.com/wait"} })
	s.admitted(t, s.run(t, dying))
	s.admitted(t, s.run(t, newPod("old", hanging)))
	s.enforce(t, "p")
	s.inParallel(t, tests[*space]{
		"labels and finalizers don't ask HSS": func(t *testing.T, s *space) {
			s.admitted(t, s.patch(t, "old", `{"metadata":{"labels":{"a":"b"},"finalizers":["example.com/wait"]}}`))
			s.admitted(t, s.patch(t, "old", `{"metadata":{"finalizers":null}}`))
		},
		"a pod that is being deleted isn't held up while HSS is dead": func(t *testing.T, s *space) {
			s.cluster.delete(t, dying)
			says(t, s.swap(t, "dying", "hang.example.com/prod/other:1"), "denied by 1 policy")
			s.admitted(t, s.patch(t, "dying", `{"metadata":{"finalizers":null}}`))
		},
		"a pod whose image has turned bad can be labelled": func(t *testing.T, s *space) {
			const image = "main.example.com/prod/updates-turns:1"
			s.admitted(t, s.run(t, newPod("turned", image)))
			change(s.hss["main"], "updates-turns", high)
			s.await(t, image, highLine(s, image))
			s.admitted(t, s.patch(t, "turned", `{"metadata":{"labels":{"a":"b"}}}`))
		},
		"an update that brings in an image is evaluated": func(t *testing.T, s *space) {
			const clean, bad = "main.example.com/prod/updates-clean:1", "main.example.com/prod/updates-bad:1"
			s.admitted(t, s.run(t, newPod("swapped", clean)))
			s.denied(t, s.swap(t, "swapped", bad), `pod "swapped"`, []string{highLine(s, bad)}, adviseRebuild)
			s.admitted(t, s.swap(t, "swapped", clean+"@"+digest("a")))
			// The pod that is older than the policy, too.
			s.denied(t, s.swap(t, "old", bad), `pod "old"`, []string{highLine(s, bad)}, adviseRebuild)
		},
	})
}
