package inventory_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sony/gobreaker/v2"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// wantEqual compares what a test got with what it wants; nothing is equal to empty.
func wantEqual[T any](t *testing.T, what string, want, got T, options ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, append(options, cmpopts.EquateEmpty())...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestADigestInTheReferenceIsCompared(t *testing.T) {
	t.Parallel()
	multi := multi(hss.ScanStatusSuccess)
	with := func(d string) func(*hss.Image) { return func(r *hss.Image) { r.ID, r.Digest = d, d } }
	version := func(v string) func(*hss.Image) { return func(r *hss.Image) { r.Version = v } }
	type testCase struct {
		ref    string
		rows   []hss.Image
		want   int
		reason string
	}
	each(t, map[string]testCase{
		"tag and digest fit":        {"app:1@" + digest("a"), []hss.Image{row()}, 1, ""},
		"the tag has another":       {"app:1@" + digest("b"), []hss.Image{row()}, 0, "HSS knows prod/app:1 with digest " + digest("a") + " only, not with " + digest("b")},
		"the digest is another tag": {"app:1@" + digest("a"), []hss.Image{row(version("2"))}, 0, `HSS project "bj4" has no image prod/app:1 in registry "swr"`},
		"a digest without tag":      {"app@" + digest("a"), []hss.Image{row(version("2")), row(version("3"), with(digest("b")))}, 1, ""},
		"a digest that two tags have": {
			"app@" + digest("a"), []hss.Image{row(version("2")), row(version("3"), func(r *hss.Image) { r.ID = "2" })}, 2, "",
		},
		"a digest that nothing has": {"app@" + digest("e"), []hss.Image{row(), row(multi, with(digest("b")))}, 0, `HSS project "bj4" has no image prod/app@` + digest("e") + ` in registry "swr"`},
		"a row with a cut digest":   {"app:1@" + digest("a"), []hss.Image{row(with(digest("a")[:64]))}, 0, "HSS knows prod/app:1 with no whole digest only, not with " + digest("a")},
		"rows with many digests": {
			"app:1@" + digest("f"), []hss.Image{row(with(digest("a"))), row(with(digest("b"))), row(with(digest("c"))), row(with(digest("d"))), row(with(digest("e")))}, 0,
			"HSS knows prod/app:1 with digest " + digest("a") + ", digest " + digest("b") + ", digest " + digest("c") + ", 2 more only, not with " + digest("f"),
		},
		"the index of architectures": {"app:1@" + digest("a"), []hss.Image{row(multi)}, 1, ""},
		"one architecture":           {"app:1@" + digest("d"), []hss.Image{row(multi)}, 1, ""},
		"a digest of another kind":   {"app@sha512:" + strings.Repeat("a", 128), []hss.Image{row()}, 0, `HSS holds sha256 digests only, and the image's is "sha512:` + strings.Repeat("a", 128) + `"`},
	}, func(t *testing.T, test testCase) {
		f := &world{loose: true, rows: test.rows}
		i, _ := newInventory(t, f)
		got := i.Facts(t.Context(), reference(t, "swr.example.com/prod/"+test.ref))
		if len(got.Records) != test.want || got.Reason != test.reason || (got.State == policy.StateFound) != (test.want > 0) {
			t.Errorf("got %v with %d records: %s\nwant %d: %s", got.State, len(got.Records), got.Reason, test.want, test.reason)
		}
	})
}

func TestARowIsReducedWithoutLoss(t *testing.T) {
	t.Parallel()
	f := &world{loose: true}
	f.set(hss.Image{
		ID: "17", Namespace: "prod", Name: "app", Version: "1", Digest: digest("a"), Type: "shared_image",
		RegistryID: "3", RegistryName: "reg", RegistryType: "SwrShared", MultiArch: true, InstanceID: "i", InstanceName: "n",
		ScanStatus: "failed", ScanFailedCode: "unknown_error", ScanFailedDescription: "why", Severity: "Odd",
		Vulnerabilities: new(0), UnsafeSettings: nil, MaliciousFiles: new(2),
		LatestUpdateTime: time.Unix(5, 0), LatestScanTime: time.Unix(6, 0),
		Architectures: []hss.AssociatedImage{{ID: "x", Digest: digest("b"), ScanStatus: "success", UnsafeSettings: new(4)}},
	})
	i, clock := newInventory(t, f)
	got := i.Facts(t.Context(), reference(t, "swr.example.com/prod/app:1"))
	want := policy.Facts{
		Image: policy.Image{Host: "swr.example.com", Path: "prod/app", Tag: "1"},
		State: policy.StateFound, AsOf: clock.Now(),
		Records: []policy.Record{{
			ID: "17", ImageType: "shared_image", RegistryType: "SwrShared", RegistryName: "reg", InstanceID: "i", InstanceName: "n",
			Namespace: "prod", Name: "app", Version: "1", Digest: digest("a"),
			Scan: policy.Scan{
				Status: "failed", FailedCode: "unknown_error", FailedDescription: "why", Vulnerabilities: new(0), MaliciousFiles: new(2),
			},
			Severity: "Odd", ScannedAt: time.Unix(6, 0), UpdatedAt: time.Unix(5, 0), MultiArch: true,
			Architectures: []policy.Architecture{{ID: "x", Digest: digest("b"), Scan: policy.Scan{Status: "success", UnsafeSettings: new(4)}}},
		}},
	}
	wantEqual(t, "facts", want, got)
}

func TestEveryRowOfAnImageCounts(t *testing.T) {
	t.Parallel()
	high := func(r *hss.Image) { r.Severity = hss.SeverityHigh }
	type testCase struct {
		rows []hss.Image
		want string
	}
	each(t, map[string]testCase{
		"a row that became worse meanwhile":  {[]hss.Image{row(), row(high)}, "Low High"},
		"a row that became better meanwhile": {[]hss.Image{row(high), row()}, "High Low"},
		"rows without an id":                 {[]hss.Image{row(func(r *hss.Image) { r.ID = "" }), row(high, func(r *hss.Image) { r.ID = "" })}, "Low High"},
		"one id with another digest":         {[]hss.Image{row(), row(high, func(r *hss.Image) { r.Digest = digest("b") })}, "Low High"},
		"one id of two types of image":       {[]hss.Image{row(high), row(func(r *hss.Image) { r.Type = "shared_image" })}, "High Low"},
		"an id that is none":                 {[]hss.Image{row(high, func(r *hss.Image) { r.ID = "0" }), row(func(r *hss.Image) { r.ID = "0" })}, "High Low"},
		"the same id in a row that fits not": {[]hss.Image{row(), row(high, func(r *hss.Image) { r.Namespace = "dev" })}, "Low"},
	}, func(t *testing.T, test testCase) {
		f := &world{loose: true, rows: test.rows}
		i, _ := newInventory(t, f)
		var severities []string
		for _, r := range i.Facts(t.Context(), reference(t, "swr.example.com/prod/app:1")).Records {
			severities = append(severities, string(r.Severity))
		}
		wantEqual(t, "severities", test.want, strings.Join(severities, " "))
	})
}

func TestMoreRowsThanCanBeTrueAreAnError(t *testing.T) {
	t.Parallel()
	i, _ := newInventory(t, &world{loose: true, rows: slices.Repeat([]hss.Image{row()}, 1001)})
	got := i.Facts(t.Context(), reference(t, app))
	if got.State != policy.StateUnavailable || got.Reason != "HSS lists more than 1000 rows for prod/app:1" {
		t.Errorf("got %v, %s", got.State, got.Reason)
	}
}

func TestAReferenceMapsToWhatHSSIsAskedFor(t *testing.T) {
	t.Parallel()
	path := func(p string, namespaces ...string) func(*config.Registry) {
		return func(r *config.Registry) { r.Path, r.Namespaces = p, namespaces }
	}
	type testCase struct {
		change func(*config.Registry)
		ref    string
		want   []string // namespace name version
	}
	each(t, map[string]testCase{
		"no tag is latest":              {nil, "prod/app", []string{"prod app latest"}},
		"only a digest asks for no tag": {nil, "prod/app@" + digest("a"), []string{"prod app "}},
		"a tag of 64 characters":        {nil, "prod/app:" + strings.Repeat("x", 64), []string{"prod app " + strings.Repeat("x", 64)}},
		"a tag of 65 asks for all":      {nil, "prod/app:" + strings.Repeat("x", 65), []string{"prod app "}},
		"a nested name in both ways":    {nil, "prod/team/app:1", []string{"prod team$app 1", "prod team/app 1"}},
		"nested only with a slash": {
			func(r *config.Registry) { r.NestedNames = []string{"slash"} }, "prod/team/app:1", []string{"prod team/app 1"},
		},
		"nested only with a dollar": {
			func(r *config.Registry) { r.NestedNames = []string{"dollar"} }, "prod/team/app:1", []string{"prod team$app 1"},
		},
		"a fixed segment":              {path("docker/{namespace}/{name}"), "docker/prod/app:1", []string{"prod app 1"}},
		"a segment that is ignored":    {path("*/{namespace}/{name}"), "any/prod/app:1", []string{"prod app 1"}},
		"a namespace that isn't first": {path("v2/*/{namespace}/{name}"), "v2/x/prod/a/b:1", []string{"prod a$b 1", "prod a/b 1"}},
		"a namespace that isn't there": {path("{name}", "docker-local"), "app:1", []string{"docker-local app 1"}},
	}, func(t *testing.T, test testCase) {
		f := &world{loose: true}
		i, _ := newInventory(t, f, func(c *config.Configuration) {
			if test.change != nil {
				test.change(&c.Registries[0])
			}
		})
		i.Facts(t.Context(), reference(t, "swr.example.com/"+test.ref))
		var got []string
		for _, r := range f.asked {
			got = append(got, r.Namespace+" "+r.ImageName+" "+r.ImageVersion)
			if _, err := r.Query(); r.EnterpriseProjectID != hss.AllGrantedEnterpriseProjects || r.ImageType != "" || err != nil {
				t.Errorf("HSS was asked %+v: %v", r, err)
			}
		}
		slices.Sort(got)
		wantEqual(t, "calls", test.want, got)
	})
}

func TestWhatNoRegistryClaimsIsNotFoundUnasked(t *testing.T) {
	t.Parallel()
	type testCase struct{ ref, want string }
	each(t, map[string]testCase{
		"another host": {"evil.example.com/prod/app:1", `no configured registry claims host "evil.example.com"`},
		"another port": {"swr.example.com:8443/prod/app:1", `no configured registry claims host "swr.example.com:8443"`},
		"a path that is too short": {
			"swr.example.com/app:1",
			`no configured registry claims swr.example.com/app: path "app" does not fit "{namespace}/{name}" of registry "swr"`,
		},
		"a namespace that isn't listed": {
			"harbor.example.com/dev/app:1",
			`no configured registry claims harbor.example.com/dev/app: registry "harbor-1" does not hold namespace "dev"; registry "harbor-2" does not hold namespace "dev"`,
		},
		"a namespace beyond HSS's": {
			"swr.example.com/" + strings.Repeat("n", 129) + "/app:1",
			"HSS holds namespaces of up to 128 characters, and this one has 129",
		},
		"a name beyond HSS's": {
			"swr.example.com/prod/" + strings.Repeat("n", 129) + ":1",
			"HSS holds image names of up to 128 characters, and this one has 129",
		},
	}, func(t *testing.T, test testCase) {
		f := &world{loose: true, rows: []hss.Image{row()}}
		i, _ := newInventory(t, f, twoHarbors)
		got := i.Facts(t.Context(), reference(t, test.ref))
		if got.State != policy.StateNotFound || got.Reason != test.want || len(got.Records) > 0 {
			t.Errorf("got %v: %s\nwant %s", got.State, got.Reason, test.want)
		}
		if known, ok := i.Known(reference(t, test.ref)); !ok || known.Reason != test.want {
			t.Errorf("known %v: %+v", ok, known)
		}
		wantCalls(t, f.calls(), 0)
	})
}

// twoHarbors adds two registries that share a host.
func twoHarbors(c *config.Configuration) {
	for _, n := range []string{"1", "2"} {
		r := c.Registries[0]
		r.Name, r.Hosts, r.Namespaces = "harbor-"+n, []string{"harbor.example.com"}, []string{"team" + n}
		r.ImageTypes, r.RegistryName = []string{"harbor"}, "office-"+n
		c.Registries = append(c.Registries, r)
	}
}

func TestWhatIsComparedIsWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	named := func(id, name string) hss.Image { return row(func(r *hss.Image) { r.ID, r.Name = id, name }) }
	office := func(n string) hss.Image {
		return row(func(r *hss.Image) { r.ID, r.Namespace, r.Type, r.RegistryName = n, "team2", "harbor", "office-"+n })
	}
	f := &world{loose: true}
	f.set(named("1", "team/app"), named("2", "team$app"), named("3", "team%2Fapp"), named("4", "team.app"), named("5", "app"), office("1"), office("2"))
	i, _ := newInventory(t, f, twoHarbors)
	for ref, want := range map[string]string{"harbor.example.com/team2/app:1": "2", "swr.example.com/prod/team/app:1": "1 2"} {
		wantEqual(t, ref, want, ids(i.Facts(t.Context(), reference(t, ref))))
	}
}

