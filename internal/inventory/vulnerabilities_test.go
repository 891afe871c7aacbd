package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sony/gobreaker/v2"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// vulnerable is a row with two vulnerabilities, of image ID img-1.
func vulnerable(change ...func(*hss.Image)) hss.Image {
	r := row(func(r *hss.Image) { r.ImageID, r.Vulnerabilities = "img-1", new(2) })
	for _, c := range change {
		c(&r)
	}
	return r
}

// two are the vulnerabilities of img-1.
func two() []hss.Vulnerability {
	return []hss.Vulnerability{
		{ID: "CVE-2024-0001", Necessity: hss.RepairNotNeeded, AppName: "zlib", Version: "1.2.11"},
		{ID: "RHSA-2022:4991", Necessity: hss.RepairImmediate, AppName: "xz-libs", Version: "5.2.4-3.el8", Solution: "5.2.4-4.el8"},
	}
}

// read is how two are read, the worst first.
func read() []policy.Vulnerability {
	return []policy.Vulnerability{
		{ID: "RHSA-2022:4991", Severity: v1alpha1.SeverityHigh, Package: "xz-libs", Installed: "5.2.4-3.el8", Fix: "5.2.4-4.el8"},
		{ID: "CVE-2024-0001", Severity: v1alpha1.SeverityLow, Package: "zlib", Installed: "1.2.11"},
	}
}

// detailed asks for an image and for its vulnerabilities, for which it waits.
func detailed(t *testing.T, i *inventory.Inventory, wait time.Duration, needed bool) policy.Facts {
	t.Helper()
	return detailedOf(t, i, app, wait, needed)
}

func detailedOf(t *testing.T, i *inventory.Inventory, name string, wait time.Duration, needed bool) policy.Facts {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	return i.WithDetails(ctx, reference(t, name), i.Facts(t.Context(), reference(t, name)), vulnerabilities(needed))
}

// vulnerabilities are wanted until the context ends.
func vulnerabilities(needed bool) policy.Details {
	return policy.Details{policy.DetailVulnerabilities: {Wait: time.Hour, Needed: needed}}
}

func wantFound(t *testing.T, f policy.Facts, want []policy.Vulnerability) {
	t.Helper()
	if len(f.Records) == 0 {
		t.Fatalf("%s: no record", f.Reason)
	}
	if d := cmp.Diff(want, f.Records[0].Scan.Found); d != "" || f.Records[0].Scan.Unlisted != "" {
		t.Errorf("%q (-want +got):\n%s", f.Records[0].Scan.Unlisted, d)
	}
}

func wantUnlisted(t *testing.T, f policy.Facts, part string) {
	t.Helper()
	if s := f.Records[0].Scan; s.Found != nil || s.Unlisted == "" || !strings.Contains(s.Unlisted, part) {
		t.Errorf("%d are known, and why not all is %q, want %q", len(s.Found), s.Unlisted, part)
	}
}

// listing runs a test with a world of one image with vulnerabilities.
func listing(t *testing.T, test func(t *testing.T, w *world, i *inventory.Inventory), change ...func(*config.Configuration)) {
	t.Helper()
	w := &world{rows: []hss.Image{vulnerable()}, found: map[string][]hss.Vulnerability{"img-1": two()}}
	synctest.Test(t, func(t *testing.T) {
		i := open(t, w, inventory.Options{Config: settings(change...), Explained: true})
		test(t, w, i)
	})
}

func TestVulnerabilitiesAreAskedForOnceWhoeverNeedsThem(t *testing.T) {
	t.Parallel()
	listing(t, func(t *testing.T, w *world, i *inventory.Inventory) {
		w.answer(func(w *world) { w.listDelay = time.Second })
		before := i.Facts(t.Context(), reference(t, app))
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() { wantFound(t, detailed(t, i, 5*time.Second, true), read()) })
		}
		all.Wait()
		wantFound(t, detailed(t, i, 0, false), read())
		want := []hss.VulnerabilityRequest{{
			ImageID: "img-1", ImageType: hss.ImageTypePrivate, Namespace: "prod", ImageName: "app", Tag: "1",
			EnterpriseProjectID: "all_granted_eps", Limit: 200,
		}}
		wantEqual(t, "questions", want, w.lists())
		wantEqual(t, "facts that others have", nil, before.Records[0].Scan.Found)
		if s := i.Stats(); s.ListBytes == 0 {
			t.Error("the list takes no memory")
		}
	})
}

