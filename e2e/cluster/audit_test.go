package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// What runs while an image turns bad: namespaces × Deployments × replicas.
const (
	teams           = 4
	deploymentsEach = 5
	replicasEach    = 100
	auditInterval   = 15 * time.Second
	// auditedPolicy is that of the chart's preset.
	auditedPolicy = release + "-default"
)

var auditCounts = regexp.MustCompile(`(?m)^hssgate_audit_duration_seconds_count (\d+)$`)

// testBackgroundAudit has an image of running Deployments turn bad and good
// again. Controllers make the pods, hssgate admits them, the scheduler gives
// them nodes, and kwok runs them.
func testBackgroundAudit(t *testing.T, w *world) {
	w.installReports(t)
	w.deploy(t, "upgrade", "audit", "--set", "config.audit.interval="+auditInterval.String(), "--set", "config.cache.freshFor=1s")
	a := newAuditedCluster(t, w)
	a.fill(t)
	all := tellings{Evaluated: teams * deploymentsEach * replicasEach, Metrics: []string{`hssgate_audit_violations{policy="hssgate-default"} 0`}}
	a.awaitTellings(t, &all)

	before := a.now(t)
	a.change(func(i *hsstest.Image) { i.SeverityLevel, i.VulNum = "High", hsstest.Count(111) })
	const line = `container "app": registry.example.com/prod/web-7:1 — severity High, allowed Medium`
	bad := all
	bad.Violations = replicasEach
	bad.First = []v1alpha1.AuditViolation{{Namespace: "team-1", Kind: "Deployment", Name: "web-7", Pods: replicasEach, Message: line}}
	bad.Events = []string{"team-1/Deployment/web-7 ImageViolation: 100 pods violate policy hssgate-default (Deny): " + line}
	bad.Reports = []string{"team-1/hssgate: 100 failed, 400 passed: Deployment/web-7: " + line}
	bad.Metrics = []string{`hssgate_audit_violations{policy="hssgate-default"} 100`}
	a.awaitTellings(t, &bad)
	a.checkInterval(t, before)

	before = a.now(t)
	a.change(func(i *hsstest.Image) { *i = newImage("web-7") })
	a.awaitTellings(t, &all)
	a.checkInterval(t, before)
}

// installReports installs what reports are made of.
func (w *world) installReports(t *testing.T) {
	t.Helper()
	command := exec.CommandContext(t.Context(), w.Kubectl, "--kubeconfig", w.kubeconfig, "apply", "--server-side", "-f", filepath.Join("..", "testdata", "openreports.yaml"))
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// auditedCluster is one full of running pods.
type auditedCluster struct {
	*world
	objects dynamic.Interface
}

func newAuditedCluster(t *testing.T, w *world) *auditedCluster {
	t.Helper()
	objects, err := dynamic.NewForConfig(w.Config)
	if err != nil {
		t.Fatal(err)
	}
	return &auditedCluster{world: w, objects: objects}
}

// fill rolls out Deployments, each with an image of its own, and waits until
// all of their pods run.
func (a *auditedCluster) fill(t *testing.T) {
	t.Helper()
	began := time.Now()
	for n := range teams * deploymentsEach {
		a.hss.Update(func(images []hsstest.Image) []hsstest.Image {
			return append(images, newImage(fmt.Sprintf("web-%d", n)))
		})
	}
	for n := range teams {
		a.newNamespace(t, fmt.Sprintf("team-%d", n))
	}
	for n := range teams * deploymentsEach {
		name, labels := fmt.Sprintf("web-%d", n), map[string]string{"app": fmt.Sprintf("web-%d", n), "audited": "yes"}
		_, err := a.client.AppsV1().Deployments(fmt.Sprintf("team-%d", n/deploymentsEach)).Create(t.Context(), &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
			Spec: appsv1.DeploymentSpec{
				Replicas: new(int32(replicasEach)), Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec("registry.example.com/prod/" + name + ":1")},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() error { return a.runs(t.Context()) })
	t.Logf("%d pods run after %s", teams*deploymentsEach*replicasEach, time.Since(began).Round(time.Second))
}

// runs returns nil if every replica is a running pod.
func (a *auditedCluster) runs(ctx context.Context) error {
	labelled := metav1.ListOptions{LabelSelector: "audited=yes"}
	deployments, err := a.client.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, labelled)
	if err != nil {
		return err
	}
	var ready int32
	for _, d := range deployments.Items {
		ready += d.Status.ReadyReplicas
	}
	if ready != teams*deploymentsEach*replicasEach {
		return fmt.Errorf("%d replicas are ready", ready)
	}
	labelled.FieldSelector = "status.phase=Running,spec.nodeName!="
	pods, err := a.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, labelled)
	if err == nil && len(pods.Items) != int(ready) {
		err = fmt.Errorf("%d pods run", len(pods.Items))
	}
	return err
}

// change changes what HSS says of one image.
func (a *auditedCluster) change(f func(*hsstest.Image)) {
	a.hss.Update(func(images []hsstest.Image) []hsstest.Image {
		for i := range images {
			if images[i].ImageName == "web-7" {
				f(&images[i])
			}
		}
		return images
	})
}