func FuzzMapping(f *testing.F) {
	f.Add("{namespace}/{name}", "swr.example.com/prod/team/app:1")
	f.Add("a/*/{namespace}/{name}", "swr.example.com/a/b/c/d")
	f.Add("{name}", "swr.example.com/x")
	f.Fuzz(func(t *testing.T, path, ref string) {
		parsed, err := image.Parse(ref)
		c := settings(func(c *config.Configuration) {
			c.Registries[0].Path = path
			c.Registries[0].Hosts = []string{parsed.Host}
		})
		if err != nil || c.Validate() != nil {
			return
		}
		lister := &world{loose: true}
		i, _ := newInventory(t, lister, func(x *config.Configuration) { *x = *c })
		i.Facts(t.Context(), parsed)
		for _, r := range lister.asked {
			if _, err := r.Query(); err != nil {
				t.Errorf("%q on %q asks for what HSS refuses: %v", path, ref, err)
			}
			if r.Namespace == "" || !strings.Contains("/"+parsed.Path+"/", "/"+r.Namespace+"/") {
				t.Errorf("%q on %q invents namespace %q", path, ref, r.Namespace)
			}
			if !strings.HasSuffix(parsed.Path, strings.ReplaceAll(r.ImageName, "$", "/")) {
				t.Errorf("%q on %q invents name %q", path, ref, r.ImageName)
			}
		}
	})
}

