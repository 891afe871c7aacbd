package check

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// maxExplainedVulnerabilities bounds the vulnerabilities that are listed.
const maxExplainedVulnerabilities = 20

// lookups explains how references are looked up; *inventory.Inventory does.
type lookups interface {
	Explain(ref image.Reference) inventory.Explanation
	ExplainVulnerabilities(ref image.Reference, f policy.Facts) []inventory.ExplainedList
}

// explanation explains the result of one object step by step. Leading blanks show
// what belongs to what.
type explanation struct {
	*Checker

	lines  []string
	object *Object
	result *report.Result
	// labels are the namespace's, if they are known.
	labels map[string]string
	known  bool
}

func (x *explanation) addf(depth int, format string, args ...any) {
	x.lines = append(x.lines, strings.Repeat("  ", depth)+fmt.Sprintf(format, args...))
}

// explain explains the result of an object in a namespace.
func (c *Checker) explain(ctx context.Context, o *Object, namespace string, result *report.Result) []string {
	x := &explanation{Checker: c, object: o, result: result}
	if slices.Contains(c.ExemptNamespaces, namespace) {
		x.addf(0, "namespace %q is exempt by the configuration: nothing in it is evaluated", namespace)
		return x.lines
	}
	set, err := c.Namespaces.NamespaceLabels(ctx, namespace)
	if err != nil {
		x.addf(0, "namespace %q: its labels are not known, so every policy applies that may select it: %s", namespace, err)
	} else {
		x.labels, x.known = set, true
		x.addf(0, "namespace %q has %s", namespace, labelsText(set))
	}
	if o.Workload.Template {
		x.addf(0, "%s is a template: a policy's spec.templates decides whether it counts before a pod is created", o.Workload.Kind)
	}
	if len(o.Workload.Uses) == 0 {
		x.addf(0, "it names no image")
	}
	for i, use := range o.Workload.Uses {
		x.addf(0, "%s: %s", use, use.Image)
		facts, detailed := c.memory.of(use.Image)
		x.image(use, &result.Images[i], facts, detailed)
	}
	return x.lines
}

func labelsText(set labels.Set) string {
	if len(set) == 0 {
		return "no labels"
	}
	return "the labels " + set.String()
}

// image explains one image. Facts are nil if no policy needed them.
func (x *explanation) image(use image.Use, known *report.Image, facts *policy.Facts, detailed bool) {
	ref, err := image.Parse(use.Image)
	if err != nil {
		x.addf(1, "reference: %s; no node could pull it", err)
		x.policies(use, nil, nil, nil)
		return
	}
	text := fmt.Sprintf("host %s, path %s", ref.Host, ref.Path)
	if ref.Tag != "" {
		text += ", tag " + ref.Tag
	}
	if ref.Digest != "" {
		text += ", digest " + ref.Digest
	}
	x.addf(1, "reference: %s", text)
	if facts == nil {
		x.policies(use, &ref, nil, nil)
		x.addf(1, "HSS: not called, since no policy applies to the image")
		return
	}
	lookup := x.Explain.Explain(ref)
	x.lookup(&lookup)
	x.addf(1, "so HSS knows of it: %s", known.Known)
	if detailed {
		x.vulnerabilities(x.Explain.ExplainVulnerabilities(ref, *facts))
	}
	x.policies(use, &ref, facts, lookup.Queries)
}

func (x *explanation) lookup(l *inventory.Explanation) {
	if l.Unclaimed != "" {
		x.addf(1, "registry: none: %s", l.Unclaimed)
		return
	}
	x.addf(1, "registry: %q of HSS project %q, where the image is %s", l.Registry, l.Project, l.Image)
	for _, q := range l.Queries {
		x.addf(1, "HSS query: %s", strings.ReplaceAll(q.Parameters, "&", " & "))
		if q.Failed != "" {
			x.addf(2, "no complete answer: %s", q.Failed)
		}
		if len(q.Rows) == 0 && q.Failed == "" {
			x.addf(2, "no row came back")
		}
		for i := range q.Rows {
			row := &q.Rows[i]
			words := []string{row.Image, row.Type}
			for _, one := range []struct{ label, value string }{{"registry ", row.Registry}, {"id ", row.ID}, {"scan ", row.ScanStatus}, {"", row.Digest}} {
				if one.value != "" {
					words = append(words, one.label+one.value)
				}
			}
			fit := "it fits"
			if row.Misfit != "" {
				fit = "it does not fit: " + row.Misfit
			}
			x.addf(2, "row %d: %s: %s", i+1, strings.Join(words, ", "), fit)
		}
		if q.More > 0 {
			x.addf(2, "and %d more rows", q.More)
		}
	}
}

