package check

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// lookups explains how references are looked up; *inventory.Inventory does.
type lookups interface {
	Explain(ref image.Reference) []string
	ExplainVulnerabilities(ref image.Reference, f policy.Facts) []string
}

// explanation explains the decision about one object step by step. Leading blanks show what belongs to what.
type explanation struct {
	*Checker
	*gate.Decision

	lines    []string
	workload image.Workload
	labels   labels.Set // the namespace's; nil: not known
}

func (x *explanation) addf(depth int, format string, args ...any) {
	x.lines = append(x.lines, strings.Repeat("  ", depth)+fmt.Sprintf(format, args...))
}

func (c *Checker) explain(ctx context.Context, r *gate.Request, d *gate.Decision, images []report.Image) []string {
	x := &explanation{Checker: c, Decision: d, workload: r.Workload}
	set, err := c.namespaceLabels(ctx, r.Namespace)
	switch {
	case c.gate.Exempts(r.Namespace):
		x.addf(0, "namespace %q is exempt by the configuration: nothing in it is evaluated", r.Namespace)
		return x.lines
	case err != nil:
		x.addf(0, "namespace %q: its labels are not known, so every policy applies that may select it: %s", r.Namespace, err)
	default:
		x.labels = labels.Merge(set, nil)
		x.addf(0, "namespace %q has %s", r.Namespace, labelsText(set))
	}
	if r.Workload.Template {
		x.addf(0, "%s is a template: a policy's spec.templates decides whether it counts before a pod is created", r.Workload.Kind)
	}
	if len(images) == 0 {
		x.addf(0, "it names no image")
	}
	for i, use := range r.Workload.Uses {
		x.addf(0, "%s: %s", use, use.Image)
		ref, err := image.Parse(use.Image)
		if err != nil {
			x.addf(1, "reference: %s; no node could pull it", err)
		} else {
			x.addf(1, "reference: %s", ref)
			x.image(ref, &images[i], d.Facts[i])
		}
		for _, p := range c.gate.Policies() {
			x.policy(p, use, ref, d.Facts[i])
		}
	}
	return x.lines
}

func labelsText(set labels.Set) string {
	if len(set) == 0 {
		return "no labels"
	}
	return "the labels " + set.String()
}

// image explains what HSS knows of an image. Facts are nil if no policy needed them.
func (x *explanation) image(ref image.Reference, known *report.Image, facts *policy.Facts) {
	if facts == nil {
		x.addf(1, "HSS: not called, since no policy applies to the image")
		return
	}
	lines := append(x.Explain.Explain(ref), "so HSS knows of it: "+known.Known)
	if listed := func(r policy.Record) bool { return r.Scan.Found != nil }; known.Listed != nil || slices.ContainsFunc(facts.Records, listed) {
		lines = append(lines, x.Explain.ExplainVulnerabilities(ref, *facts)...)
	}
	for _, line := range lines {
		x.addf(1, "%s", line)
	}
}

// policy explains why a policy does not apply to an image, or what it finds. An invalid
// reference, which is zero, may be of any image.
func (x *explanation) policy(p *policy.Policy, use image.Use, ref image.Reference, facts *policy.Facts) {
	excluded, effect := "", string(p.Enforcement())
	switch {
	case x.labels != nil && !p.MatchesNamespace(x.labels):
		excluded = "its namespaceSelector does not select the namespace"
	case !p.MatchesPod(x.workload.Labels):
		excluded = "its objectSelector does not select the pod, which has " + labelsText(x.workload.Labels)
	case x.workload.Template && p.Templates() == v1alpha1.TemplateIgnore:
		excluded = "its spec.templates is Ignore"
	case ref != (image.Reference{}) && !p.MatchesImage(ref.Repository()):
		excluded = "its images and excludeImages leave " + ref.Repository() + " out"
	case x.workload.Template && p.Templates() == v1alpha1.TemplateWarn && p.Enforcement() == v1alpha1.EnforcementDeny:
		effect = report.EffectText(v1alpha1.EnforcementWarn, v1alpha1.EnforcementDeny) + ", since its spec.templates is Warn"
	}
	if excluded != "" {
		x.addf(1, "policy %s does not apply: %s", p.Name(), excluded)
		return
	}
	x.addf(1, "policy %s applies, with enforcement %s:", p.Name(), effect)
	if p.PinRequested() && ref.Digest == "" && facts != nil {
		x.pin(p, facts)
	}
	x.checks(use, p, facts)
}

func (x *explanation) pin(p *policy.Policy, facts *policy.Facts) {
	switch pin := policy.ScannedDigest(facts, language.English); {
	case !p.Pins():
		x.addf(2, "pin: not done, since the policy only audits")
	case pin.Obstacle != "":
		x.addf(2, "pin: not done: %s", pin.Message)
	default:
		x.addf(2, "pin: new pods get %s, where the webhook that pins is installed", pin.Digest)
	}
}

// checks explains the outcome of every requirement, and the other findings.
func (x *explanation) checks(use image.Use, p *policy.Policy, facts *policy.Facts) {
	found, order := map[policy.Check][]string{}, []policy.Check{}
	for _, v := range x.Violations {
		if v.Policy != p.Name() || v.Use != use {
			continue
		}
		for _, f := range v.Findings {
			found[f.Check] = append(found[f.Check], fmt.Sprintf("%s → %s", f.Message, report.EffectText(v.Effect, v.PodEffect)))
			order = append(order, f.Check)
		}
	}
	noResult := facts == nil || facts.State != policy.StateFound || found[policy.CheckNotScanned] != nil
	for _, required := range p.Requirements() {
		outcome := "ok"
		switch messages := found[required.Check]; {
		case len(messages) > 0:
			outcome = "NOT met: " + strings.Join(messages, "; ")
		case noResult && required.Check != policy.CheckDigest:
			outcome = "not evaluated without a scan result"
		}
		x.addf(2, "%s %s: %s", required.Check, required.Text, outcome)
		order = slices.DeleteFunc(order, func(c policy.Check) bool { return c == required.Check })
	}
	for _, check := range slices.Compact(order) {
		x.addf(2, "%s: %s", check, strings.Join(found[check], "; "))
	}
	if len(found) == 0 {
		x.addf(2, "the image passes")
	}
}
