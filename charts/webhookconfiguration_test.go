package charts_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// testWebhookConfiguration uses the webhook configuration as it was rendered, and
// notes which requests the API server asks about.
func testWebhookConfiguration(t *testing.T, c *cluster) {
	asked := &reviewer{}
	server := httptest.NewTLSServer(asked)
	defer server.Close()
	ca := writeFile(t, "ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	c.install(t, append([]string{"--set-file", "webhook.caBundle=" + ca},
		set("mode=enforce", "policies.preset=none", "webhook.url="+server.URL, pinned, "exemptions.namespaces={spared}", "exemptions.label="+exemptLabel)...)...)
	defer c.helm(t, "uninstall", release)
	for name, labels := range map[string]map[string]string{"team": nil, "spared": nil, "labelled": {exemptLabel: ""}} {
		must(t, c.client.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}))
	}
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "web:1"}}, RestartPolicy: corev1.RestartPolicyAlways},
	}
	object := metav1.ObjectMeta{Name: "web", Namespace: "team"}
	pod := &corev1.Pod{ObjectMeta: object, Spec: template.Spec}
	deployment := &appsv1.Deployment{ObjectMeta: object, Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: template.Labels}, Template: template}}
	podTemplate := &corev1.PodTemplate{ObjectMeta: object, Template: template}
	job := template
	job.Spec.RestartPolicy = corev1.RestartPolicyNever
	cronJob := &batchv1.CronJob{ObjectMeta: object, Spec: batchv1.CronJobSpec{Schedule: "@daily", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: job}}}}
	in := func(namespace string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: namespace}, Spec: template.Spec}
	}
	// digested tries a pod whose only image has a digest, with one place more.
	digested := func(init []corev1.Container, volume corev1.VolumeSource) func(context.Context) error {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "digested", Namespace: "team"}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "app", Image: "web:1@" + scannedDigest}}, InitContainers: init, Volumes: []corev1.Volume{{Name: "data", VolumeSource: volume}},
		}}
		return func(ctx context.Context) error { return c.client.Create(ctx, pod, client.DryRunAll) }
	}
	empty := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}

	eventually(t, func(ctx context.Context) string {
		if err := c.client.Create(ctx, in("team"), client.DryRunAll); err != nil {
			return err.Error()
		}
		if len(asked.take()) < 2 {
			return "the API server doesn't ask yet"
		}
		return ""
	})
	create := func(object client.Object) func(context.Context) error {
		return func(ctx context.Context) error { return c.client.Create(ctx, object) }
	}
	steps := []struct {
		name string
		do   func(context.Context) error
		want []string
	}{
		{"a pod", create(pod), []string{"PIN pods", "CREATE pods"}},
		{"a pod by digest", digested(nil, empty), []string{"CREATE pods"}},
		{"an init container by tag", digested([]corev1.Container{{Name: "setup", Image: "web:1"}}, empty), []string{"PIN pods", "CREATE pods"}},
		{"an image volume by tag", digested(nil, corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "web:1"}}), []string{"PIN pods", "CREATE pods"}},
		{"a pod in kube-system", create(in("kube-system")), nil},
		{"a pod in the release's namespace", create(in(namespace)), nil},
		{"a pod in a namespace that is exempt by name", create(in("spared")), nil},
		{"a pod in a namespace that is exempt by label", create(in("labelled")), nil},
		{"a label of a pod", patch(c, pod, `{"metadata":{"labels":{"a":"b"}}}`), nil},
		{"a finalizer of a pod", patch(c, pod, `{"metadata":{"finalizers":["example.com/a"]}}`), nil},
		{"a pod's deadline", patch(c, pod, `{"spec":{"activeDeadlineSeconds":100}}`), nil},
		{"another image", patch(c, pod, `{"spec":{"containers":[{"name":"app","image":"web:2"}]}}`), []string{"PIN pods", "UPDATE pods"}},
		{"an ephemeral container", func(ctx context.Context) error {
			pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "busybox:1"}}}
			return c.client.SubResource("ephemeralcontainers").Update(ctx, pod)
		}, []string{"PIN pods/ephemeralcontainers", "UPDATE pods/ephemeralcontainers"}},
		{"a pod's status", func(ctx context.Context) error {
			return c.client.Status().Patch(ctx, pod, merge(`{"status":{"phase":"Running"}}`))
		}, nil},
		{"a finalizer taken away", patch(c, pod, `{"metadata":{"finalizers":null}}`), nil},
		{"a pod's deletion", func(ctx context.Context) error { return c.client.Delete(ctx, pod, client.GracePeriodSeconds(0)) }, nil},
		{"a Deployment", create(deployment), []string{"CREATE deployments"}},
		{"a Deployment's scale", func(ctx context.Context) error {
			return c.client.SubResource("scale").Update(ctx, deployment, client.WithSubResourceBody(
				&autoscalingv1.Scale{ObjectMeta: object, Spec: autoscalingv1.ScaleSpec{Replicas: 3}}))
		}, nil},
		{"a Deployment's number of replicas", patch(c, deployment, `{"spec":{"replicas":5}}`), nil},
		{"a restart of a Deployment", patch(c, deployment, `{"spec":{"template":{"metadata":{"annotations":{"restartedAt":"now"}}}}}`), nil},
		{"another image of a Deployment", patch(c, deployment, `{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"web:2"}]}}}}`), []string{"UPDATE deployments"}},
		{"a CronJob", create(cronJob), []string{"CREATE cronjobs"}},
		{"a CronJob that is suspended", patch(c, cronJob, `{"spec":{"suspend":true}}`), nil},
		{"another image of a CronJob", patch(c, cronJob, `{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"web:2"}]}}}}}}`), []string{"UPDATE cronjobs"}},
		{"a PodTemplate", create(podTemplate), []string{"CREATE podtemplates"}},
		{"a label of a PodTemplate", patch(c, podTemplate, `{"metadata":{"labels":{"a":"b"}}}`), nil},
		{"another image of a PodTemplate", patch(c, podTemplate, `{"template":{"spec":{"containers":[{"name":"app","image":"web:2"}]}}}`), []string{"UPDATE podtemplates"}},
	}
	for _, step := range steps {
		asked.take()
		if err := step.do(t.Context()); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		equal(t, step.name, step.want, asked.take())
	}
}

func merge(patch string) client.Patch {
	return client.RawPatch("application/strategic-merge-patch+json", []byte(patch))
}

func patch(c *cluster, object client.Object, body string) func(context.Context) error {
	return func(ctx context.Context) error { return c.client.Patch(ctx, object, merge(body)) }
}

// reviewer admits everything and remembers what it was asked.
type reviewer struct {
	mu    sync.Mutex
	asked []string
}

func (r *reviewer) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(request.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	asked := review.Request
	what := string(asked.Operation) + " " + asked.Resource.Resource
	if request.URL.Path == "/mutate" {
		what = "PIN " + asked.Resource.Resource
	}
	if asked.SubResource != "" {
		what += "/" + asked.SubResource
	}
	r.mu.Lock()
	r.asked = append(r.asked, what)
	r.mu.Unlock()
	review.Response, review.Request = &admissionv1.AdmissionResponse{UID: asked.UID, Allowed: true}, nil
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(review); err != nil {
		panic(err)
	}
}

// take returns what was asked since the last call, each once. The API server asks
// both webhooks again if it has begun an update from an older object.
func (r *reviewer) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var asked []string
	for _, what := range r.asked {
		if !slices.Contains(asked, what) {
			asked = append(asked, what)
		}
	}
	r.asked = nil
	return asked
}
