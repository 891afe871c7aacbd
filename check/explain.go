package check

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/report"
)

// Lookups tells how references are looked up; *inventory.Inventory does.
type Lookups interface {
	Explain(ref image.Reference) inventory.Explanation
	ExplainVulnerabilities(ref image.Reference, f policy.Facts) []inventory.ExplainedList
}

// Explainer tells how it comes to a verdict, step by step, for a person.
type Explainer struct {
	Lookups Lookups
	// Policies are those in force.
	Policies *Policies
}

// steps are lines of text. Spaces before them show what belongs to what.
type steps []string

func (s *steps) addf(depth int, format string, args ...any) {
	*s = append(*s, strings.Repeat("  ", depth)+fmt.Sprintf(format, args...))
}

// explain tells of an object that has been judged.
func (e *Explainer) explain(ctx context.Context, c *Checker, o *Object, r *gate.Request, result *report.Result) []string {
	var s steps
	if slices.Contains(c.ExemptNamespaces, r.Namespace) {
		s.addf(0, "namespace %q is exempt by the configuration: nothing in it is judged", r.Namespace)
		return s
	}
	labels, err := c.Namespaces.NamespaceLabels(ctx, r.Namespace)
	if err != nil {
		s.addf(0, "namespace %q: its labels are not known, so that every policy counts that may select it: %s", r.Namespace, err)
	} else {
		s.addf(0, "namespace %q has %s", r.Namespace, inWords(labels))
	}
	if o.Workload.Template {
		s.addf(0, "%s is a template: a policy's spec.templates says whether it counts before a pod is made", o.Workload.Kind)
	}
	if len(o.Workload.Uses) == 0 {
		s.addf(0, "it names no image")
	}
	for i, use := range o.Workload.Uses {
		s.addf(0, "%s: %s", use, use.Image)
		j := judged{explainer: e, object: o, labels: labels, unknown: err != nil, use: use, known: &result.Images[i], result: result}
		j.detailed = c.detailed(use.Image)
		if facts := c.said(use.Image); facts != nil {
			j.pin = policy.ScannedDigest(facts)
		}
		j.explain(&s)
	}
	return s
}

func inWords(labels map[string]string) string {
	if len(labels) == 0 {
		return "no labels"
	}
	words := make([]string, 0, len(labels))
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		words = append(words, key+"="+labels[key])
	}
	return "the labels " + strings.Join(words, ", ")
}

// judged is one image of an object that has been judged.
type judged struct {
	explainer *Explainer
	object    *Object
	labels    map[string]string
	// unknown says that nobody knows the labels of the namespace.
	unknown bool
	use     image.Use
	known   *report.Image
	result  *report.Result
	// detailed are the facts if the vulnerabilities were asked for; nil: they
	// were not.
	detailed *policy.Facts
	// pin is the digest that a policy would have pinned.
	pin policy.ScannedPin
	// lookup is what HSS was asked, and what it answered.
	lookup inventory.Explanation
}

func (j *judged) explain(s *steps) {
	ref, err := image.Parse(j.use.Image)
	if err != nil {
		s.addf(1, "reference: %s; no node could pull it", err)
		j.explainPolicies(s, nil)
		return
	}
	s.addf(1, "reference: %s", parts(&ref))
	if j.known.State == report.NotAsked {
		j.explainPolicies(s, &ref)
		s.addf(1, "HSS: not asked, since no policy judges the image")
		return
	}
	j.lookup = j.explainer.Lookups.Explain(ref)
	explainLookup(s, j.lookup)
	s.addf(1, "so HSS knows of it: %s", j.known.Known)
	if j.detailed != nil {
		explainVulnerabilities(s, j.explainer.Lookups.ExplainVulnerabilities(ref, *j.detailed))
	}
	j.explainPolicies(s, &ref)
}

// parts tells what a reference was read as.
func parts(r *image.Reference) string {
	text := fmt.Sprintf("host %s, path %s", r.Host, r.Path)
	if r.Tag != "" {
		text += ", tag " + r.Tag
	}
	if r.Digest != "" {
		text += ", digest " + r.Digest
	}
	return text
}

func explainLookup(s *steps, e inventory.Explanation) {
	if e.Unclaimed != "" {
		s.addf(1, "registry: none: %s", e.Unclaimed)
		return
	}
	s.addf(1, "registry: %q of HSS project %q, where the image is %s", e.Registry, e.Project, e.Image)
	for _, q := range e.Queries {
		s.addf(1, "HSS query: %s", strings.ReplaceAll(q.Parameters, "&", " & "))
		if q.Failed != "" {
			s.addf(2, "no whole answer: %s", q.Failed)
		}
		if len(q.Rows) == 0 && q.Failed == "" {
			s.addf(2, "no row came back")
		}
		for i, row := range q.Rows {
			s.addf(2, "row %d: %s: %s", i+1, rowInWords(&row), fitInWords(row.Misfit))
		}
		if q.More > 0 {
			s.addf(2, "and %d more rows", q.More)
		}
	}
}

