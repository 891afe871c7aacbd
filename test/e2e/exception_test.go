package e2e_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	exceptedImage  = "main.example.com/prod/excepted:1"
	exceptedReason = "waits for the base image, PLAT-217"
)

// testExceptions grants good and bad exceptions.
func testExceptions(t *testing.T, f *fixture) {
	add(f.hss["main"], row("excepted", high), row("excepted-other", high))
	inParallel(t, f, tests{
		"an exception lets an image past, and is accounted for": testException,
		"an exception ends by itself, and is warned of once":    testExceptionEnds,
		"an exception counts only where and for what it says":   testExceptionScope,
		"a policy can forbid exceptions":                        testExceptionsForbidden,
		"a workload's template is allowed, too":                 testExceptionForTemplate,
		"what got past the webhook ends all the same":           testUnvalidatedExceptions,
		"an exception can be ended, but not prolonged":          testExceptionUpdates,
	})
}

// newException lets exceptedImage past the space's policy p for an hour.
func (s *space) newException(name string, change ...func(*v1alpha1.ImageScanException)) *v1alpha1.ImageScanException {
	e := &v1alpha1.ImageScanException{ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: name}, Spec: v1alpha1.ImageScanExceptionSpec{
		Images: []string{"main.example.com/prod/excepted"}, Policies: []string{s.name + "-p"}, Reason: exceptedReason,
		ExpiresAt: metav1.NewTime(time.Now().Add(time.Hour)),
	}}
	for _, f := range change {
		f(e)
	}
	return e
}

func endingIn(d time.Duration) func(*v1alpha1.ImageScanException) {
	return func(e *v1alpha1.ImageScanException) { e.Spec.ExpiresAt = metav1.NewTime(time.Now().Add(d)) }
}

func excepting(images ...string) func(*v1alpha1.ImageScanException) {
	return func(e *v1alpha1.ImageScanException) { e.Spec.Images = images }
}

// grant creates the exception and waits until it is in force.
func (s *space) grant(t *testing.T, name string, change ...func(*v1alpha1.ImageScanException)) *v1alpha1.ImageScanException {
	t.Helper()
	e := s.newException(name, change...)
	s.createException(t, e)
	s.settleExceptions(t)
	return e
}