func TestKnownAndTheBackgroundSayWhatFactsSays(t *testing.T) {
	t.Parallel()
	type testCase struct {
		ref  string
		rows []hss.Image
	}
	each(t, map[string]testCase{
		"with another digest": {app + "@" + digest("b"), []hss.Image{row()}},
		"one architecture":    {app + "@" + digest("c"), []hss.Image{row(multi(hss.ScanStatusSuccess))}},
		"several rows":        {app, []hss.Image{row(), row(func(r *hss.Image) { r.ID = "2" })}},
		"not found":           {app, nil},
	}, func(t *testing.T, test testCase) {
		f := &world{loose: true, rows: test.rows}
		i, clock := newInventory(t, f)
		ref := reference(t, test.ref)
		if got, ok := i.Known(ref); ok {
			t.Fatalf("before anybody asked it is known: %+v", got)
		}
		want, b := i.Facts(t.Context(), ref), i.Background()
		for _, known := range []func(image.Reference) (policy.Facts, bool){i.Known, i.Known, b.Known} {
			if got, ok := known(ref); !ok || !cmp.Equal(want, got) {
				t.Errorf("known %v:\n%s", ok, cmp.Diff(want, got))
			}
		}
		if got := b.Facts(t.Context(), ref); !cmp.Equal(want, got) {
			t.Errorf("the background gets:\n%s", cmp.Diff(want, got))
		}
		clock.Step(5 * time.Minute)
		if got, ok := i.Known(ref); ok || f.calls() != 1 {
			t.Errorf("when it is not fresh any more it is known: %+v, after %d questions", got, f.calls())
		}
	})
}

