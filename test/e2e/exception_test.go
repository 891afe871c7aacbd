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

// testExceptions grants exceptions. internal/gate tests where and for what they count.
func testExceptions(t *testing.T, f *gate) {
	add(f.hss["main"], row("excepted", high))
	inParallel(t, f, tests[*gate]{
		"an exception lets an image past, and is accounted for":   testException(namespaced),
		"one for the whole cluster does so, and is accounted for": testException(clusterWide),
		"an exception ends by itself":                             testExceptionEnds,
		"a policy can forbid exceptions":                          testExceptionsForbidden,
		"an exception can be ended, but not prolonged":            testExceptionUpdates,
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

func excepting(images ...string) func(*v1alpha1.ImageScanException) {
	return func(e *v1alpha1.ImageScanException) { e.Spec.Images = images }
}

func namespaced(*v1alpha1.ImageScanException) {}

func clusterWide(e *v1alpha1.ImageScanException) { e.Namespace, e.Name = "", e.Namespace+"-"+e.Name }

// objectOf returns an exception as the type of its kind: one for the whole cluster has no namespace.
func objectOf(e *v1alpha1.ImageScanException) client.Object {
	if e.Namespace == "" {
		return (*v1alpha1.ClusterImageScanException)(e)
	}
	return e
}

// stored returns the exception as it is stored.
func (s *space) stored(t *testing.T, e *v1alpha1.ImageScanException) *v1alpha1.ImageScanException {
	t.Helper()
	if e.Namespace == "" {
		return get(t, s.client, (*v1alpha1.ClusterImageScanException)(e)).Exception()
	}
	return get(t, s.client, e)
}

// grant creates the exception and waits until it is in force, or, of one for the whole cluster, until it admits its image.
func (s *space) grant(t *testing.T, name string, change ...func(*v1alpha1.ImageScanException)) *v1alpha1.ImageScanException {
	t.Helper()
	e := s.newException(name, change...)
	s.cluster.create(t, objectOf(e))
	s.settle(t)
	if e.Namespace == "" {
		s.await(t, exceptedImage, "")
	}
	return e
}

// awaitState waits for the reason of the exception's Ready condition.
func (s *space) awaitState(t *testing.T, e *v1alpha1.ImageScanException, want string) {
	t.Helper()
	eventually(t, func() error {
		now := s.stored(t, e)
		ready := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Reason != want || (ready.Status == metav1.ConditionTrue) != (want == "Active") || now.Status.ObservedGeneration != now.Generation {
			return fmt.Errorf("got status %+v, want Ready because %s", now.Status, want)
		}
		return nil
	})
}

func exceptionLine(s *space, e *v1alpha1.ImageScanException, image string) string {
	kind := "ImageScanException"
	if e.Namespace == "" {
		kind = "ClusterImageScanException"
	}
	return fmt.Sprintf("allowed until %s by %s %s (%s): %s", e.Spec.ExpiresAt.UTC().Format(time.RFC3339), kind, e.Name, exceptedReason, highLine(s, image))
}

func testException(scope func(*v1alpha1.ImageScanException)) func(*testing.T, *gate) {
	return func(t *testing.T, f *gate) { testExceptionOf(t, f.enforced(t), scope) }
}

func testExceptionOf(t *testing.T, s *space, scope func(*v1alpha1.ImageScanException)) {
	t.Helper()
	s.denied(t, s.run(t, newPod("web", exceptedImage)), `pod "web"`, []string{highLine(s, exceptedImage)}, adviseRebuild)
	e := s.grant(t, "base-image", scope)
	name, resource := e.Namespace+"/"+e.Name, "ise"
	if e.Namespace == "" {
		name, resource = "ClusterImageScanException "+e.Name, "cise"
	}
	s.admitted(t, s.try(t, newPod("web", exceptedImage)), exceptionLine(s, e, exceptedImage))
	s.admitted(t, s.run(t, newPod("web", exceptedImage)), exceptionLine(s, e, exceptedImage))

	t.Log("the audit log, the metrics and the status tell of it")
	annotations := s.annotations(t, "web", "exceptions")
	until := e.Spec.ExpiresAt.UTC().Format(time.RFC3339)
	for key, want := range map[string]string{
		"decision": "Admitted", "violations": "Excepted: " + highLine(s, exceptedImage),
		"exceptions": fmt.Sprintf("%s: policy %s-p until %s: %s", name, s.name, until, exceptedReason),
	} {
		if got := annotations["pods.hssgate.io/"+key]; got != want {
			t.Errorf("annotation %s: got %q, want %q", key, got, want)
		}
	}
	eventually(t, func() error {
		if used := fmt.Sprintf("hssgate_exceptions_used_total{policy=%q} 1\n", s.name+"-p"); !strings.Contains(s.scrape(t), used) {
			return fmt.Errorf("metrics lack %s", used)
		}
		if now := s.stored(t, e).Status; now.Uses != 1 || now.LastUsed == nil {
			return fmt.Errorf("got status %+v, want 1 use: what is only tried doesn't count", now)
		}
		return nil
	})
	s.awaitState(t, e, "Active")
	stdout, stderr, err := s.cluster.kubectl(t, "", "get", resource, "-n", s.name, e.Name)
	want := "NAME STATE UNTIL USES LAST USED AGE " + e.Name + " Active " + until + " 1 "
	if got := strings.Join(strings.Fields(stdout), " "); err != nil || !strings.Contains(got, want) {
		t.Errorf("kubectl get: %v\ngot:  %s%s\nwant: %s", err, got, stderr, want)
	}

	t.Log("it is revoked")
	s.cluster.delete(t, objectOf(e))
	s.await(t, exceptedImage, highLine(s, exceptedImage))
	s.denied(t, s.run(t, newPod("again", exceptedImage)), `pod "again"`, []string{highLine(s, exceptedImage)}, adviseRebuild)
}

// annotations returns those of the request that created the pod, one of which
// is key.
func (s *space) annotations(t *testing.T, pod, key string) map[string]string {
	t.Helper()
	return s.cluster.AuditEvent(t, s.name, func(e *auditv1.Event) bool {
		return e.Verb == "create" && e.ObjectRef != nil && e.ObjectRef.Namespace == s.name && e.ObjectRef.Name == pod &&
			e.Annotations["pods.hssgate.io/"+key] != ""
	}).Annotations
}

func testExceptionEnds(t *testing.T, f *gate) {
	s := f.enforced(t)
	e := s.grant(t, "short")
	s.admitted(t, s.try(t, newPod("web", exceptedImage)), exceptionLine(s, e, exceptedImage))
	s.cluster.patch(t, e, ending(time.Now().Add(5*time.Second)))
	s.await(t, exceptedImage, highLine(s, exceptedImage))
	if left := time.Until(e.Spec.ExpiresAt.Time); left > 0 {
		t.Errorf("it ended %s early", left)
	}
	s.awaitState(t, e, "Expired")
}

func testExceptionsForbidden(t *testing.T, f *gate) {
	s := f.enforced(t)
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
	s.cluster.patch(t, p, `{"spec":{"exceptions":"Allow"}}`)
	s.await(t, exceptedImage, "")
}

func testExceptionUpdates(t *testing.T, f *gate) {
	s := f.enforced(t)
	e := s.grant(t, "base-image")
	s.awaitState(t, e, "Active")
	later := client.RawPatch(types.MergePatchType, []byte(ending(e.CreationTimestamp.Add(721*time.Hour))))
	says(t, s.client.Patch(t.Context(), e.DeepCopy(), later), " at the latest, 30 days after its creation", "to prolong an exception, grant a new one")
	s.cluster.patch(t, e, ending(time.Now().Add(-time.Second)))
	s.awaitState(t, e, "Expired")
	s.await(t, exceptedImage, highLine(s, exceptedImage))
}

// ending is a merge patch of an exception's end.
func ending(at time.Time) string {
	return fmt.Sprintf(`{"spec":{"expiresAt":%q}}`, at.UTC().Format(time.RFC3339))
}

const urgentImage = "main.example.com/prod/urgent:1"

// testAllow admits denied images by hssgate allow, and by nothing else.
func testAllow(t *testing.T, f *gate) {
	add(f.hss["main"], row("urgent", high), row("digested", high, func(i *hsstest.Image) { i.ImageDigest = digest("7") }))
	inParallel(t, f, tests[*gate]{
		"no annotation of a pod changes a verdict":                  testAnnotationsDecideNothing,
		"a denied image is admitted until the exception is deleted": testAllowed,
		"a digest admits only pods that name it":                    testAllowedByDigest,
		"all namespaces are admitted into":                          testAllowedEverywhere,
	})
}

// allow runs hssgate allow in the space's namespace, for an hour unless args say
// otherwise, and returns the name of the exception.
func (s *space) allow(t *testing.T, image string, args ...string) (name string, err error) {
	t.Helper()
	return s.allowIn(t, image, append([]string{"--namespace", s.name}, args...)...)
}

func (s *space) allowIn(t *testing.T, image string, args ...string) (name string, err error) {
	t.Helper()
	code, stdout, stderr := s.cluster.runToEnd(t, append([]string{
		"allow", image, "--kubeconfig", s.cluster.kubeconfig, "--for", "1h", "--reason", "INC-7: the shop is down",
	}, args...)...)
	name, created := strings.CutSuffix(stdout, " created\n")
	if code != 0 || !created {
		return "", errors.New(stdout + stderr)
	}
	return strings.TrimPrefix(strings.TrimPrefix(name, "cluster"), "imagescanexception.hssgate.io/"), nil
}

// testAnnotationsDecideNothing annotates pods for the break-glass that earlier
// versions had, as a cluster administrator, under a policy that allowed it.
func testAnnotationsDecideNothing(t *testing.T, f *gate) {
	s := f.newSpace(t)
	p := s.enforce(t, "p")
	s.cluster.patch(t, p, `{"spec":{"breakGlass":"Allow"}}`)
	s.settle(t)
	annotated := func(p *corev1.Pod) {
		p.Annotations = map[string]string{"hssgate.io/break-glass": "INC-7", "hssgate.io/allow": "true", "hssgate.io/exempt": "INC-7", "hssgate.io/grace": "INC-7"}
	}
	says(t, s.run(t, newPod("web", urgentImage, annotated)), highLine(s, urgentImage))
	add(f.hss["main"], row("calm"))
	s.admitted(t, s.run(t, newPod("planted", "main.example.com/prod/calm:1", annotated)))
	says(t, s.debug(t, "planted", "shell", urgentImage), highFinding(s, urgentImage))
}

func testAllowed(t *testing.T, f *gate) {
	s := f.enforced(t)
	says(t, s.run(t, newPod("web", urgentImage)), highLine(s, urgentImage))
	_, err := s.allow(t, urgentImage, "--policy", "no-such")
	says(t, err, `there is no ImageScanPolicy "no-such" in the cluster`)
	name, err := s.allow(t, urgentImage)
	must(t, err)
	s.await(t, urgentImage, "")
	must(t, s.run(t, newPod("web", urgentImage)))
	if got := s.warnings.take(); len(got) != 1 || !strings.Contains(got[0], " by ImageScanException "+name+" (") {
		t.Errorf("got warnings %q", got)
	}
	s.cluster.mustKubectl(t, "", "-n", s.name, "delete", "imagescanexception", name)
	s.await(t, urgentImage, highLine(s, urgentImage))
}

func testAllowedEverywhere(t *testing.T, f *gate) {
	s := f.enforced(t)
	name, err := s.allowIn(t, urgentImage, "--all-namespaces", "--policy", s.name+"-p")
	must(t, err)
	s.await(t, urgentImage, "")
	s.cluster.mustKubectl(t, "", "delete", "clusterimagescanexception", name)
	s.await(t, urgentImage, highLine(s, urgentImage))
}

func testAllowedByDigest(t *testing.T, f *gate) {
	s := f.enforced(t)
	const tagged = "main.example.com/prod/digested:1"
	_, err := s.allow(t, tagged+"@"+digest("7"))
	must(t, err)
	s.await(t, tagged+"@"+digest("7"), "")
	s.await(t, tagged, highLine(s, tagged))
}
