package gate

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// EffectExcepted is the effect of a violation that an exception lets past: none.
const EffectExcepted v1alpha1.Enforcement = "Excepted"

// maxShownReason bounds a reason in a warning, of which the API server sends few
// characters. The records have it whole.
const maxShownReason = 160

// Exceptions gives the exceptions of a namespace, which aren't to be changed.
// They need not be active, nor in any order.
type Exceptions interface {
	InNamespace(name string) []*policy.Exception
}

// ExceptionUse is an exception that let an object past a policy.
type ExceptionUse struct {
	Exception *policy.Exception
	Policy    string
}

// String is the use in one line, with the whole reason.
func (u ExceptionUse) String() string {
	return fmt.Sprintf("%s/%s: policy %s until %s: %s", u.Exception.Namespace(), u.Exception.Name(), u.Policy, written(u.Exception.Until()), u.Exception.Reason())
}

// ExceptionUses are the exceptions that let the object past, each once for a
// policy, in order.
func (d *Decision) ExceptionUses() []ExceptionUse {
	var uses []ExceptionUse
	for _, v := range d.Violations {
		use := ExceptionUse{v.Exception, v.Policy}
		if v.Exception != nil && !slices.Contains(uses, use) {
			uses = append(uses, use)
		}
	}
	return uses
}

// exceptions are those that are active in the object's namespace, the one that
// lasts the longest first. Most objects never need them.
func (j *judgement) exceptions() []*policy.Exception {
	if j.looked || j.gate.Exceptions == nil {
		return j.active
	}
	j.looked = true
	inactive := func(e *policy.Exception) bool { return e.Namespace() != j.request.Namespace || !e.Active(j.now) }
	j.active = slices.DeleteFunc(slices.Clone(j.gate.Exceptions.InNamespace(j.request.Namespace)), inactive)
	slices.SortFunc(j.active, func(a, b *policy.Exception) int {
		return cmp.Or(b.Until().Compare(a.Until()), strings.Compare(a.Name(), b.Name()))
	})
	return j.active
}

// excuses are the exceptions that may let one image past one policy.
type excuses []excuse

type excuse struct {
	exception *policy.Exception
	excuses   func(policy.Check) bool
}

// excuses returns those for an image and a policy. There are none for a
// reference that can't be read: nobody knows which image it would be.
func (j *judgement) excuses(ctx context.Context, s *subject, p *policy.Policy) excuses {
	var fitting excuses
	for _, e := range j.covering(s, p) {
		fitting = append(fitting, excuse{e, e.Excuses(ctx, p, s.judged(), j.now)})
	}
	return fitting
}

// covering are the exceptions that are about an image and a policy.
func (j *judgement) covering(s *subject, p *policy.Policy) []*policy.Exception {
	if s.err != nil || !p.AllowsExceptions() {
		return nil
	}
	image := &policy.Image{Host: s.ref.Host, Path: s.ref.Path, Digest: cmp.Or(s.ref.Digest, s.judged().Image.Digest)}
	var covering []*policy.Exception
	for _, e := range j.exceptions() {
		if e.Covers(p.Name(), image) {
			covering = append(covering, e)
		}
	}
	return covering
}

// without says why no exception excuses a check though one names
// vulnerabilities that may explain it.
func (all excuses) without(f *policy.Facts, c policy.Check) string {
	i := slices.IndexFunc(all, func(one excuse) bool { return one.exception.NamesVulnerabilities() })
	reason := f.Unlisted()
	if i < 0 || reason == "" || !countsVulnerabilities(c) {
		return ""
	}
	return fmt.Sprintf(" (exception %s can't help: the vulnerabilities are not known one by one: %s)", all[i].exception.Name(), reason)
}

// forCheck returns the first exception that excuses a check, or nil.
func (all excuses) forCheck(c policy.Check) *policy.Exception {
	for _, one := range all {
		if one.excuses(c) {
			return one.exception
		}
	}
	return nil
}

func (v *Violation) exceptionLine() string {
	return fmt.Sprintf("exception %s lets it past until %s (%s): %s",
		v.Exception.Name(), written(v.Exception.Until()), shortened(v.Exception.Reason(), maxShownReason), v)
}

func written(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// shortened cuts a text to at most limit characters.
func shortened(s string, limit int) string {
	runes := []rune(s)
	if len(runes) <= limit {
		return s
	}
	return string(runes[:limit-1]) + "…"
}