// tellings are what hssgate tells of the running pods, by status, Events,
// reports and metrics.
type tellings struct {
	Evaluated, Violations int32
	First                 []v1alpha1.AuditViolation
	Events                []string
	Reports               []string
	Metrics               []string
}

// awaitTellings waits until all that is told is what should be, and nothing
// besides.
func (a *auditedCluster) awaitTellings(t *testing.T, want *tellings) {
	t.Helper()
	eventually(t, func() error {
		got := &tellings{}
		for _, read := range []func(context.Context, *tellings) error{a.readStatus, a.readEvents, a.readReports, a.readMetrics} {
			if err := read(t.Context(), got); err != nil {
				return err
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

func (a *auditedCluster) readStatus(ctx context.Context, into *tellings) error {
	object, err := a.objects.Resource(v1alpha1.GroupVersion.WithResource("imagescanpolicies")).Get(ctx, auditedPolicy, metav1.GetOptions{})
	if err != nil {
		return err
	}
	var p v1alpha1.ImageScanPolicy
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &p); err != nil {
		return err
	}
	if last := p.Status.LastAudit; last != nil {
		into.Evaluated, into.Violations, into.First = last.Evaluated, last.Violations, last.FirstViolations
	}
	return nil
}

func (a *auditedCluster) readEvents(ctx context.Context, into *tellings) error {
	list, err := a.client.CoreV1().Events(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "type=Warning,source=hssgate"})
	if err != nil {
		return err
	}
	for _, e := range list.Items {
		into.Events = append(into.Events, fmt.Sprintf("%s/%s/%s %s: %s", e.Namespace, e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message))
	}
	return nil
}

func (a *auditedCluster) readReports(ctx context.Context, into *tellings) error {
	reports := schema.GroupVersionResource{Group: "openreports.io", Version: "v1alpha1", Resource: "reports"}
	list, err := a.objects.Resource(reports).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range list.Items {
		report := list.Items[i].Object
		failed, _, _ := unstructured.NestedInt64(report, "summary", "fail")
		passed, _, _ := unstructured.NestedInt64(report, "summary", "pass")
		line := fmt.Sprintf("%s/%s: %d failed, %d passed", list.Items[i].GetNamespace(), list.Items[i].GetName(), failed, passed)
		results, _, _ := unstructured.NestedSlice(report, "results")
		for _, one := range results {
			result, _ := one.(map[string]any)
			resources, _, _ := unstructured.NestedSlice(result, "resources")
			for _, r := range resources {
				resource, _ := r.(map[string]any)
				line += fmt.Sprintf(": %v/%v: %v", resource["kind"], resource["name"], result["message"])
			}
		}
		into.Reports = append(into.Reports, line)
	}
	return nil
}

// readMetrics reads what the replicas measure. One of them audits.
func (a *auditedCluster) readMetrics(ctx context.Context, into *tellings) error {
	all, err := a.scrape(ctx)
	for line := range strings.Lines(all) {
		if strings.HasPrefix(line, "hssgate_audit_violations{") {
			into.Metrics = append(into.Metrics, strings.TrimSpace(line))
		}
	}
	return err
}

// moment is a point in time, and how many audits had ended by then.
type moment struct {
	time   time.Time
	audits int
}

func (a *auditedCluster) now(t *testing.T) moment {
	t.Helper()
	now := moment{time: time.Now()}
	var text string
	eventually(t, func() (err error) {
		if n := len(a.kubelet.replicas()); n != 2 {
			return fmt.Errorf("%d replicas are ready", n)
		}
		text, err = a.scrape(t.Context())
		return err
	})
	for _, count := range auditCounts.FindAllStringSubmatch(text, -1) {
		audits, err := strconv.Atoi(count[1])
		if err != nil {
			t.Fatal(err)
		}
		now.audits += audits
	}
	return now
}

// checkInterval checks that the first audit after a change told everything. It
// counts audits, since a busy machine stretches the interval: one may have been
// under way at the change, and another may have ended before we looked.
func (a *auditedCluster) checkInterval(t *testing.T, before moment) {
	t.Helper()
	var after moment
	eventually(t, func() error { // an audit is counted a moment after it has told
		if after = a.now(t); after.audits == before.audits {
			return errors.New("no audit has ended")
		}
		return nil
	})
	audits := after.audits - before.audits
	t.Logf("told %s after the change, %d audits later", after.time.Sub(before.time).Round(time.Millisecond), audits)
	if audits < 1 || audits > 3 {
		t.Errorf("it was told after %d audits, want 1 to 3", audits)
	}
}

// scrape reads the metrics of all replicas.
func (a *auditedCluster) scrape(ctx context.Context) (string, error) {
	var all strings.Builder
	for _, p := range a.kubelet.replicas() {
		metrics, err := p.scrape(ctx)
		if err != nil {
			return "", err
		}
		all.WriteString(metrics)
	}
	return all.String(), nil
}
