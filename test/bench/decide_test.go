package bench_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
)

// BenchmarkDecide measures decisions about pods of three images by 10 policies, with so many known images in rotation.
func BenchmarkDecide(b *testing.B) {
	for _, images := range []int{50, 1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("images=%d", images), func(b *testing.B) {
			decide := rotation(b, images)
			b.ReportAllocs()
			for b.Loop() {
				decide()
			}
		})
	}
}

func TestADecisionAllocatesLittleHoweverManyImagesAreInRotation(t *testing.T) {
	for _, images := range []int{50, 10_000} {
		if got := testing.AllocsPerRun(1000, rotation(t, images)); got > 10 {
			t.Errorf("with %d images a decision allocates %v times, want at most 10", images, got)
		}
	}
}

// rotation returns a function that decides about a pod of three random ones of so many images, which are all known.
func rotation(tb testing.TB, images int) (decide func()) {
	tb.Helper()
	c, err := config.Parse("config.yaml", fmt.Appendf(nil, `apiVersion: config.hssgate.io/v1alpha1
kind: Configuration
projects: [{name: main, region: cn-north-4}]
registries: [{name: main, hosts: [%s]}]
cache: {maxBytes: 512Mi, freshFor: 24h}
`, registryHost))
	must(tb, err)
	known, err := inventory.New(inventory.Options{Config: c, Clients: map[string]inventory.Lister{"main": clean{}}})
	must(tb, err)
	tb.Cleanup(known.Close)
	uses := make([]image.Use, images)
	for i := range uses {
		uses[i] = image.Use{Place: image.PlaceContainer, Name: "app", Image: imageName(i)}
		ref, err := image.Parse(uses[i].Image)
		must(tb, err)
		known.Facts(tb.Context(), ref)
	}
	g, random, ctx := newGate(tb, known, numbers), rand.New(rand.NewPCG(1, 2)), tb.Context()
	r := gate.Request{Namespace: "prod", Name: "web", Workload: image.Workload{Kind: "Pod", Uses: make([]image.Use, 3)}}
	for i := range uses {
		g.Decide(ctx, gate.Request{Namespace: r.Namespace, Workload: image.Workload{Uses: uses[i : i+1]}}) // has the reference parsed
	}
	return func() {
		for i := range r.Workload.Uses {
			r.Workload.Uses[i] = uses[random.IntN(images)]
		}
		if d := g.Decide(ctx, r); d.Outcome != gate.Admitted || len(d.Policies) != 10 {
			tb.Fatalf("%+v", d)
		}
	}
}

// clean answers each look-up with a row that every policy admits.
type clean struct{ inventory.Lister }

// All yields the row.
func (clean) All(_ context.Context, r hss.ListRequest) iter.Seq2[hss.Image, error] {
	scanned, none := time.Now().Add(-time.Hour), 0
	return func(yield func(hss.Image, error) bool) {
		yield(hss.Image{
			Namespace: r.Namespace, Name: r.ImageName, Version: r.ImageVersion, Digest: fmt.Sprintf("sha256:%064x", len(r.ImageName)),
			Type: "private_image", RegistryType: "SwrPrivate", ScanStatus: "success", Severity: "Low",
			Vulnerabilities: &none, UnsafeSettings: &none, MaliciousFiles: &none,
			LatestUpdateTime: scanned, LatestScanTime: scanned, LatestSyncTime: scanned,
		}, nil)
	}
}
