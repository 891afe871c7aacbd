package grace_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/grace"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const week = 7 * 24 * time.Hour

var (
	now              = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	digestA, digestB = "sha256:" + strings.Repeat("a", 64), "sha256:" + strings.Repeat("b", 64)
)

// world is a cluster whose policy p gives a grace of a week, and what one leader
// does in it.
type world struct {
	t testing.TB
	client.WithWatch
	*grace.Graces
	now      time.Time
	policies []*policy.Policy
	// fail fails the creation of an exception.
	fail error
	log  bytes.Buffer
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w, scheme := &world{t: t, now: now}, runtime.NewScheme()
	w.check(v1alpha1.AddToScheme(scheme))
	for name, g := range map[string]*v1alpha1.Grace{"p": {Period: metav1.Duration{Duration: week}}, "without": nil} {
		p, problems := policy.Compile(&v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ImageScanPolicySpec{Grace: g}})
		w.check(problems.ToAggregate())
		w.policies = append(w.policies, p)
	}
	w.WithWatch = fake.NewClientBuilder().WithScheme(scheme).
		WithInterceptorFuncs(interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if w.fail != nil {
				return w.fail
			}
			o.SetCreationTimestamp(metav1.NewTime(w.now))
			return c.Create(ctx, o, opts...)
		}}).Build()
	w.newLeader()
	return w
}

func (w *world) newLeader() {
	w.Graces = &grace.Graces{Client: w.WithWatch, Policies: func() []*policy.Policy { return w.policies }, Log: slog.New(slog.NewTextHandler(&w.log, nil))}
}

// seen is one image of a running pod as an audit sees it.
type seen struct {
	gate.Sighting
	namespace string
	pod       func(*corev1.Pod)
}

var (
	passes = seen{Sighting: gate.Sighting{Digests: []policy.Digests{{Image: digestA}}, Passed: true, Covered: true}}
	isBad  = seen{Sighting: gate.Sighting{Digests: []policy.Digests{{Image: digestA}}, Bad: true, Covered: true}}
	// hasMalware is bad in a way that a grace does not cover.
	hasMalware = seen{Sighting: gate.Sighting{Digests: []policy.Digests{{Image: digestA}}, Bad: true}}
)

// audit has an audit see images, and returns the graces of policy p.
func (w *world) audit(images ...seen) *v1alpha1.AuditGrace {
	w.t.Helper()
	graces, err := w.settle(images...)
	w.check(err)
	return graces["p"]
}

func (w *world) turnsBad() {
	w.t.Helper()
	w.audit(passes)
	w.audit(isBad)
}

func (w *world) settle(images ...seen) (map[string]*v1alpha1.AuditGrace, error) {
	var s grace.Sightings
	for _, one := range images {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "web"}}
		if one.namespace != "" {
			pod.Namespace = one.namespace
		}
		if one.pod == nil {
			one.pod = reports("registry.example.com/app@" + digestA)
		}
		one.pod(pod)
		if one.Policy == "" {
			one.Policy = "p"
		}
		if one.Use == (image.Use{}) {
			one.Use = image.Use{Place: image.PlaceContainer, Name: "app"}
		}
		s.Add(pod, &gate.Decision{Sightings: []gate.Sighting{one.Sighting}})
	}
	return w.Settle(w.t.Context(), &s, w.now)
}

// reports has the node say which image the container runs.
func reports(imageID string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", ImageID: imageID}}
	}
}

func (w *world) exceptions() []v1alpha1.ImageScanException {
	w.t.Helper()
	var list v1alpha1.ImageScanExceptionList
	w.check(w.List(w.t.Context(), &list))
	return list.Items
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) wantsImages(want int32, got *v1alpha1.AuditGrace) {
	w.t.Helper()
	if got.Images != want {
		w.t.Errorf("%d images have grace, want %d", got.Images, want)
	}
}

