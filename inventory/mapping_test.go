package inventory_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
)

func TestAReferenceMapsToWhatHSSIsAskedFor(t *testing.T) {
	t.Parallel()
	path := func(p string, namespaces ...string) func(*config.Registry) {
		return func(r *config.Registry) { r.Path, r.Namespaces = p, namespaces }
	}
	for name, test := range map[string]struct {
		change func(*config.Registry)
		ref    string
		want   []string // namespace name version
	}{
		"namespace and name":             {nil, "prod/app:1", []string{"prod app 1"}},
		"no tag is latest":               {nil, "prod/app", []string{"prod app latest"}},
		"only a digest asks for no tag":  {nil, "prod/app@" + digest("a"), []string{"prod app "}},
		"tag and digest ask for the tag": {nil, "prod/app:1@" + digest("a"), []string{"prod app 1"}},
		"a tag of 64 characters":         {nil, "prod/app:" + strings.Repeat("x", 64), []string{"prod app " + strings.Repeat("x", 64)}},
		"a tag of 65 asks for all":       {nil, "prod/app:" + strings.Repeat("x", 65), []string{"prod app "}},
		"a nested name in both ways":     {nil, "prod/team/app:1", []string{"prod team$app 1", "prod team/app 1"}},
		"a deep name in both ways":       {nil, "prod/a/b/c:1", []string{"prod a$b$c 1", "prod a/b/c 1"}},
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
		"a namespace that is listed":   {path("{namespace}/{name}", "dev", "prod"), "prod/app:1", []string{"prod app 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{}
			i, _ := newInventory(t, f, func(c *config.Configuration) {
				if test.change != nil {
					test.change(&c.Registries[0])
				}
			})
			i.Facts(t.Context(), reference(t, "swr.example.com/"+test.ref))
			var got []string
			for _, r := range f.asked {
				got = append(got, r.Namespace+" "+r.ImageName+" "+r.ImageVersion)
				if r.EnterpriseProjectID != hss.AllGrantedEnterpriseProjects || r.ImageType != "" || r.Validate() != nil {
					t.Errorf("HSS was asked %+v: %v", r, r.Validate())
				}
			}
			slices.Sort(got)
			if d := gocmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestWhatNoRegistryClaimsIsNotFoundUnasked(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ ref, want string }{
		"another host":            {"evil.example.com/prod/app:1", `no configured registry claims host "evil.example.com"`},
		"a host that ends alike":  {"evil-swr.example.com/prod/app:1", `no configured registry claims host "evil-swr.example.com"`},
		"a host below the host":   {"x.swr.example.com/prod/app:1", `no configured registry claims host "x.swr.example.com"`},
		"another port":            {"swr.example.com:8443/prod/app:1", `no configured registry claims host "swr.example.com:8443"`},
		"the default registry":    {"nginx", `no configured registry claims host "docker.io"`},
		"the host as a namespace": {"docker.io/swr.example.com/app:1", `no configured registry claims host "docker.io"`},
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
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{}
			f.set(nil, row())
			i, _ := newInventory(t, f, twoHarbors)
			got := i.Facts(t.Context(), reference(t, test.ref))
			if got.State != policy.StateNotFound || got.Reason != test.want || len(got.Records) > 0 {
				t.Errorf("got %v: %s\nwant %s", got.State, got.Reason, test.want)
			}
			if f.calls() != 0 {
				t.Errorf("HSS was asked %d times", f.calls())
			}
		})
	}
}

// twoHarbors adds two registries that share a host.
func twoHarbors(c *config.Configuration) {
	for _, n := range []string{"1", "2"} {
		r := config.DefaultRegistry()
		r.Name, r.Hosts, r.Namespaces = "harbor-"+n, []string{"harbor.example.com"}, []string{"team" + n}
		r.ImageTypes, r.RegistryName = []string{"harbor"}, "office-"+n
		c.Registries = append(c.Registries, r)
	}
}

func TestRegistriesOfOneHostAreToldApartByNamespace(t *testing.T) {
	t.Parallel()
	f := &fake{}
	office := func(n string) func(*hss.Image) {
		return func(r *hss.Image) { r.ID, r.Namespace, r.Type, r.RegistryName = n, "team2", "harbor", "office-"+n }
	}
	f.set(nil, row(office("1")), row(office("2")))
	i, _ := newInventory(t, f, twoHarbors)
	if got := ids(i.Facts(t.Context(), reference(t, "harbor.example.com/team2/app:1"))); got != "2" {
		t.Errorf("got records %q, want that of office-2 only", got)
	}
}

func TestNestedNamesAreComparedInTheSpellingThatWasAskedFor(t *testing.T) {
	t.Parallel()
	named := func(id, name string) hss.Image {
		return row(func(r *hss.Image) { r.ID, r.Name = id, name })
	}
	f := &fake{}
	f.set(nil, named("1", "team/app"), named("2", "team$app"), named("3", "team%2Fapp"), named("4", "team.app"), named("5", "app"))
	i, _ := newInventory(t, f)
	got := i.Facts(t.Context(), reference(t, "swr.example.com/prod/team/app:1"))
	slices.SortFunc(got.Records, func(a, b policy.Record) int { return cmp.Compare(a.ID, b.ID) })
	if ids(got) != "1 2" {
		t.Errorf("got records %s, want 1 2", ids(got))
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
		lister := &fake{}
		i, _ := newInventory(t, lister, func(x *config.Configuration) { *x = *c })
		i.Facts(t.Context(), parsed)
		for _, r := range lister.asked {
			if err := r.Validate(); err != nil {
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
