package inventory

import (
	"context"

	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
)

// Background answers for whoever nobody waits for, such as an audit: from what
// is known, and else by asking HSS within the background's share of the budget,
// behind every admission. It does not count as use: an image that only it asks
// for is not refreshed, and is not counted as looked up.
type Background struct{ inventory *Inventory }

// Background returns the inventory for the background.
func (i *Inventory) Background() Background { return Background{i} }

// Known returns the facts of an image if they are in memory and fresh.
func (b Background) Known(ref image.Reference) (policy.Facts, bool) {
	_, _, f, ok := b.recall(&ref)
	return f, ok
}

// Facts returns what HSS knows of the image now, or lately if it cannot be
// asked. It returns when ctx ends, if not before.
func (b Background) Facts(ctx context.Context, ref image.Reference) policy.Facts {
	k, known, f, ok := b.recall(&ref)
	if ok {
		return f
	}
	i := b.inventory
	loaded, err := i.ask(ctx, k, known, ref.Digest, forBackground)
	switch {
	case err == nil:
		return loaded.facts(&ref, i.vouchedAt(loaded))
	case known != nil && i.isUsable(known):
		f = known.facts(&ref, i.vouchedAt(known))
		f.Stale, f.StaleReason = true, describe(err)
		return f
	default:
		return i.unavailable(&ref, k.registry.project, err)
	}
}

// recall finds what is known, as the inventory's own does.
func (b Background) recall(ref *image.Reference) (key, *answer, policy.Facts, bool) {
	i := b.inventory
	k, reason := i.locate(ref)
	if reason != "" {
		return k, nil, policy.Facts{Image: imageOf(ref), State: policy.StateNotFound, Reason: reason, AsOf: i.clock.Now()}, true
	}
	known := i.cache.get(k)
	if known == nil || known.doubtful {
		return k, known, policy.Facts{}, false
	}
	asOf := i.vouchedAt(known)
	if i.since(asOf) >= i.lasts(known, ref.Digest) {
		return k, known, policy.Facts{}, false
	}
	return k, known, known.facts(ref, asOf), true
}