func TestAnImageThatIsScannedAgainKeepsItsLastResult(t *testing.T) {
	t.Parallel()
	scanning, waiting := status(hss.ScanStatusScanning), status(hss.ScanStatusWaitingForScan)
	changed := func(r *hss.Image) { r.Digest = digest("b") }
	other := func(r *hss.Image) { r.ID = "2" }
	undigested := func(r *hss.Image) { r.Digest = "" }
	// What a row shows while it is scanned again may be the result of the image before.
	type testCase struct {
		history [][]hss.Image
		kept    bool
		shows   string // the row's severity
	}
	each(t, map[string]testCase{
		"scanning after success":             {[][]hss.Image{{row()}, {row(scanning)}}, true, "Low"},
		"still scanning":                     {[][]hss.Image{{row()}, {row(waiting)}, {row(scanning)}, {row(scanning)}}, true, "Low"},
		"scanning from the start":            {[][]hss.Image{{row(scanning)}}, false, "Low"},
		"another digest":                     {[][]hss.Image{{row()}, {row(scanning, changed)}}, false, ""},
		"another digest, and back":           {[][]hss.Image{{row()}, {row(scanning, changed)}, {row(scanning)}}, false, ""},
		"no digest":                          {[][]hss.Image{{row(undigested)}, {row(scanning, undigested)}}, false, "Low"},
		"another row":                        {[][]hss.Image{{row()}, {row(scanning, other)}}, false, "Low"},
		"another row beside it":              {[][]hss.Image{{row(other, changed), row()}, {row(scanning)}}, true, "Low"},
		"gone in between":                    {[][]hss.Image{{row()}, {}, {row(scanning)}}, false, "Low"},
		"failed in between":                  {[][]hss.Image{{row()}, {row(status(hss.ScanStatusFailed))}, {row(scanning)}}, false, "Low"},
		"never scanned is not scanned again": {[][]hss.Image{{row()}, {row(status(hss.ScanStatusUnscan))}}, false, "Low"},
		"success has no need of it":          {[][]hss.Image{{row()}, {row(scanning)}, {row()}}, false, "Low"},
		"another digest, still scanning":     {[][]hss.Image{{row()}, {row(scanning, changed)}, {row(scanning, changed)}}, false, ""},
		"another digest, and its scan done":  {[][]hss.Image{{row()}, {row(scanning, changed)}, {row(changed)}}, false, "Low"},
	}, func(t *testing.T, test testCase) {
		f := &world{loose: true}
		i, clock := newInventory(t, f)
		var got policy.Facts
		for _, rows := range test.history {
			clock.Step(10 * time.Minute)
			f.set(rows...)
			got = i.Facts(t.Context(), reference(t, app))
		}
		last := got.Records[0].LastCompleted
		if (last != nil) != test.kept {
			t.Fatalf("kept %+v, want %v", last, test.kept)
		}
		if last != nil && (last.Scan.Status != "success" || last.Severity != "Low" || last.LastCompleted != nil) {
			t.Errorf("kept %+v", last)
		}
		wantEqual(t, "severity", test.shows, string(got.Records[0].Severity))
	})
}