// wants compares the exceptions: namespace, digest's first letter, end.
func (w *world) wants(want ...string) {
	w.t.Helper()
	var got []string
	for _, e := range w.exceptions() {
		_, hex, _ := strings.Cut(e.Spec.Images[0], ":")
		got = append(got, e.Namespace+" "+hex[:1]+" "+e.Spec.ExpiresAt.UTC().Format(time.RFC3339))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("exceptions (-want +got):\n%s", diff)
	}
}

const untilMonday = "prod a 2026-11-30T12:00:00Z"

func TestWhatPassedAndTurnsBadIsGrantedAnException(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.wantsImages(0, w.audit(passes))
	w.wants()
	got := w.audit(isBad)
	if got.Images != 1 || !got.NextEnd.Time.Equal(now.Add(week)) {
		t.Errorf("got %+v", got)
	}
	w.wants(untilMonday)
	e := w.exceptions()[0]
	if e.Name != "grace-p-"+strings.Repeat("a", 32) || e.Labels[v1alpha1.GraceLabel] != "p" {
		t.Errorf("got %+v", e.ObjectMeta)
	}
	want := v1alpha1.ImageScanExceptionSpec{
		Images: []string{digestA}, Policies: []string{"p"}, ExpiresAt: e.Spec.ExpiresAt,
		Reason: "grace of policy p: the image ran here and passed, and no longer does since 2026-11-23T12:00:00Z",
	}
	if diff := cmp.Diff(want, e.Spec); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	if errs := policy.ValidateException(&e, true, now, time.Hour); len(errs) > 0 {
		t.Errorf("the exception is invalid: %v", errs)
	}
}

func TestOnlyWhatTheNodeReportsHasPassed(t *testing.T) {
	t.Parallel()
	multi := passes
	multi.Digests = []policy.Digests{{Image: digestA, Architectures: []string{digestB}}}
	inPlace := func(s seen, p image.Place, pod func(*corev1.Pod)) seen {
		s.Use, s.pod = image.Use{Place: p, Name: "app"}, pod
		return s
	}
	initReports := func(p *corev1.Pod) {
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "app", ImageID: digestA}}
	}
	for name, tt := range map[string]struct {
		seen    seen
		granted bool
	}{
		"the digest with its repository": {inPlace(passes, image.PlaceContainer, reports("registry.example.com/app@"+digestA)), true},
		"the digest as Docker writes it": {inPlace(passes, image.PlaceContainer, reports("docker-pullable://registry.example.com/app@"+digestA)), true},
		"the digest alone":               {inPlace(passes, image.PlaceContainer, reports(digestA)), true},
		"the digest with a scheme":       {inPlace(passes, image.PlaceContainer, reports("docker://"+digestA)), true},
		"an architecture of it":          {inPlace(multi, image.PlaceContainer, reports("registry.example.com/app@"+digestB)), true},
		"an init container":              {inPlace(passes, image.PlaceInitContainer, initReports), true},
		"an ephemeral container": {inPlace(passes, image.PlaceEphemeralContainer, func(p *corev1.Pod) {
			p.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: "app", ImageID: digestA}}
		}), true},
		"another digest":                     {inPlace(passes, image.PlaceContainer, reports("registry.example.com/app@"+digestB)), false},
		"a text that only ends so":           {inPlace(passes, image.PlaceContainer, reports("x"+digestA)), false},
		"nothing":                            {inPlace(passes, image.PlaceContainer, func(*corev1.Pod) {}), false},
		"another container":                  {inPlace(passes, image.PlaceContainer, func(p *corev1.Pod) { reports(digestA)(p); p.Status.ContainerStatuses[0].Name = "other" }), false},
		"an init container of the same name": {inPlace(passes, image.PlaceContainer, initReports), false},
		"an annotation":                      {inPlace(passes, image.PlaceContainer, func(p *corev1.Pod) { p.Annotations = map[string]string{"imageID": digestA} }), false},
		"a bad image":                        {isBad, false},
		"an image that nothing is known of":  {seen{Sighting: gate.Sighting{Digests: passes.Digests}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.audit(tt.seen)
			w.audit(isBad)
			if got := len(w.exceptions()) == 1; got != tt.granted {
				t.Errorf("granted is %t, want %t", got, tt.granted)
			}
		})
	}
}

