// Package inventory returns what HSS knows of an image.
//
// A reference belongs to the one configured registry that claims its host and namespace; without one the image is not
// found. HSS is queried by name, and every row is compared here, exactly and in every part.
//
// Results are cached in memory. A result past its TTL is refreshed before it is used as long as HSS is well; otherwise
// it is used at once, marked stale, and refreshed in the background, up to cache.maxStaleness. One look-up runs for an
// image at a time, for all who need it, and goes on when the request that started it has timed out: see internal/lookup. What HSS
// knows of vulnerabilities whatever the image is in internal/cve.
package inventory

import (
	"cmp"
	"context"
	"hash/maphash"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/cve"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/internal/lookup"
	"github.com/hssgate/hssgate/policy"
)

const (
	// maxRecords bounds the rows of one image.
	maxRecords = 1000
	// vulnerabilityBytes bounds the cached vulnerability lists.
	vulnerabilityBytes = 16 << 20
	// detailBytes bounds the cached lists of secrets and malicious files.
	detailBytes = 8 << 20
	// errorFor is how long HSS is not called again for an image after a failure.
	errorFor = 2 * time.Second
	// pendingFor is how long a result of an image that waits to be scanned is fresh, at most.
	pendingFor = 15 * time.Second
	// refreshTenths is the part of a result's TTL, in tenths, after which its use refreshes it in the background.
	refreshTenths = 8
	// triedEvery is how often an admission that waits for the breaker tries to call HSS.
	triedEvery = 500 * time.Millisecond
)

// Lister lists what HSS knows; *hss.Client implements it.
type Lister interface {
	// All yields every row, page after page, and ends with the first error. A row that changes meanwhile comes in each state.
	All(ctx context.Context, r hss.ListRequest) iter.Seq2[hss.Image, error]
	// Vulnerabilities yields those of one image.
	Vulnerabilities(ctx context.Context, r hss.VulnerabilityRequest) iter.Seq2[hss.Vulnerability, error]
	// Secrets and MaliciousFiles do the same.
	Secrets(ctx context.Context, r hss.SecretRequest) iter.Seq2[hss.ImageSecret, error]
	MaliciousFiles(ctx context.Context, r hss.MaliciousFileRequest) iter.Seq2[hss.MaliciousFile, error]
}

// Options configure an Inventory.
type Options struct {
	// Config holds the registries, the projects and the bounds of the cache. It must be valid.
	Config *config.Configuration
	// Clients are the projects' clients, by the projects' names. A project whose client is no *hss.Client can be neither
	// synchronised nor scanned on demand.
	Clients map[string]Lister
	// Clock defaults to the real time.
	Clock clock.Clock
	// Observer is optional.
	Observer Observer
	// Random returns a number in [0,1) for jitter. It must be safe for concurrent use. It defaults to math/rand/v2.
	Random func() float64
	// Explained keeps HSS's answers for Explain.
	Explained bool
	// Language is that of the reasons why nothing is known of an image.
	Language language.Language
	// MaxConcurrent bounds the calls of a project at one time. It defaults to 16.
	MaxConcurrent int
	// LookupTimeout bounds one look-up, with all pages and attempts. It defaults to 30s, or requestTimeout if that is longer.
	LookupTimeout time.Duration
	// ErrorFor is how long HSS is not called again for an image after a failure. It defaults to 2s.
	ErrorFor time.Duration
}

// Inventory returns what HSS knows of an image. It is safe for concurrent use.
type Inventory struct {
	cfg       config.Cache
	clock     clock.Clock
	observer  Observer
	random    func() float64
	projects  []*project
	claims    map[string][]*registry
	lookups   *lookup.Group
	records   *lookup.Cache[key, []policy.Record]
	lists     *lookup.Cache[scanKey, vulnerabilities]
	details   *lookup.Cache[detailKey, details]
	cves      *cve.Store
	seed      maphash.Seed // of the keys of rows
	explained bool
	language  language.Language
	responses sync.Map // of HSS, by spelling, for Explain
	changes   atomic.Uint64
	started   atomic.Bool
}

