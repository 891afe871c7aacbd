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

// testGrace has images run and pass, turns them bad, and starts them again.
func testGrace(t *testing.T, c *cluster) {
	g := newGraceWorld(t, c)
	second := g.start(t, "second", "").gate
	g.populate(t)
	g.awaitAudit(t)
	g.cluster.delete(t, g.newException("excepted"))
	g.granted(t)

	t.Log("everything turns bad")
	g.turn(high)
	change(g.hss, "malware", func(i *hsstest.Image) { i.MaliciousFileNum = hsstest.Count(1) })
	change(g.hss, "multiarch", func(i *hsstest.Image) { i.AssociationImages[0].VulNum = hsstest.Count(111) })
	end := g.granted(t, "ran", "multiarch")
	for _, by := range []*gate{g.gate, second} {
		g.hasGrace(t, by, "ran", end)
		g.hasGrace(t, by, "ran", end, pinned("ran"))
		for _, name := range []string{"other-digest", "not-reported", "excepted", "elsewhere", "malware", "new"} {
			g.denies(t, by, g.name, name, "severity High")
		}
		g.denies(t, by, "graced-second", "ran", "severity High")
		g.denies(t, by, g.name, "new", "denied by 1 policy", forged)
	}
	g.isReported(t, end)

	t.Log("the one that audits is replaced")
	g.stop(t)
	after := g.start(t, "after", "interval: 5s").gate
	g.hasGrace(t, after, "ran", end)
	g.awaitAudit(t)
	g.granted(t, "ran", "multiarch")

	t.Log("a later end prolongs nothing, an earlier one counts")
	created := g.edit(t, "ran", time.Now().Add(24*time.Hour))
	g.hasGrace(t, second, "ran", created.Add(gracePeriod))
	ended := created.Add(time.Second)
	g.edit(t, "ran", ended)
	for _, by := range []*gate{after, second} {
		g.denies(t, by, g.name, "ran", " (grace ended at "+ended.UTC().Format(time.RFC3339)+")")
	}

	t.Log("deleting it ends it, too, and it does not come back")
	g.cluster.delete(t, g.graceOf(t, "multiarch"))
	g.denies(t, second, g.name, "multiarch", "[policy graced]\nto do")
	g.awaitAudit(t)
	g.granted(t, "ran")

	t.Log("it turns good, and bad again")
	g.turn(func(i *hsstest.Image) {
		i.SeverityLevel, i.VulNum, i.MaliciousFileNum = "Low", hsstest.Count(0), hsstest.Count(0)
	})
	change(g.hss, "multiarch", func(i *hsstest.Image) { i.AssociationImages[0].VulNum = hsstest.Count(0) })
	g.granted(t)
	g.awaitAudit(t)
	g.turn(high)
	g.granted(t, "excepted", "malware", "multiarch", "ran")

	t.Log("without the policy it goes")
	g.cluster.delete(t, g.policy)
	g.granted(t)
}

// graceWorld is a cluster in which images run, and what HSS says of them. Its space
// is where they run, and its gate the one that audits.
type graceWorld struct {
	*space

	hss    *hsstest.Server
	policy *v1alpha1.ImageScanPolicy
}

// graceDigests are those of the records, by the names of images.
var graceDigests = map[string]string{
	"ran": digest("1"), "other-digest": digest("2"), "not-reported": digest("3"), "excepted": digest("4"),
	"elsewhere": digest("5"), "multiarch": digest("6"), "malware": digest("8"), "new": digest("b"),
}

func prodImage(name string) string { return "main.example.com/prod/" + name + ":1" }

func newGraceWorld(t *testing.T, c *cluster) *graceWorld {
	t.Helper()
	g := &graceWorld{hss: newHSS(t), space: &space{gate: &gate{cluster: newCluster(t, c.program)}}}
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
	g.space = g.start(t, "auditing", "interval: 5s")
	return g
}

