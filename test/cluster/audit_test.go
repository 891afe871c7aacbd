package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// The pods that run while an image turns bad: namespaces × Deployments × replicas.
const (
	teams           = 4
	deploymentsEach = 5
	replicasEach    = 100
	allPods         = teams * deploymentsEach * replicasEach
	auditedPolicy   = release + "-default"
)

var auditCounts = regexp.MustCompile(`(?m)^hssgate_audit_duration_seconds_count (\d+)$`)

// testAudit has an image of running Deployments turn bad and good again. hssgate
// runs on the real node, the 2,000 audited pods on nodes that kwok simulates.
func testAudit(t *testing.T, c *cluster) {
	c.deleteNamespace(t, shop)
	c.kubectl(t, "apply", "--server-side", "-f", root+"/e2e/testdata/openreports.yaml")
	c.deploy(t, helm4, "audit", "--set", "config.audit.interval=15s", "--set", "config.cache.freshFor=1s")
	a := newAudited(t, c)
	a.simulateNodes(t)
	a.fill(t)
	all := results{Evaluated: allPods, Metrics: []string{`hssgate_audit_violations{policy="hssgate-default"} 0`}}
	a.await(t, &all)

	before := a.audits(t)
	bad := imageRowOf(7)
	bad.SeverityLevel, bad.VulNum = "High", 111
	c.hss.know(t, bad)
	const line = `container "app": swr.cn-north-4.myhuaweicloud.com/prod/web-7:1 — severity High, allowed Medium`
	a.await(t, &results{
		Evaluated: allPods, Violations: replicasEach,
		First:   []v1alpha1.AuditViolation{{Namespace: "team-1", Kind: "Deployment", Name: "web-7", Pods: replicasEach, Message: line}},
		Events:  []string{"team-1/Deployment/web-7 ImageViolation: 100 pods violate policy hssgate-default (Deny): " + line},
		Reports: []string{"team-1/hssgate: 100 failed, 400 passed: Deployment/web-7: " + line},
		Metrics: []string{`hssgate_audit_violations{policy="hssgate-default"} 100`},
	})
	a.checkAudits(t, before)

	before = a.audits(t)
	c.hss.know(t, imageRowOf(7))
	a.await(t, &all)
	a.checkAudits(t, before)
	a.sweep(t)
}

// imageRowOf returns the image of a Deployment, in which nothing was found.
func imageRowOf(n int) imageRow {
	return newImageRow(fmt.Sprintf("web-%d", n), "sha256:"+strings.Repeat("0", 63)+string(rune('a'+n%6)))
}

// audited is a cluster full of running pods.
type audited struct {
	*cluster
	objects dynamic.Interface
}

func newAudited(t *testing.T, c *cluster) *audited {
	t.Helper()
	objects, err := dynamic.NewForConfig(c.config)
	if err != nil {
		t.Fatal(err)
	}
	return &audited{cluster: c, objects: objects}
}

// simulateNodes adds nodes on which kwok pretends to run pods. Only those that
// tolerate it go there.
func (a *audited) simulateNodes(t *testing.T) {
	t.Helper()
	kwok := a.command(t.Context(), "exec", "kwok", "--kubeconfig", a.data+"/pki/admin.kubeconfig", "--config", "testdata/stages.yaml",
		"--manage-nodes-with-label-selector", "type=kwok", "--node-lease-duration-seconds", "40", "--server-address", "")
	if err := kwok.Start(); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		a.apply(t, fmt.Sprintf(`{apiVersion: v1, kind: Node, metadata: {name: simulated-%d, labels: {type: kwok, kubernetes.io/os: linux}},
			spec: {taints: [{key: simulated, effect: NoSchedule}]}}`, n))
	}
}

// sweep deletes the pods, and the nodes that they run on.
func (a *audited) sweep(t *testing.T) {
	t.Helper()
	namespaces := []string{"delete", "namespace", "--timeout", patience.String()}
	for n := range teams {
		namespaces = append(namespaces, fmt.Sprintf("team-%d", n))
	}
	a.kubectl(t, namespaces...)
	a.kubectl(t, "delete", "nodes", "-l", "type=kwok")
	a.exec(t, "pkill", "-x", "kwok")
}