func TestWhatGetsNoGrace(t *testing.T) {
	t.Parallel()
	elsewhere, byOther, other := isBad, isBad, isBad
	elsewhere.namespace, byOther.Policy, other.Digests = "dev", "without", []policy.Digests{{Image: digestB}}
	passesOther := passes
	passesOther.Policy = "without"
	for name, act := range map[string]func(*world){
		"an image that was always bad":          func(w *world) { w.audit(isBad); w.audit(isBad) },
		"another namespace":                     func(w *world) { w.audit(passes); w.audit(elsewhere) },
		"another digest":                        func(w *world) { w.audit(passes); w.audit(other) },
		"a policy that gives none":              func(w *world) { w.audit(passes, passesOther); w.audit(byOther) },
		"malicious files":                       func(w *world) { w.audit(passes); w.audit(hasMalware) },
		"malicious files in one of the pods":    func(w *world) { w.audit(passes); w.audit(isBad, hasMalware, isBad) },
		"an image that is bad in one pod":       func(w *world) { w.audit(passes, isBad); w.audit(isBad) },
		"an image that turned bad unwatched":    func(w *world) { w.audit(passes); w.newLeader(); w.audit(isBad) },
		"an image that passed too long ago":     func(w *world) { w.audit(passes); w.now = now.Add(week); w.audit(isBad) },
		"malicious files for the whole period":  func(w *world) { w.audit(passes); w.audit(hasMalware); w.now = now.Add(week); w.audit(isBad) },
		"an image of which nothing is reported": func(w *world) { w.audit(passes); w.audit() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			act(w)
			w.wants()
		})
	}
}

func TestGraces(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(*world){
		"each image has its grace once, which stays as long as the image runs": func(w *world) {
			w.turnsBad()
			w.now = now.Add(week - time.Second)
			w.wantsImages(1, w.audit(isBad))
			w.now = now.Add(week)
			w.wantsImages(0, w.audit(isBad))
			w.wants(untilMonday)
			w.audit()
			w.wants()
			w.audit(isBad)
			w.wants()
		},
		"a grace is ended by deleting it": func(w *world) {
			w.turnsBad()
			w.check(w.DeleteAllOf(w.t.Context(), &v1alpha1.ImageScanException{}, client.InNamespace("prod")))
			w.audit(isBad)
			w.wants()
		},
		"an image that passes again has another grace later": func(w *world) {
			w.turnsBad()
			w.now = now.Add(time.Hour)
			w.audit(passes)
			w.wants()
			w.audit(isBad)
			w.wants("prod a 2026-11-30T13:00:00Z")
		},
		"a grace whose image does not run now stays": func(w *world) {
			w.turnsBad()
			w.newLeader()
			w.wantsImages(0, w.audit())
			w.wants(untilMonday)
		},
		"a grace goes with the policy that gave it": func(w *world) {
			w.turnsBad()
			w.policies = nil
			w.audit(isBad)
			w.wants()
		},
		"exceptions of people are left alone": func(w *world) {
			e := &v1alpha1.ImageScanException{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "mine"}}
			e.Spec = v1alpha1.ImageScanExceptionSpec{Images: []string{digestA}, Policies: []string{"gone"}, ExpiresAt: metav1.NewTime(now.Add(-week))}
			w.check(w.Create(w.t.Context(), e))
			w.audit(passes)
			w.wants("prod a 2026-11-16T12:00:00Z")
		},
		"what cannot be written is tried again": func(w *world) {
			w.audit(passes)
			w.fail = errors.New("out of order")
			if _, err := w.settle(isBad); err == nil || !strings.Contains(err.Error(), `grant grace in namespace "prod": out of order`) {
				w.t.Errorf("got %v", err)
			}
			w.fail = nil
			w.audit(isBad)
			w.wants(untilMonday)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			act(newWorld(t))
		})
	}
}