func TestImagesThatThereIsNothingToAskOfCostNoQuestion(t *testing.T) {
	t.Parallel()
	each(t, map[string]func(*hss.Image){
		"none were found":       func(r *hss.Image) { r.Vulnerabilities = new(0) },
		"no number is known":    func(r *hss.Image) { r.Vulnerabilities = nil },
		"the scan failed":       func(r *hss.Image) { r.ScanStatus = hss.ScanStatusFailed },
		"HSS knows no such one": func(r *hss.Image) { r.Version = "2" },
		"there is no ID":        func(r *hss.Image) { r.ImageID = "" },
	}, func(t *testing.T, change func(*hss.Image)) {
		listing(t, func(t *testing.T, w *world, i *inventory.Inventory) {
			w.set(vulnerable(change))
			f := detailed(t, i, time.Second, true)
			if len(w.lists()) != 0 || len(f.Records) > 0 && (f.Records[0].Scan.Found != nil || f.Records[0].Scan.Unlisted != "") {
				t.Errorf("asked %v, answered %+v", w.lists(), f.Records)
			}
		})
	})
}

func TestAnotherScanHasItsVulnerabilitiesAskedForAgain(t *testing.T) {
	t.Parallel()
	each(t, map[string]func(*hss.Image){
		"scanned again":       func(r *hss.Image) { r.LatestScanTime = r.LatestScanTime.Add(time.Hour) },
		"another number":      func(r *hss.Image) { r.Vulnerabilities = new(3) },
		"another image":       func(r *hss.Image) { r.ImageID = "img-2" },
		"a digest of another": func(r *hss.Image) { r.Digest = digest("b") },
	}, func(t *testing.T, change func(*hss.Image)) {
		listing(t, func(t *testing.T, w *world, i *inventory.Inventory) {
			detailed(t, i, time.Second, true)
			w.set(vulnerable(change))
			w.answer(func(w *world) {
				w.found = map[string][]hss.Vulnerability{"img-1": two()[:1], "img-2": two()[:1]}
			})
			// Longer than the list is fresh would be too long: only the row may be asked for again.
			time.Sleep(4 * time.Minute)
			wantFound(t, detailed(t, i, time.Second, true), read())
			time.Sleep(61 * time.Second)
			wantFound(t, detailed(t, i, time.Second, true), read()[1:])
			wantCalls(t, len(w.lists()), 2)
		}, func(c *config.Configuration) { c.Cache.FreshFor = 5 * time.Minute })
	})
}

func TestVulnerabilitiesThatAreNotNeededAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	listing(t, func(t *testing.T, w *world, i *inventory.Inventory) {
		w.answer(func(w *world) { w.listDelay = 3 * time.Second })
		begun := time.Now()
		wantUnlisted(t, detailed(t, i, 500*time.Millisecond, false), "HSS did not answer in time (500ms)")
		wantEqual(t, "it took", 500*time.Millisecond, time.Since(begun))
		time.Sleep(3 * time.Second)
		wantFound(t, detailed(t, i, 0, false), read())
		wantCalls(t, len(w.lists()), 1)
	})
}

