package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// EffectBreakGlass is the effect of a violation by which someone with the right
// to broke the glass: none but to be remembered.
const EffectBreakGlass v1alpha1.Enforcement = "BreakGlass"

// maxBreakGlassReason bounds the annotation, in characters.
const maxBreakGlassReason = 256

// A part of the time for a decision, and no more than rightsTime, is kept to ask
// who may break the glass: that is needed most when HSS takes all the time.
const (
	rightsPart = 3
	rightsTime = time.Second
)

// User is who sent an object.
type User struct {
	Name   string
	UID    string
	Groups []string
	Extra  map[string][]string
}

// Rights tells who may do what.
type Rights interface {
	// MayBreakGlass tells whether the user may get an object past the policy of
	// that name. It returns by the time that ctx ends.
	MayBreakGlass(ctx context.Context, user User, policy string) (bool, error)
}

// BreakGlass is what became of a request to break the glass.
type BreakGlass struct {
	// User and Reason say who asked, and why.
	User   string
	Reason string
	// Policies are those that would deny the object, in order.
	Policies []string
	// Refused says why it isn't honoured; empty if it is.
	Refused string
}

// breakGlass lets an object past all policies that deny it if its pod asks for
// it, all of them allow it, and the user has the right to for each.
func (g *Gate) breakGlass(ctx context.Context, r Request, policies []*policy.Policy, d *Decision) {
	if r.Workload.BreakGlass == nil {
		return
	}
	if r.Workload.Template && d.deniesPods() {
		d.Notices = append(d.Notices, "break-glass counts by who creates a pod, and these are created by a controller: its right is what they need")
	}
	denying := d.denyingPolicies()
	if len(denying) == 0 {
		return
	}
	d.BreakGlass = &BreakGlass{User: r.User.Name, Reason: *r.Workload.BreakGlass, Policies: denying}
	if err := g.mayBreakGlass(ctx, r, policies, denying); err != nil {
		d.BreakGlass.Refused = "break-glass is not honoured: " + err.Error()
		d.Notices = append(d.Notices, d.BreakGlass.Refused)
		return
	}
	for i := range d.Violations {
		if v := &d.Violations[i]; v.Effect == v1alpha1.EnforcementDeny {
			v.Effect, v.Otherwise = EffectBreakGlass, v1alpha1.EnforcementDeny
		}
	}
	d.Notices = append(d.Notices, fmt.Sprintf("break-glass by user %q past %s: %s", r.User.Name, strings.Join(denying, ", "), d.BreakGlass.Reason))
}

// mayBreakGlass returns why the glass stays whole, or nil.
func (g *Gate) mayBreakGlass(ctx context.Context, r Request, policies []*policy.Policy, denying []string) error {
	if err := checkBreakGlassReason(*r.Workload.BreakGlass); err != nil {
		return err
	}
	for _, p := range policies {
		if slices.Contains(denying, p.Name()) && !p.AllowsBreakGlass() {
			return fmt.Errorf("policy %s forbids it", p.Name())
		}
	}
	if g.Rights == nil {
		return errors.New("nobody's rights can be asked for")
	}
	for _, name := range denying {
		may, err := g.Rights.MayBreakGlass(ctx, r.User, name)
		if err != nil {
			return fmt.Errorf("the right of user %q cannot be asked for: %w", r.User.Name, err)
		}
		if !may {
			return fmt.Errorf("user %q may not %s imagescanpolicies.hssgate.io %s%s",
				r.User.Name, v1alpha1.BreakGlassVerb, name, controllerHint(r.User.Name))
		}
	}
	return nil
}

func checkBreakGlassReason(reason string) error {
	switch n := len([]rune(reason)); {
	case strings.TrimSpace(reason) == "":
		return fmt.Errorf("annotation %s must say why", v1alpha1.BreakGlassAnnotation)
	case n > maxBreakGlassReason:
		return fmt.Errorf("annotation %s has %d characters, at most %d are allowed", v1alpha1.BreakGlassAnnotation, n, maxBreakGlassReason)
	case strings.ContainsFunc(reason, unicode.IsControl):
		return fmt.Errorf("annotation %s must be one line", v1alpha1.BreakGlassAnnotation)
	}
	return nil
}

// controllerHint explains a user whom nobody has heard of.
func controllerHint(user string) string {
	if !strings.HasPrefix(user, "system:serviceaccount:kube-system:") {
		return ""
	}
	return " (a workload's pods are created by its controller, whose right counts: create the pod itself)"
}

// deniesPods tells whether the pods of a template would be denied.
func (d *Decision) deniesPods() bool {
	return slices.ContainsFunc(d.Violations, func(v Violation) bool { return v.PodEffect == v1alpha1.EnforcementDeny })
}

// denyingPolicies are the policies that deny the object, in order.
func (d *Decision) denyingPolicies() []string {
	var names []string
	for _, v := range d.WithEffect(v1alpha1.EnforcementDeny) {
		names = append(names, v.Policy)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
