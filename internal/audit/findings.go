package audit

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Limits of what is kept of one namespace. Everything beyond is still counted.
const (
	maxGroups = 2000 // pairs of a workload and a policy
	maxLines  = 5    // images named of one workload; maxLine limits the bytes about each
	maxLine   = 700
)

// findings are what was found in one namespace. They are counted for the whole cluster.
type findings struct {
	*summary

	namespace string
	groups    map[groupKey]*group
	others    map[groupKey]result    // of pairs without a group, the worst of their pods
	moved     map[image.Owner]*group // the workloads that run other images than HSS scanned under their tags
}

type result int // one of a report's

// The results, the worst last.
const (
	passed result = iota
	skipped
	warned
	unknown
	failed
)

// String returns the result as reports name it.
func (r result) String() string { return [...]string{"pass", "skip", "warn", "error", "fail"}[r] }

type groupKey struct {
	owner  image.Owner
	policy string
}

// group is the pods of one workload that violate one policy or could not be evaluated by it.
type group struct {
	groupKey
	language.Language

	violations, unknown int32
	effect              v1alpha1.Enforcement // what the policy would do to the pods
	lines               []line               // images with the reasons, sorted; more is set if some are left out
	more                bool
	failed              []policy.Finding // the checks that found something, each once
	risk                gate.Risk        // that of the worst finding, rule the check that it failed
	rule                policy.Check
	since               time.Time // when the last pod was created or, if that was later, its image scanned
	until               time.Time // when the first grace of their images ends; zero: none has one
}

type line struct{ text, image, digest string }

func (s *summary) in(namespace string) *findings {
	return &findings{summary: s, namespace: namespace, groups: map[groupKey]*group{}, others: map[groupKey]result{}, moved: map[image.Owner]*group{}}
}

// full reports whether the pods of no more workloads are shown.
func (f *findings) full() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.groups) >= maxGroups
}

func (f *findings) add(o image.Owner, created time.Time, d *gate.Decision) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pods++
	if len(d.Policies) > 0 && created.After(f.newest) {
		f.newest = created
	}
	for _, name := range d.Policies {
		f.addPolicy(groupKey{o, name}, created, d)
	}
}

func (f *findings) addPolicy(key groupKey, created time.Time, d *gate.Decision) {
	var violations []*gate.Violation
	other := passed
	for i := range d.Violations {
		switch v := &d.Violations[i]; {
		case v.Policy != key.policy:
		case v.PodEffect == gate.EffectExcepted:
			other = skipped
		default:
			violations = append(violations, v)
		}
	}
	lacks := slices.Contains(d.Unknown, key.policy) && !slices.ContainsFunc(violations, hasResult)
	status := f.of(key.policy)
	switch {
	case lacks:
		status.Unknown++
		other = unknown
	case len(violations) > 0:
		status.Violations++
		other = failed
	case other == skipped:
		status.Excepted++
	}
	if !lacks {
		status.Evaluated++
	}
	g := f.groups[key]
	switch {
	case len(violations) == 0, g == nil && len(f.groups) >= maxGroups:
		f.others[key] = max(f.others[key], other)
		return
	case g == nil:
		g = &group{groupKey: key, Language: d.Language}
		f.groups[key] = g
	}
	g.add(violations, created, lacks)
}

// hasResult reports whether a violation comes from a scan result or the lack of one, not from HSS being unreachable.
func hasResult(v *gate.Violation) bool {
	return slices.ContainsFunc(v.Findings, func(f policy.Finding) bool { return f.Check != policy.CheckUnavailable })
}

func (g *group) add(violations []*gate.Violation, created time.Time, lacks bool) {
	if lacks {
		g.unknown++
	} else {
		g.violations++
	}
	for _, v := range violations {
		g.effect = stricter(g.effect, v.PodEffect)
		if v.UnderGrace() && (g.until.IsZero() || v.GraceEnd.Before(g.until)) {
			g.until = v.GraceEnd
		}
		if lacks || hasResult(v) {
			g.addLine(newLine(g.Language, v))
		}
		for _, f := range v.Findings {
			if one := (policy.Finding{Check: f.Check, Cause: f.Cause}); f.Check != policy.CheckUnavailable && !slices.Contains(g.failed, one) {
				g.failed = append(g.failed, one)
			}
		}
		if risk, rule := v.Risk(); g.rule == "" || risk > g.risk || risk == g.risk && rule < g.rule {
			g.risk, g.rule = risk, rule
		}
		times := []time.Time{g.since, created}
		for i := 0; v.Facts != nil && i < len(v.Facts.Records); i++ {
			times = append(times, v.Facts.Records[i].ScannedAt)
		}
		g.since = slices.MaxFunc(times, time.Time.Compare)
	}
}