// start starts a gate with a namespace of its own that the policy evaluates.
func (g *graceWorld) start(t *testing.T, name, audit string) *space {
	t.Helper()
	c := g.cluster
	c.newNamespace(t, "graced-"+name, map[string]string{gateLabel: name, "graced": "yes"})
	return c.newGate(t, setup{name: name, hss: map[string]*hsstest.Server{"main": g.hss}, cache: changing, audit: audit}).spaceOf(t, "graced-"+name)
}

// populate has pods run, as a kubelet would report them, and creates the policy.
func (g *graceWorld) populate(t *testing.T) {
	t.Helper()
	g.cluster.newNamespace(t, "elsewhere", nil)
	exception := g.newException("excepted", excepting("main.example.com/prod/excepted"))
	exception.Spec.Policies = []string{"graced"}
	g.cluster.create(t, exception)
	for name, imageID := range map[string]string{
		"ran":          "main.example.com/prod/ran@" + graceDigests["ran"],
		"multiarch":    "docker-pullable://main.example.com/prod/multiarch@" + digest("7"),
		"malware":      graceDigests["malware"],
		"other-digest": "main.example.com/prod/other-digest@" + digest("9"),
		"excepted":     "main.example.com/prod/excepted@" + graceDigests["excepted"],
		"elsewhere":    "main.example.com/prod/elsewhere@" + graceDigests["elsewhere"],
	} {
		namespace := g.name
		if name == "elsewhere" {
			namespace = name
		}
		must(t, g.cluster.runAs(t.Context(), namespace, newPod(name, prodImage(name)), imageID))
	}
	// A user can write a status into a pod only when it is created, which drops it.
	claim := newPod("not-reported", prodImage("not-reported"), forged)
	claim.Status.Phase = corev1.PodRunning
	claim.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", ImageID: graceDigests["not-reported"]}}
	must(t, g.run(t, claim))
	g.policy = newPolicy("graced", "graced", "yes", func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Grace = &v1alpha1.Grace{Period: metav1.Duration{Duration: gracePeriod}}
	})
	g.cluster.create(t, g.policy)
}

// forged claims in every way that a user has that the pod ran before.
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

// granted waits until these images have graces and no others, and returns when the
// first of them ends.
func (g *graceWorld) granted(t *testing.T, names ...string) time.Time {
	t.Helper()
	var end time.Time
	eventually(t, func() error {
		var got []string
		for _, e := range g.graces(t) {
			for name, d := range graceDigests {
				if slices.Equal(e.Spec.Images, []string{d}) {
					got = append(got, name)
				}
			}
			if end.IsZero() || e.Spec.ExpiresAt.Time.Before(end) {
				end = e.Spec.ExpiresAt.Time
			}
		}
		if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(names))) {
			return fmt.Errorf("got graces of %q, want %q", got, names)
		}
		return nil
	})
	return end
}

func (g *graceWorld) graces(t *testing.T) []v1alpha1.ImageScanException {
	t.Helper()
	var list v1alpha1.ImageScanExceptionList
	must(t, g.cluster.List(t.Context(), &list, client.MatchingLabels{v1alpha1.GraceLabel: "graced"}))
	return list.Items
}

// graceOf returns an image's grace.
func (g *graceWorld) graceOf(t *testing.T, name string) *v1alpha1.ImageScanException {
	t.Helper()
	graces := g.graces(t)
	i := slices.IndexFunc(graces, func(e v1alpha1.ImageScanException) bool { return e.Spec.Images[0] == graceDigests[name] })
	if i < 0 {
		t.Fatalf("%s has no grace", name)
	}
	return &graces[i]
}

// edit sets the end of an image's grace, and returns when it was created.
func (g *graceWorld) edit(t *testing.T, name string, end time.Time) (created time.Time) {
	t.Helper()
	e := g.graceOf(t, name)
	g.cluster.patch(t, e, fmt.Sprintf(`{"spec":{"expiresAt":%q}}`, end.UTC().Format(time.RFC3339)))
	return e.CreationTimestamp.Time
}

