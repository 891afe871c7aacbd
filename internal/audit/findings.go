package audit

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
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
}

type groupKey struct {
	owner  image.Owner
	policy string
}

// group is the pods of one workload that violate one policy or could not be
// evaluated by it.
type group struct {
	groupKey
	violations, unknown int32
	// effect is what the policy would do to the pods.
	effect v1alpha1.Enforcement
	// lines name images with the reasons, sorted; more is set if some are left out.
	lines []string
	more  bool
	// until is when the first grace of their images ends; zero: none has one.
	until time.Time
}

func newFindings(namespace string) *findings {
	return &findings{namespace: namespace, groups: map[groupKey]*group{}}
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
		f.addPolicy(groupKey{o, name}, d)
	}
}

// addPolicy adds what one policy has to say about a pod.
func (f *findings) addPolicy(key groupKey, d *gate.Decision) {
	var violations []*gate.Violation
	excepted := int32(0)
	for i := range d.Violations {
		switch v := &d.Violations[i]; {
		case v.Policy != key.policy:
		case v.PodEffect == gate.EffectExcepted:
			excepted = 1
		default:
			violations = append(violations, v)
		}
	}
	unknown := slices.Contains(d.Unknown, key.policy) && !slices.ContainsFunc(violations, hasResult)
	status := f.of(key.policy)
	switch {
	case unknown:
		status.Unknown++
	case len(violations) > 0:
		addPods(status, &v1alpha1.AuditStatus{Evaluated: 1, Violations: 1})
	default:
		addPods(status, &v1alpha1.AuditStatus{Evaluated: 1, Excepted: excepted})
	}
	if len(violations) > 0 {
		f.group(key).add(violations, unknown)
	}
}

// group returns the group with the key, or one that is not kept if there are too many.
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

// hasResult reports whether a violation comes from a scan result, or from the lack
// of one at HSS, and not only from HSS being unreachable.
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
		if v.UnderGrace() && (g.until.IsZero() || v.GraceEnd.Before(g.until)) {
			g.until = v.GraceEnd
		}
		if unknown || hasResult(v) {
			g.addLine(line(v))
		}
	}
}

// addLine keeps the first lines by their order, so that the order of pods does not
// matter.
func (g *group) addLine(text string) {
	i, found := slices.BinarySearch(g.lines, text)
	if found {
		return
	}
	g.lines = slices.Insert(g.lines, i, text)
	if len(g.lines) > maxLines {
		g.lines, g.more = g.lines[:maxLines], true
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

// line says what is wrong with an image. The name of the policy is shown beside it.
func line(v *gate.Violation) string {
	text := cut(v.Description(), maxLine)
	if note := v.GraceNote(); note != "" {
		text += " (" + note + ")"
	}
	return text
}

// cut keeps at most so many bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len("…")], "") + "…"
}

// sorted returns the groups in order.
func (f *findings) sorted() []*group {
	groups := make([]*group, 0, len(f.groups))
	for _, g := range f.groups {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.owner.Kind, b.owner.Kind), cmp.Compare(a.owner.Name, b.owner.Name),
			cmp.Compare(a.owner.UID, b.owner.UID), cmp.Compare(a.policy, b.policy))
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
