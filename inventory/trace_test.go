package inventory_test

import (
	"context"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/inventory"
)

// spied is a lister that keeps the span below which it is asked.
type spied struct {
	*world

	mu    sync.Mutex
	spans []trace.SpanContext
}

func (s *spied) All(ctx context.Context, r hss.ListRequest) iter.Seq2[hss.Image, error] {
	s.mu.Lock()
	s.spans = append(s.spans, trace.SpanContextFromContext(ctx))
	s.mu.Unlock()
	return s.world.All(ctx, r)
}

func TestACallIsBelowTheLookUpThatBeganItAndOthersAreLinkedToThat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		spans := tracetest.NewInMemoryExporter()
		tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test")
		w := &spied{world: &world{}}
		w.set(images(1)...)
		w.slow(time.Second)
		i, err := inventory.New(inventory.Options{Config: settings(), Clients: map[string]inventory.Lister{"bj4": w}})
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		lookUp := func(name string) trace.Span {
			ctx, span := tracer.Start(t.Context(), name)
			go func() {
				defer span.End()
				i.Facts(ctx, reference(t, ofImage(0)))
			}()
			synctest.Wait()
			return span
		}
		first := lookUp("first")
		lookUp("second")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(w.spans) != 1 || !w.spans[0].Equal(first.SpanContext()) {
			t.Errorf("HSS was asked below %v, want %v", w.spans, first.SpanContext())
		}
		for _, s := range spans.GetSpans() {
			if linked := len(s.Links) == 1 && s.Links[0].SpanContext.Equal(first.SpanContext()); linked != (s.Name == "second") {
				t.Errorf("%s is linked with %v", s.Name, s.Links)
			}
		}
	})
}

// exemplified is an observer that keeps the span of what was asked.
type exemplified struct {
	inventory.Observer

	span trace.SpanContext
}

func (e *exemplified) Looked(string, inventory.Outcome) {}

func (e *exemplified) Asked(ctx context.Context, _ string, _ time.Duration, _ error) {
	e.span = trace.SpanContextFromContext(ctx)
}

func TestWhoCountsLookUpsKnowsTheirTrace(t *testing.T) {
	t.Parallel()
	w, e := &world{}, &exemplified{}
	w.set(images(1)...)
	i, err := inventory.New(inventory.Options{Config: settings(func(*config.Configuration) {}), Clients: map[string]inventory.Lister{"bj4": w}, Observer: e})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	ctx, span := sdktrace.NewTracerProvider().Tracer("test").Start(t.Context(), "look-up")
	i.Facts(ctx, reference(t, ofImage(0)))
	if !e.span.Equal(span.SpanContext()) {
		t.Errorf("the span is %v, want %v", e.span, span.SpanContext())
	}
}