func TestOldVulnerabilitiesServeWhileHSSIsAsked(t *testing.T) {
	t.Parallel()
	listing(t, func(t *testing.T, w *world, i *inventory.Inventory) {
		detailed(t, i, time.Second, true)
		time.Sleep(time.Hour)
		w.answer(func(w *world) {
			w.listDelay, w.found = time.Minute, map[string][]hss.Vulnerability{"img-1": two()[:1]}
		})
		i.Facts(t.Context(), reference(t, app))
		begun := time.Now()
		f := detailed(t, i, 20*time.Second, false)
		wantFound(t, f, read())
		if took := time.Since(begun); took != 0 || f.Stale {
			t.Errorf("for a message, it took %s; stale: %t", took, f.Stale)
		}
		f = detailed(t, i, 20*time.Second, true)
		wantFound(t, f, read())
		if took := time.Since(begun); took != 2*time.Second || !f.Stale || time.Since(f.AsOf) < time.Hour || !strings.Contains(f.StaleReason, "did not answer in time (2s)") {
			t.Errorf("for a verdict, it took %s; stale: %t, %s, %s", took, f.Stale, time.Since(f.AsOf), f.StaleReason)
		}
		time.Sleep(25 * time.Hour)
		wantUnlisted(t, detailed(t, i, time.Second, true), "did not answer in time")
	})
}

func TestWithoutTheListTheScanSaysWhy(t *testing.T) {
	t.Parallel()
	forbidden := &hss.Error{StatusCode: http.StatusForbidden, Code: "HSS.0013", Message: "no permission"}
	type step struct {
		after time.Duration
		part  string
		calls int // so far
	}
	type testCase struct {
		change func(w *world)
		steps  []step
	}
	each(t, map[string]testCase{
		"the account may not ask: not again on each review": {
			func(w *world) { w.listError = forbidden },
			[]step{{0, "HSS answered 403 HSS.0013", 1}, {3 * time.Minute, "HSS.0013", 1}, {8 * time.Minute, "HSS.0013", 2}},
		},
		"HSS asks to wait": {
			func(w *world) { w.listError = &hss.Error{StatusCode: 429, RetryAfter: time.Minute} },
			[]step{{0, "HSS answered 429", 1}, {30 * time.Second, "429", 1}, {31 * time.Second, "429", 2}},
		},
		"it fails: again in a while": {
			func(w *world) { w.listError = errors.New("connection reset") },
			[]step{{0, "connection reset", 1}, {time.Second, "connection reset", 1}, {2 * time.Second, "connection reset", 2}},
		},
		"the list has no end": {
			func(w *world) { w.endless = true },
			[]step{{0, "HSS lists more than 5000", 1}, {time.Minute, "more than 5000", 1}},
		},
	}, func(t *testing.T, tt testCase) {
		listing(t, func(t *testing.T, w *world, i *inventory.Inventory) {
			w.answer(tt.change)
			for _, s := range tt.steps {
				time.Sleep(s.after)
				wantUnlisted(t, detailed(t, i, time.Second, true), s.part)
				wantCalls(t, len(w.lists()), s.calls)
			}
			wantEqual(t, "other images", policy.StateNotFound, i.Facts(t.Context(), reference(t, "swr.example.com/prod/other:1")).State)
		})
	})
}

// While only the vulnerabilities fail, images are looked up as ever, and HSS isn't asked for vulnerabilities without end.
func TestVulnerabilitiesThatFailKeepNobodyFromBeingAskedForElse(t *testing.T) {
	t.Parallel()
	listing(t, func(t *testing.T, w *world, i *inventory.Inventory) {
		rows := images(40)
		for n := range rows {
			rows[n].ImageID, rows[n].Vulnerabilities = fmt.Sprint("img-", n), new(1)
		}
		w.set(rows...)
		w.answer(func(w *world) { w.listError = &hss.Error{StatusCode: 503} })
		for n := range rows {
			wantUnlisted(t, detailedOf(t, i, ofImage(n), time.Second, true), "")
		}
		wantCalls(t, len(w.lists()), 5)
		wantEqual(t, "breaker", gobreaker.StateClosed, state(i))
		w.answer(func(w *world) { w.listError = nil })
		time.Sleep(time.Minute)
		detailedOf(t, i, ofImage(39), time.Second, true)
		wantCalls(t, len(w.lists()), 6)
		w.fail(errors.New("connection refused"))
		for n := range rows {
			i.Facts(t.Context(), image.Reference{Host: "swr.example.com", Path: fmt.Sprint("prod/x-", n), Tag: "1"})
		}
		time.Sleep(100 * time.Millisecond)
		w.answer(func(w *world) { w.requests = nil })
		wantUnlisted(t, detailedOf(t, i, ofImage(7), time.Second, true), "failed repeatedly")
		wantCalls(t, len(w.lists()), 0)
	})
}

