package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Bounds of what is kept of one namespace. What is beyond is still counted.
const (
	// maxGroups bounds the workloads, each with one policy.
	maxGroups = 2000
	// maxLines bounds the images that are named of one workload, maxLine how
	// long what is said of one is, in bytes.
	maxLines = 5
	maxLine  = 700
)

// findings are what was found in one namespace.
type findings struct {
	namespace string

	mu   sync.Mutex
	pods int
	// newest is when the newest pod that a policy matches was created.
	newest time.Time
	counts map[string]*count
	groups map[groupKey]*group
}

// count is what was found for one policy, in pods. Those that violate it and the
// excepted ones are evaluated, too.
type count struct{ evaluated, violations, unknown, excepted int }

func (c *count) add(more *count) {
	c.evaluated += more.evaluated
	c.violations += more.violations
	c.unknown += more.unknown
	c.excepted += more.excepted
}

type groupKey struct {
	owner  owner
	policy string
}

// group is the pods of one workload that violate one policy, or couldn't be
// judged by it.
type group struct {
	groupKey
	violations, unknown int
	// effect is what the policy would do to the pods.
	effect v1alpha1.Enforcement
	// lines tell which images and why, in order; more of them than are kept
	// are counted.
	lines []string
	more  bool
	// until is when the first grace of their images ends; zero: none has one.
	until time.Time
}

func newFindings(namespace string) *findings {
	return &findings{namespace: namespace, counts: map[string]*count{}, groups: map[groupKey]*group{}}
}

// add adds what was decided of one pod, which was created at a time.
func (f *findings) add(o owner, created time.Time, d *gate.Decision) {
	violations, excepted := map[string][]*gate.Violation{}, map[string]bool{}
	for i := range d.Violations {
		v := &d.Violations[i]
		if v.PodEffect == gate.EffectExcepted {
			excepted[v.Policy] = true
			continue
		}
		violations[v.Policy] = append(violations[v.Policy], v)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pods++
	if len(d.Policies) > 0 {
		f.newest = later(f.newest, created)
	}
	for _, name := range d.Policies {
		f.addVerdict(groupKey{o, name}, violations[name], slices.Contains(d.Unknown, name), excepted[name])
	}
}

// addVerdict adds what one policy says of a pod.
func (f *findings) addVerdict(key groupKey, violations []*gate.Violation, unknown, excepted bool) {
	c := f.count(key.policy)
	unknown = unknown && !slices.ContainsFunc(violations, hasResult)
	switch {
	case unknown:
		c.unknown++
	case len(violations) > 0:
		c.evaluated++
		c.violations++
	case excepted:
		c.evaluated++
		c.excepted++
	default:
		c.evaluated++
	}
	if len(violations) > 0 {
		f.group(key).add(violations, unknown)
	}
}

func (f *findings) count(policy string) *count {
	c, ok := f.counts[policy]
	if !ok {
		c = &count{}
		f.counts[policy] = c
	}
	return c
}

// group returns the group with the key, or one that nobody keeps if there are
// too many.
func (f *findings) group(key groupKey) *group {
	g, ok := f.groups[key]
	if !ok {
		g = &group{groupKey: key}
		if len(f.groups) < maxGroups {
			f.groups[key] = g
		}
	}
	return g
}

// hasResult reports whether a violation comes from a scan result, or the lack of
// one at HSS, and not only from an image that is unknown.
func hasResult(v *gate.Violation) bool {
	return slices.ContainsFunc(v.Findings, func(f policy.Finding) bool { return f.Check != policy.CheckUnavailable })
}

// add adds one pod.
func (g *group) add(violations []*gate.Violation, unknown bool) {
	if unknown {
		g.unknown++
	} else {
		g.violations++
	}
	for _, v := range violations {
		g.effect = stricter(g.effect, v.PodEffect)
		if v.UnderGrace() {
			g.until = sooner(g.until, v.Grace.Until)
		}
		if unknown || hasResult(v) {
			g.say(line(v))
		}
	}
}

// say keeps the first lines by their order, so that it doesn't matter in which
// order pods are judged.
func (g *group) say(text string) {
	i, found := slices.BinarySearch(g.lines, text)
	if found {
		return
	}
	g.lines = slices.Insert(g.lines, i, text)
	if len(g.lines) > maxLines {
		g.lines, g.more = g.lines[:maxLines], true
	}
}

// join adds the pods of another group to this one.
func (g *group) join(other *group) {
	g.violations += other.violations
	g.unknown += other.unknown
	g.effect = stricter(g.effect, other.effect)
	g.more = g.more || other.more
	g.until = sooner(g.until, other.until)
	for _, text := range other.lines {
		g.say(text)
	}
}

// message is the lines as one text.
func (g *group) message() string {
	text := strings.Join(g.lines, "\n")
	if g.more {
		text += "\nand more"
	}
	return text
}

// line says what is wrong with an image. The name of the policy stands beside
// it, wherever it is shown.
func line(v *gate.Violation) string {
	messages := make([]string, len(v.Findings))
	for i, f := range v.Findings {
		messages[i] = f.Message
	}
	text := fmt.Sprintf("%s: %s — %s", v.Use, v.Reference, strings.Join(messages, "; "))
	if len(text) > maxLine {
		text = strings.ToValidUTF8(text[:maxLine], "") + "…"
	}
	if v.Grace != nil {
		text += " (" + v.Grace.String() + ")"
	}
	return text
}

// sooner returns the earlier time; the zero time is none.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// sorted returns the groups in order.
func (f *findings) sorted() []*group {
	groups := make([]*group, 0, len(f.groups))
	for _, g := range f.groups {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.owner.kind, b.owner.kind), cmp.Compare(a.owner.name, b.owner.name),
			cmp.Compare(a.owner.uid, b.owner.uid), cmp.Compare(a.policy, b.policy))
	})
	return groups
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
