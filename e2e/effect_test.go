package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// testEffect writes policies and exceptions that can have no effect, and mends
// them.
func testEffect(t *testing.T, f *fixture) {
	mended := `{"spec":{"match":{"images":null,"excludeImages":null,"objectSelector":null}}}`
	for name, test := range map[string]struct {
		match  func(*v1alpha1.Match)
		reason string
	}{
		"a host that no registry claims": {func(m *v1alpha1.Match) { m.Images = []string{"nobody.example.com/**"} }, "HostUnclaimed"},
		"every image excluded":           {func(m *v1alpha1.Match) { m.ExcludeImages = []string{"**"} }, "MatchesNothing"},
		"labels that contradict each other": {func(m *v1alpha1.Match) {
			m.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "x"}, MatchExpressions: []metav1.LabelSelectorRequirement{
				{Key: "a", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"x"}},
			}}
		}, "MatchesNothing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := f.newSpace(t)
			p := s.newPolicy("p", func(spec *v1alpha1.ImageScanPolicySpec) { test.match(&spec.Match) })
			s.create(t, p)
			s.awaitEffect(t, "imagescanpolicy", p.Name, test.reason)
			s.patchPolicy(t, p, mended)
			s.awaitEffect(t, "imagescanpolicy", p.Name, "")
		})
	}
	t.Run("an exception from a policy that comes later and goes", func(t *testing.T) {
		t.Parallel()
		s := f.newSpace(t)
		p := s.newPolicy("later")
		name := s.mustAllowLater(t, p.Name)
		s.awaitEffect(t, "imagescanexception", name, "PolicyNotFound")
		s.create(t, p)
		s.awaitEffect(t, "imagescanexception", name, "")
		s.patchPolicy(t, p, `{"spec":{"exceptions":"Forbid"}}`)
		s.awaitEffect(t, "imagescanexception", name, "ExceptionsForbidden")
		s.patchPolicy(t, p, `{"spec":{"exceptions":"Allow","match":{"images":["other.example.com/**"]}}}`)
		s.awaitEffect(t, "imagescanexception", name, "MatchesNothing")
		if err := s.cluster.policies.Delete(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		s.awaitEffect(t, "imagescanexception", name, "PolicyNotFound")
	})
}

// mustAllowLater creates an exception from a policy that is not there yet.
func (s *space) mustAllowLater(t *testing.T, policy string) (name string) {
	t.Helper()
	e := &v1alpha1.ImageScanException{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: "early"},
		Spec: v1alpha1.ImageScanExceptionSpec{
			Images: []string{"main.example.com/prod/urgent"}, Policies: []string{policy}, Reason: "INC-7", ExpiresAt: metav1.NewTime(time.Now().Add(time.Hour)),
		},
	}
	if err := s.cluster.policies.Create(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	return e.Name
}

// awaitEffect waits for a reason of the condition Effective and a True Ready.
func (s *space) awaitEffect(t *testing.T, kind, name, reason string) {
	t.Helper()
	eventually(t, func() error {
		stdout, stderr, err := s.cluster.kubectl(t, "", "-n", s.name, "get", kind, name, "-o",
			`jsonpath={.status.conditions[?(@.type=="Ready")].status}:{.status.conditions[?(@.type=="Effective")].reason}`)
		if err != nil || stdout != "True:"+reason {
			return fmt.Errorf("got %q %s, want True:%s", stdout, stderr, reason)
		}
		return nil
	})
}

// TestPoliciesCRDDeleted deletes the CustomResourceDefinition of policies, and
// with it all of them, and brings it back.
func TestPoliciesCRDDeleted(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	hss := newHSS(t)
	add(hss, row("bad", high))
	g := newGate(t, c, setup{name: "main", projects: map[string]*hsstest.Server{"main": hss}})
	s := g.newSpace(t)
	s.enforce(t, "p")
	const image = "main.example.com/prod/bad:1"
	says(t, s.run(t, newPod("web", image)), highLine(s, image))
	if _, stderr, err := c.kubectl(t, "", "delete", "crd", "imagescanpolicies.hssgate.io"); err != nil {
		t.Fatal(stderr)
	}
	eventually(t, func() error {
		code, body, err := get(t, "http://"+g.health+"/readyz?verbose")
		if err != nil || code == http.StatusOK || !strings.Contains(body, "[-]policies") {
			return fmt.Errorf("/readyz answers %d: %s %w", code, body, orNotYet(err))
		}
		return nil
	})
	if err := s.run(t, newPod("web", image)); err == nil {
		t.Error("without policies to evaluate by, a bad image was admitted")
	}
	if _, stderr, err := c.kubectl(t, "", "apply", "--server-side", "-f", "../charts/hssgate/files/crds/hssgate.io_imagescanpolicies.yaml"); err != nil {
		t.Fatal(stderr)
	}
	g.awaitReady(t)
	s.enforceAgain(t)
	says(t, s.run(t, newPod("web", image)), highLine(s, image))
}

// enforceAgain creates the policy once the API server serves its kind again.
func (s *space) enforceAgain(t *testing.T) {
	t.Helper()
	eventually(t, func() error { return s.cluster.policies.Create(t.Context(), s.newPolicy("p")) })
	s.settle(t)
}