// Whatever HSS lists of an image, nobody else's vulnerabilities depend on it.
func TestImagesWhoseVulnerabilitiesHSSTakesNoQuestionForKeepNobodyFromAsking(t *testing.T) {
	t.Parallel()
	type testCase struct{ namespace, tag, imageID, want string }
	each(t, map[string]testCase{
		"an ID with a slash": {"prod", "1", "../img", `HSS cannot list them: image_id is "../img", allowed are 1 to 128 letters, digits and -_.:~`},
		"a long namespace and a tag of 65 characters": {
			strings.Repeat("n", 70), strings.Repeat("t", 65), "img",
			"HSS cannot list them: namespace has 70 characters, at most 64 are allowed; tag_name has 65 characters, at most 64 are allowed",
		},
	}, func(t *testing.T, tt testCase) {
		listing(t, func(t *testing.T, w *world, i *inventory.Inventory) {
			rows := []hss.Image{vulnerable()}
			for n := range 8 {
				rows = append(rows, vulnerable(func(r *hss.Image) {
					r.ID, r.Namespace, r.Name, r.Version, r.ImageID = fmt.Sprint("9", n), tt.namespace, fmt.Sprint("long-", n), tt.tag, tt.imageID
				}))
			}
			w.set(rows...)
			for n := range 8 {
				ref := fmt.Sprintf("swr.example.com/%s/long-%d:%s", tt.namespace, n, tt.tag)
				wantUnlisted(t, detailedOf(t, i, ref, time.Second, true), tt.want)
			}
			wantCalls(t, len(w.lists()), 0)
			wantFound(t, detailed(t, i, time.Second, true), read())
		})
	})
}

func TestEachArchitectureAndTheLastCompletedScanHaveTheirOwn(t *testing.T) {
	t.Parallel()
	listing(t, func(t *testing.T, w *world, i *inventory.Inventory) {
		many := vulnerable(func(r *hss.Image) {
			r.MultiArch, r.Vulnerabilities, r.ImageID = true, new(0), ""
			r.Architectures = []hss.AssociatedImage{
				{ID: "7", ImageID: "amd64", Digest: digest("b"), ScanStatus: hss.ScanStatusSuccess, Vulnerabilities: new(1)},
				{ID: "8", ImageID: strings.TrimPrefix(digest("c"), "sha256:"), Digest: digest("c"), ScanStatus: hss.ScanStatusSuccess, Vulnerabilities: new(1)},
				{ID: "9", ImageID: "clean", Digest: digest("d"), ScanStatus: hss.ScanStatusSuccess, Vulnerabilities: new(0)},
			}
		})
		w.set(many)
		w.answer(func(w *world) {
			w.found = map[string][]hss.Vulnerability{"amd64": two()[:1], strings.TrimPrefix(digest("c"), "sha256:"): two()[1:]}
		})
		f := detailed(t, i, time.Second, true)
		r := f.Records[0]
		if r.Scan.Found != nil || r.Architectures[2].Scan.Found != nil {
			t.Error("what has none is listed")
		}
		got := [][]policy.Vulnerability{r.Architectures[0].Scan.Found, r.Architectures[1].Scan.Found}
		wantEqual(t, "architectures", [][]policy.Vulnerability{read()[1:], read()[:1]}, got)
		pinned := detailedOf(t, i, app+"@"+digest("c"), time.Second, true)
		if p := pinned.Records[0]; len(p.Architectures) != 1 || !cmp.Equal(p.Architectures[0].Scan.Found, read()[:1]) {
			t.Errorf("pinned: %+v", p)
		}
		wantCalls(t, len(w.lists()), 2)
		many.ScanStatus, many.Severity = hss.ScanStatusScanning, ""
		w.set(many)
		time.Sleep(6 * time.Minute)
		f = detailed(t, i, time.Second, true)
		if last := f.Records[0].LastCompleted; last == nil || !cmp.Equal(last.Architectures[0].Scan.Found, read()[1:]) {
			t.Errorf("the last completed scan: %+v", last)
		}
	})
}

