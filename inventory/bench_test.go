package inventory_test

import (
	"testing"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
)

// BenchmarkKnown is what an admission of a known image costs.
func BenchmarkKnown(b *testing.B) {
	multi := func(r *hss.Image) {
		r.MultiArch = true
		r.Architectures = []hss.AssociatedImage{
			{ID: "2", Digest: digest("c"), ScanStatus: "success", Vulnerabilities: count(1)},
			{ID: "3", Digest: digest("d"), ScanStatus: "success", Vulnerabilities: count(2)},
		}
	}
	for name, test := range map[string]struct {
		ref string
		row hss.Image
	}{
		"tag":               {app, row()},
		"tag and digest":    {app + "@" + digest("a"), row()},
		"two architectures": {app, row(multi)},
	} {
		i, err := inventory.New(inventory.Options{
			Config: settings(), Clients: map[string]inventory.Lister{"bj4": &echo{test.row}},
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(i.Close)
		ref := reference(b, test.ref)
		if got := i.Facts(b.Context(), ref); got.State != policy.StateFound {
			b.Fatal(got.Reason)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := i.Known(ref); !ok {
					b.Fatal("not known")
				}
			}
		})
		b.Run(name+", on all cores", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i.Known(ref)
				}
			})
		})
	}
}
