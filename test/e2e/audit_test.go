package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// The cluster that is audited: namespaces × deployments × pods.
const (
	auditedNamespaces  = 10
	auditedDeployments = 4
	auditedPods        = 50
	allPods            = auditedNamespaces * auditedDeployments * auditedPods
)

// TestAudit audits 2,000 running pods while an image turns bad and good again.
func TestAudit(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.mustKubectl(t, "", "apply", "--server-side", "-f", "testdata/openreports.yaml")
	a := &audited{cluster: c, hss: newHSS(t), client: c.Clientset(t)}
	a.fill(t)
	a.gate = newGate(t, c, setup{
		name: "auditing", projects: map[string]*hsstest.Server{"main": a.hss}, cache: "freshFor: 1s\nnotFoundFor: 1s",
		audit: "interval: 15s",
	})
	p := &v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: "audited"}, Spec: strict()}
	p.Spec.Match.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"audited": "yes"}}
	p.Spec.Enforcement = v1alpha1.EnforcementAudit
	if err := c.policies.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	none := told{Evaluated: allPods, Metric: `hssgate_audit_violations{policy="audited"} 0`}
	a.checkTold(t, &none)

	t.Log("an image turns bad")
	change(a.hss, "app-3", high)
	const line = `container "app": main.example.com/prod/app-3:1 — severity High, allowed Medium; 111 vulnerabilities, allowed 0`
	found := &told{
		Evaluated: allPods, Violations: auditedPods,
		First:   []v1alpha1.AuditViolation{{Namespace: "team-0", Kind: "Deployment", Name: "web-3", Pods: auditedPods, Message: line}},
		Events:  []string{"team-0/Deployment/web-3 ImageViolation: 50 pods violate policy audited (Audit): " + line},
		Reports: []string{"team-0/hssgate map[error:0 fail:50 pass:150 skip:0 warn:0] audited fail: Deployment/web-3, 50 pods: " + line},
		Metric:  fmt.Sprintf(`hssgate_audit_violations{policy="audited"} %d`, auditedPods),
	}
	a.checkTold(t, found)

	t.Log("it turns good")
	change(a.hss, "app-3", func(i *hsstest.Image) { *i = row("app-3") })
	none.Events = found.Events // until the API server forgets it
	a.checkTold(t, &none)

	t.Log("what dashboard and alerts measure is measured")
	a.checkMetrics(t)
}

// audited is a cluster full of pods, and the gate that audits them.
type audited struct {
	*gate
	cluster *cluster
	hss     *hsstest.Server
	client  kubernetes.Interface
}