func TestAPinnedArchitectureIsTheOnlyOneAndKeepsItsOwnLastResult(t *testing.T) {
	t.Parallel()
	f := &world{loose: true}
	i, clock := newInventory(t, f)
	ref := reference(t, app+"@"+digest("d"))
	wantOnly := func(r *policy.Record, scan v1alpha1.ScanStatus) {
		t.Helper()
		if r == nil || !r.PinnedArchitecture {
			t.Fatalf("got %+v", r)
		}
		want := []policy.Architecture{{ID: "y", Digest: digest("d"), Scan: policy.Scan{Status: scan, Vulnerabilities: new(2)}}}
		wantEqual(t, "architectures", want, r.Architectures)
	}
	f.set(row(multi(hss.ScanStatusSuccess)))
	wantOnly(&i.Facts(t.Context(), ref).Records[0], "success")
	if whole := i.Facts(t.Context(), reference(t, app)).Records[0]; len(whole.Architectures) != 2 || whole.PinnedArchitecture || f.calls() != 1 {
		t.Errorf("without digest, after %d questions: %+v", f.calls(), whole)
	}
	clock.Step(time.Hour)
	f.set(row(status(hss.ScanStatusScanning), multi(hss.ScanStatusScanning)))
	got := i.Facts(t.Context(), ref).Records[0]
	wantOnly(&got, "scanning")
	wantOnly(got.LastCompleted, "success")
}

// spoil makes a row one that cannot be read: all that is left names its image.
func spoil(r *hss.Image) {
	*r = hss.Image{
		ID: r.ID, Namespace: r.Namespace, Name: r.Name, Version: r.Version, Digest: r.Digest, Type: r.Type,
		RegistryType: r.RegistryType, Unreadable: `latest_scan_time is "-"`,
	}
}

// efface makes a row one that may be of any image.
func efface(r *hss.Image) { *r = hss.Image{Unreadable: "null in place of a row"} }

const (
	spoiltApp  = `HSS's row for prod/app:1 cannot be read: latest_scan_time is "-"`
	effacedApp = "HSS sent a row that cannot be read and may be of any image: null in place of a row"
)

