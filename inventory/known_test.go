package inventory_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
)

func TestKnownSaysWhatFactsSays(t *testing.T) {
	t.Parallel()
	multi := func(r *hss.Image) {
		r.MultiArch = true
		r.Architectures = []hss.AssociatedImage{{ID: "x", Digest: digest("c"), ScanStatus: "success", Vulnerabilities: new(1)}}
	}
	for name, test := range map[string]struct {
		ref  string
		rows []hss.Image
	}{
		"by tag":                  {app, []hss.Image{row()}},
		"by tag and digest":       {app + "@" + digest("a"), []hss.Image{row()}},
		"by digest alone":         {"swr.example.com/prod/app@" + digest("a"), []hss.Image{row()}},
		"with another digest":     {app + "@" + digest("b"), []hss.Image{row()}},
		"with a digest of no use": {app + "@sha512:" + digest("b")[7:] + digest("b")[7:], []hss.Image{row()}},
		"one architecture":        {app + "@" + digest("c"), []hss.Image{row(multi)}},
		"several rows":            {app, []hss.Image{row(), row(multi, func(r *hss.Image) { r.ID = "2" })}},
		"a nested name":           {"swr.example.com/prod/team/app:1", []hss.Image{row(func(r *hss.Image) { r.Name = "team$app" })}},
		"not found":               {app, nil},
		"no counts":               {app, []hss.Image{row(func(r *hss.Image) { r.Vulnerabilities = nil })}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{}
			f.set(nil, test.rows...)
			i, clock := newInventory(t, f)
			ref := reference(t, test.ref)
			if got, ok := i.Known(ref); ok {
				t.Fatalf("before anybody asked it is known: %+v", got)
			}
			want := i.Facts(t.Context(), ref)
			for range 2 {
				if got, ok := i.Known(ref); !ok || !cmp.Equal(want, got) {
					t.Errorf("known %v:\n%s", ok, cmp.Diff(want, got))
				}
			}
			asked := f.calls()
			clock.Step(5 * time.Minute)
			if got, ok := i.Known(ref); ok || f.calls() != asked {
				t.Errorf("when it is not fresh any more it is known: %+v, after %d questions", got, f.calls())
			}
		})
	}
}

func TestKnownKnowsThatNobodyClaimsAnImage(t *testing.T) {
	t.Parallel()
	i, _ := newInventory(t, &fake{})
	for name, ref := range map[string]image.Reference{
		"of another host": reference(t, "nginx@"+digest("a")),
		"of no parts":     {},
	} {
		want := i.Facts(t.Context(), ref)
		got, ok := i.Known(ref)
		if !ok || got.State != policy.StateNotFound || !cmp.Equal(want, got) {
			t.Errorf("%s: known %v:\n%s", name, ok, cmp.Diff(want, got))
		}
	}
}

func TestTwoReferencesOfOneImageAreNotMixedUp(t *testing.T) {
	t.Parallel()
	f := &fake{rows: []hss.Image{row()}}
	i, _ := newInventory(t, f)
	tag, both, other := reference(t, app), reference(t, app+"@"+digest("a")), reference(t, app+"@"+digest("b"))
	i.Facts(t.Context(), tag)
	for range 3 {
		for _, ref := range []image.Reference{tag, both, other} {
			got, ok := i.Known(ref)
			found := got.State == policy.StateFound
			if !ok || got.Image.Reference != ref.String() || found == (ref == other) {
				t.Errorf("%s: known %v: %+v", ref, ok, got)
			}
		}
	}
}

func TestKnownAllocatesLittle(t *testing.T) {
	f := &fake{rows: []hss.Image{row()}}
	i, _ := newInventory(t, f)
	ref := reference(t, app+"@"+digest("a"))
	i.Facts(t.Context(), ref)
	if got := testing.AllocsPerRun(100, func() { i.Known(ref) }); got > 2 {
		t.Errorf("%v allocations", got)
	}
}
