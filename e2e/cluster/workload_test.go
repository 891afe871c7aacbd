package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// workloads are the kinds that make pods, and who refuses them in the end.
var workloads = map[string]string{
	"deployment": "ReplicaSet", "statefulset": "StatefulSet", "daemonset": "DaemonSet", "job": "Job", "cronjob": "Job",
}

func newPod(name, image string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: podSpec(image)}
}

func podSpec(image string) corev1.PodSpec {
	return corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: image}}}
}

// create creates a workload of the kind, whose pods are labelled with its name.
func (w *world) create(t *testing.T, kind, name, image string) {
	t.Helper()
	labels := map[string]string{"app": name}
	meta := metav1.ObjectMeta{Name: name}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec(image)}
	selector := &metav1.LabelSelector{MatchLabels: labels}
	job := batchv1.JobSpec{Template: *template.DeepCopy()}
	job.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	apps, batch, options := w.client.AppsV1(), w.client.BatchV1(), metav1.CreateOptions{}
	var err error
	switch kind {
	case "deployment":
		_, err = apps.Deployments(shop).Create(t.Context(), &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: selector, Template: template}}, options)
	case "statefulset":
		_, err = apps.StatefulSets(shop).Create(t.Context(), &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: template}}, options)
	case "daemonset":
		_, err = apps.DaemonSets(shop).Create(t.Context(), &appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template}}, options)
	case "job":
		_, err = batch.Jobs(shop).Create(t.Context(), &batchv1.Job{ObjectMeta: meta, Spec: job}, options)
	case "cronjob":
		spec := batchv1.CronJobSpec{Schedule: "* * * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: job}}
		_, err = batch.CronJobs(shop).Create(t.Context(), &batchv1.CronJob{ObjectMeta: meta, Spec: spec}, options)
	default:
		t.Fatalf("unknown kind %q", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// awaitRollout waits until a pod of the workload is ready or done.
func (w *world) awaitRollout(t *testing.T, name string) {
	t.Helper()
	eventually(t, func() error {
		pods, err := w.client.CoreV1().Pods(shop).List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			if isReady(&pod) || pod.Status.Phase == corev1.PodSucceeded {
				return nil
			}
		}
		return fmt.Errorf("%s has %d pods, none of which is ready or done", name, len(pods.Items))
	})
}

// awaitRefusal waits for the event that tells a user why there are no pods.
func (w *world) awaitRefusal(t *testing.T, kind, name string) {
	t.Helper()
	eventually(t, func() error {
		events, err := w.client.CoreV1().Events(shop).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=FailedCreate,involvedObject.kind=" + kind})
		if err != nil {
			return err
		}
		for _, event := range events.Items {
			if strings.HasPrefix(event.InvolvedObject.Name, name) && strings.Contains(event.Message, "severity High, allowed Medium") {
				return nil
			}
		}
		return fmt.Errorf("%s %s has no FailedCreate event that says why, among %d", kind, name, len(events.Items))
	})
	pods, err := w.client.CoreV1().Pods(shop).List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) > 0 {
		t.Errorf("%s has %d pods", name, len(pods.Items))
	}
}

// sweep deletes all workloads, and waits until their pods are gone too.
func (w *world) sweep(t *testing.T) {
	t.Helper()
	background := metav1.DeletePropagationBackground
	deletion, all := metav1.DeleteOptions{PropagationPolicy: &background}, metav1.ListOptions{}
	apps, batch := w.client.AppsV1(), w.client.BatchV1()
	for _, collection := range []func(context.Context, metav1.DeleteOptions, metav1.ListOptions) error{
		batch.CronJobs(shop).DeleteCollection, batch.Jobs(shop).DeleteCollection, apps.Deployments(shop).DeleteCollection,
		apps.StatefulSets(shop).DeleteCollection, apps.DaemonSets(shop).DeleteCollection,
	} {
		if err := collection(t.Context(), deletion, all); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() error {
		pods, err := w.client.CoreV1().Pods(shop).List(t.Context(), all)
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("%d pods are left", len(pods.Items))
		}
		return err
	})
}

// errAdmitted is for a bad image that got in.
var errAdmitted = errors.New("a pod with a bad image is admitted")

// try asks whether a pod may be created.
func (w *world) try(ctx context.Context, image string) error {
	_, err := w.client.CoreV1().Pods(shop).Create(ctx, newPod("tried", image), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// judges returns nil if hssgate admits a good image and refuses a bad one.
func (w *world) judges(ctx context.Context) error {
	if err := w.try(ctx, goodImage); err != nil {
		return fmt.Errorf("a pod with a good image: %w", err)
	}
	return w.refuses(ctx)
}

// refuses returns nil if hssgate refuses a bad image for what HSS says of it.
func (w *world) refuses(ctx context.Context) error {
	err := w.try(ctx, badImage)
	switch {
	case err == nil:
		return errAdmitted
	case !strings.Contains(err.Error(), "denied by 1 policy"):
		return err
	}
	return nil
}
