package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const templateImage = "main.example.com/prod/template:1"

// testTemplates creates every kind of workload: people apply Deployments, not
// pods.
func testTemplates(t *testing.T, f *fixture) {
	add(f.hss["main"], row("template", high), row("template-clean"))
	defineRollouts(t, f)
	for _, templates := range []v1alpha1.TemplateAction{v1alpha1.TemplateWarn, v1alpha1.TemplateDeny, v1alpha1.TemplateIgnore} {
		t.Run(string(templates), func(t *testing.T) {
			t.Parallel()
			s := f.newSpace(t)
			s.enforce(t, "p", func(spec *v1alpha1.ImageScanPolicySpec) { spec.Templates = templates })
			for kind, create := range workloads() {
				t.Run(kind, func(t *testing.T) {
					t.Parallel()
					s := s.with(t)
					s.checkTemplate(t, templates, kind, create(t.Context(), s, "bad", templateImage))
					s.admitted(t, create(t.Context(), s, "clean", "main.example.com/prod/template-clean:1"))
				})
			}
		})
	}
	t.Run("a person sees the warning", func(t *testing.T) {
		t.Parallel()
		testKubectlApply(t, f)
	})
}

func (s *space) checkTemplate(t *testing.T, templates v1alpha1.TemplateAction, kind string, err error) {
	t.Helper()
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
}

type creation = func(ctx context.Context, s *space, name, image string) error

// defineRollouts defines a custom resource that hssgate knows nothing of.
func defineRollouts(t *testing.T, f *fixture) {
	t.Helper()
	for _, args := range [][]string{{"apply", "-f", "-"}, {"wait", "--for=condition=Established", "--timeout=5m", "crd/rollouts.argoproj.io"}} {
		if _, stderr, err := f.cluster.kubectl(t, `
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
`, args...); err != nil {
			t.Fatal(err, stderr)
		}
	}
}

// workloads create one object of each kind that holds a pod template.
func workloads() map[string]creation {
	return map[string]creation{
		"Deployment": func(ctx context.Context, s *space, name, image string) error {
			_, err := s.client.AppsV1().Deployments(s.name).Create(ctx, newDeployment(name, image), metav1.CreateOptions{})
			return err
		},
		"StatefulSet": func(ctx context.Context, s *space, name, image string) error {
			o := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: name}}
			o.Spec.Selector, o.Spec.Template = selector(), template(image)
			_, err := s.client.AppsV1().StatefulSets(s.name).Create(ctx, o, metav1.CreateOptions{})
			return err
		},
		"DaemonSet": func(ctx context.Context, s *space, name, image string) error {
			o := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: name}}
			o.Spec.Selector, o.Spec.Template = selector(), template(image)
			_, err := s.client.AppsV1().DaemonSets(s.name).Create(ctx, o, metav1.CreateOptions{})
			return err
		},
		"ReplicaSet": func(ctx context.Context, s *space, name, image string) error {
			o := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: name}}
			o.Spec.Selector, o.Spec.Template = selector(), template(image)
			_, err := s.client.AppsV1().ReplicaSets(s.name).Create(ctx, o, metav1.CreateOptions{})
			return err
		},
		"ReplicationController": func(ctx context.Context, s *space, name, image string) error {
			pods := template(image)
			o := &corev1.ReplicationController{ObjectMeta: metav1.ObjectMeta{Name: name}}
			o.Spec.Selector, o.Spec.Template = pods.Labels, &pods
			_, err := s.client.CoreV1().ReplicationControllers(s.name).Create(ctx, o, metav1.CreateOptions{})
			return err
		},
		"PodTemplate": func(ctx context.Context, s *space, name, image string) error {
			o := &corev1.PodTemplate{ObjectMeta: metav1.ObjectMeta{Name: name}, Template: template(image)}
			_, err := s.client.CoreV1().PodTemplates(s.name).Create(ctx, o, metav1.CreateOptions{})
			return err
		},
		"Job": func(ctx context.Context, s *space, name, image string) error {
			o := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: jobSpec(image)}
			_, err := s.client.BatchV1().Jobs(s.name).Create(ctx, o, metav1.CreateOptions{})
			return err
		},
		"Rollout": func(ctx context.Context, s *space, name, image string) error {
			body := fmt.Sprintf(`{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": %q}, "spec": {"template": {"spec": {"containers": [{"name": "app", "image": %q}]}}}}`, name, image)
			path := "/apis/argoproj.io/v1alpha1/namespaces/" + s.name + "/rollouts"
			return s.client.Discovery().RESTClient().Post().AbsPath(path).SetHeader("Content-Type", "application/json").Body([]byte(body)).Do(ctx).Error()
		},
		"CronJob": func(ctx context.Context, s *space, name, image string) error {
			o := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Name: name}}
			o.Spec.Schedule, o.Spec.JobTemplate.Spec = "0 0 * * *", jobSpec(image)
			_, err := s.client.BatchV1().CronJobs(s.name).Create(ctx, o, metav1.CreateOptions{})
			return err
		},
	}
}

func newDeployment(name, image string) *appsv1.Deployment {
	o := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}}
	o.Spec.Selector, o.Spec.Template = selector(), template(image)
	return o
}

func selector() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
}

func template(image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}, Spec: podSpec(image)}
}

func jobSpec(image string) batchv1.JobSpec {
	pods := template(image)
	pods.Spec.RestartPolicy = corev1.RestartPolicyNever
	return batchv1.JobSpec{Template: pods}
}

func testKubectlApply(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p")
	stdout, stderr, err := s.cluster.kubectl(t, fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: %q}]}
`, templateImage), "apply", "--namespace", s.name, "-f", "-")
	if err != nil || stdout != "deployment.apps/web created\n" {
		t.Errorf("kubectl apply: %v, %q", err, stdout)
	}
	if want := "Warning: its pods will be denied: " + highLine(s, templateImage) + "\n"; stderr != want {
		t.Errorf("got:  %s\nwant: %s", stderr, want)
	}
	_, stderr, err = s.cluster.kubectl(t, "", "run", "web", "--namespace", s.name, "--image", templateImage)
	want := `Error from server (Forbidden): admission webhook "pods.hssgate.io" denied the request: pod "web" denied by 1 policy:
- container "web": ` + highFinding(s, templateImage) + "\nto do: " + adviseRebuild + "\nnote: " + noteSeverity + "\n"
	if err == nil || stderr != want {
		t.Errorf("kubectl run: %v\ngot:  %s\nwant: %s", err, stderr, want)
	}
}
