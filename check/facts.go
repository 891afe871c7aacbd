package check

import (
	"context"
	"sync"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
)

// memory remembers what HSS said of each image in one run, so that all
// objects are judged by the same word, and the report can tell it.
type memory struct {
	source gate.Facts

	mu    sync.Mutex
	facts map[image.Reference]policy.Facts
}

func newMemory(facts gate.Facts) *memory {
	return &memory{source: facts, facts: map[image.Reference]policy.Facts{}}
}

// Known returns what was said in this run.
func (m *memory) Known(ref image.Reference) (policy.Facts, bool) {
	if f, ok := m.said(ref); ok {
		return f, true
	}
	f, ok := m.source.Known(ref)
	if ok {
		m.remember(ref, &f)
	}
	return f, ok
}

// Facts asks, and remembers the answer.
func (m *memory) Facts(ctx context.Context, ref image.Reference) policy.Facts {
	f := m.source.Facts(ctx, ref)
	m.remember(ref, &f)
	return f
}

func (m *memory) said(ref image.Reference) (policy.Facts, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.facts[ref]
	return f, ok
}

func (m *memory) remember(ref image.Reference, f *policy.Facts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.facts[ref] = *f
}
