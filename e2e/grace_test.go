package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// gracePeriod is longer than the test takes.
const gracePeriod = time.Hour

// TestGrace has images run and pass, turns them bad, and starts them again.
func TestGrace(t *testing.T) {
	t.Parallel()
	g := newGraceWorld(t)
	auditing := g.start(t, "auditing", "interval: 5s\nevents: true")
	second := g.start(t, "second", "")
	g.populate(t, auditing)
	g.create(t)

	t.Log("what runs and passes is noted, and nothing else")
	g.awaitHistory(t, func(images map[string]v1alpha1.PassedImage) bool { return len(images) == 3 })
	g.noted(t, "ran", "multiarch", "malware")
	g.revoke(t, auditing)

	t.Log("everything turns bad")
	g.turn(high)
	change(g.hss, "malware", func(i *hsstest.Image) { i.MaliciousFileNum = hsstest.Count(1) })
	change(g.hss, "multiarch", func(i *hsstest.Image) { i.AssociationImages[0].VulNum = hsstest.Count(111) })
	images := g.awaitHistory(t, func(images map[string]v1alpha1.PassedImage) bool {
		return images[graceDigests["ran"]].WorsenedAt != nil && images[graceDigests["multiarch"]].WorsenedAt != nil
	})
	worsened := images[graceDigests["ran"]].WorsenedAt.Time
	for _, s := range []*space{auditing, second} {
		g.hasGrace(t, s, "ran", worsened)
		g.hasGrace(t, s, "ran", worsened, pinned("ran"))
		for _, name := range []string{"other-digest", "not-reported", "excepted", "elsewhere", "malware", "new"} {
			g.hasNone(t, s, name)
		}
		says(t, s.try(t, newPod("forged", image("new"), forged)), "denied by 1 policy")
		s.warnings.take()
	}
	g.isTold(t, auditing, worsened)

	t.Log("the one that audits is replaced")
	auditing.stop(t)
	after := g.start(t, "after", "interval: 5s")
	g.hasGrace(t, after, "ran", worsened)
	g.awaitAudit(t)
	g.hasGrace(t, after, "ran", worsened)
	g.hasGrace(t, second, "ran", worsened)

	t.Log("the grace ends")
	longAgo := metav1.NewTime(worsened.Add(-2 * gracePeriod))
	g.edit(t, func(one *v1alpha1.PassedImage) { one.WorsenedAt = &longAgo })
	ended := " (grace ended at " + longAgo.Add(gracePeriod).UTC().Format(time.RFC3339) + ")"
	for _, s := range []*space{after, second} {
		eventually(t, func() error { return wants(s.try(t, newPod("late", image("ran"))), ended) })
		s.warnings.take()
	}

	t.Log("a time to come prolongs nothing")
	ahead := metav1.NewTime(time.Now().Add(24 * time.Hour).Truncate(time.Second))
	g.edit(t, func(one *v1alpha1.PassedImage) { one.PassedAt, one.WorsenedAt = ahead, &ahead })
	eventually(t, func() error { return wants(second.try(t, newPod("ahead", image("ran"))), "[policy graced]\nto do") })

	t.Log("it turns good")
	g.turn(func(i *hsstest.Image) {
		i.SeverityLevel, i.VulNum, i.MaliciousFileNum = "Low", hsstest.Count(0), hsstest.Count(0)
	})
	g.awaitHistory(t, func(images map[string]v1alpha1.PassedImage) bool {
		one, ok := images[graceDigests["ran"]]
		return ok && one.WorsenedAt == nil
	})
	eventually(t, func() error { return second.try(t, newPod("good", image("ran"))) })

	t.Log("without the policy it goes")
	if err := g.policies.Delete(t.Context(), &v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: "graced"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		var h v1alpha1.ImageScanHistory
		if err := g.policies.Get(t.Context(), client.ObjectKey{Name: "graced"}, &h); client.IgnoreNotFound(err) != nil || err == nil {
			return fmt.Errorf("the history is still there: %w", orNotYet(err))
		}
		return nil
	})
}

// graceWorld is a cluster in which images run, and what HSS says of them.
type graceWorld struct {
	*cluster
	hss *hsstest.Server
}

// graceDigests are those of the records, by the names of images.
var graceDigests = map[string]string{
	"ran": digest("1"), "other-digest": digest("2"), "not-reported": digest("3"), "excepted": digest("4"),
	"elsewhere": digest("5"), "multiarch": digest("6"), "malware": digest("8"), "new": digest("b"),
}

func image(name string) string { return "main.example.com/prod/" + name + ":1" }

