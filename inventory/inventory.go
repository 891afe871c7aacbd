package inventory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
)

// Lister is what the inventory asks of HSS; *hss.Client is one.
type Lister interface {
	// All yields every row, page after page, and ends with the first error. A
	// row that changes meanwhile comes in each state.
	All(ctx context.Context, r hss.ListRequest) iter.Seq2[hss.Image, error]
}

// Pager is what synchronising asks of HSS besides; *hss.Client is one.
type Pager interface {
	// List returns one page.
	List(ctx context.Context, r hss.ListRequest) (*hss.ListResponse, error)
}

// VulnerabilityLister is what is asked of HSS to know the vulnerabilities of an
// image one by one; *hss.Client is one.
type VulnerabilityLister interface {
	// Vulnerabilities yields every row, page after page, and ends with the first
	// error.
	Vulnerabilities(ctx context.Context, r hss.VulnerabilityRequest) iter.Seq2[hss.Vulnerability, error]
}

// Options are what an Inventory is made of.
type Options struct {
	// Config names registries and projects and bounds the cache.
	Config *config.Configuration
	// Clients are the projects' listers by the projects' names. That of a
	// project that is synchronised must be a Pager, too. Of one that is no
	// VulnerabilityLister the vulnerabilities aren't known one by one.
	Clients map[string]Lister
	// Clock is the time; nil is the real one.
	Clock clock.Clock
	// Observer is told what happens; nil: nobody.
	Observer Observer
	// Random returns a number from 0 up to, but not including, 1, and spreads
	// what replicas do. It must be safe for concurrent use. Nil is that of
	// math/rand/v2.
	Random func() float64
	// Explained keeps what HSS answers, for Explain and ExplainVulnerabilities.
	Explained bool
}

// Inventory answers what HSS knows of an image. It is safe for concurrent use.
type Inventory struct {
	cfg      config.Cache
	clock    clock.Clock
	observer Observer
	random   func() float64
	projects []*project
	claims   map[string][]*registry
	cache    *cache
	hot      hotFacts
	heard    *heard
	failures *otter.Cache[key, *failure]
	flights  flights[key, *answer]
	details  *detailStore
	started  atomic.Bool
	base     context.Context //nolint:containedctx // the lifetime of loads, which outlive the requests that start them
	cancel   context.CancelFunc
	mu       sync.Mutex
	closed   bool
	underWay sync.WaitGroup
}

const (
	// maxFailures bounds the failures that are remembered. They are kept apart
	// from the answers, so that no outage pushes an answer out.
	maxFailures = 4096
	// maxRecords bounds the rows that may speak for one image.
	maxRecords = 1000
	// closeTimeout bounds how long Close waits for a client that does not
	// heed that it was told to stop.
	closeTimeout = 5 * time.Second
)

// New checks the options and returns an Inventory that has asked nothing yet.
// Close it to end its loads.
func New(o Options) (*Inventory, error) {
	if o.Config == nil {
		return nil, errors.New("inventory needs a configuration")
	}
	if err := o.Config.Validate(); err != nil {
		return nil, fmt.Errorf("invalid configuration: %w", err)
	}
	i := &Inventory{
		cfg: o.Config.Cache, clock: o.Clock, observer: o.Observer, random: o.Random, claims: map[string][]*registry{},
	}
	if i.clock == nil {
		i.clock = clock.RealClock{}
	}
	if i.observer == nil {
		i.observer = nobody{}
	}
	if i.random == nil {
		i.random = rand.Float64
	}
	if o.Explained {
		i.heard = newHeard()
	}
	if err := i.compile(o.Config, o.Clients); err != nil {
		return nil, err
	}
	var err error
	if i.cache, err = newCache(i.cfg); err != nil {
		return nil, err
	}
	i.failures, err = otter.New(&otter.Options[key, *failure]{MaximumSize: maxFailures})
	if err != nil {
		return nil, fmt.Errorf("making the store of failures: %w", err)
	}
	if i.details, err = newDetailStore(i.cfg); err != nil {
		return nil, err
	}
	i.base, i.cancel = context.WithCancel(context.Background())
	return i, nil
}

// Facts returns what HSS knows of the image now. It never fails: State says
// whether HSS's word could be had. It returns when ctx ends, if not before.
//
// The records are shared between callers and must not be changed.
func (i *Inventory) Facts(ctx context.Context, ref image.Reference) policy.Facts {
	k, known, f, ok := i.recall(&ref)
	if ok {
		return f
	}
	loaded, err := i.ask(ctx, k, known, ref.Digest, forAdmission)
	switch {
	case err == nil:
		i.observer.Looked(k.registry.Name, Miss)
		return loaded.facts(&ref, i.vouchedAt(loaded))
	case known != nil && i.isUsable(known):
		i.observer.Looked(k.registry.Name, Stale)
		f = known.facts(&ref, i.vouchedAt(known))
		f.Stale, f.StaleReason = true, describe(err)
		f.Records = append(slices.Clip(f.Records), i.partial(k, &ref, err)...)
		return f
	default:
		i.observer.Looked(k.registry.Name, Unavailable)
		f = i.unavailable(&ref, k.registry.project, err)
		f.Records = i.partial(k, &ref, err)
		return f
	}
}

// Images is about how many images are remembered, those that HSS does not know
// included.
func (i *Inventory) Images() int {
	return i.cache.images.EstimatedSize() + i.cache.missing.EstimatedSize()
}

// Close cancels the loads under way and waits for them, though not for ever.
// What is known can still be had; whatever would have to be asked is
// unavailable.
func (i *Inventory) Close() {
	i.mu.Lock()
	i.closed = true
	i.mu.Unlock()
	i.cancel()
	ended := make(chan struct{})
	go func() {
		i.underWay.Wait()
		close(ended)
	}()
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
}
