package inventory_test

import (
	"context"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
)

// fake answers as HSS may: it ignores every filter.
type fake struct {
	mu    sync.Mutex
	rows  []hss.Image
	err   error
	asked []hss.ListRequest
	// hold, if set, is called with each question and may wait.
	hold func(context.Context) error
}

func (f *fake) All(ctx context.Context, r hss.ListRequest) iter.Seq2[hss.Image, error] {
	return func(yield func(hss.Image, error) bool) {
		f.mu.Lock()
		f.asked = append(f.asked, r)
		rows, err, hold := f.rows, f.err, f.hold
		f.mu.Unlock()
		if hold != nil {
			if err := hold(ctx); err != nil {
				yield(hss.Image{}, err)
				return
			}
		}
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
		if err != nil {
			yield(hss.Image{}, err)
		}
	}
}

func (f *fake) set(err error, rows ...hss.Image) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows, f.err = rows, err
}

func (f *fake) calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

func digest(c string) string { return "sha256:" + strings.Repeat(c, 64) }

// row is a scanned row of swr.example.com/prod/app:1, changed as told.
func row(change ...func(*hss.Image)) hss.Image {
	r := hss.Image{
		ID: "1", Namespace: "prod", Name: "app", Version: "1", Digest: digest("a"),
		Type: hss.ImageTypePrivate, RegistryType: hss.RegistryTypeSWRPrivate,
		ScanStatus: hss.ScanStatusSuccess, Severity: hss.SeverityLow,
		Vulnerabilities: new(3), LatestScanTime: time.Unix(1000, 0),
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func settings(change ...func(*config.Configuration)) *config.Configuration {
	c := config.Default()
	p, r := config.DefaultProject(), config.DefaultRegistry()
	p.Name, p.Region = "bj4", "cn-north-4"
	r.Name, r.Hosts = "swr", []string{"swr.example.com"}
	c.Projects, c.Registries = []config.Project{p}, []config.Registry{r}
	for _, f := range change {
		f(c)
	}
	return c
}

// newInventory makes an inventory whose projects are all answered by f.
func newInventory(tb testing.TB, f *fake, change ...func(*config.Configuration)) (*inventory.Inventory, *clocktesting.FakeClock) {
	tb.Helper()
	c := settings(change...)
	clients := map[string]inventory.Lister{}
	for i := range c.Projects {
		clients[c.Projects[i].Name] = f
	}
	clock := clocktesting.NewFakeClock(time.Unix(100_000, 0))
	i, err := inventory.New(inventory.Options{Config: c, Clients: clients, Clock: clock, Explained: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(i.Close)
	return i, clock
}

func reference(tb testing.TB, s string) image.Reference {
	tb.Helper()
	r, err := image.Parse(s)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func ids(f policy.Facts) string {
	var ids []string
	for _, r := range f.Records {
		ids = append(ids, r.ID)
	}
	return strings.Join(ids, " ")
}

func TestOnlyRowsThatFitExactlySpeakForAnImage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*hss.Image)
		fits   bool
	}{
		"the row itself":                      {func(*hss.Image) {}, true},
		"a shared image":                      {func(r *hss.Image) { r.Type = hss.ImageTypeShared }, true},
		"another namespace":                   {func(r *hss.Image) { r.Namespace = "dev" }, false},
		"a namespace that begins alike":       {func(r *hss.Image) { r.Namespace = "prod2" }, false},
		"a namespace in capitals":             {func(r *hss.Image) { r.Namespace = "PROD" }, false},
		"no namespace":                        {func(r *hss.Image) { r.Namespace = "" }, false},
		"a name that holds the name":          {func(r *hss.Image) { r.Name = "my-app" }, false},
		"a name that begins alike":            {func(r *hss.Image) { r.Name = "app-evil" }, false},
		"a name in capitals":                  {func(r *hss.Image) { r.Name = "App" }, false},
		"a name with a space":                 {func(r *hss.Image) { r.Name = "app " }, false},
		"namespace and name in one":           {func(r *hss.Image) { r.Name = "prod/app" }, false},
		"a version that begins alike":         {func(r *hss.Image) { r.Version = "1.1" }, false},
		"a version in words":                  {func(r *hss.Image) { r.Version = "latest" }, false},
		"no version":                          {func(r *hss.Image) { r.Version = "" }, false},
		"an image of an instance":             {func(r *hss.Image) { r.Type = hss.ImageTypeInstance }, false},
		"an image of a harbor":                {func(r *hss.Image) { r.Type = hss.ImageTypeHarbor }, false},
		"no image type":                       {func(r *hss.Image) { r.Type = "" }, false},
		"an image type in capitals":           {func(r *hss.Image) { r.Type = "Private_image" }, false},
		"a registry that isn't compared":      {func(r *hss.Image) { r.RegistryName = "x" }, true},
		"no digest, as none was asked for":    {func(r *hss.Image) { r.Digest = "" }, true},
		"a status that is unknown":            {func(r *hss.Image) { r.ScanStatus = "odd" }, true},
		"a zero width space inside the name":  {func(r *hss.Image) { r.Name = "ap\u200bp" }, false},
		"a name of letters that look alike":   {func(r *hss.Image) { r.Name = "аpp" }, false},
		"a namespace with a slash at its end": {func(r *hss.Image) { r.Namespace = "prod/" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{}
			f.set(nil, row(test.change))
			i, _ := newInventory(t, f)
			got := i.Facts(t.Context(), reference(t, "swr.example.com/prod/app:1"))
			if found := got.State == policy.StateFound && len(got.Records) == 1; found != test.fits {
				t.Errorf("got %+v", got)
			}
			if !test.fits && (got.State != policy.StateNotFound || got.Reason != `HSS project "bj4" has no image prod/app:1 in registry "swr"`) {
				t.Errorf("got %v, %q", got.State, got.Reason)
			}
		})
	}
}

func TestWhatIsConfiguredOfARegistryIsCompared(t *testing.T) {
	t.Parallel()
	instance := func(c *config.Configuration) {
		r := &c.Registries[0]
		r.ImageTypes, r.RegistryType, r.RegistryName, r.RegistryID = []string{"instance_image"}, "SwrEnterprise", "reg", "7"
		r.InstanceID, r.InstanceName = "i-1", "one"
	}
	fitting := func(r *hss.Image) {
		r.Type, r.RegistryType, r.RegistryName, r.RegistryID = "instance_image", "SwrEnterprise", "reg", "7"
		r.InstanceID, r.InstanceName = "i-1", "one"
	}
	for name, test := range map[string]struct {
		change func(*hss.Image)
		want   policy.State
	}{
		"all of it fits":            {func(*hss.Image) {}, policy.StateFound},
		"another registry type":     {func(r *hss.Image) { r.RegistryType = "Other" }, policy.StateNotFound},
		"another registry name":     {func(r *hss.Image) { r.RegistryName = "REG" }, policy.StateNotFound},
		"another registry id":       {func(r *hss.Image) { r.RegistryID = "77" }, policy.StateNotFound},
		"another instance id":       {func(r *hss.Image) { r.InstanceID = "i-10" }, policy.StateNotFound},
		"another instance name":     {func(r *hss.Image) { r.InstanceName = "" }, policy.StateNotFound},
		"another image type":        {func(r *hss.Image) { r.Type = "private_image" }, policy.StateNotFound},
		"a registry type in shorts": {func(r *hss.Image) { r.RegistryType = "swrenterprise" }, policy.StateNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{}
			f.set(nil, row(fitting, test.change))
			i, _ := newInventory(t, f, instance)
			if got := i.Facts(t.Context(), reference(t, "swr.example.com/prod/app:1")); got.State != test.want {
				t.Errorf("got %v, want %v", got.State, test.want)
			}
			if got := f.asked[0].ImageType; got != hss.ImageTypeInstance {
				t.Errorf("HSS was asked for type %q", got)
			}
		})
	}
}

func TestADigestInTheReferenceIsCompared(t *testing.T) {
	t.Parallel()
	multi := func(r *hss.Image) {
		r.MultiArch = true
		r.Architectures = []hss.AssociatedImage{
			{ID: "x", Digest: digest("c"), ScanStatus: "success", Vulnerabilities: new(1)},
			{ID: "y", Digest: digest("d"), ScanStatus: "success", Vulnerabilities: new(2)},
		}
	}
	with := func(d string) func(*hss.Image) { return func(r *hss.Image) { r.ID, r.Digest = d, d } }
	version := func(v string) func(*hss.Image) { return func(r *hss.Image) { r.Version = v } }
	for name, test := range map[string]struct {
		ref    string
		rows   []hss.Image
		want   int
		reason string
	}{
		"tag and digest fit":        {"app:1@" + digest("a"), []hss.Image{row()}, 1, ""},
		"the tag has another":       {"app:1@" + digest("b"), []hss.Image{row()}, 0, "HSS knows prod/app:1 with digest " + digest("a") + " only, not with " + digest("b")},
		"the digest is another tag": {"app:1@" + digest("a"), []hss.Image{row(version("2"))}, 0, `HSS project "bj4" has no image prod/app:1 in registry "swr"`},
		"a digest without tag":      {"app@" + digest("a"), []hss.Image{row(version("2")), row(version("3"), with(digest("b")))}, 1, ""},
		"a digest that two tags have": {
			"app@" + digest("a"), []hss.Image{row(version("2")), row(version("3"), func(r *hss.Image) { r.ID = "2" })}, 2, "",
		},
		"a digest that nothing has": {"app@" + digest("e"), []hss.Image{row(), row(multi, with(digest("b")))}, 0, `HSS project "bj4" has no image prod/app@` + digest("e") + ` in registry "swr"`},
		"a row without digest":      {"app:1@" + digest("a"), []hss.Image{row(with(""))}, 0, "HSS knows prod/app:1 with no whole digest only, not with " + digest("a")},
		"a row with a cut digest":   {"app:1@" + digest("a"), []hss.Image{row(with(digest("a")[:64]))}, 0, "HSS knows prod/app:1 with no whole digest only, not with " + digest("a")},
		"a row with bare digits":    {"app:1@" + digest("a"), []hss.Image{row(with(strings.Repeat("a", 64)))}, 0, "HSS knows prod/app:1 with no whole digest only, not with " + digest("a")},
		"a row in capitals":         {"app:1@" + digest("a"), []hss.Image{row(with("sha256:" + strings.Repeat("A", 64)))}, 0, "HSS knows prod/app:1 with no whole digest only, not with " + digest("a")},
		"rows with many digests": {
			"app:1@" + digest("f"), []hss.Image{row(with(digest("a"))), row(with(digest("b"))), row(with(digest("c"))), row(with(digest("d"))), row(with(digest("e")))}, 0,
			"HSS knows prod/app:1 with digest " + digest("a") + ", digest " + digest("b") + ", digest " + digest("c") + ", 2 more only, not with " + digest("f"),
		},
		"one of two rows fits":        {"app:1@" + digest("a"), []hss.Image{row(), row(with(digest("b")))}, 1, ""},
		"the index of architectures":  {"app:1@" + digest("a"), []hss.Image{row(multi)}, 1, ""},
		"one architecture":            {"app:1@" + digest("d"), []hss.Image{row(multi)}, 1, ""},
		"one architecture, no tag":    {"app@" + digest("d"), []hss.Image{row(multi), row(with(digest("b")))}, 1, ""},
		"a digest of another kind":    {"app@sha512:" + strings.Repeat("a", 128), []hss.Image{row()}, 0, `HSS holds sha256 digests only, and the image's is "sha512:` + strings.Repeat("a", 128) + `"`},
		"that kind together with tag": {"app:1@sha512:" + strings.Repeat("a", 128), []hss.Image{row()}, 0, "HSS knows prod/app:1 with digest " + digest("a") + " only, not with sha512:" + strings.Repeat("a", 128)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{}
			f.set(nil, test.rows...)
			i, _ := newInventory(t, f)
			got := i.Facts(t.Context(), reference(t, "swr.example.com/prod/"+test.ref))
			if len(got.Records) != test.want || got.Reason != test.reason || (got.State == policy.StateFound) != (test.want > 0) {
				t.Errorf("got %v with %d records: %s\nwant %d: %s", got.State, len(got.Records), got.Reason, test.want, test.reason)
			}
		})
	}
}

