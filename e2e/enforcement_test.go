package e2e_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const enforcedImage = "main.example.com/prod/enforced:1"

// testEnforcement has policies deny, warn and only record.
func testEnforcement(t *testing.T, f *fixture) {
	add(f.hss["main"], row("enforced", high), row("enforced-clean"))
	t.Run("Deny denies, dry-run requests too, and is in the audit log", func(t *testing.T) {
		t.Parallel()
		s := f.newSpace(t)
		s.enforce(t, "p")
		s.denied(t, s.try(t, newPod("dry", enforcedImage)), `pod "dry"`, []string{highLine(s, enforcedImage)}, adviseRebuild)
		s.denied(t, s.run(t, newPod("web", enforcedImage)), `pod "web"`, []string{highLine(s, enforcedImage)}, adviseRebuild)
		s.audited(t, "web", "Denied", "Deny: "+highLine(s, enforcedImage))
		says(t, s.run(t, newPod("", enforcedImage, func(p *corev1.Pod) { p.GenerateName = "web-" })), `denied the request: pod "web-`)
		s.admitted(t, s.try(t, newPod("clean", "main.example.com/prod/enforced-clean:1")))
		s.admitted(t, s.run(t, newPod("clean", "main.example.com/prod/enforced-clean:1")))
		s.audited(t, "clean", "Admitted", "")
	})
	t.Run("Warn admits with a warning", func(t *testing.T) {
		t.Parallel()
		s := f.newSpace(t)
		s.enforce(t, "p", enforcement(v1alpha1.EnforcementWarn))
		for _, create := range []func(*testing.T, *corev1.Pod) error{s.try, s.run} {
			if err := create(t, newPod("web", enforcedImage)); err != nil {
				t.Error(err)
			}
			s.warned(t, highLine(s, enforcedImage))
		}
		s.audited(t, "web", "Admitted", "Warn: "+highLine(s, enforcedImage))
	})
	t.Run("Audit admits in silence", func(t *testing.T) {
		t.Parallel()
		s := f.newSpace(t)
		s.enforce(t, "p", enforcement(v1alpha1.EnforcementAudit))
		s.admitted(t, s.run(t, newPod("web", enforcedImage)))
		s.audited(t, "web", "Admitted", "Audit: "+highLine(s, enforcedImage))
	})
	t.Run("every policy has its say", func(t *testing.T) {
		t.Parallel()
		testTwoPolicies(t, f)
	})
	t.Run("a gate that runs dry denies nothing", func(t *testing.T) {
		t.Parallel()
		testDryRunGate(t, f)
	})
}

func enforcement(e v1alpha1.Enforcement) func(*v1alpha1.ImageScanPolicySpec) {
	return func(spec *v1alpha1.ImageScanPolicySpec) { spec.Enforcement = e }
}

// audited checks the annotations of the request that created the pod, in the
// audit log. No violations: none are annotated.
func (s *space) audited(t *testing.T, pod, decision, violations string) {
	t.Helper()
	event := s.cluster.AuditEvent(t, func(e *auditv1.Event) bool {
		return e.Verb == "create" && e.ObjectRef != nil && e.ObjectRef.Namespace == s.name && e.ObjectRef.Name == pod &&
			e.Annotations["pods.hssgate.io/decision"] != ""
	})
	want := map[string]string{"decision": decision, "policies": s.name + "-p"}
	if violations != "" {
		want["violations"] = violations
	}
	got := map[string]string{}
	for _, key := range []string{"decision", "policies", "violations", "notices", "dry-run"} {
		if value, ok := event.Annotations["pods.hssgate.io/"+key]; ok {
			got[key] = value
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("audit annotations (-want +got):\n%s", diff)
	}
}

func testTwoPolicies(t *testing.T, f *fixture) {
	s := f.newSpace(t)
	s.create(t, s.newPolicy("warns", enforcement(v1alpha1.EnforcementWarn)))
	s.enforce(t, "p", func(spec *v1alpha1.ImageScanPolicySpec) {
		spec.Require = v1alpha1.Requirements{Digest: v1alpha1.DigestRequired}
		spec.Match.Images = []string{"main.example.com/prod/**"}
		spec.Match.ExcludeImages = []string{"main.example.com/prod/*-clean"}
	})
	line := `container "app": ` + enforcedImage + " — names no digest, required by the policy [policy " + s.name + "-p]"
	s.denied(t, s.run(t, newPod("web", enforcedImage)), `pod "web"`, []string{line}, "name the image by its digest: image:tag@sha256:…")
	warning := `container "app": ` + enforcedImage + " — severity High, allowed Medium; 111 vulnerabilities, allowed 0 [policy " + s.name + "-warns]"
	s.warned(t, warning)
	s.admitted(t, s.run(t, newPod("clean", "main.example.com/prod/enforced-clean:1")))
}

// testDryRunGate runs a gate with --dry-run.
func testDryRunGate(t *testing.T, f *fixture) {
	g := newGate(t, f.cluster, setup{name: "dry", projects: map[string]*hsstest.Server{"main": f.hss["main"]}, args: []string{"--dry-run"}})
	s := g.newSpace(t)
	s.create(t, s.newPolicy("p", func(spec *v1alpha1.ImageScanPolicySpec) { spec.Templates = v1alpha1.TemplateDeny }))
	want := "would be denied, but hssgate runs dry: " + highLine(s, enforcedImage)
	eventually(t, func() error {
		err := s.try(t, newPod("web", enforcedImage))
		if len(s.warnings.take()) == 0 {
			return orNotYet(err)
		}
		return nil
	})
	for _, create := range []func() error{
		func() error { return s.run(t, newPod("web", enforcedImage)) },
		func() error {
			_, err := s.client.AppsV1().Deployments(s.name).Create(t.Context(), newDeployment("web", enforcedImage), metav1.CreateOptions{})
			return err
		},
	} {
		if err := create(); err != nil {
			t.Error(err)
		}
		s.warned(t, want)
	}
}