// addLine keeps the first lines by their order, so that the order of pods does not matter.
func (g *group) addLine(one line) {
	i, found := slices.BinarySearchFunc(g.lines, one, func(a, b line) int { return strings.Compare(a.text, b.text) })
	if found {
		return
	}
	g.lines = slices.Insert(g.lines, i, one)
	if len(g.lines) > maxLines {
		g.lines, g.more = g.lines[:maxLines], true
	}
}

func (g *group) message() string {
	text := strings.Join(g.all(func(l line) string { return l.text }), "\n")
	if g.more {
		text += "\n" + g.Text("and more")
	}
	return text
}

func (g *group) advice() string {
	lines := []string{g.message()}
	for _, advice := range gate.Advice(g.failed, false) {
		lines = append(lines, g.Sprintf("to do: %s", g.Text(advice)))
	}
	return strings.Join(lines, "\n")
}

// all returns a part of each line, each once.
func (g *group) all(part func(line) string) []string {
	var all []string
	for _, one := range g.lines {
		if text := part(one); text != "" && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

// newLine describes a violation. The name of the policy is shown beside it.
func newLine(l language.Language, v *gate.Violation) line {
	one := line{text: cut(v.Description(l), maxLine), image: v.Reference, digest: v.Image.Digest}
	if note := v.GraceNote(l); note != "" {
		one.text += l.Sprintf(" (%s)", note)
	}
	if one.digest == "" && v.Facts != nil {
		one.digest = policy.ScannedDigest(v.Facts, l).Digest
	}
	return one
}

func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len("…")], "") + "…"
}

func sorted[K comparable](all map[K]*group) []*group {
	return slices.SortedFunc(maps.Values(all), func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.owner.Kind, b.owner.Kind), cmp.Compare(a.owner.Name, b.owner.Name),
			cmp.Compare(a.owner.UID, b.owner.UID), cmp.Compare(a.policy, b.policy))
	})
}

// stricter returns the stricter of two enforcements; "" is none.
func stricter(a, b v1alpha1.Enforcement) v1alpha1.Enforcement {
	for _, e := range []v1alpha1.Enforcement{v1alpha1.EnforcementDeny, v1alpha1.EnforcementWarn, v1alpha1.EnforcementAudit} {
		if a == e || b == e {
			return e
		}
	}
	return ""
}

const (
	maxFirst   = 20   // the schema's limit of status.lastAudit.firstViolations
	maxMessage = 4096 // the schema's limit of a message
)

// summary is what an audit found in the whole cluster.
type summary struct {
	mu       sync.Mutex
	time     time.Time                       // when the audit ended
	graces   map[string]*v1alpha1.AuditGrace // those under way, of the policies that give any
	pods     int
	newest   time.Time                        // when the newest pod that a policy matches was created
	policies map[string]*v1alpha1.AuditStatus // what was found for each policy, as its status shows it
	reported sets.Set[string]                 // the namespaces that have a report
}

// of returns what was found for a policy, to be added to.
func (s *summary) of(policy string) *v1alpha1.AuditStatus {
	if s.policies[policy] == nil {
		s.policies[policy] = &v1alpha1.AuditStatus{}
	}
	return s.policies[policy]
}

// addFirst adds the first violations of the namespace.
func (f *findings) addFirst() {
	if len(f.groups) > 0 {
		f.reported.Insert(f.namespace)
	}
	for _, g := range sorted(f.groups) {
		if p := f.of(g.policy); g.violations > 0 && len(p.FirstViolations) < maxFirst {
			p.FirstViolations = append(p.FirstViolations, v1alpha1.AuditViolation{
				Namespace: f.namespace, Kind: g.owner.Kind, Name: g.owner.Name, Pods: g.violations, Message: cut(g.message(), maxMessage),
			})
		}
	}
}

// status returns what was found for a policy, as its status shows it.
func (s *summary) status(policy string) *v1alpha1.AuditStatus {
	status := &v1alpha1.AuditStatus{}
	if p := s.policies[policy]; p != nil {
		status = p.DeepCopy()
	}
	status.Time = metav1.NewTime(s.time)
	if g := s.graces[policy]; g != nil && g.Images > 0 {
		status.Grace = g
	}
	return status
}
