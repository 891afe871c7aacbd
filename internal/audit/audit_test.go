package audit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

func TestAuditCountsWhatRuns(t *testing.T) {
	t.Parallel()
	allowed := verdict(v1alpha1.EnforcementDeny, policy.CheckUnavailable, "no answer")
	allowed.Findings[0].Action = v1alpha1.ActionAllow
	excepted := gate.Violation{Policy: "p", Effect: gate.EffectExcepted, PodEffect: gate.EffectExcepted, Findings: []policy.Finding{{Message: "excepted"}}}
	for name, test := range map[string]struct {
		verdict *gate.Violation
		change  []func(*corev1.Pod)
		want    v1alpha1.AuditStatus
	}{
		"a pod that passes":                  {nil, nil, v1alpha1.AuditStatus{Evaluated: 1}},
		"a pod that would be denied":         {new(verdict(v1alpha1.EnforcementDeny, policy.CheckSeverityLevel, "High")), nil, v1alpha1.AuditStatus{Evaluated: 1, Violations: 1}},
		"a pod that is only recorded":        {new(verdict(v1alpha1.EnforcementAudit, policy.CheckNotFound, "not found")), nil, v1alpha1.AuditStatus{Evaluated: 1, Violations: 1}},
		"a pod that HSS has no answer about": {new(verdict(v1alpha1.EnforcementDeny, policy.CheckUnavailable, "no answer")), nil, v1alpha1.AuditStatus{Unknown: 1}},
		"a pod that no scan result is available for, though the policy allows that": {new(allowed), nil, v1alpha1.AuditStatus{Unknown: 1}},
		"a pod that an exception allows":                                            {&excepted, nil, v1alpha1.AuditStatus{Evaluated: 1, Excepted: 1}},
		"a pod that is being deleted":                                               {new(verdict(v1alpha1.EnforcementDeny, policy.CheckSeverityLevel, "High")), []func(*corev1.Pod){leaving}, v1alpha1.AuditStatus{}},
	} {
		c := newCluster(t)
		if test.verdict != nil {
			c.verdicts["app:1"] = *test.verdict
		}
		c.run("a", "web", "app:1", test.change...)
		got := *c.audits(t)
		equal(t, name, now, got.Time.Time)
		got.FirstViolations, got.Time = nil, metav1.Time{}
		equal(t, name, test.want, got)
	}
}

func leaving(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: now} }

func TestAuditReadsPagesAndLeavesOutExemptNamespaces(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.verdicts["bad:1"] = c.high()
	for n := range 600 {
		c.run("a", fmt.Sprintf("pod-%d", n), "good:1")
	}
	c.run("kube-system", "dns", "bad:1")
	expired := apierrors.NewResourceExpired("too old")
	expired.ErrStatus.Continue = "260"
	c.failing("list", "PodList /250", expired)
	if got := c.audits(t); got.Evaluated != 590 || got.Violations != 0 {
		t.Errorf("got %+v, want 590 evaluated: the list expired, and went on where the API server said", got)
	}
	slices.Sort(c.pages)
	equal(t, "pages", []int{91, 250, 250}, c.pages)
}

func TestAuditNamesWorkloads(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.verdicts["bad:1"] = c.high()
	for _, set := range []string{"web-1", "web-2"} {
		rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{
			Namespace: "a", Name: set, UID: controller("", "ReplicaSet", set).UID, OwnerReferences: []metav1.OwnerReference{controller("apps/v1", "Deployment", "web")},
		}}
		must(t, c.Create(t.Context(), rs))
		for n := range 20 {
			c.run("a", fmt.Sprint(set, "-", n), "bad:1", ownedBy("apps/v1", "ReplicaSet", set))
		}
	}
	c.run("a", "agent-x", "bad:1", ownedBy("apps/v1", "DaemonSet", "agent"))
	c.run("a", "orphan-x", "bad:1", ownedBy("apps/v1", "ReplicaSet", "gone"))
	c.run("a", "static", "bad:1", ownedBy("v1", "Node", "node-1"))
	c.run("b", "alone", "bad:1")
	status := c.audits(t)
	const message = `container "app": bad:1 — severity High, allowed Medium`
	want := []v1alpha1.AuditViolation{
		{Namespace: "a", Kind: "DaemonSet", Name: "agent", Pods: 1, Message: message},
		{Namespace: "a", Kind: "Deployment", Name: "web", Pods: 40, Message: message},
		{Namespace: "a", Kind: "Pod", Name: "static", Pods: 1, Message: message},
		{Namespace: "a", Kind: "ReplicaSet", Name: "gone", Pods: 1, Message: message},
		{Namespace: "b", Kind: "Pod", Name: "alone", Pods: 1, Message: message},
	}
	equal(t, "the first violations", want, status.FirstViolations)
	equal(t, "owners that were read, each once", 3, c.reads)
}

func TestMessagesAreBounded(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	for n := range 9 {
		image := fmt.Sprintf("bad:%d", n)
		c.verdicts[image] = verdict(v1alpha1.EnforcementDeny, policy.CheckDigest, strings.Repeat("ü", 2000))
		c.run("a", fmt.Sprintf("web-%d", n), image, ownedBy("apps/v1", "DaemonSet", "web"))
	}
	violations := c.audits(t).FirstViolations
	if len(violations) != 1 || violations[0].Pods != 9 {
		t.Fatalf("got %+v, want one workload with 9 pods", violations)
	}
	message := violations[0].Message
	if lines := strings.Split(message, "\n"); len(lines) != 6 || lines[5] != "and more" || len(message) > 4096 {
		t.Errorf("got %d lines, %d bytes: %s", len(lines), len(message), message)
	}
	if strings.ToValidUTF8(message, "?") != message {
		t.Error("a character was cut")
	}
}

