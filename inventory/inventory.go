package inventory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"
	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
)

// Lister is what the inventory asks of HSS; *hss.Client is one.
type Lister interface {
	// All yields every row, page after page, and ends with the first error.
	All(ctx context.Context, r hss.ListRequest) iter.Seq2[hss.Image, error]
}

// Options are what an Inventory is made of.
type Options struct {
	// Config names registries and projects and bounds the cache.
	Config *config.Configuration
	// Clients are the projects' listers by the projects' names.
	Clients map[string]Lister
	// Clock is the time; nil is the real one.
	Clock clock.Clock
	// Observer is told what happens; nil: nobody.
	Observer Observer
}

// Inventory answers what HSS knows of an image. It is safe for concurrent use.
type Inventory struct {
	cache    config.Cache
	clock    clock.Clock
	observer Observer
	claims   map[string][]*registry
	answers  *otter.Cache[key, *answer]
	failures *otter.Cache[key, *failure]
	flights  singleflight.Group
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
	claims, err := compile(o.Config, o.Clients)
	if err != nil {
		return nil, err
	}
	i := &Inventory{cache: o.Config.Cache, clock: o.Clock, observer: o.Observer, claims: claims}
	if i.clock == nil {
		i.clock = clock.RealClock{}
	}
	if i.observer == nil {
		i.observer = nobody{}
	}
	if err := i.makeStores(o.Config.Cache.MaxImages); err != nil {
		return nil, err
	}
	i.base, i.cancel = context.WithCancel(context.Background())
	return i, nil
}

func (i *Inventory) makeStores(maxImages int) error {
	var err error
	i.answers, err = otter.New(&otter.Options[key, *answer]{
		MaximumWeight: uint64(max(1, maxImages)),
		Weigher:       func(_ key, a *answer) uint32 { return a.weight() },
	})
	if err != nil {
		return fmt.Errorf("making the cache: %w", err)
	}
	i.failures, err = otter.New(&otter.Options[key, *failure]{MaximumSize: maxFailures})
	if err != nil {
		return fmt.Errorf("making the store of failures: %w", err)
	}
	return nil
}

// Facts returns what HSS knows of the image now. It never fails: State says
// whether HSS's word could be had. It returns when ctx ends, if not before.
//
// The records are shared between callers and must not be changed.
func (i *Inventory) Facts(ctx context.Context, ref image.Reference) policy.Facts {
	f := policy.Facts{Image: policy.Image{
		Reference: ref.String(), Host: ref.Host, Path: ref.Path, Tag: ref.Tag, Digest: ref.Digest,
	}}
	k, reason := i.locate(ref)
	if reason != "" {
		i.observer.Looked("", Unclaimed)
		f.State, f.Reason, f.AsOf = policy.StateNotFound, reason, i.clock.Now()
		return f
	}
	known, _ := i.answers.GetIfPresent(k)
	if known != nil && i.isFresh(known, ref.Digest) {
		i.observer.Looked(k.registry.Name, Hit)
		known.fill(&f, k)
		return f
	}
	loaded, err := i.ask(ctx, k, known)
	switch {
	case err == nil:
		i.observer.Looked(k.registry.Name, Miss)
		loaded.fill(&f, k)
	case known != nil && i.clock.Since(known.asOf) <= time.Duration(i.cache.MaxStaleness):
		i.observer.Looked(k.registry.Name, Stale)
		known.fill(&f, k)
		f.Stale, f.StaleReason = true, describe(err)
	default:
		i.observer.Looked(k.registry.Name, Unavailable)
		f.State, f.Reason, f.AsOf = policy.StateUnavailable, describe(err), i.clock.Now()
	}
	return f
}

// isFresh tells whether an answer may be used without asking again. How long
// it is fresh depends on what it says of the digest that is asked for.
func (i *Inventory) isFresh(a *answer, digest string) bool {
	lasts := i.cache.FreshFor
	switch records := pin(a.records, digest); {
	case len(records) == 0:
		lasts = i.cache.NotFoundFor
	case anyPending(records):
		lasts = i.cache.PendingFor
	}
	return i.clock.Since(a.asOf) < time.Duration(lasts)
}

// Images is about how many images are remembered.
func (i *Inventory) Images() int { return i.answers.EstimatedSize() }

// Close cancels the loads under way and waits for them. What is known can
// still be had; whatever would have to be asked is unavailable.
func (i *Inventory) Close() {
	i.mu.Lock()
	i.closed = true
	i.mu.Unlock()
	i.cancel()
	i.underWay.Wait()
}