// hasGrace checks that a gate admits the image with nothing but the warning.
func (g *graceWorld) hasGrace(t *testing.T, by *gate, name string, end time.Time, change ...func(*corev1.Pod)) {
	t.Helper()
	pod := newPod("again", prodImage(name), change...)
	want := fmt.Sprintf(`container "app": %s — severity High, allowed Medium; 111 vulnerabilities, allowed 0 [policy graced] (grace until %s: it ran here and passed before)`,
		pod.Spec.Containers[0].Image, end.UTC().Format(time.RFC3339))
	eventually(t, func() error {
		if got := by.ask(t, g.name, pod); !got.Allowed || !slices.Equal(got.Warnings, []string{want, "to do: " + adviseRebuild}) {
			return fmt.Errorf("got %+v, want the warning\n%s", got, want)
		}
		return nil
	})
}

// denies checks that a gate denies the image, and promises no grace.
func (g *graceWorld) denies(t *testing.T, by *gate, namespace, name, want string, change ...func(*corev1.Pod)) {
	t.Helper()
	eventually(t, func() error {
		got := by.ask(t, namespace, newPod("again", prodImage(name), change...))
		if got.Allowed || !strings.Contains(got.Result.Message, want) || strings.Contains(got.Result.Message, "grace until") {
			return fmt.Errorf("%s: got %+v, want in it: %s", name, got.Result, want)
		}
		return nil
	})
}

// isReported checks where a grace shows.
func (g *graceWorld) isReported(t *testing.T, end time.Time) {
	t.Helper()
	until := end.UTC().Format(time.RFC3339)
	must(t, g.run(t, newPod("restarted", prodImage("ran"))))
	name := "grace-graced-" + strings.TrimPrefix(graceDigests["ran"], "sha256:")[:32]
	want := g.name + "/" + name + ": policy graced until " + until + ": grace of policy graced"
	if got := g.annotations(t, "restarted", "exceptions")["pods.hssgate.io/exceptions"]; !strings.HasPrefix(got, want) {
		t.Errorf("annotation: got %q, want %q", got, want)
	}
	eventually(t, func() error {
		metrics, last := g.scrape(t), get(t, g.client, g.policy).Status.LastAudit
		var events corev1.EventList
		must(t, g.client.List(t.Context(), &events, client.InNamespace(g.name), client.MatchingFields{"reason": "ImageGraceEnds", "involvedObject.name": "ran"}))
		for what, there := range map[string]bool{
			"a use of the grace":               g.graceOf(t, "ran").Name == name && g.graceOf(t, "ran").Status.Uses > 0,
			"the metric of graces":             strings.Contains(metrics, `hssgate_audit_grace_images{policy="graced"} 2`+"\n"),
			"the metric of the next end":       strings.Contains(metrics, `hssgate_audit_grace_next_end_timestamp_seconds{policy="graced"} `),
			"one Event of the end":             len(events.Items) == 1 && strings.Contains(events.Items[0].Message, "grace until "+until),
			"both in the status of the policy": last != nil && last.Grace != nil && last.Grace.Images == 2 && last.Grace.NextEnd.Time.Equal(end),
		} {
			if !there {
				return fmt.Errorf("lacking: %s", what)
			}
		}
		return nil
	})
}

// awaitAudit waits for the end of an audit that began from now on: of the second
// that ends.
func (g *graceWorld) awaitAudit(t *testing.T) {
	t.Helper()
	last, ended := time.Now(), 0
	eventually(t, func() error {
		if audit := get(t, g.client, g.policy).Status.LastAudit; audit != nil && audit.Time.After(last) {
			last = audit.Time.Time
			ended++
		}
		if ended < 2 {
			return errNotYet
		}
		return nil
	})
}