// New returns an Inventory that has not called HSS yet. Close ends its look-ups.
func New(o Options) (*Inventory, error) {
	i := &Inventory{
		cfg: o.Config.Cache, clock: o.Clock, observer: o.Observer, random: o.Random, claims: map[string][]*registry{},
		seed: maphash.MakeSeed(), explained: o.Explained, language: o.Language,
	}
	if i.clock == nil {
		i.clock = clock.RealClock{}
	}
	if i.observer == nil {
		i.observer = noObserver{}
	}
	if i.random == nil {
		i.random = rand.Float64
	}
	i.lookups = lookup.NewGroup(lookup.Settings{
		Clock: i.clock, Language: i.language, WaitWhenStale: i.cfg.WaitWhenStale, ErrorFor: cmp.Or(o.ErrorFor, errorFor),
	})
	i.cves = cve.NewStore(i.lookups, i.cfg.MaxStaleness)
	if err := i.compile(&o); err != nil {
		return nil, err
	}
	i.records = lookup.NewCache(i.lookups, lookup.Options[key, []policy.Record]{
		MaxBytes: uint64(i.cfg.MaxBytes), Bytes: recordsBytes, Query: i.listRecords, Asked: i.observer.Asked, //nolint:gosec // config refuses negative ones
		ForbiddenFor: i.lookups.ErrorFor,
		Replaced: func(was, becomes *lookup.Answer[[]policy.Record]) {
			if !becomes.IsKnown() || !areSame(was.Value, becomes.Value) {
				i.changes.Add(1)
			}
		},
	})
	i.lists = lookup.NewCache(i.lookups, lookup.Options[scanKey, vulnerabilities]{
		MaxBytes: vulnerabilityBytes, Bytes: vulnerabilities.bytes, Query: i.listVulnerabilities, Asked: i.observer.AskedVulnerabilities,
	})
	i.details = lookup.NewCache(i.lookups, lookup.Options[detailKey, details]{MaxBytes: detailBytes, Bytes: details.bytes, Query: i.listDetails})
	return i, nil
}

// Known returns what is cached of an image, and whether it is fresh; Facts would return the same then. It never waits. An
// image that no registry claims is known not to be found. The records are shared and must not be changed.
func (i *Inventory) Known(ref image.Reference) (policy.Facts, bool) {
	_, _, f, fresh := i.use(&ref)
	return f, fresh
}

// Facts returns what HSS knows of an image now. It returns when ctx ends, if not before, and never fails: State says
// whether a result is available. The records are shared and must not be changed.
func (i *Inventory) Facts(ctx context.Context, ref image.Reference) policy.Facts {
	k, a, f, fresh := i.use(&ref)
	if fresh {
		return f
	}
	f, outcome := i.lookUp(ctx, k, a, f, lookup.AdmissionLane(ctx))
	i.observer.Looked(k.registry.Name, outcome)
	return f
}

// use is recall, counts what may be used, and refreshes it in the background if it is close to the end of its TTL.
func (i *Inventory) use(ref *image.Reference) (k key, a *lookup.Answer[[]policy.Record], f policy.Facts, fresh bool) {
	k, a, f, fresh = i.recall(ref)
	switch {
	case !fresh:
	case k.registry == nil:
		i.observer.Looked("", Unclaimed)
	default:
		i.observer.Looked(k.registry.Name, Hit)
		if i.started.Load() && f.State == policy.StateFound && i.clock.Since(f.AsOf) >= i.ttl(&f)/10*refreshTenths {
			i.records.Refresh(k.clone(), a)
		}
	}
	return k, a, f, fresh
}

// recall returns what is cached of a reference: its key, the answer, what that says, and whether it may be used without calling HSS.
func (i *Inventory) recall(ref *image.Reference) (k key, a *lookup.Answer[[]policy.Record], f policy.Facts, fresh bool) {
	f.Image = *ref
	k, reason := i.locate(ref)
	if reason != "" {
		f.State, f.Reason, f.AsOf = policy.StateNotFound, reason, i.clock.Now()
		return key{}, nil, f, true
	}
	if a = i.records.Get(k); a.IsKnown() {
		f = i.factsOf(k, a, f.Image)
		fresh = i.clock.Since(f.AsOf) < i.ttl(&f)
	}
	return k, a, f, fresh
}