// repeated are rows of each identifier in so many layers of an image.
func repeated(layers int, ids ...string) (rows []hss.Vulnerability) {
	for layer := range layers {
		for _, id := range ids {
			rows = append(rows, hss.Vulnerability{ID: id, AppName: "a", Version: "1", Necessity: hss.RepairDelay, Position: fmt.Sprint("layer ", layer)})
		}
	}
	return rows
}

func TestRowsAreReadForTheWorst(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ü", 400)
	medium := func(id, in, installed string) policy.Vulnerability {
		return policy.Vulnerability{ID: id, Severity: v1alpha1.SeverityMedium, Package: in, Installed: installed}
	}
	type testCase struct {
		rows    []hss.Vulnerability
		counted int
		want    []policy.Vulnerability
	}
	each(t, map[string]testCase{
		"what isn't known is for the worst": {
			[]hss.Vulnerability{{ID: "CVE-2024-0001", Necessity: "urgent"}, {AppName: "zlib"}, {ID: "CVE-2024-0002", AppName: "curl"}}, 3,
			[]policy.Vulnerability{
				{Severity: "unknown", Package: "zlib", Fix: "unknown"}, {ID: "CVE-2024-0001", Severity: "urgent", Fix: "unknown"},
				{ID: "CVE-2024-0002", Severity: "unknown", Package: "curl"},
			},
		},
		"blanks are no fix": {
			[]hss.Vulnerability{{ID: "CVE-2024-0001", Necessity: hss.RepairDelay, AppName: " zlib ", Solution: " \t"}}, 1,
			[]policy.Vulnerability{medium("CVE-2024-0001", "zlib", "")},
		},
		"long texts are cut": {
			[]hss.Vulnerability{{ID: long, Necessity: hss.RepairDelay, AppName: "a"}}, 1, []policy.Vulnerability{medium(long[:256], "a", "")},
		},
		"more than are counted: repeats are one, the worst": {
			[]hss.Vulnerability{
				{ID: "CVE-1", AppName: "a", Version: "1", Necessity: hss.RepairDelay, Position: "x"}, {ID: "CVE-1", AppName: "a", Version: "1", Necessity: hss.RepairImmediate, Position: "y"},
				{ID: "CVE-1", AppName: "b", Version: "1", Necessity: hss.RepairDelay},
			}, 2,
			[]policy.Vulnerability{{ID: "CVE-1", Severity: v1alpha1.SeverityHigh, Package: "a", Installed: "1"}, medium("CVE-1", "b", "1")},
		},
		"as many as are counted: each row is one": {
			repeated(2, "CVE-1"), 2, slices.Repeat([]policy.Vulnerability{medium("CVE-1", "a", "1")}, 2),
		},
		"more than are counted, but fewer without repeats: each row is one": {
			repeated(3, "CVE-1", "CVE-2"), 4,
			append(slices.Repeat([]policy.Vulnerability{medium("CVE-1", "a", "1")}, 3), slices.Repeat([]policy.Vulnerability{medium("CVE-2", "a", "1")}, 3)...),
		},
		"none are listed": {nil, 2, []policy.Vulnerability{}},
	}, func(t *testing.T, tt testCase) {
		listing(t, func(t *testing.T, w *world, i *inventory.Inventory) {
			w.set(vulnerable(func(r *hss.Image) { r.Vulnerabilities = new(tt.counted) }))
			w.answer(func(w *world) { w.found["img-1"] = tt.rows })
			wantFound(t, detailed(t, i, time.Second, true), tt.want)
		})
	})
}

