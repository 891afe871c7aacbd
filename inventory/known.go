package inventory

import (
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
)

// Known returns the facts of an image if they are in memory and fresh: Facts
// would return the same. It asks nobody and never waits. An image that no
// registry claims is known not to be found.
func (i *Inventory) Known(ref image.Reference) (policy.Facts, bool) {
	_, _, f, ok := i.recall(&ref)
	return f, ok
}

// recall finds what is known of a reference: the facts, if they are fresh, or
// else its key and whatever is known of that.
func (i *Inventory) recall(ref *image.Reference) (key, *answer, policy.Facts, bool) {
	k, reason := i.locate(ref)
	if reason != "" {
		i.observer.Looked("", Unclaimed)
		f := policy.Facts{Image: imageOf(ref), State: policy.StateNotFound, Reason: reason, AsOf: i.clock.Now()}
		return key{}, nil, f, true
	}
	known := i.cache.get(k)
	if known == nil {
		return k, nil, policy.Facts{}, false
	}
	asOf, now := i.vouchedAt(known), i.clock.Now().UnixNano()
	lasts := i.lasts(known, ref.Digest)
	if known.doubtful || now-asOf >= int64(lasts) {
		return k, known, policy.Facts{}, false
	}
	i.observer.Looked(k.registry.Name, Hit)
	i.refreshLater(known, asOf, lasts, ref.Digest)
	return k, known, known.facts(ref, asOf), true
}