func newGraceWorld(t *testing.T) *graceWorld {
	t.Helper()
	g := &graceWorld{cluster: newCluster(t), hss: newHSS(t)}
	for name, d := range graceDigests {
		add(g.hss, row(name, func(i *hsstest.Image) { i.ImageDigest = d }))
	}
	change(g.hss, "excepted", high)
	change(g.hss, "new", high)
	change(g.hss, "multiarch", func(i *hsstest.Image) {
		i.MultiArch = true
		i.AssociationImages = []hsstest.Architecture{{ImageDigest: digest("7"), ScanStatus: "success",
			VulNum: hsstest.Count(0), UnsafeSettingNum: hsstest.Count(0), MaliciousFileNum: hsstest.Count(0)}}
	})
	return g
}

// start starts a gate with a namespace of its own that the policy judges.
func (g *graceWorld) start(t *testing.T, name, audit string) *space {
	t.Helper()
	s := &space{gate: newGate(t, g.cluster, setup{
		name: name, projects: map[string]*hsstest.Server{"main": g.hss}, cache: "freshFor: 1s\nnotFoundFor: 1s\npendingFor: 1s", audit: audit,
	}), name: "graced-" + name}
	s.client, s.warnings = g.client(t)
	g.newNamespace(t, s.name, map[string]string{gateLabel: name, "graced": "yes"})
	return s
}

// create creates the policy.
func (g *graceWorld) create(t *testing.T) {
	t.Helper()
	p := &v1alpha1.ImageScanPolicy{ObjectMeta: metav1.ObjectMeta{Name: "graced"}, Spec: strict()}
	p.Spec.Match.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"graced": "yes"}}
	p.Spec.Grace = &v1alpha1.Grace{Period: metav1.Duration{Duration: gracePeriod}}
	if err := g.policies.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

// populate has pods run, as a kubelet would tell it.
func (g *graceWorld) populate(t *testing.T, s *space) {
	t.Helper()
	g.newNamespace(t, "elsewhere", nil)
	exception := s.newException("excepted", excepting("main.example.com/prod/excepted"))
	exception.Spec.Policies = []string{"graced"}
	s.createException(t, exception)
	runAs(t, s, s.name, "ran", "main.example.com/prod/ran@"+graceDigests["ran"])
	runAs(t, s, s.name, "multiarch", "docker-pullable://main.example.com/prod/multiarch@"+digest("7"))
	runAs(t, s, s.name, "malware", graceDigests["malware"])
	runAs(t, s, s.name, "other-digest", "main.example.com/prod/other-digest@"+digest("9"))
	runAs(t, s, s.name, "excepted", "main.example.com/prod/excepted@"+graceDigests["excepted"])
	runAs(t, s, "elsewhere", "elsewhere", "main.example.com/prod/elsewhere@"+graceDigests["elsewhere"])
	claim := newPod("not-reported", image("not-reported"), forged)
	claim.Status.Phase = corev1.PodRunning
	claim.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", ImageID: graceDigests["not-reported"]}}
	if err := s.run(t, claim); err != nil {
		t.Fatal(err)
	}
}

func (g *graceWorld) revoke(t *testing.T, s *space) {
	t.Helper()
	if err := g.policies.Delete(t.Context(), s.newException("excepted")); err != nil {
		t.Fatal(err)
	}
}

// runAs has a pod run, as a kubelet would tell it.
func runAs(t *testing.T, s *space, namespace, name, imageID string) {
	t.Helper()
	pods := s.client.CoreV1().Pods(namespace)
	pod, err := pods.Create(t.Context(), newPod(name, image(name)), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.Phase = corev1.PodRunning
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", Image: image(name), ImageID: imageID}}
	if _, err := pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// forged claims in every way that a user has that the pod is an old friend.
func forged(pod *corev1.Pod) {
	pod.Annotations = map[string]string{"hssgate.io/grace": "until-forever", "hssgate.io/passed-at": "2020-01-01T00:00:00Z"}
	pod.Labels = map[string]string{"hssgate.io/grace": "yes"}
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "ran", UID: "1"}}
}

func pinned(name string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Spec.Containers[0].Image += "@" + graceDigests[name] }
}

// turn changes all records alike.
func (g *graceWorld) turn(how func(*hsstest.Image)) {
	for name := range graceDigests {
		change(g.hss, name, how)
	}
}

// awaitHistory waits until the history is as it should be, and returns it.
func (g *graceWorld) awaitHistory(t *testing.T, is func(map[string]v1alpha1.PassedImage) bool) map[string]v1alpha1.PassedImage {
	t.Helper()
	var images map[string]v1alpha1.PassedImage
	eventually(t, func() error {
		var h v1alpha1.ImageScanHistory
		if err := g.policies.Get(t.Context(), client.ObjectKey{Name: "graced"}, &h); err != nil {
			return err
		}
		images = map[string]v1alpha1.PassedImage{}
		for _, one := range h.Images {
			images[one.Digest] = one
		}
		if !is(images) {
			return fmt.Errorf("got history %+v", h.Images)
		}
		return nil
	})
	return images
}

