package e2e_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/internal/controlplanetest"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const urgentImage = "main.example.com/prod/urgent:1"

// testAllow admits denied images by hssgate allow, and by nothing else.
func testAllow(t *testing.T, f *fixture) {
	add(f.hss["main"], row("urgent", high), row("digested", high, func(i *hsstest.Image) { i.ImageDigest = digest("7") }))
	for name, test := range map[string]func(*testing.T, *fixture){
		"no annotation of a pod changes a verdict":                   testAnnotationsDecideNothing,
		"a denied image is admitted until the exception is deleted":  testAllowed,
		"the exception ends by itself":                               testAllowedForAWhile,
		"a digest admits only pods that name it":                     testAllowedByDigest,
		"who may not create exceptions in the namespace is refused":  testAllowRefused,
		"a policy that is unknown or forbids exceptions is an error": testAllowPastNothing,
		"a dry run stores nothing":                                   testAllowDryRun,
		"too long a time is refused by the configuration of hssgate": testAllowTooLong,
		"without the CRDs it says that hssgate is not installed":     testAllowWithoutCRDs,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, f)
		})
	}
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
	name, created := strings.CutPrefix(strings.TrimSuffix(stdout, " created\n"), "imagescanexception.hssgate.io/")
	if !created {
		return "", fmt.Errorf("got output %q", stdout)
	}
	return name, nil
}

func (s *space) mustAllow(t *testing.T, image string, args ...string) (name string) {
	t.Helper()
	name, err := s.allow(t, image, args...)
	if err != nil {
		t.Fatal(err)
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
	annotated := newPod("web", urgentImage, func(p *corev1.Pod) {
		p.Annotations = map[string]string{"hssgate.io/break-glass": "INC-7", "hssgate.io/allow": "true"}
	})
	says(t, s.run(t, annotated), highLine(s, urgentImage))
}

func testAllowed(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p")
	says(t, s.run(t, newPod("web", urgentImage)), highLine(s, urgentImage))
	name := s.mustAllow(t, urgentImage)
	s.awaitVerdict(t, urgentImage, true)
	if err := s.run(t, newPod("web", urgentImage)); err != nil {
		t.Error(err)
	}
	if got := s.warnings.take(); len(got) != 1 || !strings.Contains(got[0], "exception "+name+" lets it past until ") {
		t.Errorf("got warnings %q", got)
	}
	if _, stderr, err := s.cluster.kubectl(t, "", "-n", s.name, "delete", "imagescanexception", name); err != nil {
		t.Fatal(stderr)
	}
	s.awaitVerdict(t, urgentImage, false)
}

func testAllowedForAWhile(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p")
	s.mustAllow(t, urgentImage, "--for", "20s")
	s.awaitVerdict(t, urgentImage, true)
	s.awaitVerdict(t, urgentImage, false)
}

func testAllowedByDigest(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p")
	const tagged = "main.example.com/prod/digested:1"
	s.mustAllow(t, tagged+"@"+digest("7"))
	s.awaitVerdict(t, tagged+"@"+digest("7"), true)
	says(t, s.try(t, newPod("tagged", tagged)), highFinding(s, tagged))
}

func testAllowRefused(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	p := s.enforce(t, "p")
	s.bindEditor(t, "erin")
	user := "allow-nobody-" + s.name
	_, err := s.allow(t, urgentImage, "--as", user, "--policy", p.Name)
	says(t, err, fmt.Sprintf("User %q cannot create resource", user), "kubectl -n "+s.name+" create rolebinding allow-images --clusterrole RELEASE-exception-editor")
	_, err = s.allow(t, urgentImage, "--as", user)
	says(t, err, `cannot list resource "imagescanpolicies"`, "name the policies by --policy")
	other := f.newSpace(t)
	eventually(t, func() error {
		_, err := s.allow(t, urgentImage, "--as", "erin", "--policy", p.Name)
		return err
	})
	_, err = other.allow(t, urgentImage, "--as", "erin", "--policy", p.Name)
	says(t, err, `User "erin" cannot create resource`)
	s.awaitVerdict(t, urgentImage, true)
}

// bindEditor gives a user the rights of the chart's role in the namespace.
func (s *space) bindEditor(t *testing.T, user string) {
	t.Helper()
	rbac := s.client.RbacV1()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "exception-editor"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"hssgate.io"}, Resources: []string{"imagescanexceptions"}, Verbs: []string{"get", "list", "create", "delete"}},
	}}
	if _, err := rbac.Roles(s.name).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
	}
	if _, err := rbac.RoleBindings(s.name).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func testAllowPastNothing(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	p := s.enforce(t, "p", func(spec *v1alpha1.ImageScanPolicySpec) { spec.Exceptions = v1alpha1.PermissionForbid })
	_, err := s.allow(t, urgentImage, "--policy", p.Name)
	says(t, err, "policy "+p.Name+" permits no exception (spec.exceptions: Forbid)")
	_, err = s.allow(t, urgentImage, "--policy", "no-such")
	says(t, err, `there is no ImageScanPolicy "no-such" in the cluster`)
}

func testAllowDryRun(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	p := s.enforce(t, "p")
	for dryRun, want := range map[string]string{"client": " created (dry run)\n", "server": " created (server dry run)\n"} {
		code, stdout, stderr := s.cluster.runToEnd(t, "allow", urgentImage, "--kubeconfig", s.cluster.kubeconfig,
			"-n", s.name, "--for", "1h", "--reason", "INC-7", "--policy", p.Name, "--dry-run", dryRun)
		if code != 0 || !strings.HasSuffix(stdout, want) {
			t.Errorf("--dry-run=%s: code %d, output %q, %s", dryRun, code, stdout, stderr)
		}
	}
	stdout, stderr, err := s.cluster.kubectl(t, "", "-n", s.name, "get", "imagescanexceptions", "-o", "name")
	if err != nil || stdout != "" {
		t.Errorf("exceptions %q, %s", stdout, stderr)
	}
}

func testAllowTooLong(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.enforce(t, "p")
	// Only the webhook for exceptions knows the bound; without it the exception ends early.
	name, err := s.allow(t, urgentImage, "--for", "87600h")
	if err != nil {
		says(t, err, "spec.expiresAt")
		return
	}
	eventually(t, func() error {
		stdout, stderr, err := s.cluster.kubectl(t, "", "-n", s.name, "get", "imagescanexception", name, "-o", "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}")
		if err != nil || !strings.Contains(stdout, "the longest that the configuration grants") {
			return fmt.Errorf("status %q %s %w", stdout, stderr, orNotYet(err))
		}
		return nil
	})
}

func testAllowWithoutCRDs(t *testing.T, f *fixture) {
	bare := controlplanetest.Start(t, controlplanetest.WithoutCRDs())
	for _, args := range [][]string{{}, {"--policy", "p"}} {
		code, _, stderr := f.cluster.runToEnd(t, append([]string{
			"allow", urgentImage, "--kubeconfig", write(t, "kubeconfig", string(bare.KubeConfig)), "--for", "1h", "--reason", "INC-7",
		}, args...)...)
		if code != 1 || !strings.Contains(stderr, "hssgate is not installed in it") {
			t.Errorf("%v: code %d, %s", args, code, stderr)
		}
	}
}
