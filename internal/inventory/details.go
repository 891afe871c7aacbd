package inventory

import (
	"context"
	"sync"

	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
)

// detailed are facts to which details of their scans are added, side by side.
type detailed struct {
	*Inventory

	project *project
	wanted  policy.Details
	// lane is that of look-ups that a verdict needs.
	lane   lane
	listed func(project string, o Outcome)
	group  sync.WaitGroup

	mu    sync.Mutex // of what the facts say of an old list
	facts policy.Facts
}

// WithDetails returns the facts of a reference with details of their scans. Those that are not available in the time that
// they may take stay unknown, and the scan says why; the look-up goes on. If they are not needed for a verdict, they are
// looked up in the background, and an older list will do.
func (i *Inventory) WithDetails(ctx context.Context, ref image.Reference, f policy.Facts, wanted policy.Details) policy.Facts {
	return i.withDetails(ctx, &ref, f, wanted, admissionLane(ctx), i.observer.Listed)
}

func (i *Inventory) withDetails(
	ctx context.Context, ref *image.Reference, f policy.Facts, wanted policy.Details, l lane, listed func(project string, o Outcome),
) policy.Facts {
	k, reason := i.locate(ref)
	if reason != "" || f.State != policy.StateFound {
		return f
	}
	f.Records = ownRecords(f.Records)
	d := &detailed{Inventory: i, project: k.project(), wanted: wanted, lane: l, listed: listed, facts: f}
	for kind, w := range wanted {
		limited, cancel := context.WithTimeout(ctx, w.Wait)
		defer cancel()
		if kind == policy.DetailVulnerabilities {
			d.addVulnerabilities(limited)
		}
	}
	d.group.Wait()
	return d.facts
}

// detailOf returns a list of one scan, or why it is not known.
func detailOf[K lookupKey, V any](ctx context.Context, d *detailed, c *cache[K, V], k K, kind policy.Detail) (list V, why string) {
	needed, l := d.wanted[kind].Needed, background
	if needed {
		l = d.lane
	}
	a, outcome, err := c.detail(ctx, k, needed, l)
	d.listed(d.project.Name, outcome)
	if outcome == Unavailable {
		return list, describe(d.language, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := &d.facts; err != nil && (!f.Stale || f.AsOf.After(a.asOf)) {
		f.AsOf, f.Stale, f.StaleReason = a.asOf, true, describe(d.language, err)
	}
	return a.value, ""
}

// detail returns a list, or why it is not known. If a verdict needs it, and an old one had to be used, the error says why.
func (c *cache[K, V]) detail(ctx context.Context, k K, needed bool, l lane) (*answer[V], Outcome, error) {
	i, a := c.inventory, c.get(k)
	age := i.clock.Since(a.asOf)
	usable := a.isKnown() && age <= i.cfg.MaxStaleness
	switch {
	case a.isKnown() && age < i.cfg.FreshFor:
		return a, Hit, nil
	case usable && !needed:
		c.refresh(k, a)
		return a, Stale, nil
	}
	fresh, err := c.obtain(ctx, k, a, l, usable)
	switch {
	case err == nil:
		return fresh, Miss, nil
	case usable:
		return a, Stale, err
	default:
		return nil, Unavailable, err
	}
}