// fill rolls out Deployments, each with an image of its own, and waits until
// all of their pods run.
func (a *audited) fill(t *testing.T) {
	t.Helper()
	began := time.Now()
	var images []imageRow
	for n := range teams * deploymentsEach {
		images = append(images, imageRowOf(n))
	}
	a.hss.know(t, images...)
	for n := range teams {
		a.newNamespace(t, fmt.Sprintf("team-%d", n))
	}
	for n := range teams * deploymentsEach {
		d := auditedDeployment(fmt.Sprintf("web-%d", n))
		if _, err := a.client.AppsV1().Deployments(fmt.Sprintf("team-%d", n/deploymentsEach)).Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() error {
		deployments, err := a.client.AppsV1().Deployments(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{LabelSelector: "audited=yes"})
		if err != nil {
			return err
		}
		var ready int32
		for _, d := range deployments.Items {
			ready += d.Status.ReadyReplicas
		}
		if ready != allPods {
			return fmt.Errorf("%d replicas are ready, want %d", ready, allPods)
		}
		return nil
	})
	t.Logf("%d pods run after %s", allPods, time.Since(began).Round(time.Second))
}

func auditedDeployment(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name, "audited": "yes"}
	spec := podSpec("swr.cn-north-4.myhuaweicloud.com/prod/" + name + ":1")
	spec.NodeSelector = map[string]string{"type": "kwok"}
	spec.Tolerations = []corev1.Toleration{{Key: "simulated", Operator: corev1.TolerationOpExists}}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(replicasEach)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
		},
	}
}

// results are those of an audit, as its status, Events, reports and metrics
// show them.
type results struct {
	Evaluated, Violations int32
	First                 []v1alpha1.AuditViolation
	Events                []string
	Reports               []string
	Metrics               []string
}

// await waits until all results are as they should be.
func (a *audited) await(t *testing.T, want *results) {
	t.Helper()
	eventually(t, func() error {
		got := &results{}
		for _, read := range []func(context.Context, *results) error{a.readStatus, a.readEvents, a.readReports, a.readMetrics} {
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

func (a *audited) readStatus(ctx context.Context, into *results) error {
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

func (a *audited) readEvents(ctx context.Context, into *results) error {
	list, err := a.client.CoreV1().Events(metav1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "type=Warning,source=hssgate"})
	if err != nil {
		return err
	}
	for _, e := range list.Items {
		if strings.HasPrefix(e.Namespace, "team-") {
			into.Events = append(into.Events, fmt.Sprintf("%s/%s/%s %s: %s", e.Namespace, e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message))
		}
	}
	return nil
}

func (a *audited) readReports(ctx context.Context, into *results) error {
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
		found, _, _ := unstructured.NestedSlice(report, "results")
		for _, one := range found {
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

// readMetrics reads those of all replicas, one of which audits.
func (a *audited) readMetrics(ctx context.Context, into *results) error {
	all, err := a.metrics(ctx)
	for line := range strings.Lines(all) {
		if strings.HasPrefix(line, `hssgate_audit_violations{policy="`+auditedPolicy) {
			into.Metrics = append(into.Metrics, strings.TrimSpace(line))
		}
	}
	return err
}

// metrics returns the metrics of all replicas.
func (a *audited) metrics(ctx context.Context) (string, error) {
	pods, err := a.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DialContext: a.dial, DisableKeepAlives: true}}
	var all strings.Builder
	for _, pod := range pods.Items {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+pod.Status.PodIP+":8080/metrics", http.NoBody)
		if err != nil {
			return "", err
		}
		response, err := client.Do(request)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(&all, response.Body)
		_ = response.Body.Close()
		if err != nil {
			return "", err
		}
	}
	return all.String(), nil
}

// audits returns how many audits have ended.
func (a *audited) audits(t *testing.T) int {
	t.Helper()
	a.replicas(t)
	text, err := a.metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	audits := 0
	for _, count := range auditCounts.FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(count[1])
		if err != nil {
			t.Fatal(err)
		}
		audits += n
	}
	return audits
}

// checkAudits checks that one of the first audits after a change had the results.
// It counts audits, since a busy machine stretches their interval: one may have
// been under way at the change, the simulated HSS reads its file again after a
// moment, and another may have ended before the results were read.
func (a *audited) checkAudits(t *testing.T, before int) {
	t.Helper()
	after := before
	eventually(t, func() error { // an audit is counted a moment after its results
		if after = a.audits(t); after == before {
			return errors.New("no audit has ended")
		}
		return nil
	})
	t.Logf("the results show after %d audits", after-before)
	if after-before > 4 {
		t.Errorf("the results show after %d audits, want 4 at most", after-before)
	}
}