// maxExplainedVulnerabilities bounds those that are told of.
const maxExplainedVulnerabilities = 20

// explainVulnerabilities tells what HSS lists of an image that fails by them.
func explainVulnerabilities(s *steps, lists []inventory.ExplainedList) {
	for i := range lists {
		l := &lists[i]
		if l.Path == "" {
			s.addf(1, "vulnerabilities one by one: HSS is not asked for the %d: %s", l.Counted, l.Failed)
			continue
		}
		s.addf(1, "HSS query: %s ? %s", l.Path, strings.ReplaceAll(l.Parameters, "&", " & "))
		if l.Failed != "" {
			s.addf(2, "no whole answer: %s", l.Failed)
			continue
		}
		s.addf(2, "rows came back: %d; %s", l.Rows, countedInWords(l))
		for n := range l.Read[:min(len(l.Read), maxExplainedVulnerabilities)] {
			s.addf(2, "%s: %s", l.Read[n].Severity, l.Read[n].String())
		}
		if more := len(l.Read) - maxExplainedVulnerabilities; more > 0 {
			s.addf(2, "and %d more", more)
		}
	}
}

// countedInWords tells of the vulnerabilities that a policy goes by where HSS
// lists others than it counts.
func countedInWords(l *inventory.ExplainedList) string {
	if missing := l.Counted - len(l.Read); missing > 0 {
		return fmt.Sprintf("HSS counts %d: the %d that it does not list count as well", l.Counted, missing)
	}
	return fmt.Sprintf("HSS counts %d", l.Counted)
}

func rowInWords(r *inventory.ExplainedRow) string {
	words := []string{r.Image, r.Type}
	for _, one := range []struct{ name, value string }{{"registry", r.Registry}, {"id", r.ID}, {"scan", r.ScanStatus}} {
		if one.value != "" {
			words = append(words, one.name+" "+one.value)
		}
	}
	if r.Digest != "" {
		words = append(words, r.Digest)
	}
	return strings.Join(words, ", ")
}

func fitInWords(misfit string) string {
	if misfit == "" {
		return "it fits"
	}
	return "it does not fit: " + misfit
}

// explainPolicies tells of each policy whether it judges the image, and what of
// each check came. A reference that can't be read is judged by all of them.
func (j *judged) explainPolicies(s *steps, ref *image.Reference) {
	for i, p := range j.explainer.Policies.compiled {
		if why := j.passesBy(p, ref); why != "" {
			s.addf(1, "policy %s does not judge it: %s", p.Name(), why)
			continue
		}
		s.addf(1, "policy %s judges it, and %s:", p.Name(), j.effectInWords(p))
		j.explainPin(s, i, ref)
		j.explainChecks(s, &j.explainer.Policies.specs[i])
	}
}

// effectInWords says what a policy does about what it finds in the object.
func (j *judged) effectInWords(p *policy.Policy) string {
	if j.object.Workload.Template && p.Templates() == v1alpha1.TemplateWarn && p.Enforcement() == v1alpha1.EnforcementDeny {
		return "only warns, since its spec.templates is Warn; to the pods it does what Deny says"
	}
	return fmt.Sprintf("does what %s says", p.Enforcement())
}

// explainPin tells what becomes of a tag, where a policy has images pinned.
func (j *judged) explainPin(s *steps, i int, ref *image.Reference) {
	e := j.explainer
	switch spec := &e.Policies.specs[i].Spec; {
	case !spec.Pin || ref == nil || ref.Digest != "":
	case !e.Policies.compiled[i].Pins():
		s.addf(2, "pin: not done, since the policy only audits")
	case j.pin.Obstacle != "":
		s.addf(2, "pin: not done: %s", j.pin.Message)
	default:
		s.addf(2, "pin: new pods get %s, where the webhook that pins is installed", j.pin.Digest)
	}
}

// passesBy says why a policy doesn't judge the image; empty: it does.
func (j *judged) passesBy(p *policy.Policy, ref *image.Reference) string {
	switch {
	case !j.unknown && !p.MatchesNamespace(j.labels):
		return "its namespaceSelector does not select the namespace"
	case !p.MatchesPod(j.object.Workload.Labels):
		return "its objectSelector does not select the pod, which has " + inWords(j.object.Workload.Labels)
	case j.object.Workload.Template && p.Templates() == v1alpha1.TemplateIgnore:
		return "its spec.templates is Ignore"
	case ref != nil && !p.MatchesImage(ref.Repository()):
		return "its images and excludeImages leave " + ref.Repository() + " out"
	default:
		return ""
	}
}

