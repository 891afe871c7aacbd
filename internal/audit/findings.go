package audit

import (
	"cmp"
	"hash/maphash"
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
	// maxGroups limits the pairs of a workload and a policy.
	maxGroups = 2000
	// maxLines limits the images that are named of one workload, maxLine the bytes
	// about one of them.
	maxLines = 5
	maxLine  = 700
)

// findings are what was found in one namespace.
type findings struct {
	namespace string

	mu sync.Mutex
	counts
	groups map[groupKey]*group
	// others are the results of pairs without a group, the worst of their pods. They are
	// found by hash, since nearly all pairs of a cluster are among them.
	others map[uint64]result
	seed   maphash.Seed
	// moved are the workloads that run other images than HSS scanned under their tags.
	moved map[image.Owner]*group
}

// result is one of a report's.
type result int

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

// group is the pods of one workload that violate one policy or could not be
// evaluated by it.
type group struct {
	groupKey
	language.Language

	violations, unknown int32
	// effect is what the policy would do to the pods.
	effect v1alpha1.Enforcement
	// lines name images with the reasons, sorted; more is set if some are left out.
	lines []line
	more  bool
	// failed are the checks that found something, each once.
	failed []policy.Finding
	// risk is that of the worst finding, rule the check that it failed.
	risk gate.Risk
	rule policy.Check
	// since is when the last pod was created or, if that was later, its image scanned.
	since time.Time
	// until is when the first grace of their images ends; zero: none has one.
	until time.Time
}

// line is what is wrong with an image.
type line struct{ text, image, digest string }

func newFindings(namespace string) *findings {
	return &findings{namespace: namespace, groups: map[groupKey]*group{}, others: map[uint64]result{}, seed: maphash.MakeSeed(), moved: map[image.Owner]*group{}}
}

// full reports whether the pods of no more workloads are shown.
func (f *findings) full() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.groups) >= maxGroups
}

// add adds the decision about one pod.
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

// addPolicy adds what one policy has to say about a pod.
func (f *findings) addPolicy(key groupKey, created time.Time, d *gate.Decision) {
	var violations []*gate.Violation
	excepted, other := int32(0), passed
	for i := range d.Violations {
		switch v := &d.Violations[i]; {
		case v.Policy != key.policy:
		case v.PodEffect == gate.EffectExcepted:
			excepted, other = 1, skipped
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
		addPods(status, &v1alpha1.AuditStatus{Evaluated: 1, Violations: 1})
		other = failed
	default:
		addPods(status, &v1alpha1.AuditStatus{Evaluated: 1, Excepted: excepted})
	}
	g := f.groups[key]
	switch {
	case len(violations) == 0, g == nil && len(f.groups) >= maxGroups:
		hash := maphash.Comparable(f.seed, key)
		f.others[hash] = max(f.others[hash], other)
		return
	case g == nil:
		g = &group{groupKey: key, Language: d.Language}
		f.groups[key] = g
	}
	g.add(violations, created, lacks)
}

// hasResult reports whether a violation comes from a scan result, or from the lack
// of one at HSS, and not only from HSS being unreachable.
func hasResult(v *gate.Violation) bool {
	return slices.ContainsFunc(v.Findings, func(f policy.Finding) bool { return f.Check != policy.CheckUnavailable })
}

// add adds one pod.
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
		for _, at := range append(scansOf(v), created) {
			if at.After(g.since) {
				g.since = at
			}
		}
	}
}

func scansOf(v *gate.Violation) (times []time.Time) {
	for i := 0; v.Facts != nil && i < len(v.Facts.Records); i++ {
		times = append(times, v.Facts.Records[i].ScannedAt)
	}
	return times
}

// addLine keeps the first lines by their order, so that the order of pods does not
// matter.
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

// message is the lines as one text.
func (g *group) message() string {
	text := strings.Join(g.all(func(l line) string { return l.text }), "\n")
	if g.more {
		text += "\n" + g.Text("and more")
	}
	return text
}

// advice is the message with what to do.
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

// cut keeps at most so many bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len("…")], "") + "…"
}

// sorted returns groups in order.
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
	// maxFirst is the schema's limit of status.lastAudit.firstViolations.
	maxFirst = 20
	// maxMessage is the schema's limit of a message.
	maxMessage = 4096
)

// counts are what was counted in a namespace, or in the whole cluster.
type counts struct {
	pods int
	// newest is when the newest pod that a policy matches was created.
	newest time.Time
	// policies hold what was found for each policy, as its status shows it.
	policies map[string]*v1alpha1.AuditStatus
}

// of returns what was found for a policy, to be added to.
func (c *counts) of(policy string) *v1alpha1.AuditStatus {
	status, ok := c.policies[policy]
	if !ok {
		if c.policies == nil {
			c.policies = map[string]*v1alpha1.AuditStatus{}
		}
		status = &v1alpha1.AuditStatus{}
		c.policies[policy] = status
	}
	return status
}

// total returns the counts of all policies together.
func (c *counts) total() (all v1alpha1.AuditStatus) {
	for _, p := range c.policies {
		addPods(&all, p)
	}
	return all
}

func addPods(to, more *v1alpha1.AuditStatus) {
	to.Evaluated += more.Evaluated
	to.Violations += more.Violations
	to.Unknown += more.Unknown
	to.Excepted += more.Excepted
	to.OtherImages += more.OtherImages
}

// summary is what an audit found in the whole cluster.
type summary struct {
	// time is when the audit ended.
	time time.Time
	// graces are those under way, of the policies that give any.
	graces map[string]*v1alpha1.AuditGrace

	counts
	// reported are the namespaces that have a report.
	reported sets.Set[string]
}

// addNamespace adds what was found in the next namespace.
func (s *summary) addNamespace(f *findings) {
	s.pods += f.pods
	if f.newest.After(s.newest) {
		s.newest = f.newest
	}
	if len(f.groups) > 0 {
		s.reported.Insert(f.namespace)
	}
	for name, more := range f.policies {
		addPods(s.of(name), more)
	}
	for _, g := range sorted(f.groups) {
		if p := s.of(g.policy); g.violations > 0 && len(p.FirstViolations) < maxFirst {
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
