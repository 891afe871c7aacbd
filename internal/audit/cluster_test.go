package audit_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hssgate/hssgate/internal/audit"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// The kinds of reports.
var (
	openReport   = schema.GroupVersionKind{Group: "openreports.io", Version: "v1alpha1", Kind: "Report"}
	policyReport = schema.GroupVersionKind{Group: "wgpolicyk8s.io", Version: "v1alpha2", Kind: "PolicyReport"}
)

// cluster is an API server with pods that can be paged, and the auditor of it.
type cluster struct {
	client.WithWatch
	*audit.Auditor
	clock   *clocktesting.FakeClock
	log     bytes.Buffer
	metrics *prometheus.Registry

	mu     sync.Mutex
	pods   []corev1.Pod
	pages  []int
	reads  int // of owners
	writes []string
	// fail fails a list, or what is applied, if it returns an error.
	fail func(verb, object string) error
	// verdicts are the violations of the one policy, by image.
	verdicts map[string]gate.Violation
	// policies are those that give grace.
	policies []*policy.Policy
	// sightings are of the one policy, by image.
	sightings map[string]gate.Sighting
	// scanned are the digests that HSS scanned under tags, by image.
	scanned  map[string][]policy.Digests
	asked    int
	language language.Language
}

// newCluster has namespaces a, b and kube-system, the policy p, and the given
// kinds of reports.
func newCluster(t *testing.T, kinds ...schema.GroupVersionKind) *cluster {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme} {
		must(t, add(scheme))
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	for gvk := range scheme.AllKnownTypes() {
		mapper.Add(gvk, meta.RESTScopeNamespace)
	}
	for _, gvk := range kinds {
		mapper.Add(gvk, meta.RESTScopeNamespace)
		scheme.AddKnownTypeWithName(gvk, &unstructured.Unstructured{})
		scheme.AddKnownTypeWithName(gvk.GroupVersion().WithKind(gvk.Kind+"List"), &unstructured.UnstructuredList{})
	}
	c := &cluster{clock: clocktesting.NewFakeClock(now), metrics: prometheus.NewRegistry(), verdicts: map[string]gate.Violation{}}
	c.fail = func(string, string) error { return nil }
	c.WithWatch = fake.NewClientBuilder().WithScheme(scheme).WithRESTMapper(mapper).
		WithObjects(namespace("a"), namespace("b"), namespace("kube-system"), newPolicy("p")).
		WithStatusSubresource(&v1alpha1.ImageScanPolicy{}).
		WithInterceptorFuncs(interceptor.Funcs{
			List: c.list,
			Get: func(ctx context.Context, w client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				if _, ok := o.(*metav1.PartialObjectMetadata); ok {
					c.mu.Lock()
					defer c.mu.Unlock()
					c.reads++
				}
				return w.Get(ctx, key, o, opts...)
			},
			Create: func(ctx context.Context, w client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				c.notef("create %T %s/%s", o, o.GetNamespace(), o.GetName())
				return w.Create(ctx, o, opts...)
			},
			Delete: func(ctx context.Context, w client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
				c.notef("delete %T %s/%s", o, o.GetNamespace(), o.GetName())
				return w.Delete(ctx, o, opts...)
			},
			Apply: c.apply,
		}).Build()
	c.Auditor = audit.New(audit.Options{
		Decide: c.Decide, Live: c.WithWatch, Client: c.WithWatch, Policies: func() []*policy.Policy { return c.policies }, ExemptNamespaces: []string{"kube-system"}, Interval: 10 * time.Minute,
		Reports: "Auto", State: func() audit.State { return audit.State{} }, Ready: func() error { return nil }, Metrics: audit.NewMetrics(c.metrics), Clock: c.clock,
		Log: slog.New(slog.NewTextHandler(&c.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	return c
}

// must ends a test that can't go on.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// equal checks that nothing differs.
func equal[T any](t testing.TB, what string, want, got T, options ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, options...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func newPolicy(name string) *v1alpha1.ImageScanPolicy {
	return &v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// run adds a pod.
func (c *cluster) run(namespace, name, image string, change ...func(*corev1.Pod)) {
	pod := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + "/" + name)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: image}}},
	}
	for _, f := range change {
		f(&pod)
	}
	c.pods = append(c.pods, pod)
}

// ownedBy makes the pod belong to a controller.
func ownedBy(apiVersion, kind, name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.OwnerReferences = []metav1.OwnerReference{controller(apiVersion, kind, name)} }
}

func controller(apiVersion, kind, name string) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: name, UID: types.UID(kind + "/" + name), Controller: new(true)}
}