func TestAnIncompleteAuditLeavesTheStatusAlone(t *testing.T) {
	t.Parallel()
	c := newCluster(t, openReport)
	c.verdicts["bad:1"] = c.high()
	c.run("a", "web", "bad:1")
	for n := range 250 {
		c.run("b", fmt.Sprintf("web-%d", n), "bad:1")
	}
	before := c.audits(t)
	c.written()
	c.failing("list", "PodList /250", errors.New("connection refused"))
	c.clock.Step(time.Hour)
	err := c.Audit(t.Context(), "test")
	if err == nil || !strings.Contains(err.Error(), "read the running pods: connection refused") {
		t.Errorf("got error %v", err)
	}
	equal(t, "the status", before, c.status(t))
	for _, write := range c.written() {
		if strings.Contains(write, " b/") || strings.HasPrefix(write, "delete") {
			t.Errorf("not all is known of namespace b, but: %s", write)
		}
	}
}

func TestAnAuditThatIsStoppedTellsNothing(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.verdicts["bad:1"] = c.high()
	c.run("a", "web", "bad:1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Audit(ctx, "test"); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want that it was cancelled", err)
	}
	equal(t, "the status", nil, c.status(t))
}

func TestMetricsTellTheLastAudit(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	equal(t, "metrics before the first audit", nil, c.measured(t, "hssgate_audit_violations"))
	c.verdicts["bad:1"] = c.high()
	for n := range 2 {
		c.run("a", fmt.Sprintf("web-%d", n), "bad:1", func(p *corev1.Pod) {
			p.CreationTimestamp = metav1.NewTime(time.Date(2000, 1, n, 0, 0, 0, 0, time.UTC))
		})
	}
	c.audits(t)
	for name, want := range map[string]string{
		"hssgate_audit_violations": "hssgate_audit_violations p 2", "hssgate_audits_total": "hssgate_audits_total success test 1",
		"hssgate_audit_newest_pod":   "hssgate_audit_newest_pod_timestamp_seconds 9.466848e+08",
		"hssgate_audit_last_success": fmt.Sprint("hssgate_audit_last_success_timestamp_seconds ", float64(now.Unix())),
	} {
		equal(t, name, []string{want}, c.measured(t, name))
	}
}

// A grace shows in the status, in Events of the workload and in metrics.
func TestAGraceIsReported(t *testing.T) {
	t.Parallel()
	const week = 7 * 24 * time.Hour
	digest := "sha256:" + strings.Repeat("a", 64)
	c := newCluster(t)
	p := newPolicy("p")
	p.Spec.Grace = &v1alpha1.Grace{Period: metav1.Duration{Duration: week}}
	compiled, err := policy.Compile(p)
	must(t, err.ToAggregate())
	c.policies = []*policy.Policy{compiled}
	c.run("a", "web", "app:1", func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", ImageID: digest}}
	})
	sighting := gate.Sighting{Digests: []policy.Digests{{Image: digest}}, Passed: true, Covered: true}
	c.sightings = map[string]gate.Sighting{"app:1": sighting}
	c.audits(t)

	sighting.Passed, sighting.Bad = false, true
	c.sightings["app:1"] = sighting
	v := verdict(v1alpha1.EnforcementWarn, policy.CheckSeverityLevel, "severity High, allowed Medium")
	exception, err := policy.CompileException(&v1alpha1.ImageScanException{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.GraceLabel: "p"}},
		Spec:       v1alpha1.ImageScanExceptionSpec{Images: []string{digest}, Policies: []string{"p"}, Reason: "grace", ExpiresAt: metav1.NewTime(now)},
	}, 0)
	must(t, err.ToAggregate())
	v.Exception, v.GraceEnd = exception, now.Add(week)
	c.verdicts["app:1"] = v
	c.written()
	if g := c.audits(t).Grace; g == nil || g.Images != 1 || !g.NextEnd.Time.Equal(now.Add(week)) {
		t.Errorf("status: got %+v", g)
	}
	if got := c.written(); len(got) != 2 || !strings.HasPrefix(got[0], "create *v1alpha1.ImageScanException a/grace-p-aaaa") || !strings.HasPrefix(got[1], "apply event a/web.hssgate-") {
		t.Errorf("written: %v", got)
	}
	want := []string{`Warning a/Pod/web ImageUnderGrace: 1 pod violates policy p (Warn): container "app": app:1 — severity High, allowed Medium (grace until 2026-11-30T12:00:00Z: it ran here and passed before) | to do: rebuild the image with fixed packages, push it, and have HSS scan it`}
	equal(t, "events", want, c.events(t))

	t.Log("a day before the end there is a warning")
	c.clock.SetTime(now.Add(week - 23*time.Hour))
	c.audits(t)
	if got := c.events(t); len(got) != 1 || !strings.Contains(got[0], "ImageGraceEnds: 1 pod violates") {
		t.Errorf("events: %v", got)
	}

	t.Log("a grace that cannot be written fails the audit")
	c.failing("list", "ImageScanExceptionList", errors.New("out of order"))
	if err := c.Audit(t.Context(), "test"); err == nil || !strings.Contains(err.Error(), "list graces: out of order") {
		t.Errorf("got %v", err)
	}
}