func TestARowThatCannotBeReadMakesItsOwnImageUnavailable(t *testing.T) {
	t.Parallel()
	other := func(change func(*hss.Image)) func(*hss.Image) {
		return func(r *hss.Image) {
			r.ID = "2"
			change(r)
			spoil(r)
		}
	}
	for name, tt := range map[string]struct {
		ref  string
		bad  func(*hss.Image)
		want string // empty: the image is found
	}{
		"its own row":              {app, spoil, spoiltApp},
		"its own, beside a good":   {app, other(func(*hss.Image) {}), spoiltApp},
		"with a digest":            {app + "@" + digest("a"), spoil, spoiltApp},
		"another tag's":            {app, other(func(r *hss.Image) { r.Version = "2" }), ""},
		"another registry's":       {app, other(func(r *hss.Image) { r.Type = "harbor" }), ""},
		"one of no name":           {app, efface, effacedApp},
		"another digest's":         {"swr.example.com/prod/app@" + digest("a"), other(func(r *hss.Image) { r.Digest = digest("b") }), ""},
		"a digest's own":           {"swr.example.com/prod/app@" + digest("a"), spoil, spoiltApp},
		"one of no name, a digest": {"swr.example.com/prod/app@" + digest("a"), efface, effacedApp},
		"one of an architecture": {
			"swr.example.com/prod/app@" + digest("c"), func(r *hss.Image) {
				spoil(r)
				r.MultiArch, r.Architectures = true, []hss.AssociatedImage{{Digest: digest("c")}}
			}, spoiltApp,
		},
		"one of architectures that aren't known": {
			"swr.example.com/prod/app@" + digest("a"), func(r *hss.Image) {
				r.Digest = digest("b")
				spoil(r)
				r.MultiArch = true
			}, spoiltApp,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows := []hss.Image{row(tt.bad)}
			if tt.want == "" || strings.Contains(name, "beside") {
				rows = append(rows, row())
			}
			f := &world{loose: true, rows: rows}
			i, _ := newInventory(t, f)
			got := i.Facts(t.Context(), reference(t, tt.ref))
			if tt.want == "" && got.State != policy.StateFound || tt.want != "" && (got.State != policy.StateUnavailable || got.Reason != tt.want) {
				t.Errorf("got %v: %q, want %q", got.State, got.Reason, tt.want)
			}
			if len(got.Records) > 1 {
				t.Errorf("got %d records", len(got.Records))
			}
			e := strings.Join(i.Explain(reference(t, tt.ref)), "\n")
			if strings.Contains(e, "no complete answer: "+tt.want) != (tt.want != "") || !strings.Contains(e, ": it cannot be read: ") {
				t.Errorf("explained as %s", e)
			}
		})
	}
}

