package audit_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const week = 7 * 24 * time.Hour

var digestA, digestB = "sha256:" + strings.Repeat("a", 64), "sha256:" + strings.Repeat("b", 64)

// forgiving has policy p give a grace of a week, and a pod run what passes.
func forgiving(t *testing.T) *cluster {
	t.Helper()
	c := newCluster(t)
	c.sightings = map[string]gate.Sighting{"app:1": passing()}
	var p v1alpha1.ImageScanPolicy
	if err := c.Get(t.Context(), client.ObjectKey{Name: "p"}, &p); err != nil {
		t.Fatal(err)
	}
	p.Spec.Grace = &v1alpha1.Grace{Period: metav1.Duration{Duration: week}}
	if err := c.WithWatch.Update(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
	c.run("a", "web", "app:1", reports("registry.example.com/app@"+digestA))
	c.written()
	return c
}

func passing() gate.Sighting {
	return gate.Sighting{Digests: []policy.Digests{{Image: digestA}}, Passed: true, Covered: true}
}

// reports has the node say which image the container runs.
func reports(imageID string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", ImageID: imageID}}
	}
}

// turn has the image be bad, and under grace until then.
func (c *cluster) turn(bad bool, until time.Time) {
	one := passing()
	one.Passed, one.Bad = !bad, bad
	c.sightings["app:1"] = one
	delete(c.verdicts, "app:1")
	if bad {
		v := verdict(v1alpha1.EnforcementWarn, policy.CheckSeverityLevel, "severity High, allowed Medium")
		v.Grace = &gate.Grace{Until: until}
		c.verdicts["app:1"] = v
	}
}

// history returns that of the one policy.
func (c *cluster) history(t *testing.T) policy.History {
	t.Helper()
	var h v1alpha1.ImageScanHistory
	err := c.Get(t.Context(), client.ObjectKey{Name: "p"}, &h)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := policy.CompileHistory(&h)
	if err != nil {
		t.Fatal(err)
	}
	for digest, p := range compiled {
		compiled[digest] = policy.Passing{PassedAt: p.PassedAt.UTC(), WorsenedAt: p.WorsenedAt.UTC()}
	}
	return compiled
}

func (c *cluster) hasHistory(t *testing.T, want policy.History) {
	t.Helper()
	if diff := cmp.Diff(want, c.history(t)); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

func TestOnlyWhatTheNodeReportsIsNoted(t *testing.T) {
	t.Parallel()
	multi := passing()
	multi.Digests[0].Architectures = []string{digestB}
	tests := map[string]struct {
		change   func(*corev1.Pod)
		sighting gate.Sighting
		noted    bool
	}{
		"the digest with its repository": {reports("registry.example.com/app@" + digestA), passing(), true},
		"the digest as Docker tells it":  {reports("docker-pullable://registry.example.com/app@" + digestA), passing(), true},
		"the digest alone":               {reports(digestA), passing(), true},
		"the digest with a scheme":       {reports("docker://" + digestA), passing(), true},
		"an architecture of it":          {reports("registry.example.com/app@" + digestB), multi, true},
		"another digest":                 {reports("registry.example.com/app@" + digestB), passing(), false},
		"a text that only ends so":       {reports("x" + digestA), passing(), false},
		"nothing":                        {func(*corev1.Pod) {}, passing(), false},
		"nothing for this container":     {func(p *corev1.Pod) { reports(digestA)(p); p.Status.ContainerStatuses[0].Name = "other" }, passing(), false},
		"an init container of the same name": {func(p *corev1.Pod) {
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "app", ImageID: digestA}}
		}, passing(), false},
		"an annotation":                               {func(p *corev1.Pod) { p.Annotations = map[string]string{"imageID": digestA} }, passing(), false},
		"the digest of what is bad":                   {reports(digestA), gate.Sighting{Digests: passing().Digests, Bad: true}, false},
		"the digest of what nobody knows anything of": {reports(digestA), gate.Sighting{Digests: passing().Digests}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := forgiving(t)
			c.pods = nil
			c.run("a", "web", "app:1", tt.change)
			c.sightings["app:1"] = tt.sighting
			c.audits(t)
			var want policy.History
			if tt.noted {
				want = policy.History{digestA: {PassedAt: now}}
			}
			c.hasHistory(t, want)
		})
	}
}

