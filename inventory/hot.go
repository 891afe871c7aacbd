package inventory

import (
	"sync/atomic"
	"time"

	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
)

// hotSlots is how many images are kept unpacked, about a kilobyte each.
const hotSlots = 4096

// hotFacts keeps the facts of images that are in use, ready to be handed out:
// unpacking an answer costs more than finding it. Each image has one slot,
// which it may share with others; the last one used has it.
type hotFacts struct {
	slots [hotSlots]atomic.Pointer[hot]
}

// hot is what an answer says of a reference.
type hot struct {
	answer *answer
	lasts  time.Duration
	facts  policy.Facts
}

// find returns what an answer says of a reference if it is at hand, or nil.
func (t *hotFacts) find(hash uint64, a *answer, ref *image.Reference) *hot {
	h := t.slots[hash%hotSlots].Load()
	if h == nil || h.answer != a {
		return nil
	}
	is := &h.facts.Image
	if is.Tag != ref.Tag || is.Digest != ref.Digest || is.Path != ref.Path || is.Host != ref.Host {
		return nil
	}
	return h
}

// keep unpacks what an answer says of a reference and keeps it at hand.
func (t *hotFacts) keep(hash uint64, a *answer, ref *image.Reference, lasts time.Duration) *hot {
	own := detached(ref)
	h := &hot{answer: a, lasts: lasts, facts: a.facts(&own, 0)}
	t.slots[hash%hotSlots].Store(h)
	return h
}

// detached returns the reference with texts of its own. Those it came with may
// be a part of a whole request, which must not stay in memory for them.
func detached(ref *image.Reference) image.Reference {
	whole := ref.Host + ref.Path + ref.Tag + ref.Digest
	cut := func(length int) string {
		part := whole[:length]
		whole = whole[length:]
		return part
	}
	return image.Reference{Host: cut(len(ref.Host)), Path: cut(len(ref.Path)), Tag: cut(len(ref.Tag)), Digest: cut(len(ref.Digest))}
}