func TestEveryRowIsExplained(t *testing.T) {
	t.Parallel()
	fitting := hss.Image{
		Namespace: "prod", Name: "app", Version: "1", Type: hss.ImageTypePrivate, Digest: digest("a"), ScanStatus: hss.ScanStatusSuccess,
		RegistryType: "SwrPrivate", RegistryName: "reg", RegistryID: "rid", InstanceID: "iid", InstanceName: "iname", ID: "7",
	}
	for name, tt := range map[string]struct {
		change func(*hss.Image)
		want   string
	}{
		"the image":                      {func(*hss.Image) {}, ""},
		"a longer namespace":             {func(r *hss.Image) { r.Namespace = "prod2" }, `its namespace is "prod2", not "prod"`},
		"a longer name":                  {func(r *hss.Image) { r.Name = "app-evil" }, `its image name is "app-evil", not "app"`},
		"a name with a zero width space": {func(r *hss.Image) { r.Name = "ap\u200bp" }, `its image name is "ap\u200bp", not "app"`},
		"another version":                {func(r *hss.Image) { r.Version = "latest" }, `its version is "latest", not "1"`},
		"another type":                   {func(r *hss.Image) { r.Type = hss.ImageTypeHarbor }, `its image type is "harbor", not "private_image"`},
		"another registry type":          {func(r *hss.Image) { r.RegistryType = "swrprivate" }, `its registry type is "swrprivate", not "SwrPrivate"`},
		"another registry":               {func(r *hss.Image) { r.RegistryName = "REG" }, `its registry name is "REG", not "reg"`},
		"a longer registry id":           {func(r *hss.Image) { r.RegistryID = "rid7" }, `its registry id is "rid7", not "rid"`},
		"a longer instance id":           {func(r *hss.Image) { r.InstanceID = "iid0" }, `its instance id is "iid0", not "iid"`},
		"another digest":                 {func(r *hss.Image) { r.Digest = digest("b") }, `its digest is "` + digest("b") + `", not "` + digest("a") + `"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			row := fitting
			tt.change(&row)
			f := &world{loose: true, rows: []hss.Image{row}}
			i, _ := newInventory(t, f, func(c *config.Configuration) {
				r := &c.Registries[0]
				r.ImageTypes, r.RegistryType, r.RegistryName = []string{"private_image"}, "SwrPrivate", "reg"
				r.RegistryID, r.InstanceID = "rid", "iid"
			})
			for _, ref := range []string{"swr.example.com/prod/app:1@" + digest("a"), "swr.example.com/prod/app@" + digest("a")} {
				if !strings.Contains(ref, ":1") && strings.HasPrefix(name, "another version") {
					continue // any version of a digest will do
				}
				facts := i.Facts(t.Context(), reference(t, ref))
				fit := ": it fits"
				if tt.want != "" {
					fit = ": it does not fit: " + tt.want
				}
				if e := i.Explain(reference(t, ref)); len(e) != 3 || !strings.HasSuffix(e[2], fit) {
					t.Errorf("%s: got %q, want %q", ref, e, fit)
				}
				// The explanation and the verdict are of one comparison.
				if found := len(facts.Records) > 0; found != (tt.want == "") || f.asked[0].ImageType != hss.ImageTypePrivate {
					t.Errorf("%s: its records are found: %t", ref, found)
				}
			}
		})
	}
}

func TestAnExplanationTellsWhatWasAsked(t *testing.T) {
	t.Parallel()
	i, _ := newInventory(t, &world{loose: true})
	ref := reference(t, "swr.example.com/prod/team/app:1")
	wantEqual(t, "before it is asked", "  no complete answer: HSS was not called", i.Explain(ref)[2])
	i.Facts(t.Context(), ref)
	const query = "HSS query: enterprise_project_id=all_granted_eps & image_name=%s & image_version=1 & limit=200 & namespace=prod"
	const none = "  no row came back"
	want := []string{
		`registry: "swr" of HSS project "bj4", where the image is prod/team/app:1`,
		fmt.Sprintf(query, "team%2Fapp"), none, fmt.Sprintf(query, "team%24app"), none,
	}
	wantEqual(t, "explanation", want, i.Explain(ref))
	want = []string{`registry: none: no configured registry claims host "evil.example.com"`}
	wantEqual(t, "explanation", want, i.Explain(reference(t, "evil.example.com/prod/app:1")))
}

func TestAnExplanationIsBoundedAndTellsOfFailure(t *testing.T) {
	t.Parallel()
	explain := func(f *world) []string {
		i, _ := newInventory(t, f)
		i.Facts(t.Context(), reference(t, app))
		return i.Explain(reference(t, app))
	}
	if e := explain(&world{loose: true, rows: make([]hss.Image, 130)}); len(e) != 103 || e[102] != "  and 30 more rows" {
		t.Errorf("got %d lines: %q", len(e), e)
	}
	e := explain(&world{loose: true, cut: errors.New(strings.Repeat("long ", 1000) + "and to the end")})
	if !strings.HasPrefix(e[2], "  no complete answer: ") || !strings.HasSuffix(e[2], "and to the end") {
		t.Errorf("got %q", e)
	}
}

func TestMissingCredentialsAreToldBeforeWhatWasAsked(t *testing.T) {
	t.Parallel()
	_, none := hss.ChainCredentials(hss.EnvironmentCredentials())(t.Context())
	i, _ := newInventory(t, &world{loose: true, cut: fmt.Errorf("list images: getting credentials: %w", none)})
	got := i.Facts(t.Context(), reference(t, "swr.example.com/prod/app:1")).Reason
	if want := "HSS could not be called: no credentials found: looked in the environment (HUAWEICLOUD_SDK_AK) ("; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRowsThatCannotBeReadOpenNoBreaker(t *testing.T) {
	t.Parallel()
	w := &world{rows: images(30)}
	for n := range 20 {
		spoil(&w.rows[n])
	}
	live(t, w, func(t *testing.T, i *inventory.Inventory) {
		for n := range 30 {
			if got, _ := within(t, i, time.Minute, ofImage(n)); (got.State == policy.StateUnavailable) != (n < 20) || state(i) != gobreaker.StateClosed {
				t.Errorf("image %d is %v: %s; the breaker is %s", n, got.State, got.Reason, state(i))
			}
		}
	})
}
