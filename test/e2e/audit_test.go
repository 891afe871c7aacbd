package e2e_test

import (
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
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// The cluster that is audited: namespaces × deployments × pods.
const (
	auditedNamespaces  = 10
	auditedDeployments = 4
	auditedPods        = 15
	allPods            = auditedNamespaces * auditedDeployments * auditedPods
)

// testAudit audits 600 running pods while an image turns bad and good again.
func testAudit(t *testing.T, c *cluster) {
	c = newCluster(t, c.program)
	c.mustKubectl(t, "", "apply", "--server-side", "-f", "testdata/openreports.yaml")
	hss := newHSS(t)
	a := &audited{policy: newPolicy("audited", "audited", "yes", enforcement(v1alpha1.EnforcementAudit))}
	fill(t, c, hss)
	a.gate = c.newGate(t, setup{name: "auditing", hss: map[string]*hsstest.Server{"main": hss}, cache: changing, audit: "interval: 15s"})
	c.create(t, a.policy)
	none := told{Evaluated: allPods, Metric: `hssgate_audit_violations{policy="audited"} 0`}
	a.checkTold(t, &none)

	t.Log("an image turns bad")
	change(hss, "app-3", high)
	const line = `container "app": main.example.com/prod/app-3:1 — severity High, allowed Medium; 111 vulnerabilities, allowed 0`
	const remedy = "to do: rebuild the image with fixed packages, push it, and have HSS scan it"
	found := &told{
		Evaluated: allPods, Violations: auditedPods,
		First:   []v1alpha1.AuditViolation{{Namespace: "team-0", Kind: "Deployment", Name: "web-3", Pods: auditedPods, Message: line}},
		Events:  []string{"team-0/Deployment/web-3 ImageViolation: 15 pods violate policy audited (Audit): " + line + " | " + remedy},
		Reports: []string{"team-0/hssgate map[error:0 fail:1 pass:3 skip:0 warn:0] audited fail: Deployment/web-3, 15 pods: " + line + "\n" + remedy},
		Metric:  fmt.Sprintf(`hssgate_audit_violations{policy="audited"} %d`, auditedPods),
	}
	a.checkTold(t, found)

	t.Log("it turns good")
	change(hss, "app-3", func(i *hsstest.Image) { *i = row("app-3") })
	none.Events = found.Events // until the API server forgets it
	a.checkTold(t, &none)

	t.Log("what dashboard and alerts measure is measured")
	a.checkMetrics(t)
}

// audited is the gate that audits a cluster full of pods.
type audited struct {
	*gate

	policy *v1alpha1.ImageScanPolicy
}

// fill creates the pods as controllers would, and has them run. Deployment N of
// each namespace runs an image of its own.
func fill(t *testing.T, c *cluster, hss *hsstest.Server) {
	t.Helper()
	var wg sync.WaitGroup
	defer wg.Wait()
	for n := range auditedNamespaces * auditedDeployments {
		namespace, name := fmt.Sprintf("team-%d", n/auditedDeployments), fmt.Sprintf("web-%d", n)
		add(hss, row(fmt.Sprintf("app-%d", n)))
		if n%auditedDeployments == 0 {
			c.newNamespace(t, namespace, map[string]string{"audited": "yes"})
		}
		deployment, set := &appsv1.Deployment{}, &appsv1.ReplicaSet{}
		template := newPod("", fmt.Sprintf("main.example.com/prod/app-%d:1", n), func(p *corev1.Pod) { p.Labels = map[string]string{"app": name} })
		deployment.Name, deployment.Namespace, set.Name, set.Namespace = name, namespace, name+"-5d4f", namespace
		deployment.Spec.Selector = &metav1.LabelSelector{MatchLabels: template.Labels}
		deployment.Spec.Template = corev1.PodTemplateSpec{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
		set.Spec.Selector, set.Spec.Template = deployment.Spec.Selector, deployment.Spec.Template
		c.create(t, deployment)
		set.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(deployment, appsv1.SchemeGroupVersion.WithKind("Deployment"))}
		c.create(t, set)
		wg.Go(func() {
			for i := range auditedPods {
				pod := template.DeepCopy()
				pod.Name = fmt.Sprintf("%s-%d", set.Name, i)
				pod.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))}
				if err := c.runAs(t.Context(), namespace, pod, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
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
	if last := get(t, a.cluster, a.policy).Status.LastAudit; last != nil {
		got.Evaluated, got.Violations, got.First = last.Evaluated, last.Violations, last.FirstViolations
	}
	var events corev1.EventList
	reports := &unstructured.UnstructuredList{}
	reports.SetGroupVersionKind(schema.GroupVersionKind{Group: "openreports.io", Version: "v1alpha1", Kind: "ReportList"})
	if err := errors.Join(a.cluster.List(t.Context(), &events, client.MatchingFields{"type": "Warning", "source": "hssgate"}), a.cluster.List(t.Context(), reports)); err != nil {
		return nil, err
	}
	for _, e := range events.Items {
		got.Events = append(got.Events, fmt.Sprintf("%s/%s/%s %s: %s", e.Namespace, e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message))
	}
	slices.Sort(got.Events)
	for i := range reports.Items {
		summary, _, _ := unstructured.NestedMap(reports.Items[i].Object, "summary")
		got.Reports = append(got.Reports, fmt.Sprintf("%s/%s %v %s", reports.Items[i].GetNamespace(), reports.Items[i].GetName(), summary, results(&reports.Items[i])))
	}
	got.Metric = strings.TrimSpace(regexp.MustCompile(`(?m)^hssgate_audit_violations\{.*$`).FindString(a.scrape(t)))
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
	const image = "main.example.com/prod/let-past:1"
	add(a.hss["main"], row("let-past", high, func(i *hsstest.Image) { i.ImageID = "img-let-past" }))
	s.enforce(t, "p")
	says(t, s.run(t, newPod("denied", image)), highLine(s, image))
	s.grant(t, "e", excepting("main.example.com/prod/let-past"))
	must(t, s.run(t, newPod("let-past", image)))
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
		must(t, err)
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