func TestAPinnedArchitectureIsTheOnlyOne(t *testing.T) {
	t.Parallel()
	f := &fake{}
	f.set(nil, row(func(r *hss.Image) {
		r.MultiArch = true
		r.Architectures = []hss.AssociatedImage{
			{ID: "x", Digest: digest("c"), ScanStatus: "success", Vulnerabilities: new(1)},
			{ID: "y", Digest: digest("d"), ScanStatus: "failed"},
		}
	}))
	i, _ := newInventory(t, f)
	got := i.Facts(t.Context(), reference(t, "swr.example.com/prod/app:1@"+digest("c"))).Records[0]
	want := []policy.Architecture{{ID: "x", Digest: digest("c"), Scan: policy.Scan{Status: "success", Vulnerabilities: new(1)}}}
	if d := cmp.Diff(want, got.Architectures); d != "" || !got.PinnedArchitecture {
		t.Errorf("pinned: %v\n%s", got.PinnedArchitecture, d)
	}
	whole := i.Facts(t.Context(), reference(t, "swr.example.com/prod/app:1")).Records[0]
	if len(whole.Architectures) != 2 || whole.PinnedArchitecture {
		t.Errorf("without digest: %+v", whole)
	}
	if f.calls() != 1 {
		t.Errorf("HSS was asked %d times for one tag", f.calls())
	}
}

