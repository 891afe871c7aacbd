package audit_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func (c *cluster) report(t *testing.T, kind schema.GroupVersionKind, namespace string) *unstructured.Unstructured {
	t.Helper()
	r := &unstructured.Unstructured{}
	r.SetGroupVersionKind(kind)
	err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "hssgate"}, r)
	if apierrors.IsNotFound(err) {
		return nil
	}
	must(t, err)
	return r
}

const scannedDigest = "sha256:4026e8d3a7a60bf7e7b0c06f27aca20077729b41f7ca4c6b7e854c46e91d59f8"

const wantedReport = `
apiVersion: openreports.io/v1alpha1
kind: Report
metadata: {name: hssgate, namespace: a, labels: {app.kubernetes.io/managed-by: hssgate}}
scope: {apiVersion: v1, kind: Namespace, name: a}
summary: {pass: 1, fail: 1, warn: 1, error: 1, skip: 0}
results:
- {source: hssgate, category: Image scan, policy: p, rule: severityLevel, severity: high, result: fail, scored: true,
   timestamp: {seconds: 1795438800, nanos: 0}, properties: {pods: "2", enforcement: Deny, image: "bad:1", digest: "` + scannedDigest + `"},
   message: "container \"app\": bad:1 — severity High, allowed Medium\nto do: rebuild the image with fixed packages, push it, and have HSS scan it",
   resources: [{apiVersion: apps/v1, kind: DaemonSet, namespace: a, name: agent, uid: DaemonSet/agent}]}
- {source: hssgate, category: Image scan, policy: p, rule: notFound, severity: medium, result: warn, scored: true,
   timestamp: {seconds: 1795435200, nanos: 0}, properties: {pods: "1", enforcement: Warn, image: "odd:1"},
   message: "container \"app\": odd:1 — not found\nto do: check the image's name; if it is new, have HSS synchronise its registry, and scan it",
   resources: [{apiVersion: v1, kind: Pod, namespace: a, name: odd, uid: a/odd}]}
- {source: hssgate, category: Image scan, policy: p, rule: unavailable, severity: info, result: error, scored: true,
   timestamp: {seconds: 1795435200, nanos: 0}, properties: {pods: "1", enforcement: Deny, image: "dark:1"},
   message: 'container "app": dark:1 — no answer',
   resources: [{apiVersion: v1, kind: Pod, namespace: a, name: dark, uid: a/dark}]}
`

func TestAReportSaysWhatIsWrongInANamespace(t *testing.T) {
	t.Parallel()
	c := newViolation(t)
	c.verdicts["odd:1"] = verdict(v1alpha1.EnforcementWarn, policy.CheckNotFound, "not found")
	c.verdicts["dark:1"] = verdict(v1alpha1.EnforcementDeny, policy.CheckUnavailable, "no answer")
	c.run("a", "odd", "odd:1")
	c.run("a", "dark", "dark:1")
	c.run("a", "fine", "fine:1")
	c.run("b", "fine", "fine:1")
	for i := range c.pods {
		c.pods[i].CreationTimestamp = metav1.NewTime(now)
	}
	bad := c.verdicts["bad:1"]
	bad.Facts = &policy.Facts{State: policy.StateFound, Records: []policy.Record{{
		Severity: "High", Digest: scannedDigest, Scan: policy.Scan{Status: v1alpha1.ScanStatusSuccess}, ScannedAt: now.Add(time.Hour),
	}}}
	c.verdicts["bad:1"] = bad
	c.audits(t)
	got := c.report(t, openReport, "a")
	if got == nil {
		t.Fatal("there is no report")
	}
	unstructured.RemoveNestedField(got.Object, "metadata", "resourceVersion")
	unstructured.RemoveNestedField(got.Object, "metadata", "managedFields")
	var want map[string]any
	must(t, yaml.Unmarshal([]byte(wantedReport), &want))
	equal(t, "the report", asYAML(t, want), asYAML(t, got.Object))
	if c.report(t, openReport, "b") != nil {
		t.Error("namespace b has a report, though all is well there")
	}
	clear(c.verdicts)
	if c.audits(t); c.report(t, openReport, "a") != nil {
		t.Error("the report is still there when all is well")
	}
}

func asYAML(t *testing.T, v any) string {
	t.Helper()
	text, err := yaml.Marshal(v)
	must(t, err)
	return string(text)
}

func TestReportsOfOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	c := newCluster(t, openReport)
	for name, labels := range map[string]map[string]string{
		"hssgate": {"app.kubernetes.io/managed-by": "kyverno"}, "other": {"app.kubernetes.io/managed-by": "hssgate"},
	} {
		r := &unstructured.Unstructured{}
		r.SetGroupVersionKind(openReport)
		r.SetNamespace("a")
		r.SetName(name)
		r.SetLabels(labels)
		must(t, c.Create(t.Context(), r))
	}
	c.written()
	c.audits(t)
	equal(t, "what is written", nil, c.written())
}

func TestWhichReportsAreWritten(t *testing.T) {
	t.Parallel()
	both := []schema.GroupVersionKind{openReport, policyReport}
	for name, test := range map[string]struct {
		reports   string
		installed []schema.GroupVersionKind
		want      schema.GroupVersionKind
	}{
		"Auto prefers OpenReports":           {"Auto", both, openReport},
		"Auto takes PolicyReports else":      {"Auto", both[1:], policyReport},
		"Auto writes none if there are none": {"Auto", nil, schema.GroupVersionKind{}},
		"PolicyReports are an option":        {"PolicyReports", both, policyReport},
		"OpenReports only":                   {"OpenReports", both[1:], schema.GroupVersionKind{}},
		"None":                               {"None", both, schema.GroupVersionKind{}},
	} {
		c := newCluster(t, test.installed...)
		c.Reports, c.verdicts["bad:1"] = test.reports, c.high()
		c.run("a", "web", "bad:1")
		c.audits(t)
		for _, kind := range test.installed {
			equal(t, name+": there is a "+kind.Kind, kind == test.want, c.report(t, kind, "a") != nil)
		}
	}
}

func TestAReportIsBounded(t *testing.T) {
	t.Parallel()
	c := newCluster(t, openReport)
	c.verdicts["bad:1"] = verdict(v1alpha1.EnforcementDeny, policy.CheckSeverityLevel, strings.Repeat("x", 5000))
	c.verdicts["dark:1"] = verdict(v1alpha1.EnforcementDeny, policy.CheckUnavailable, "no answer")
	for n := range 150 {
		c.run("a", fmt.Sprintf("dark-%d", n), "dark:1")
		c.run("a", fmt.Sprintf("pod-%d", n), "bad:1")
	}
	c.audits(t)
	report := c.report(t, openReport, "a")
	results, _, err := unstructured.NestedSlice(report.Object, "results")
	if err != nil || len(results) != 100 {
		t.Fatalf("%d results, want 100 (%v)", len(results), err)
	}
	for _, one := range results {
		if r, _ := one.(map[string]any); r["result"] != "fail" {
			t.Fatalf("got a result %v, want those that fail first", r["result"])
		}
	}
	if size := len(asYAML(t, report.Object)); size > 200_000 {
		t.Errorf("the report has %d bytes", size)
	}
	if fail, _, _ := unstructured.NestedInt64(report.Object, "summary", "fail"); fail != 150 {
		t.Errorf("the summary counts %d that fail, want all 150", fail)
	}
}

func TestAReportThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	terminating := &apierrors.StatusError{ErrStatus: metav1.Status{
		Reason: metav1.StatusReasonForbidden, Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}},
	}}
	for name, test := range map[string]struct {
		err   error
		wrong bool
	}{
		"fails the audit":                   {errors.New("etcd is full"), true},
		"but not if its namespace is going": {terminating, false},
		"and not if its namespace is gone":  {apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "a"), false},
	} {
		c := newViolation(t)
		c.failing("apply", "", test.err)
		if err := c.Audit(t.Context(), "test"); (err != nil) != test.wrong {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}

const standing = `Warning a/DaemonSet/agent ImageViolation: 2 pods violate policy p (Deny): container "app": bad:1 — severity High, allowed Medium | to do: rebuild the image with fixed packages, push it, and have HSS scan it`

// newViolation is a cluster in which two pods of one DaemonSet run a bad image.
func newViolation(t *testing.T) *cluster {
	t.Helper()
	c := newCluster(t, openReport)
	c.verdicts["bad:1"] = c.high()
	c.run("a", "agent-x", "bad:1", ownedBy("apps/v1", "DaemonSet", "agent"))
	c.run("a", "agent-y", "bad:1", ownedBy("apps/v1", "DaemonSet", "agent"))
	return c
}

func TestAnEventIsInTheLanguageOfItsDecision(t *testing.T) {
	t.Parallel()
	c := newViolation(t)
	c.language = language.Chinese
	c.audits(t)
	want := `Warning a/DaemonSet/agent ImageViolation: 2 个 Pod 违反策略 p（拒绝）：容器 "app"：bad:1 — severity High, allowed Medium | 处理办法：用已修复的软件包重新构建镜像，推送后由 HSS 扫描`
	equal(t, "events", []string{want}, c.events(t))
}

func TestOneEventForEachWorkloadAndPolicy(t *testing.T) {
	t.Parallel()
	c := newViolation(t)
	c.audits(t)
	if diff := cmp.Diff([]string{standing}, c.events(t)); diff != "" {
		t.Fatal(diff)
	}

	for _, step := range []struct {
		name, note string
		wait       time.Duration
		want       bool
	}{
		{"it is written again when it changes", "severity High, allowed Low", 0, true},
		{"and not when it does not", "severity High, allowed Low", 0, false},
		{"but before the API server forgets it", "severity High, allowed Low", 30 * time.Minute, true},
	} {
		c.clock.Step(step.wait)
		c.verdicts["bad:1"] = verdict(v1alpha1.EnforcementDeny, policy.CheckSeverityLevel, step.note)
		c.written()
		c.audits(t)
		equal(t, step.name, step.want, slices.ContainsFunc(c.written(), func(w string) bool { return strings.HasPrefix(w, "apply event") }))
		var list corev1.EventList
		must(t, c.WithWatch.List(t.Context(), &list))
		if e := list.Items[0]; !strings.Contains(e.Message, step.note+" | to do: ") || !e.LastTimestamp.Time.Equal(c.clock.Now()) {
			t.Errorf("%s: %s has %s", step.name, e.Message, e.LastTimestamp)
		}
	}
}

func TestAnEventIsWrittenAsLongAsPodsViolate(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*cluster){
		"not when the image is good again":       func(c *cluster) { clear(c.verdicts) },
		"not when the pods are gone":             func(c *cluster) { c.pods = nil },
		"not when an exception allows the image": func(c *cluster) { v := c.high(); v.PodEffect = "Excepted"; c.verdicts["bad:1"] = v },
		"not when it is unknown whether they violate": func(c *cluster) {
			c.verdicts["bad:1"] = verdict(v1alpha1.EnforcementDeny, policy.CheckUnavailable, "no answer")
		},
	} {
		c := newViolation(t)
		change(c)
		c.audits(t)
		equal(t, name, nil, c.events(t))
	}
}

func TestTheStatusAndEventsAreBounded(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.verdicts["bad:1"] = c.high()
	for n := range 60 {
		c.run("a", fmt.Sprintf("pod-%d", n), "bad:1")
	}
	c.run("b", "pod", "bad:1")
	status := c.audits(t)
	if first := status.FirstViolations; status.Violations != 61 || len(first) != 20 || first[19].Name != "pod-26" {
		t.Errorf("got %d violations, and first %d to %+v, want 20 of 61, to a/pod-26", status.Violations, len(first), first[len(first)-1])
	}
	equal(t, "Events of both namespaces", 50+1, len(c.events(t)))

	t.Log("an audit waits for no Event, and leaves to the next one what the queue has no room for")
	for n := range 45 {
		name := fmt.Sprintf("team-%d", n)
		must(t, c.Create(t.Context(), namespace(name)))
		for i := range 50 {
			c.run(name, fmt.Sprintf("pod-%d", i), "bad:1")
		}
	}
	must(t, c.Audit(t.Context(), "no Event is written meanwhile"))
	equal(t, "violations", 61+45*50, c.status(t).Violations)
	equal(t, "Events in the queue, which has room for no more", 2000, c.QueuedEvents())
}

func TestAnEventThatCannotBeWrittenFailsNoAudit(t *testing.T) {
	t.Parallel()
	c := newViolation(t)
	c.failing("apply", "event", errors.New("forbidden"))
	equal(t, "violations", 2, c.audits(t).Violations)
	if !strings.Contains(c.log.String(), "an Event was not written") {
		t.Errorf("the log says nothing: %s", c.log.String())
	}
	c.fail = func(string, string) error { return nil }
	c.audits(t)
	equal(t, "events of the next audit", []string{standing}, c.events(t))
}
