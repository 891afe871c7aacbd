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
	source          gate.Facts
	vulnerabilities gate.Vulnerabilities

	mu    sync.Mutex
	facts map[image.Reference]policy.Facts
	// detailed are the facts with the vulnerabilities, of those images that
	// somebody needed them of.
	detailed map[image.Reference]policy.Facts
}

func newMemory(facts gate.Facts, vulnerabilities gate.Vulnerabilities) *memory {
	return &memory{
		source: facts, vulnerabilities: vulnerabilities,
		facts: map[image.Reference]policy.Facts{}, detailed: map[image.Reference]policy.Facts{},
	}
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

// WithVulnerabilities asks, unless it was said in this run, and remembers it.
func (m *memory) WithVulnerabilities(ctx context.Context, ref image.Reference, f policy.Facts, needed bool) policy.Facts {
	if known, ok := m.details(ref); ok {
		return known
	}
	f = m.vulnerabilities.WithVulnerabilities(ctx, ref, f, needed)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.detailed[ref] = f
	return f
}

// details are the facts with the vulnerabilities, if anybody needed them.
func (m *memory) details(ref image.Reference) (policy.Facts, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.detailed[ref]
	return f, ok
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
