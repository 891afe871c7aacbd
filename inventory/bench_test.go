package inventory_test

import (
	"testing"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/policy"
)

func BenchmarkFactsWarm(b *testing.B) {
	for name, ref := range map[string]string{"tag": app, "tag and digest": app + "@" + digest("a")} {
		b.Run(name, func(b *testing.B) {
			f := &fake{rows: []hss.Image{row()}}
			i, _ := newInventory(b, f)
			r := reference(b, ref)
			if got := i.Facts(b.Context(), r); got.State != policy.StateFound {
				b.Fatal(got.Reason)
			}
			b.ReportAllocs()
			for b.Loop() {
				i.Facts(b.Context(), r)
			}
		})
	}
}