func (s *space) createException(t *testing.T, e *v1alpha1.ImageScanException) {
	t.Helper()
	if err := s.cluster.policies.Create(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

// settleExceptions waits until the gate has seen every change of exceptions up
// to now: it adds one more, which the gate sees after them, and waits for what
// that one allows against the space's policy p.
func (s *space) settleExceptions(t *testing.T) {
	t.Helper()
	name := fmt.Sprintf("fence-%d", s.cluster.fences.Add(1))
	image := "exceptions.example.com/" + name
	s.createException(t, s.newException(name, excepting(image)))
	s.awaitVerdict(t, image, true)
}

func (s *space) getException(t *testing.T, name string) *v1alpha1.ImageScanException {
	t.Helper()
	var e v1alpha1.ImageScanException
	if err := s.cluster.policies.Get(t.Context(), client.ObjectKey{Namespace: s.name, Name: name}, &e); err != nil {
		t.Fatal(err)
	}
	return &e
}

// awaitState waits for the reason of the exception's Ready condition.
func (s *space) awaitState(t *testing.T, name, want string) *v1alpha1.ImageScanException {
	t.Helper()
	var e *v1alpha1.ImageScanException
	eventually(t, func() error {
		e = s.getException(t, name)
		ready := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Reason != want || (ready.Status == metav1.ConditionTrue) != (want == "Active") || e.Status.ObservedGeneration != e.Generation {
			return fmt.Errorf("got status %+v, want Ready because %s", e.Status, want)
		}
		return nil
	})
	return e
}

func exceptionLine(s *space, e *v1alpha1.ImageScanException, image string) string {
	return fmt.Sprintf("allowed until %s by ImageScanException %s (%s): %s", e.Spec.ExpiresAt.UTC().Format(time.RFC3339), e.Name, exceptedReason, highLine(s, image))
}

func testException(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p")
	s.denied(t, s.run(t, newPod("web", exceptedImage)), `pod "web"`, []string{highLine(s, exceptedImage)}, adviseRebuild)
	e := s.grant(t, "base-image")
	s.admitted(t, s.try(t, newPod("web", exceptedImage)), exceptionLine(s, e, exceptedImage))
	s.admitted(t, s.run(t, newPod("web", exceptedImage)), exceptionLine(s, e, exceptedImage))

	t.Log("the audit log, the metrics and the status tell of it")
	annotations := s.annotations(t, "web", "exceptions")
	until := e.Spec.ExpiresAt.UTC().Format(time.RFC3339)
	for key, want := range map[string]string{
		"decision": "Admitted", "violations": "Excepted: " + highLine(s, exceptedImage),
		"exceptions": fmt.Sprintf("%s/base-image: policy %s-p until %s: %s", s.name, s.name, until, exceptedReason),
	} {
		if got := annotations["pods.hssgate.io/"+key]; got != want {
			t.Errorf("annotation %s: got %q, want %q", key, got, want)
		}
	}
	eventually(t, func() error {
		_, metrics, err := get(t, "http://"+f.metrics+"/metrics")
		if used := fmt.Sprintf("hssgate_exceptions_used_total{policy=%q} 1\n", s.name+"-p"); err != nil || !strings.Contains(metrics, used) {
			return fmt.Errorf("metrics lack %s, error %w", used, orNotYet(err))
		}
		if e := s.getException(t, e.Name); e.Status.Uses != 1 || e.Status.LastUsed == nil {
			return fmt.Errorf("got status %+v, want 1 use: what is only tried doesn't count", e.Status)
		}
		return nil
	})
	stdout, stderr, err := f.cluster.kubectl(t, "", "get", "ise", "-n", s.name, e.Name)
	want := "NAME STATE UNTIL USES LAST USED AGE base-image Active " + until + " 1 "
	if got := strings.Join(strings.Fields(stdout), " "); err != nil || !strings.Contains(got, want) {
		t.Errorf("kubectl get ise: %v\ngot:  %s%s\nwant: %s", err, got, stderr, want)
	}

	t.Log("it is revoked")
	if err := s.cluster.policies.Delete(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	s.settleExceptions(t)
	s.denied(t, s.run(t, newPod("again", exceptedImage)), `pod "again"`, []string{highLine(s, exceptedImage)}, adviseRebuild)
}

// annotations returns those of the request that created the pod, one of which
// is key.
func (s *space) annotations(t *testing.T, pod, key string) map[string]string {
	t.Helper()
	return s.cluster.AuditEvent(t, func(e *auditv1.Event) bool {
		return e.Verb == "create" && e.ObjectRef != nil && e.ObjectRef.Namespace == s.name && e.ObjectRef.Name == pod &&
			e.Annotations["pods.hssgate.io/"+key] != ""
	}).Annotations
}

func testExceptionEnds(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p")
	e := s.newException("short", endingIn(45*time.Second))
	s.createException(t, e)
	s.awaitVerdict(t, exceptedImage, true)
	s.awaitState(t, "short", "Active")
	s.awaitVerdict(t, exceptedImage, false)
	if left := time.Until(e.Spec.ExpiresAt.Time); left > 0 {
		t.Errorf("it ended %s early", left)
	}
	s.awaitState(t, "short", "Expired")
	// The gates of these tests elect no leader, so each may warn once.
	for _, event := range s.events(t, "ExceptionExpiring") {
		if event.InvolvedObject.Name != "short" || !strings.Contains(event.Message, "ends at ") {
			t.Errorf("got event %+v, want one that it ends", event)
		}
	}
}

// events waits for the Events of a reason in the namespace.
func (s *space) events(t *testing.T, reason string) []corev1.Event {
	t.Helper()
	var list *corev1.EventList
	eventually(t, func() (err error) {
		list, err = s.client.CoreV1().Events(s.name).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=" + reason})
		if err == nil && len(list.Items) == 0 {
			err = errNotYet
		}
		return err
	})
	return list.Items
}

func testExceptionScope(t *testing.T, f *fixture) {
	s, elsewhere := f.newSpace(t), f.newSpace(t)
	s.enforce(t, "p")
	elsewhere.enforce(t, "p")
	toward := func(e *v1alpha1.ImageScanException) { e.Spec.Policies = []string{s.name + "-p", elsewhere.name + "-p"} }
	everything := func(e *v1alpha1.ImageScanException) { e.Spec.Images = []string{"**"} }
	elsewhere.grant(t, "for-another-namespace", toward, everything)
	s.createException(t, s.newException("for-another-policy", everything, func(e *v1alpha1.ImageScanException) { e.Spec.Policies = []string{"production"} }))
	s.createException(t, s.newException("for-one-vulnerability", everything, func(e *v1alpha1.ImageScanException) { e.Spec.Vulnerabilities = []string{"CVE-2024-1234"} }))
	s.grant(t, "for-another-image", excepting("main.example.com/prod/excepted-other", digest("a")))
	s.denied(t, s.run(t, newPod("web", exceptedImage)), `pod "web"`, []string{highLine(s, exceptedImage)}, adviseRebuild)

	t.Log("by digest, only a reference that names it")
	pinned := "main.example.com/prod/excepted@" + digest("a")
	if err := s.try(t, newPod("web", pinned)); err != nil {
		t.Error(err)
	}
	if got := s.warnings.take(); len(got) != 1 || !strings.Contains(got[0], " by ImageScanException for-another-image (") {
		t.Errorf("got warnings %q", got)
	}
	s.grant(t, "for-everything", everything)
	says(t, s.try(t, newPod("web", "Not/An:Image")), `container "app": "Not/An:Image"`)
}

func testExceptionsForbidden(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p")
	p := s.enforce(t, "strict", func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Exceptions = v1alpha1.PermissionForbid
		spec.Match.Images = []string{"main.example.com/prod/excepted"}
	})
	e := s.grant(t, "base-image", func(e *v1alpha1.ImageScanException) { e.Spec.Policies = append(e.Spec.Policies, p.Name) })
	line := strings.Replace(highLine(s, exceptedImage), s.name+"-p", p.Name, 1)
	s.denied(t, s.run(t, newPod("web", exceptedImage)), `pod "web"`, []string{line}, adviseRebuild)
	s.warned(t, exceptionLine(s, e, exceptedImage))
	_, err := s.allow(t, exceptedImage, "--policy", p.Name)
	says(t, err, "policy "+p.Name+" permits no exception (spec.exceptions: Forbid)")
	s.patchPolicy(t, p, `{"spec":{"exceptions":"Allow"}}`)
	s.settle(t)
	if err := s.run(t, newPod("web", exceptedImage)); err != nil {
		t.Error(err)
	}
}

func testExceptionForTemplate(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p", func(spec *v1alpha1.ImageScanPolicySpec) { spec.Templates = v1alpha1.TemplateDeny })
	e := s.grant(t, "base-image")
	err := s.createWorkload(t, "Deployment", "web", exceptedImage)
	s.admitted(t, err, exceptionLine(s, e, exceptedImage))
}

// testUnvalidatedExceptions writes exceptions past the webhook.
func testUnvalidatedExceptions(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p")
	past := func(e *v1alpha1.ImageScanException) { e.Labels = map[string]string{unvalidated: "true"} }
	s.createException(t, s.newException("ended", past, endingIn(-time.Minute)))
	s.createException(t, s.newException("invalid", past, excepting("main.example.com/prod/excepted", "docker.io:99999999/**/a")))
	s.grant(t, "endless", past, excepting("main.example.com/prod/excepted-other"), endingIn(87600*time.Hour))

	s.awaitState(t, "ended", "Expired")
	e := s.awaitState(t, "endless", "Active")
	if want := e.CreationTimestamp.Add(720 * time.Hour); !e.Status.ActiveUntil.Time.Equal(want) {
		t.Errorf("it is active until %s, want %s", e.Status.ActiveUntil, want)
	}
	says(t, s.run(t, newPod("web", exceptedImage)), highLine(s, exceptedImage))
}

func testExceptionUpdates(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p")
	e := s.grant(t, "base-image")
	s.awaitState(t, e.Name, "Active")
	patch := func(at time.Time) error {
		body := fmt.Appendf(nil, `{"spec":{"expiresAt":%q}}`, at.UTC().Format(time.RFC3339))
		return s.cluster.policies.Patch(t.Context(), e.DeepCopy(), client.RawPatch(types.MergePatchType, body))
	}
	says(t, patch(e.CreationTimestamp.Add(721*time.Hour)), " at the latest, 30d after its creation", "to prolong an exception, grant a new one")
	if err := patch(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	s.awaitState(t, e.Name, "Expired")
	s.awaitVerdict(t, exceptedImage, false)
}

const urgentImage = "main.example.com/prod/urgent:1"

// testAllow admits denied images by hssgate allow, and by nothing else.
func testAllow(t *testing.T, f *fixture) {
	add(f.hss["main"], row("urgent", high), row("digested", high, func(i *hsstest.Image) { i.ImageDigest = digest("7") }))
	inParallel(t, f, tests{
		"no annotation of a pod changes a verdict":                  testAnnotationsDecideNothing,
		"a denied image is admitted until the exception is deleted": testAllowed,
		"a digest admits only pods that name it":                    testAllowedByDigest,
	})
}

// allow runs hssgate allow in the space's namespace, for an hour unless args say
// otherwise.
func (s *space) allow(t *testing.T, image string, args ...string) (name string, err error) {
	t.Helper()
	code, stdout, stderr := s.cluster.runToEnd(t, append([]string{
		"allow", image, "--kubeconfig", s.cluster.kubeconfig, "--namespace", s.name, "--for", "1h", "--reason", "INC-7: the shop is down",
	}, args...)...)
	if code != 0 {
		return "", errors.New(stderr)
	}
	return strings.TrimPrefix(strings.TrimSpace(stdout), "imagescanexception.hssgate.io/"), nil
}

func (s *space) mustAllow(t *testing.T, image string, args ...string) (name string) {
	t.Helper()
	output, err := s.allow(t, image, args...)
	name, created := strings.CutSuffix(output, " created")
	if err != nil || !created {
		t.Fatalf("got output %q, %v", output, err)
	}
	return name
}

// awaitVerdict waits until a pod of the image would be admitted, or denied.
func (s *space) awaitVerdict(t *testing.T, image string, admitted bool) {
	t.Helper()
	eventually(t, func() error {
		err := s.try(t, newPod("verdict", image))
		if (err == nil) != admitted {
			return fmt.Errorf("admitted is to be %t: %w", admitted, orNotYet(err))
		}
		return nil
	})
	s.warnings.take()
}

// testAnnotationsDecideNothing annotates pods for the break-glass that earlier
// versions had, as a cluster administrator, under a policy that allowed it.
func testAnnotationsDecideNothing(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	p := s.enforce(t, "p")
	s.patchPolicy(t, p, `{"spec":{"breakGlass":"Allow"}}`)
	s.settle(t)
	annotated := func(p *corev1.Pod) {
		p.Annotations = map[string]string{"hssgate.io/break-glass": "INC-7", "hssgate.io/allow": "true", "hssgate.io/exempt": "INC-7", "hssgate.io/grace": "INC-7"}
	}
	says(t, s.run(t, newPod("web", urgentImage, annotated)), highLine(s, urgentImage))
	add(f.hss["main"], row("calm"))
	s.admitted(t, s.run(t, newPod("planted", "main.example.com/prod/calm:1", annotated)))
	says(t, s.debug(t, "planted", "shell", urgentImage), highFinding(s, urgentImage))
}

func testAllowed(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p")
	says(t, s.run(t, newPod("web", urgentImage)), highLine(s, urgentImage))
	_, err := s.allow(t, urgentImage, "--policy", "no-such")
	says(t, err, `there is no ImageScanPolicy "no-such" in the cluster`)
	name := s.mustAllow(t, urgentImage)
	s.awaitVerdict(t, urgentImage, true)
	if err := s.run(t, newPod("web", urgentImage)); err != nil {
		t.Error(err)
	}
	if got := s.warnings.take(); len(got) != 1 || !strings.Contains(got[0], " by ImageScanException "+name+" (") {
		t.Errorf("got warnings %q", got)
	}
	s.cluster.mustKubectl(t, "", "-n", s.name, "delete", "imagescanexception", name)
	s.awaitVerdict(t, urgentImage, false)
}

func testAllowedByDigest(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p")
	const tagged = "main.example.com/prod/digested:1"
	s.mustAllow(t, tagged+"@"+digest("7"))
	s.awaitVerdict(t, tagged+"@"+digest("7"), true)
	s.awaitVerdict(t, tagged, false)
}