func TestInitAndEphemeralContainersRunToo(t *testing.T) {
	t.Parallel()
	for _, place := range []image.Place{image.PlaceInitContainer, image.PlaceEphemeralContainer} {
		c := forgiving(t)
		c.pods = nil
		c.run("a", "web", "other:1", func(p *corev1.Pod) {
			statuses := []corev1.ContainerStatus{{Name: "more", ImageID: digestA}}
			if place == image.PlaceInitContainer {
				p.Spec.InitContainers, p.Status.InitContainerStatuses = []corev1.Container{{Name: "more", Image: "app:1"}}, statuses
				return
			}
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "more", Image: "app:1"}}}
			p.Status.EphemeralContainerStatuses = statuses
		})
		c.audits(t)
		c.hasHistory(t, policy.History{digestA: {PassedAt: now}})
	}
}

func TestTheMomentIsKept(t *testing.T) {
	t.Parallel()
	c := forgiving(t)
	c.audits(t)
	if diff := cmp.Diff([]string{"create *v1alpha1.ImageScanHistory /p"}, c.written()); diff != "" {
		t.Errorf("writes:\n%s", diff)
	}

	t.Log("as long as it passes, little is written")
	c.clock.Step(time.Hour)
	c.audits(t)
	if got := c.written(); len(got) > 0 {
		t.Errorf("written: %v", got)
	}
	c.hasHistory(t, policy.History{digestA: {PassedAt: now}})

	t.Log("it turns bad")
	c.clock.Step(time.Hour)
	worsened := c.clock.Now()
	c.turn(true, now.Add(week))
	status := c.audits(t)
	want := policy.History{digestA: {PassedAt: now, WorsenedAt: worsened}}
	c.hasHistory(t, want)
	if g := status.Grace; g == nil || g.Images != 1 || !g.NextEnd.Time.Equal(worsened.Add(week)) {
		t.Errorf("status: got %+v", g)
	}
	wantEvents := []string{"Warning a/Pod/web ImageUnderGrace: 1 pod violates policy p (Warn): container \"app\": app:1 — severity High, allowed Medium (grace until 2026-11-30T12:00:00Z: it ran here and passed before)"}
	if diff := cmp.Diff(wantEvents, c.events(t)); diff != "" {
		t.Error(diff)
	}

	t.Log("another replica audits from now on")
	other := newCluster(t)
	other.WithWatch, other.pods, other.sightings, other.verdicts, other.clock = c.WithWatch, c.pods, c.sightings, c.verdicts, c.clock
	other.Auditor.Live, other.Auditor.Client, other.Auditor.Clock = c.WithWatch, c.WithWatch, c.clock
	c.clock.Step(24 * time.Hour)
	c.written()
	other.audits(t)
	c.hasHistory(t, want)
	metrics := append(other.measured(t, "hssgate_audit_grace_images"), other.measured(t, "hssgate_audit_grace_next")...)
	if diff := cmp.Diff([]string{"hssgate_audit_grace_images p 1", "hssgate_audit_grace_next_end_timestamp_seconds p 1.7960472e+09"}, metrics); diff != "" {
		t.Error(diff)
	}

	t.Log("a day before the end there is a warning, once")
	c.turn(true, worsened.Add(week))
	c.clock.SetTime(worsened.Add(week - 23*time.Hour))
	c.written()
	c.audits(t)
	c.clock.Step(time.Minute)
	c.audits(t)
	if got := c.events(t); len(got) != 1 || !strings.Contains(got[0], "ImageGraceEnds: 1 pod violates") {
		t.Errorf("events: %v", got)
	}
	if got := c.written(); len(got) != 1 || !strings.HasPrefix(got[0], "patch *v1.Event") {
		t.Errorf("written: %v", got)
	}

	t.Log("it turns good")
	c.turn(false, time.Time{})
	if got := c.audits(t); got.Grace != nil {
		t.Errorf("status: got %+v", got.Grace)
	}
	c.hasHistory(t, policy.History{digestA: {PassedAt: c.clock.Now().UTC()}})
}

func TestWhatGraceDoesNotCoverIsNotCounted(t *testing.T) {
	t.Parallel()
	c := forgiving(t)
	c.audits(t)
	c.sightings["app:1"] = gate.Sighting{Digests: passing().Digests, Bad: true}
	c.verdicts["app:1"] = c.high()
	if got := c.audits(t); got.Grace != nil {
		t.Errorf("status: got %+v", got.Grace)
	}
	c.hasHistory(t, policy.History{digestA: {PassedAt: now, WorsenedAt: now}})
}