// Decide evaluates by the one policy what has a verdict.
func (c *cluster) Decide(_ context.Context, r gate.Request) gate.Decision {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	d := gate.Decision{Kind: r.Workload.Kind, Namespace: r.Namespace, Name: r.Name, Policies: []string{"p"}, Language: c.language}
	for _, use := range r.Workload.Uses {
		if v, ok := c.verdicts[use.Image]; ok {
			v.Use, v.Reference = use, use.Image
			if v.Findings[0].Check == policy.CheckUnavailable {
				d.Unknown = d.Policies
			}
			if v.Findings[0].Action != v1alpha1.ActionAllow {
				d.Violations = append(d.Violations, v)
			}
		}
		if digests := c.scanned[use.Image]; len(digests) > 0 && r.Sightings {
			d.Scanned = append(d.Scanned, gate.Scanned{Use: use, Reference: use.Image, Policies: []string{"p"}, Digests: digests})
		}
		if one, ok := c.sightings[use.Image]; ok && r.Sightings {
			one.Use, one.Policy = use, "p"
			d.Sightings = append(d.Sightings, one)
		}
	}
	return d
}

// verdict is a violation of the one policy.
func verdict(effect v1alpha1.Enforcement, check policy.Check, message string) gate.Violation {
	return gate.Violation{
		Policy: "p", Effect: effect, PodEffect: effect,
		Findings: []policy.Finding{{Check: check, Message: message, Action: v1alpha1.ActionDeny}},
	}
}

func (c *cluster) high() gate.Violation {
	return verdict(v1alpha1.EnforcementDeny, policy.CheckSeverityLevel, "severity High, allowed Medium")
}

// audits audits once and returns the policy's status.
func (c *cluster) audits(t *testing.T) *v1alpha1.AuditStatus {
	t.Helper()
	must(t, c.Audit(t.Context(), "test"))
	c.WriteEvents(t.Context())
	return c.status(t)
}

func (c *cluster) status(t *testing.T) *v1alpha1.AuditStatus {
	t.Helper()
	var p v1alpha1.ImageScanPolicy
	must(t, c.Get(t.Context(), client.ObjectKey{Name: "p"}, &p))
	return p.Status.LastAudit
}

// failing fails what concerns an object whose name contains a text.
func (c *cluster) failing(verb, object string, err error) {
	c.fail = func(v, o string) error {
		if v == verb && strings.Contains(o, object) {
			return err
		}
		return nil
	}
}

// written returns what was written since the last time, but for status.
func (c *cluster) written() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	writes := c.writes
	c.writes = nil
	return writes
}

func (c *cluster) events(t *testing.T) []string {
	t.Helper()
	var list corev1.EventList
	must(t, c.WithWatch.List(t.Context(), &list))
	var events []string
	for _, e := range list.Items {
		events = append(events, fmt.Sprintf("%s %s/%s/%s %s: %s", e.Type, e.Namespace, e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message))
	}
	return events
}

// notef records a write.
func (c *cluster) notef(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes = append(c.writes, fmt.Sprintf(format, args...))
}

// list pages pods, as an API server does.
func (c *cluster) list(ctx context.Context, w client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
	var o client.ListOptions
	o.ApplyOptions(opts)
	if err := c.fail("list", fmt.Sprintf("%T %s/%s", list, o.Namespace, o.Continue)); err != nil {
		return err
	}
	pods, ok := list.(*corev1.PodList)
	if !ok {
		return w.List(ctx, list, opts...)
	}
	if selector := o.FieldSelector.String(); selector != "status.phase!=Succeeded,status.phase!=Failed" {
		return apierrors.NewBadRequest("selects " + selector)
	}
	all := slices.Clone(c.pods)
	slices.SortStableFunc(all, func(a, b corev1.Pod) int { return strings.Compare(a.Namespace, b.Namespace) })
	from, _ := strconv.Atoi(o.Continue)
	to := min(len(all), from+int(o.Limit))
	*pods = corev1.PodList{Items: all[from:to]}
	if to < len(all) {
		pods.Continue = strconv.Itoa(to)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pages = append(c.pages, to-from)
	return nil
}

func (c *cluster) apply(ctx context.Context, w client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	what := "report"
	if event, ok := o.(*corev1ac.EventApplyConfiguration); ok {
		what = "event " + *event.Namespace + "/" + *event.Name
	}
	if err := c.fail("apply", what); err != nil {
		return err
	}
	c.notef("apply %s", what)
	return w.Apply(ctx, o, opts...)
}

// measured returns the metrics whose name begins so: name, labels' values, value.
func (c *cluster) measured(t *testing.T, name string) []string {
	t.Helper()
	families, err := c.metrics.Gather()
	must(t, err)
	var lines []string
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), name) {
			continue
		}
		for _, m := range f.GetMetric() {
			line := f.GetName()
			for _, l := range m.GetLabel() {
				line += " " + l.GetValue()
			}
			lines = append(lines, fmt.Sprintf("%s %v", line, m.GetGauge().GetValue()+m.GetCounter().GetValue()))
		}
	}
	return lines
}
