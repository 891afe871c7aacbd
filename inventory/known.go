package inventory

import (
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
)

// Known returns the facts of an image if they are in memory and fresh, without
// asking anyone. An image that no registry claims is known not to be found.
func (i *Inventory) Known(ref image.Reference) (f policy.Facts, ok bool) {
	f.Image = policy.Image{Reference: ref.String(), Host: ref.Host, Path: ref.Path, Tag: ref.Tag, Digest: ref.Digest}
	k, reason := i.locate(ref)
	if reason != "" {
		i.observer.Looked("", Unclaimed)
		f.State, f.Reason, f.AsOf = policy.StateNotFound, reason, i.clock.Now()
		return f, true
	}
	known, _ := i.answers.GetIfPresent(k)
	if known == nil || !i.isFresh(known, ref.Digest) {
		return policy.Facts{}, false
	}
	i.observer.Looked(k.registry.Name, Hit)
	known.fill(&f, k)
	return f, true
}