func TestAHistoryThatSomebodyHasWrittenInto(t *testing.T) {
	t.Parallel()
	later, at := metav1.NewTime(now.Add(1000*time.Hour)), metav1.NewTime(now.Add(-time.Hour))
	tests := map[string]struct {
		images []v1alpha1.PassedImage
		want   policy.History
	}{
		"garbage is dropped":                   {[]v1alpha1.PassedImage{{Digest: "nonsense", PassedAt: at}}, policy.History{digestA: {PassedAt: now}}},
		"a pass in the future is put right":    {[]v1alpha1.PassedImage{{Digest: digestA, PassedAt: later}}, policy.History{digestA: {PassedAt: now}}},
		"a change in the future goes":          {[]v1alpha1.PassedImage{{Digest: digestB, PassedAt: at, WorsenedAt: &later}}, policy.History{digestA: {PassedAt: now}, digestB: {PassedAt: now.Add(-time.Hour)}}},
		"what an administrator ended is ended": {[]v1alpha1.PassedImage{{Digest: digestB, PassedAt: at, WorsenedAt: new(metav1.NewTime(now.Add(-2 * week)))}}, policy.History{digestA: {PassedAt: now}, digestB: {PassedAt: now.Add(-time.Hour), WorsenedAt: now.Add(-2 * week)}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := forgiving(t)
			owner := metav1.OwnerReference{APIVersion: "hssgate.io/v1alpha1", Kind: "ImageScanPolicy", Name: "p", Controller: new(true)}
			h := &v1alpha1.ImageScanHistory{ObjectMeta: metav1.ObjectMeta{Name: "p", OwnerReferences: []metav1.OwnerReference{owner}}, Images: tt.images}
			if err := c.Create(t.Context(), h); err != nil {
				t.Fatal(err)
			}
			c.audits(t)
			c.hasHistory(t, tt.want)
		})
	}
}

func TestHistoriesThatNoPolicyHasAreDeleted(t *testing.T) {
	t.Parallel()
	c := forgiving(t)
	for name, object := range map[string]metav1.ObjectMeta{
		"of no policy": {Name: "gone"}, "of a policy of before": {Name: "p", OwnerReferences: []metav1.OwnerReference{{Name: "p", UID: "before", Controller: new(true)}}},
	} {
		h := &v1alpha1.ImageScanHistory{ObjectMeta: object, Images: []v1alpha1.PassedImage{{Digest: digestB, PassedAt: metav1.NewTime(now)}}}
		if err := c.Create(t.Context(), h); err != nil {
			t.Fatal(name, err)
		}
	}
	c.audits(t)
	var list v1alpha1.ImageScanHistoryList
	if err := c.WithWatch.List(t.Context(), &list); err != nil || len(list.Items) > 0 {
		t.Errorf("%v, left: %+v", err, list.Items)
	}
	c.audits(t)
	c.hasHistory(t, policy.History{digestA: {PassedAt: now}})
}

func TestAHistoryThatCannotBeWrittenFailsTheAudit(t *testing.T) {
	t.Parallel()
	c := forgiving(t)
	c.fail = func(verb, object string) error {
		if strings.Contains(object, "ImageScanHistory ") && verb == "create" {
			return errors.New("out of order")
		}
		return nil
	}
	if _, err := c.Audit(t.Context(), "test"); err == nil || !strings.Contains(err.Error(), `write the history of policy "p": out of order`) {
		t.Errorf("got %v", err)
	}
}

// A namespace that can't be read may hold what is bad.
func TestAnIncompleteAuditEndsNoWorsening(t *testing.T) {
	t.Parallel()
	c := forgiving(t)
	c.audits(t)
	c.turn(true, now.Add(week))
	c.audits(t)
	c.turn(false, time.Time{})
	c.fail = func(_, object string) error {
		if strings.HasPrefix(object, "*v1.PodList b/") {
			return errors.New("out of order")
		}
		return nil
	}
	if _, err := c.Audit(t.Context(), "test"); err == nil {
		t.Error("it is complete")
	}
	c.hasHistory(t, policy.History{digestA: {PassedAt: now, WorsenedAt: now}})
}