func (x *explanation) vulnerabilities(lists []inventory.ExplainedList) {
	for i := range lists {
		l := &lists[i]
		if l.Path == "" {
			x.addf(1, "single vulnerabilities: the %d are not looked up: %s", l.Counted, l.Failed)
			continue
		}
		x.addf(1, "HSS query: %s ? %s", l.Path, strings.ReplaceAll(l.Parameters, "&", " & "))
		if l.Failed != "" {
			x.addf(2, "no complete answer: %s", l.Failed)
			continue
		}
		counted := fmt.Sprintf("HSS counts %d", l.Counted)
		if missing := l.Counted - len(l.Read); missing > 0 {
			counted += fmt.Sprintf(": the %d that it does not list count as well", missing)
		}
		x.addf(2, "rows came back: %d; %s", l.Rows, counted)
		for n := range l.Read[:min(len(l.Read), maxExplainedVulnerabilities)] {
			x.addf(2, "%s: %s", l.Read[n].Severity, l.Read[n].String())
		}
		if more := len(l.Read) - maxExplainedVulnerabilities; more > 0 {
			x.addf(2, "and %d more", more)
		}
	}
}

// policies explains for each policy whether it applies to the image, and the
// outcome of each check. All of them apply to a reference that can't be read.
func (x *explanation) policies(use image.Use, ref *image.Reference, facts *policy.Facts, queries []inventory.ExplainedQuery) {
	for _, p := range x.Rules.policies {
		if why := x.excludes(p, ref); why != "" {
			x.addf(1, "policy %s does not apply: %s", p.Name(), why)
			continue
		}
		effect := string(p.Enforcement())
		if x.object.Workload.Template && p.Templates() == v1alpha1.TemplateWarn && p.Enforcement() == v1alpha1.EnforcementDeny {
			effect = "Warn, by its spec.templates, and Deny for the pods"
		}
		x.addf(1, "policy %s applies, with enforcement %s:", p.Name(), effect)
		if p.PinRequested() && ref != nil && ref.Digest == "" && facts != nil {
			x.pin(p, facts)
		}
		x.checks(use, p, facts, queries)
	}
}

// excludes returns why a policy does not apply to the image; empty: it applies.
func (x *explanation) excludes(p *policy.Policy, ref *image.Reference) string {
	w := &x.object.Workload
	switch {
	case x.known && !p.MatchesNamespace(x.labels):
		return "its namespaceSelector does not select the namespace"
	case !p.MatchesPod(w.Labels):
		return "its objectSelector does not select the pod, which has " + labelsText(w.Labels)
	case w.Template && p.Templates() == v1alpha1.TemplateIgnore:
		return "its spec.templates is Ignore"
	case ref != nil && !p.MatchesImage(ref.Repository()):
		return "its images and excludeImages leave " + ref.Repository() + " out"
	default:
		return ""
	}
}

func (x *explanation) pin(p *policy.Policy, facts *policy.Facts) {
	switch pin := policy.ScannedDigest(facts); {
	case !p.Pins():
		x.addf(2, "pin: not done, since the policy only audits")
	case pin.Obstacle != "":
		x.addf(2, "pin: not done: %s", pin.Message)
	default:
		x.addf(2, "pin: new pods get %s, where the webhook that pins is installed", pin.Digest)
	}
}

// checks explains the outcome of every requirement, and the findings about none.
func (x *explanation) checks(use image.Use, p *policy.Policy, facts *policy.Facts, queries []inventory.ExplainedQuery) {
	found, others := map[policy.Check][]string{}, []policy.Check{}
	for _, v := range x.result.Violations {
		if v.Policy != p.Name() || v.Place != use.Place || v.Name != use.Name {
			continue
		}
		for _, f := range v.Findings {
			if found[f.Check] == nil {
				others = append(others, f.Check)
			}
			found[f.Check] = append(found[f.Check], fmt.Sprintf("%s → %s", unabridged(f.Message, queries), v.Effect))
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
		others = slices.DeleteFunc(others, func(c policy.Check) bool { return c == required.Check })
	}
	for _, check := range others {
		x.addf(2, "%s: %s", check, strings.Join(found[check], "; "))
	}
	if len(found) == 0 {
		x.addf(2, "the image passes")
	}
}

// unabridged returns the whole of a message that was cut for the webhook's answer.
func unabridged(message string, queries []inventory.ExplainedQuery) string {
	start, abridged := strings.CutSuffix(message, "…")
	for _, q := range queries {
		if abridged && strings.HasPrefix(q.Failed, start) {
			return q.Failed
		}
	}
	return message
}
