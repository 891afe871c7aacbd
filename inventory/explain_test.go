package inventory_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/inventory"
)

func TestEveryRowIsExplained(t *testing.T) {
	t.Parallel()
	fitting := hss.Image{
		Namespace: "prod", Name: "app", Version: "1", Type: hss.ImageTypePrivate, Digest: digest("a"), ScanStatus: hss.ScanStatusSuccess,
		RegistryType: "SwrPrivate", RegistryName: "reg", RegistryID: "rid", InstanceID: "iid", InstanceName: "iname", ID: "7",
	}
	tests := map[string]struct {
		change func(*hss.Image)
		want   string
	}{
		"the image":             {func(*hss.Image) {}, ""},
		"another namespace":     {func(r *hss.Image) { r.Namespace = "prod2" }, `its namespace is "prod2", not "prod"`},
		"a longer name":         {func(r *hss.Image) { r.Name = "app-x" }, `its image name is "app-x", not "app"`},
		"another version":       {func(r *hss.Image) { r.Version = "1.0" }, `its version is "1.0", not "1"`},
		"another type":          {func(r *hss.Image) { r.Type = "harbor" }, `its image type is "harbor", not "private_image"`},
		"another registry type": {func(r *hss.Image) { r.RegistryType = "Other" }, `its registry type is "Other", not "SwrPrivate"`},
		"another registry":      {func(r *hss.Image) { r.RegistryName = "x" }, `its registry name is "x", not "reg"`},
		"another registry id":   {func(r *hss.Image) { r.RegistryID = "" }, `its registry id is "", not "rid"`},
		"another instance":      {func(r *hss.Image) { r.InstanceID = "x" }, `its instance id is "x", not "iid"`},
		"another instance name": {func(r *hss.Image) { r.InstanceName = "x" }, `its instance name is "x", not "iname"`},
		"another digest":        {func(r *hss.Image) { r.Digest = digest("b") }, `its digest is "` + digest("b") + `", not "` + digest("a") + `"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			row := fitting
			tt.change(&row)
			f := &fake{rows: []hss.Image{row}}
			i, _ := newInventory(t, f, func(c *config.Configuration) {
				r := &c.Registries[0]
				r.ImageTypes, r.RegistryType, r.RegistryName = []string{"private_image"}, "SwrPrivate", "reg"
				r.RegistryID, r.InstanceID, r.InstanceName = "rid", "iid", "iname"
			})
			for _, ref := range []string{"swr.example.com/prod/app:1@" + digest("a"), "swr.example.com/prod/app@" + digest("a")} {
				if !strings.Contains(ref, ":1") && name == "another version" {
					continue // any version of a digest will do
				}
				facts := i.Facts(t.Context(), reference(t, ref))
				e := i.Explain(reference(t, ref))
				if len(e.Queries) != 1 || len(e.Queries[0].Rows) != 1 {
					t.Fatalf("%s: got %+v", ref, e)
				}
				if diff := cmp.Diff(tt.want, e.Queries[0].Rows[0].Misfit); diff != "" {
					t.Errorf("%s (-want +got):\n%s", ref, diff)
				}
				// What is explained is what is judged by.
				if found := len(facts.Records) > 0; found != (tt.want == "") {
					t.Errorf("%s: its records are found: %t", ref, found)
				}
			}
		})
	}
}

func TestAnExplanationTellsWhatWasAsked(t *testing.T) {
	t.Parallel()
	f := &fake{}
	i, _ := newInventory(t, f)
	if q := i.Explain(reference(t, "swr.example.com/prod/team/app:1")).Queries[0]; q.Failed != "HSS was not asked" {
		t.Errorf("before it is asked, got %+v", q)
	}
	i.Facts(t.Context(), reference(t, "swr.example.com/prod/team/app:1"))
	e := i.Explain(reference(t, "swr.example.com/prod/team/app:1"))
	if e.Image != "prod/team/app:1" || e.Registry == "" || e.Project == "" || len(e.Queries) != 2 {
		t.Fatalf("got %+v", e)
	}
	for n, name := range []string{"team/app", "team$app"} {
		asked, err := url.ParseQuery(e.Queries[n].Parameters)
		if err != nil || asked.Get("image_name") != name || asked.Get("namespace") != "prod" || asked.Get("image_version") != "1" {
			t.Errorf("got %q, %v, want %s", e.Queries[n].Parameters, err, name)
		}
	}
	unclaimed := i.Explain(reference(t, "evil.example.com/prod/app:1"))
	if want := `no configured registry claims host "evil.example.com"`; unclaimed.Unclaimed != want || len(unclaimed.Queries) != 0 {
		t.Errorf("got %+v", unclaimed)
	}
}

func TestAnExplanationIsBoundedAndTellsOfFailure(t *testing.T) {
	t.Parallel()
	explain := func(f *fake) inventory.ExplainedQuery {
		i, _ := newInventory(t, f)
		i.Facts(t.Context(), reference(t, app))
		return i.Explain(reference(t, app)).Queries[0]
	}
	if q := explain(&fake{rows: make([]hss.Image, 130)}); len(q.Rows) != 100 || q.More != 30 {
		t.Errorf("got %d rows and %d more", len(q.Rows), q.More)
	}
	if q := explain(&fake{err: errors.New("connection refused")}); !strings.Contains(q.Failed, "connection refused") {
		t.Errorf("got %q", q.Failed)
	}
	if q := explain(&fake{err: errors.New(strings.Repeat("long ", 1000) + "and to the end")}); !strings.HasSuffix(q.Failed, "and to the end") {
		t.Errorf("got %q", q.Failed)
	}
}

func TestMissingCredentialsAreToldBeforeWhatWasAsked(t *testing.T) {
	t.Parallel()
	_, none := hss.ChainCredentials(hss.TokenEnvironment("NO_TOKEN", func(string) string { return "" })).Credentials(t.Context())
	i, _ := newInventory(t, &fake{err: fmt.Errorf("list images: getting credentials: %w", none)})
	got := i.Facts(t.Context(), reference(t, "swr.example.com/prod/app:1")).Reason
	if want := "HSS could not be asked: no credentials found: looked in NO_TOKEN ("; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