// explainChecks tells of every requirement whether it is met.
func (j *judged) explainChecks(s *steps, p *v1alpha1.ImageScanPolicy) {
	failed := j.failed(p.Name)
	shown := map[policy.Check]bool{}
	undecided := j.known.State != report.Found || slices.ContainsFunc(failed, func(f failure) bool { return f.isNoResult() })
	for _, one := range requirements(&p.Spec.Require) {
		shown[one.check] = true
		outcome := "nothing against it"
		switch found := ofCheck(failed, one.check); {
		case len(found) > 0:
			outcome = "NOT met: " + strings.Join(found, "; ")
		case undecided && one.check != policy.CheckDigest:
			outcome = "not judged without a scan's result"
		}
		s.addf(2, "%s: %s", one.text, outcome)
	}
	for _, f := range failed {
		if !shown[f.check] {
			s.addf(2, "%s: %s → %s", f.check, j.unabridged(f.message), f.effect)
		}
	}
	if len(failed) == 0 {
		s.addf(2, "the image passes")
	}
}

// unabridged is a message as it was before it was cut to be a webhook's.
func (j *judged) unabridged(message string) string {
	start, abridged := strings.CutSuffix(message, "…")
	for _, q := range j.lookup.Queries {
		if abridged && strings.HasPrefix(q.Failed, start) {
			return q.Failed
		}
	}
	return message
}

// failure is a finding with what it does.
type failure struct {
	check   policy.Check
	message string
	effect  v1alpha1.Enforcement
}

// isNoResult tells whether there was nothing that could be judged.
func (f failure) isNoResult() bool {
	return slices.Contains([]policy.Check{policy.CheckNotFound, policy.CheckNotScanned, policy.CheckUnavailable, gate.CheckReference}, f.check)
}

// failed are the findings of a policy against this use of the image.
func (j *judged) failed(policyName string) []failure {
	var failed []failure
	for _, v := range j.result.Violations {
		if v.Policy != policyName || v.Place != j.use.Place || v.Name != j.use.Name {
			continue
		}
		for _, f := range v.Findings {
			failed = append(failed, failure{f.Check, f.Message, v.Effect})
		}
	}
	return failed
}

func ofCheck(failed []failure, c policy.Check) []string {
	var messages []string
	for _, f := range failed {
		if f.check == c {
			messages = append(messages, fmt.Sprintf("%s → %s", f.message, f.effect))
		}
	}
	return messages
}

// stated is a requirement as a policy states it.
type stated struct {
	check policy.Check
	text  string
}

// requirements are those that a policy states, in its order.
func requirements(r *v1alpha1.Requirements) []stated {
	all := []stated{}
	add := func(c policy.Check, format string, args ...any) {
		all = append(all, stated{c, string(c) + " " + fmt.Sprintf(format, args...)})
	}
	if r.SeverityLevel != nil {
		add(policy.CheckSeverityLevel, "at most %s", r.SeverityLevel.Max)
	}
	if r.Vulnerabilities != nil {
		add(policy.CheckVulnerabilities, "at most %d%s", r.Vulnerabilities.Max, countedOnly(r))
	}
	for _, c := range []struct {
		check policy.Check
		bound *v1alpha1.CountRequirement
	}{
		{policy.CheckMaliciousFiles, r.MaliciousFiles}, {policy.CheckUnsafeSettings, r.UnsafeSettings},
	} {
		if c.bound != nil {
			add(c.check, "at most %d", c.bound.Max)
		}
	}
	if r.ScanStatus != nil {
		add(policy.CheckScanStatus, "one of %v", r.ScanStatus.In)
	}
	if r.ScanAge != nil {
		add(policy.CheckScanAge, "at most %s", r.ScanAge.Max.Duration)
	}
	if r.Digest == v1alpha1.DigestRequired {
		add(policy.CheckDigest, "required")
	}
	for _, e := range r.Expressions {
		add(policy.CheckExpression, "%s", e.Expression)
	}
	return all
}

// countedOnly tells which vulnerabilities count, if not all do.
func countedOnly(r *v1alpha1.Requirements) string {
	var words []string
	if r.Vulnerabilities.MinSeverity != "" {
		words = append(words, "of severity "+string(r.Vulnerabilities.MinSeverity)+" or worse")
	}
	if r.Vulnerabilities.FixableOnly {
		words = append(words, "with a fix")
	}
	if len(r.IgnoreVulnerabilities) > 0 {
		words = append(words, "except "+strings.Join(r.IgnoreVulnerabilities, ", "))
	}
	if len(words) == 0 {
		return ""
	}
	return " (" + strings.Join(words, ", ") + ")"
}
