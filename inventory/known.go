package inventory

import (
	"time"

	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
)

// Known returns the facts of an image if they are in memory and fresh: Facts
// would return the same. It asks nobody and never waits. An image that no
// registry claims is known not to be found.
//
// The records are shared between callers and must not be changed.
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
	h := i.cache.hash(k)
	known := i.cache.at(h, k)
	if known == nil || known.doubtful {
		return k, known, policy.Facts{}, false
	}
	asOf, lasts := i.vouchedAt(known), time.Duration(0)
	ready := i.hot.find(h, known, ref)
	if ready != nil {
		lasts = ready.lasts
	} else {
		lasts = i.lasts(known, ref.Digest)
	}
	if i.since(asOf) >= lasts {
		return k, known, policy.Facts{}, false
	}
	if ready == nil {
		ready = i.hot.keep(h, known, ref, lasts)
	}
	i.observer.Looked(k.registry.Name, Hit)
	i.refreshLater(known, asOf, lasts, ref.Digest)
	f := ready.facts
	f.AsOf = time.Unix(0, asOf)
	return k, known, f, true
}
