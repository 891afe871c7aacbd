package gate

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/hssgate/hssgate/image"
)

// parsed is a reference as it was read, or why it could not be.
type parsed struct {
	written    string
	ref        image.Reference
	repository string
	err        error
}

// parserSlots bounds what a parser remembers; a power of two.
const parserSlots = 1 << 12

// parser remembers references by the texts that they were read from: the same
// few images come again and again, and reading one takes longer than all the
// rest of a decision. Two texts that fall into one slot replace each other.
// The zero value is ready for use.
type parser struct {
	slots [parserSlots]atomic.Pointer[parsed]
}

//nolint:gochecknoglobals // a seed that is the same for one process and unknown outside it
var parserSeed = maphash.MakeSeed()

func (p *parser) parse(written string) *parsed {
	slot := &p.slots[maphash.String(parserSeed, written)%parserSlots]
	if known := slot.Load(); known != nil && known.written == written {
		return known
	}
	fresh := &parsed{written: written}
	fresh.ref, fresh.err = image.Parse(written)
	if fresh.err == nil {
		fresh.repository = fresh.ref.Repository()
		slot.Store(fresh)
	}
	return fresh
}

func (g *Gate) parse(uses []image.Use) []subject {
	subjects := make([]subject, len(uses))
	for i, use := range uses {
		subjects[i] = subject{use: use, parsed: *g.references.parse(use.Image)}
	}
	return subjects
}