func (g *graceWorld) noted(t *testing.T, names ...string) {
	t.Helper()
	for digest := range g.awaitHistory(t, func(map[string]v1alpha1.PassedImage) bool { return true }) {
		if !slices.ContainsFunc(names, func(name string) bool { return graceDigests[name] == digest }) {
			t.Errorf("%s is in the history", digest)
		}
	}
}

// edit changes the history's entries as an administrator may.
func (g *graceWorld) edit(t *testing.T, how func(*v1alpha1.PassedImage)) {
	t.Helper()
	eventually(t, func() error {
		var h v1alpha1.ImageScanHistory
		if err := g.policies.Get(t.Context(), client.ObjectKey{Name: "graced"}, &h); err != nil {
			return err
		}
		for i := range h.Images {
			how(&h.Images[i])
		}
		return g.policies.Update(t.Context(), &h)
	})
}

// hasGrace checks that the image is admitted with nothing but the warning.
func (g *graceWorld) hasGrace(t *testing.T, s *space, name string, worsened time.Time, change ...func(*corev1.Pod)) {
	t.Helper()
	pod := newPod("again", image(name), change...)
	want := fmt.Sprintf(`container "app": %s — severity High, allowed Medium; 111 vulnerabilities, allowed 0 [policy graced] (grace until %s: it ran here and passed before)`,
		pod.Spec.Containers[0].Image, worsened.Add(gracePeriod).UTC().Format(time.RFC3339))
	eventually(t, func() error {
		err := s.try(t, pod)
		if got := s.warnings.take(); err != nil || !slices.Equal(got, []string{want}) {
			return fmt.Errorf("got error %w and warnings:\n%s\nwant:\n%s", orNotYet(err), strings.Join(got, "\n"), want)
		}
		return nil
	})
}

func (g *graceWorld) hasNone(t *testing.T, s *space, name string) {
	t.Helper()
	eventually(t, func() error { return wants(s.try(t, newPod("again", image(name))), "severity High") })
	s.warnings.take()
}

// wants returns an error unless a denial says the text, and nothing of a grace
// that lasts.
func wants(err error, text string) error {
	if err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "grace until") {
		return fmt.Errorf("got error %w, want in it: %s", orNotYet(err), text)
	}
	return nil
}

// isTold checks where a grace shows.
func (g *graceWorld) isTold(t *testing.T, s *space, worsened time.Time) {
	t.Helper()
	until := worsened.Add(gracePeriod).UTC().Format(time.RFC3339)
	if err := s.restart(t, "restarted"); err != nil {
		t.Fatal(err)
	}
	if got, want := s.annotations(t, "restarted", "grace")["pods.hssgate.io/grace"], "policy graced until "+until+": "+image("ran"); got != want {
		t.Errorf("annotation: got %q, want %q", got, want)
	}
	eventually(t, func() error {
		_, metrics, _ := get(t, "http://"+s.metrics+"/metrics")
		for _, want := range []string{
			`hssgate_grace_used_total{policy="graced"} 1` + "\n", `hssgate_audit_grace_images{policy="graced"} 2` + "\n",
			`hssgate_audit_grace_next_end_timestamp_seconds{policy="graced"} `,
		} {
			if !strings.Contains(metrics, want) {
				return fmt.Errorf("metrics lack %s", want)
			}
		}
		return nil
	})
	eventually(t, func() error {
		events, err := s.client.CoreV1().Events(s.name).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=ImageGraceEnds,involvedObject.name=ran"})
		if err != nil {
			return err
		}
		if len(events.Items) != 1 || !strings.Contains(events.Items[0].Message, "grace until "+until) {
			return fmt.Errorf("got events %+v", events.Items)
		}
		return nil
	})
	eventually(t, func() error {
		var p v1alpha1.ImageScanPolicy
		if err := g.policies.Get(t.Context(), client.ObjectKey{Name: "graced"}, &p); err != nil {
			return err
		}
		if last := p.Status.LastAudit; last == nil || last.Grace == nil || last.Grace.Images != 2 || !last.Grace.NextEnd.Time.Equal(worsened.Add(gracePeriod)) {
			return fmt.Errorf("got last audit %+v", last)
		}
		return nil
	})
}

func (s *space) restart(t *testing.T, name string) error {
	t.Helper()
	defer s.warnings.take()
	return s.run(t, newPod(name, image("ran")))
}

// awaitAudit waits for the end of an audit that began from now on.
func (g *graceWorld) awaitAudit(t *testing.T) {
	t.Helper()
	began := time.Now()
	ended := 0
	last := time.Time{}
	eventually(t, func() error {
		var p v1alpha1.ImageScanPolicy
		if err := g.policies.Get(t.Context(), client.ObjectKey{Name: "graced"}, &p); err != nil {
			return err
		}
		if at := p.Status.LastAudit.Time.Time; at.After(began) && at.After(last) {
			last = at
			ended++
		}
		if ended < 2 {
			return errNotYet
		}
		return nil
	})
}