func TestTheMemoryOfVulnerabilitiesIsBounded(t *testing.T) {
	t.Parallel()
	listing(t, func(t *testing.T, w *world, i *inventory.Inventory) {
		rows, many := images(30), make([]hss.Vulnerability, 4000)
		for k := range many {
			many[k] = hss.Vulnerability{ID: fmt.Sprint("CVE-2024-", 10000+k), AppName: "openssl-libs", Version: "1.1.1k-6.el8", Solution: "1.1.1n"}
		}
		for n := range rows {
			rows[n].ImageID, rows[n].Vulnerabilities = fmt.Sprint("img-", n), new(4000)
			w.found[rows[n].ImageID] = many
		}
		w.set(rows...)
		for n := range rows {
			detailedOf(t, i, ofImage(n), time.Second, true)
			synctest.Wait()
		}
		if s := i.Stats(); s.ListBytes > 16<<20 || s.ListBytes < 8<<20 {
			t.Errorf("lists take %d bytes", s.ListBytes)
		}
	})
}

func TestTheBackgroundAsksForVulnerabilitiesToo(t *testing.T) {
	t.Parallel()
	w := &world{rows: []hss.Image{vulnerable()}, found: map[string][]hss.Vulnerability{"img-1": two()}}
	seen := &notes{}
	synctest.Test(t, func(t *testing.T) {
		i := open(t, w, inventory.Options{Observer: seen})
		b, ref := i.Background(), reference(t, app)
		wantFound(t, b.WithDetails(t.Context(), ref, b.Facts(t.Context(), ref), vulnerabilities(true)), read())
		detailed(t, i, time.Second, true)
		i.Close()
		time.Sleep(10 * time.Minute)
		wantFound(t, detailed(t, i, time.Second, true), read())
	})
	wantEqual(t, "calls", []string{"asked vulnerabilities bj4 0s failed=false"}, seen.only("asked vulnerabilities"))
	wantEqual(t, "look-ups", []string{"listed bj4 hit", "listed bj4 stale"}, seen.only("listed"))
}

func TestTheQuestionForVulnerabilitiesIsExplained(t *testing.T) {
	t.Parallel()
	const query = "HSS query: /image/img-1/vulnerabilities ? enterprise_project_id=all_granted_eps & image_name=app & image_type=private_image & " +
		"limit=200 & namespace=prod & tag_name=1"
	type testCase struct {
		row    func(*hss.Image)
		change func(*world)
		want   []string
	}
	each(t, map[string]testCase{
		"what came back": {func(r *hss.Image) { r.Vulnerabilities = new(3) }, nil, []string{
			query, "  listed: 2; HSS counts 3: the 1 that it does not list count as well", "  High: " + read()[0].String(), "  Low: " + read()[1].String(),
		}},
		"what went wrong":      {nil, func(w *world) { w.listError = errors.New("reset") }, []string{query, "  no complete answer: HSS could not be called: reset"}},
		"why it isn't asked":   {func(r *hss.Image) { r.ImageID = "" }, nil, []string{"single vulnerabilities: the 2 are not looked up: HSS gives the image no ID to list them by"}},
		"there is none to ask": {func(r *hss.Image) { r.Vulnerabilities = new(0) }, nil, nil},
	}, func(t *testing.T, tt testCase) {
		listing(t, func(t *testing.T, w *world, i *inventory.Inventory) {
			if tt.row != nil {
				w.set(vulnerable(tt.row))
			}
			if tt.change != nil {
				w.answer(tt.change)
			}
			ref := reference(t, app)
			facts := i.WithDetails(t.Context(), ref, i.Facts(t.Context(), ref), vulnerabilities(true))
			got := i.ExplainVulnerabilities(ref, facts)
			wantEqual(t, "explanation", tt.want, got)
			wantEqual(t, "of what nobody claims", nil, i.ExplainVulnerabilities(reference(t, "other.example.com/a/b:1"), policy.Facts{}))
		})
	})
}
