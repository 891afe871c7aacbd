package inventory_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/policy"
)

func TestAnImageThatIsScannedAgainKeepsItsLastResult(t *testing.T) {
	t.Parallel()
	scanning, waiting := status(hss.ScanStatusScanning), status(hss.ScanStatusWaitingForScan)
	changed := func(r *hss.Image) { r.Digest = digest("b") }
	other := func(r *hss.Image) { r.ID = "2" }
	undigested := func(r *hss.Image) { r.Digest = "" }
	for name, test := range map[string]struct {
		history [][]hss.Image
		kept    bool
	}{
		"scanning after success":             {[][]hss.Image{{row()}, {row(scanning)}}, true},
		"waiting after success":              {[][]hss.Image{{row()}, {row(waiting)}}, true},
		"still scanning":                     {[][]hss.Image{{row()}, {row(waiting)}, {row(scanning)}, {row(scanning)}}, true},
		"scanning from the start":            {[][]hss.Image{{row(scanning)}}, false},
		"another digest":                     {[][]hss.Image{{row()}, {row(scanning, changed)}}, false},
		"another digest, and back":           {[][]hss.Image{{row()}, {row(scanning, changed)}, {row(scanning)}}, false},
		"no digest":                          {[][]hss.Image{{row(undigested)}, {row(scanning, undigested)}}, false},
		"another row":                        {[][]hss.Image{{row()}, {row(scanning, other)}}, false},
		"another row beside it":              {[][]hss.Image{{row(other, changed), row()}, {row(scanning)}}, true},
		"gone in between":                    {[][]hss.Image{{row()}, {}, {row(scanning)}}, false},
		"failed in between":                  {[][]hss.Image{{row()}, {row(status(hss.ScanStatusFailed))}, {row(scanning)}}, false},
		"never scanned is not scanned again": {[][]hss.Image{{row()}, {row(status(hss.ScanStatusUnscan))}}, false},
		"success has no need of it":          {[][]hss.Image{{row()}, {row(scanning)}, {row()}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{}
			i, clock := newInventory(t, f)
			var got policy.Facts
			for _, rows := range test.history {
				clock.Step(10 * time.Minute)
				f.set(nil, rows...)
				got = i.Facts(t.Context(), reference(t, app))
			}
			last := got.Records[0].LastCompleted
			if (last != nil) != test.kept {
				t.Fatalf("kept %+v, want %v", last, test.kept)
			}
			if last != nil && (last.Scan.Status != "success" || last.Severity != "Low" || last.LastCompleted != nil) {
				t.Errorf("kept %+v", last)
			}
		})
	}
}

// A push while the row is being scanned again: what it still shows may be the
// result of the image before.
func TestAPushDuringAScanLeavesNoResult(t *testing.T) {
	t.Parallel()
	scanning := status(hss.ScanStatusScanning)
	pushed := func(r *hss.Image) { r.Digest = digest("b") }
	for name, test := range map[string]struct {
		history [][]hss.Image
		want    string
	}{
		"another digest shows nothing":        {[][]hss.Image{{row()}, {row(scanning, pushed)}}, ""},
		"and nothing later":                   {[][]hss.Image{{row()}, {row(scanning, pushed)}, {row(scanning, pushed)}}, ""},
		"until its scan is done":              {[][]hss.Image{{row()}, {row(scanning, pushed)}, {row(pushed)}}, "Low"},
		"the same digest goes on showing its": {[][]hss.Image{{row()}, {row(scanning)}, {row(scanning)}}, "Low"},
		"what was never seen is believed":     {[][]hss.Image{{row(scanning)}}, "Low"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{}
			i, clock := newInventory(t, f)
			var got policy.Facts
			for _, rows := range test.history {
				clock.Step(10 * time.Minute)
				f.set(nil, rows...)
				got = i.Facts(t.Context(), reference(t, app))
			}
			if severity := string(got.Records[0].Severity); severity != test.want {
				t.Errorf("shows %q, want %q", severity, test.want)
			}
		})
	}
}

func TestAPinnedArchitectureKeepsItsOwnLastResult(t *testing.T) {
	t.Parallel()
	multi := func(s hss.ScanStatus) hss.Image {
		return row(status(s), func(r *hss.Image) {
			r.MultiArch = true
			r.Architectures = []hss.AssociatedImage{
				{ID: "x", Digest: digest("c"), ScanStatus: s, Vulnerabilities: new(1)},
				{ID: "y", Digest: digest("d"), ScanStatus: s, Vulnerabilities: new(2)},
			}
		})
	}
	f := &fake{}
	i, clock := newInventory(t, f)
	ref := reference(t, app+"@"+digest("d"))
	f.set(nil, multi(hss.ScanStatusSuccess))
	i.Facts(t.Context(), ref)
	clock.Step(time.Hour)
	f.set(nil, multi(hss.ScanStatusScanning))
	got := i.Facts(t.Context(), ref).Records[0]
	if !got.PinnedArchitecture || got.LastCompleted == nil || !got.LastCompleted.PinnedArchitecture {
		t.Fatalf("got %+v", got)
	}
	want := []policy.Architecture{{ID: "y", Digest: digest("d"), Scan: policy.Scan{Status: "success", Vulnerabilities: new(2)}}}
	if d := cmp.Diff(want, got.LastCompleted.Architectures); d != "" {
		t.Error(d)
	}
}

func TestAnOutageDuringARescanKeepsTheLastResult(t *testing.T) {
	t.Parallel()
	f := &fake{}
	i, clock := newInventory(t, f)
	f.set(nil, row())
	i.Facts(t.Context(), reference(t, app))
	clock.Step(time.Hour)
	f.set(nil, row(status(hss.ScanStatusScanning)))
	i.Facts(t.Context(), reference(t, app))
	clock.Step(time.Hour)
	f.set(&hss.Error{StatusCode: 500})
	got := i.Facts(t.Context(), reference(t, app))
	if !got.Stale || got.Records[0].LastCompleted == nil {
		t.Errorf("got %+v", got)
	}
}
