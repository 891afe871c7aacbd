package certificate

import "time"

// Rotation says when an authority is renewed. Each renewal has three steps, so
// that at any time whoever serves is trusted: the next authority is made and
// trusted beside the current one; then certificates come from it; and then the
// previous one is no longer trusted.
type Rotation struct {
	// Lifetime is an authority's; it is renewed when a third of it is left.
	Lifetime time.Duration
	// Propagation is how long API servers are given to learn of an authority,
	// from when the webhook configuration holds it.
	Propagation time.Duration
	// Retirement is how long an authority stays trusted that is out of use.
	Retirement time.Duration
}

// Step is one step of a rotation.
type Step string

// The steps. The zero value is that there's nothing to do now.
const (
	// StepNone leaves all as it is.
	StepNone Step = ""
	// StepCreate makes the first authority, or one in place of what is lost.
	StepCreate Step = "created"
	// StepPrepare makes the next authority.
	StepPrepare Step = "prepared"
	// StepPromote puts the next authority into use.
	StepPromote Step = "promoted"
	// StepRetire ends the trust in those before.
	StepRetire Step = "retired"
)

// State is what a step depends on.
type State struct {
	Roots *Roots
	// TrustedSince is since when Roots.Next has been trusted; zero if it isn't.
	TrustedSince time.Time
	// PromotedAt is when Roots.Current was put into use.
	PromotedAt time.Time
	// Requested says that someone wants a renewal now.
	Requested bool
}

// Next returns the roots after the step that is due now. If none is, the roots
// are the same and wait is the time until one may be; 0 means until the trust
// changes.
func (r Rotation) Next(now time.Time, s State) (roots *Roots, step Step, wait time.Duration, err error) {
	switch current, next := s.Roots.Current, s.Roots.Next; {
	case lost(current, now) && !lost(next, now):
		return s.Roots.promote(), StepPromote, 0, nil
	case lost(current, now):
		return r.create(now, s.Roots)
	case s.Requested, next == nil && !now.Before(current.renewAt()), next != nil && !now.Before(next.renewAt()):
		return r.prepare(now, s.Roots)
	case next != nil && !s.TrustedSince.IsZero() && !now.Before(s.TrustedSince.Add(r.Propagation)):
		return s.Roots.promote(), StepPromote, 0, nil
	case len(s.Roots.Previous) > 0 && !now.Before(s.PromotedAt.Add(r.Retirement)):
		return &Roots{Current: current, Next: next}, StepRetire, 0, nil
	}
	return s.Roots, StepNone, r.wait(now, s), nil
}

func lost(root *Root, now time.Time) bool { return root == nil || !root.ValidAt(now) }

func (r Rotation) create(now time.Time, before *Roots) (*Roots, Step, time.Duration, error) {
	root, err := NewRoot(now, r.Lifetime)
	if err != nil {
		return before, StepNone, 0, err
	}
	return &Roots{Current: root, Previous: before.Previous}, StepCreate, 0, nil
}

func (r Rotation) prepare(now time.Time, before *Roots) (*Roots, Step, time.Duration, error) {
	root, err := NewRoot(now, r.Lifetime)
	if err != nil {
		return before, StepNone, 0, err
	}
	return &Roots{Current: before.Current, Next: root, Previous: before.Previous}, StepPrepare, 0, nil
}

// wait is the time until the first of what only time brings.
func (r Rotation) wait(now time.Time, s State) time.Duration {
	var due []time.Time
	switch {
	case s.Roots.Next == nil:
		due = append(due, s.Roots.Current.renewAt())
	case !s.TrustedSince.IsZero():
		due = append(due, s.TrustedSince.Add(r.Propagation))
	default:
		due = append(due, s.Roots.Current.Expires())
	}
	if len(s.Roots.Previous) > 0 {
		due = append(due, s.PromotedAt.Add(r.Retirement))
	}
	first := due[0]
	for _, one := range due[1:] {
		if one.Before(first) {
			first = one
		}
	}
	return first.Sub(now)
}