// lookUp returns what HSS says of an image now or, without an answer in time, the last known result, which is a and f, if it is not too old. An
// admission of an image that no one has asked about waits until HSS is well again: soon after an outage there is an answer in time.
func (i *Inventory) lookUp(ctx context.Context, k key, a *lookup.Answer[[]policy.Record], f policy.Facts, l lookup.Lane) (policy.Facts, Outcome) {
	usable := a.IsKnown() && i.clock.Since(f.AsOf) <= i.cfg.MaxStaleness
	wanted, fallback := k.clone(), usable && f.HasResults() && !isPending(f.Records)
	fresh, err := i.records.Obtain(ctx, wanted, a, l, fallback)
	_, limited := ctx.Deadline() // "hssgate check" has none
	for limited && !a.IsKnown() && l != lookup.Background && lookup.IsTripped(err) && sleep(ctx, triedEvery) {
		fresh, err = i.records.Obtain(ctx, wanted, a, l, fallback)
	}
	if err == nil {
		return i.factsOf(k, fresh, f.Image), Miss
	}
	partial := pin(lookup.PartOf[[]policy.Record](err), f.Image.Digest)
	if !a.IsKnown() {
		partial = append(partial, pin(a.Value, f.Image.Digest)...)
	}
	if usable {
		f.Stale, f.StaleReason, f.Records = true, lookup.Describe(i.language, err), append(slices.Clip(f.Records), partial...)
		return f, Stale
	}
	return policy.Facts{
		Image: f.Image, State: policy.StateUnavailable, Cause: k.project().calls.Classify(err), Reason: lookup.Describe(i.language, err),
		Records: partial, AsOf: i.clock.Now(),
	}, Unavailable
}

// factsOf returns what an answer says of an image.
func (i *Inventory) factsOf(k key, a *lookup.Answer[[]policy.Record], of policy.Image) policy.Facts {
	f := policy.Facts{Image: of, State: policy.StateFound, AsOf: confirmedAt(k, a), Records: pin(a.Value, of.Digest)}
	if len(f.Records) > 0 {
		return f
	}
	f.State = policy.StateNotFound
	f.Reason = i.language.Sprintf("HSS project %q has no image %s in registry %q", k.project().Name, k, k.registry.Name)
	if len(a.Value) > 0 {
		f.Reason = i.language.Sprintf("HSS knows %s with %s only, not with %s", k, digestsOf(i.language, a.Value), of.Digest)
	}
	return f
}

// ttl returns how long facts are fresh.
func (i *Inventory) ttl(f *policy.Facts) time.Duration {
	switch {
	case f.State == policy.StateNotFound:
		return i.cfg.NotFoundFor
	case isPending(f.Records):
		return min(pendingFor, i.cfg.FreshFor)
	default:
		return i.cfg.FreshFor
	}
}

// confirmedAt returns when HSS last said what an answer says: when it was called, or when a later synchronisation saw that nothing had changed.
func confirmedAt(k key, a *lookup.Answer[[]policy.Record]) time.Time {
	if c := k.project().coverage.Load(); c.confirms(k, a) {
		return c.until
	}
	return a.AsOf
}

// Background looks images up for callers that no request waits for, such as the audit: within the background's share,
// and without keeping the images fresh or counting the use.
type Background struct{ inventory *Inventory }

// Background returns the inventory for the background.
func (i *Inventory) Background() Background { return Background{i} }

// Known returns what is cached of an image, and whether it is fresh.
func (b Background) Known(ref image.Reference) (policy.Facts, bool) {
	_, _, f, ok := b.inventory.recall(&ref)
	return f, ok
}

// Facts returns what HSS knows of an image now, or the last known result. It returns when ctx ends, if not before.
func (b Background) Facts(ctx context.Context, ref image.Reference) policy.Facts {
	k, a, f, fresh := b.inventory.recall(&ref)
	if !fresh {
		f, _ = b.inventory.lookUp(ctx, k, a, f, lookup.Background)
	}
	return f
}

// WithDetails does the same as the inventory's, within the background's share.
func (b Background) WithDetails(ctx context.Context, ref image.Reference, f policy.Facts, wanted policy.Details) policy.Facts {
	return b.inventory.withDetails(ctx, &ref, f, wanted, lookup.Background, func(string, policy.Detail, Outcome) {})
}

// Changes returns a number that grows whenever HSS says something else of an image than is cached.
func (i *Inventory) Changes() uint64 { return i.changes.Load() }

// Start keeps images that are in use fresh and synchronises the projects that are configured so, until ctx ends or
// Close is called. It is called once.
func (i *Inventory) Start(ctx context.Context) error {
	end, err := i.lookups.Begin()
	if err != nil {
		return err
	}
	defer end()
	i.started.Store(true)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(i.lookups.Context(), cancel)() //nolint:contextcheck // it ends with either
	var loops sync.WaitGroup
	for _, p := range i.projects {
		if p.syncer != nil {
			loops.Go(func() { p.syncer.run(ctx) })
		}
	}
	loops.Wait()
	<-ctx.Done()
	return nil
}

// Close cancels the look-ups under way and waits for them. What is cached can still be read.
func (i *Inventory) Close() { i.lookups.Close() }

// sleep waits. It reports whether it did so for all of the time, before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
