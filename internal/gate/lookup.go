package gate

import (
	"context"
	"fmt"
	"sync"
	"time"
	"unique"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/tracing"
	"github.com/hssgate/hssgate/policy"
)

const (
	// MaxImages limits the different images of one object that policies match. Of an object with more, none is looked up,
	// and each violates its policies.
	MaxImages = 64
	// maxParallelLookups limits what one object looks up at once; the inventory has a limit of its own for all together.
	maxParallelLookups = 16
	// maxReferenceBytes bounds the parsed references that are kept, however many are made up: 100,000 usual ones. One takes
	// referenceBytes and its text twice.
	maxReferenceBytes = 40 << 20
	referenceBytes    = 256
)

// Facts provides what HSS knows of an image.
type Facts interface {
	// Known returns what is known and fresh, at once.
	Known(ref image.Reference) (facts policy.Facts, ok bool)
	// Facts calls HSS if it must, and returns by the time that ctx ends.
	Facts(ctx context.Context, ref image.Reference) policy.Facts
	// WithDetails returns the facts with details of their scans, as far as they are known in the time that each kind may
	// take, and by the time that ctx ends. It still fetches the others.
	WithDetails(ctx context.Context, ref image.Reference, f policy.Facts, wanted policy.Details) policy.Facts
	// KnownAffected returns which images have vulnerabilities, of those that are in memory.
	KnownAffected(ref image.Reference, ids []string) []*policy.Affected
	// Affected returns which images have vulnerabilities, of those that are known by the time that ctx ends.
	Affected(ctx context.Context, ref image.Reference, ids []string) []*policy.Affected
	// WithCVEs returns the facts with the CVEs of listed vulnerabilities, as far as they are known by the time that ctx ends.
	WithCVEs(ctx context.Context, ref image.Reference, f policy.Facts, needs policy.CVENeeds) policy.Facts
}

// lookUp sets the facts of every image that a policy matches: from memory if they are fresh, else in parallel.
func (e *evaluation) lookUp(ctx context.Context) {
	wanted := 0
	for i := range e.targets {
		if e.targets[i].lookedUp() {
			wanted++
		}
	}
	var missing []*target
	for i := range e.targets {
		switch t := &e.targets[i]; {
		case !t.lookedUp():
		case wanted > MaxImages:
			t.facts = e.gate.tooMany(t.ref, wanted)
		default:
			known := false
			if t.facts, known = e.gate.Facts.Known(t.ref); !known {
				missing = append(missing, t)
			}
		}
	}
	if len(missing) == 0 {
		return
	}
	ctx, done := leaveTime(policy.WithNamespace(ctx, e.request.Namespace))
	defer done()
	inParallel(missing, func(t *target) { e.gate.fetch(ctx, t) })
}

// leaveTime returns a context that ends a little before ctx does, so that what is known by then can still be evaluated.
func leaveTime(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	const part, most = 8, 250 * time.Millisecond
	return context.WithDeadline(ctx, deadline.Add(-min(time.Until(deadline)/part, most)))
}

func inParallel(targets []*target, do func(*target)) {
	if len(targets) == 1 {
		targets[0].guarded(do)
		return
	}
	var group errgroup.Group
	group.SetLimit(maxParallelLookups)
	for _, t := range targets {
		group.Go(func() error {
			t.guarded(do)
			return nil
		})
	}
	_ = group.Wait() // it has no errors
}

// guarded turns a panic into an unavailable result: in a goroutine of its own it would end the process.
func (t *target) guarded(do func(*target)) {
	defer func() {
		if r := recover(); r != nil {
			t.facts = policy.Facts{
				State: policy.StateUnavailable, Cause: policy.CauseConfiguration, Reason: fmt.Sprintf("internal error: %v", r),
			}
		}
	}()
	do(t)
}

// tooMany returns the facts of one of too many images.
func (g *Gate) tooMany(ref image.Reference, images int) policy.Facts {
	return policy.Facts{
		Image: ref, State: policy.StateUnavailable, Cause: policy.CauseSize,
		Reason: g.Language.Sprintf("the object names %d different images, at most %d are looked up", images, MaxImages),
	}
}

// fetch sets the facts, and waits for them.
func (g *Gate) fetch(ctx context.Context, t *target) {
	ctx, span := tracing.Start(ctx, tracing.SpanLookup)
	defer func() { endLookup(span, &t.ref, &t.facts) }()
	t.facts = g.Facts.Facts(ctx, t.ref)
}

func endLookup(span trace.Span, ref *image.Reference, f *policy.Facts) {
	if !span.IsRecording() {
		return
	}
	defer span.End()
	state := map[policy.State]string{policy.StateFound: "found", policy.StateNotFound: "not found"}[f.State]
	if state == "" {
		state = "unavailable"
		span.SetStatus(codes.Error, f.Reason)
	}
	span.SetAttributes(attribute.String("hssgate.image", ref.String()),
		attribute.String("hssgate.facts", state), attribute.Int("hssgate.records", len(f.Records)))
	if f.Stale {
		span.SetAttributes(attribute.String("hssgate.stale", f.StaleReason))
	}
}

// parsed is a parsed reference, or why it is invalid.
type parsed struct {
	written    string
	ref        image.Reference
	repository string
	err        error
}

// references caches parsed references: the same images come again and again, and parsing one takes longer than the rest of
// a decision. The zero value is ready for use.
type references struct {
	mu    sync.RWMutex
	known map[string]*parsed
	bytes int
}

func (r *references) parse(written string) *parsed {
	r.mu.RLock()
	p := r.known[written]
	r.mu.RUnlock()
	if p != nil {
		return p
	}
	p = &parsed{written: written}
	if p.ref, p.err = image.Parse(written); p.err != nil {
		return p
	}
	p.ref.Host, p.repository = unique.Make(p.ref.Host).Value(), p.ref.Repository() // few hosts, compared by each decision
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil || r.bytes > maxReferenceBytes {
		r.known, r.bytes = map[string]*parsed{}, 0
	}
	if r.known[written] == nil {
		r.bytes += referenceBytes + 2*len(written)
	}
	r.known[written] = p
	return p
}