// fill creates the pods as controllers would, and has them run. Deployment N of
// each namespace runs an image of its own.
func (a *audited) fill(t *testing.T) {
	t.Helper()
	for n := range auditedNamespaces * auditedDeployments {
		add(a.hss, row(fmt.Sprintf("app-%d", n)))
	}
	var wg sync.WaitGroup
	for n := range auditedNamespaces {
		namespace := fmt.Sprintf("team-%d", n)
		a.cluster.newNamespace(t, namespace, map[string]string{"audited": "yes"})
		for d := range auditedDeployments {
			wg.Go(func() {
				if err := a.deploy(t.Context(), namespace, n*auditedDeployments+d); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func (a *audited) deploy(ctx context.Context, namespace string, n int) error {
	name, labels := fmt.Sprintf("web-%d", n), map[string]string{"app": fmt.Sprintf("web-%d", n)}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec(fmt.Sprintf("main.example.com/prod/app-%d:1", n))}
	selector := &metav1.LabelSelector{MatchLabels: labels}
	deployment, err := a.client.AppsV1().Deployments(namespace).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DeploymentSpec{Selector: selector, Template: template},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	set, err := a.client.AppsV1().ReplicaSets(namespace).Create(ctx, &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Name: name + "-5d4f", OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(deployment, appsv1.SchemeGroupVersion.WithKind("Deployment"))},
		},
		Spec: appsv1.ReplicaSetSpec{Selector: selector, Template: template},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	owner := *metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))
	for i := range auditedPods {
		pod := newPod(fmt.Sprintf("%s-%d", set.Name, i), template.Spec.Containers[0].Image)
		pod.Labels, pod.OwnerReferences = labels, []metav1.OwnerReference{owner}
		created, err := a.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		created.Status.Phase = corev1.PodRunning
		if _, err := a.client.CoreV1().Pods(namespace).UpdateStatus(ctx, created, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func (a *audited) scrape(t *testing.T) string {
	t.Helper()
	code, body, err := get(t, "http://"+a.metrics+"/metrics")
	if err != nil || code != 200 {
		t.Fatal(code, err)
	}
	return body
}

// told is what status, Events, reports and metrics tell of violations.
type told struct {
	Evaluated, Violations int32
	First                 []v1alpha1.AuditViolation
	Events                []string
	Reports               []string
	Metric                string
}

// checkTold waits until what is told is what should be, and nothing besides.
func (a *audited) checkTold(t *testing.T, want *told) {
	t.Helper()
	eventually(t, func() error {
		got, err := a.told(t)
		if err != nil {
			return err
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

func (a *audited) told(t *testing.T) (*told, error) {
	t.Helper()
	got := &told{}
	var p v1alpha1.ImageScanPolicy
	if err := a.cluster.policies.Get(t.Context(), client.ObjectKey{Name: "audited"}, &p); err != nil {
		return nil, err
	}
	if last := p.Status.LastAudit; last != nil {
		got.Evaluated, got.Violations, got.First = last.Evaluated, last.Violations, last.FirstViolations
	}
	events, err := a.client.CoreV1().Events(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{FieldSelector: "type=Warning,source=hssgate"})
	if err != nil {
		return nil, err
	}
	for _, e := range events.Items {
		got.Events = append(got.Events, fmt.Sprintf("%s/%s/%s %s: %s", e.Namespace, e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message))
	}
	reports := &unstructured.UnstructuredList{}
	reports.SetGroupVersionKind(schema.GroupVersionKind{Group: "openreports.io", Version: "v1alpha1", Kind: "ReportList"})
	if err := a.cluster.policies.List(t.Context(), reports); err != nil {
		return nil, err
	}
	for i := range reports.Items {
		summary, _, _ := unstructured.NestedMap(reports.Items[i].Object, "summary")
		got.Reports = append(got.Reports, fmt.Sprintf("%s/%s %v %s", reports.Items[i].GetNamespace(), reports.Items[i].GetName(), summary, results(&reports.Items[i])))
	}
	for line := range strings.Lines(a.scrape(t)) {
		if strings.HasPrefix(line, "hssgate_audit_violations{") {
			got.Metric = strings.TrimSpace(line)
		}
	}
	slices.Sort(got.Events)
	return got, nil
}

func results(report *unstructured.Unstructured) string {
	all, _, _ := unstructured.NestedSlice(report.Object, "results")
	var lines []string
	for _, one := range all {
		result, _ := one.(map[string]any)
		resources, _, _ := unstructured.NestedSlice(result, "resources")
		resource, _ := resources[0].(map[string]any)
		pods, _, _ := unstructured.NestedString(result, "properties", "pods")
		lines = append(lines, fmt.Sprintf("%v %v: %v/%v, %s pods: %v", result["policy"], result["result"], resource["kind"], resource["name"], pods, result["message"]))
	}
	return strings.Join(lines, "\n")
}

// checkMetrics has everything happen that the chart's dashboard and alerts
// measure, and then looks in a scrape for every metric that they name. To be in
// the code is not enough: it could be registered nowhere.
func (a *audited) checkMetrics(t *testing.T) {
	t.Helper()
	s := a.newSpace(t)
	add(a.hss, row("let-past", high, func(i *hsstest.Image) { i.ImageID = "img-let-past" }))
	s.enforce(t, "p")
	if err := s.run(t, newPod("denied", "main.example.com/prod/let-past:1")); err == nil {
		t.Error("a bad image was admitted")
	}
	s.grant(t, "e", excepting("main.example.com/prod/let-past"))
	if err := s.run(t, newPod("let-past", "main.example.com/prod/let-past:1")); err != nil {
		t.Error(err)
	}
	used := metricsInChart(t)
	eventually(t, func() error {
		scraped := a.scrape(t)
		var missing []string
		for _, name := range used {
			if !regexp.MustCompile(`(?m)^` + name + `[ {]`).MatchString(scraped) {
				missing = append(missing, name)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("missing in the scrape: %s", strings.Join(missing, ", "))
		}
		return bounded(scraped)
	})
}

// metricsInChart returns hssgate's metrics that dashboard and alerts name, but for
// those of graces, which TestGrace looks for.
func metricsInChart(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, path := range []string{"../../charts/hssgate/files/dashboards/hssgate.json", "../../charts/hssgate/templates/prometheusrule.yaml"} {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, regexp.MustCompile(`hssgate_[a-z_]+`).FindAllString(string(content), -1)...)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, "hssgate_audit_grace_") })
	slices.Sort(names)
	if names = slices.Compact(names); len(names) < 15 {
		t.Fatalf("dashboard and alerts name only %v", names)
	}
	return names
}

// bounded checks that no metric of ours names what users choose without bound, or
// keys.
func bounded(scraped string) error {
	var problems []error
	for line := range strings.Lines(scraped) {
		if strings.HasPrefix(line, "hssgate_") && regexp.MustCompile(`prod/|web-\d|let-past|sha256|`+accessKey+`|`+secretKey).MatchString(line) {
			problems = append(problems, fmt.Errorf("an image or a pod is a label: %s", line))
		}
	}
	return errors.Join(problems...)
}