func TestARowIsReducedWithoutLoss(t *testing.T) {
	t.Parallel()
	f := &fake{}
	f.set(nil, hss.Image{
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
		Image: policy.Image{Reference: "swr.example.com/prod/app:1", Host: "swr.example.com", Path: "prod/app", Tag: "1"},
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
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestEveryRowOfAnImageCounts(t *testing.T) {
	t.Parallel()
	high := func(r *hss.Image) { r.Severity = hss.SeverityHigh }
	for name, test := range map[string]struct {
		rows []hss.Image
		want string
	}{
		"a row that became worse meanwhile":  {[]hss.Image{row(), row(high)}, "Low High"},
		"a row that became better meanwhile": {[]hss.Image{row(high), row()}, "High Low"},
		"two rows of one image":              {[]hss.Image{row(), row(high, func(r *hss.Image) { r.ID = "2" })}, "Low High"},
		"rows without an id":                 {[]hss.Image{row(func(r *hss.Image) { r.ID = "" }), row(high, func(r *hss.Image) { r.ID = "" })}, "Low High"},
		"one id with another digest":         {[]hss.Image{row(), row(high, func(r *hss.Image) { r.Digest = digest("b") })}, "Low High"},
		"one id of two types of image":       {[]hss.Image{row(high), row(func(r *hss.Image) { r.Type = "shared_image" })}, "High Low"},
		"an id that is none":                 {[]hss.Image{row(high, func(r *hss.Image) { r.ID = "0" }), row(func(r *hss.Image) { r.ID = "0" })}, "High Low"},
		"the same id in a row that fits not": {[]hss.Image{row(), row(high, func(r *hss.Image) { r.Namespace = "dev" })}, "Low"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{}
			f.set(nil, test.rows...)
			i, _ := newInventory(t, f)
			var severities []string
			for _, r := range i.Facts(t.Context(), reference(t, "swr.example.com/prod/app:1")).Records {
				severities = append(severities, string(r.Severity))
			}
			if got := strings.Join(severities, " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestMoreRowsThanCanBeTrueAreAnError(t *testing.T) {
	t.Parallel()
	f := &fake{}
	for n := range 1001 {
		f.rows = append(f.rows, row(func(r *hss.Image) { r.ID = strings.Repeat("i", n+1) }))
	}
	i, _ := newInventory(t, f)
	got := i.Facts(t.Context(), reference(t, "swr.example.com/prod/app:1"))
	if got.State != policy.StateUnavailable || got.Reason != "HSS lists more than 1000 rows for prod/app:1" {
		t.Errorf("got %v, %s", got.State, got.Reason)
	}
}
