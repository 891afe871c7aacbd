package hsstest_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss/hsstest"
	"github.com/hssgate/hssgate/hss/inventoryfile"
)

func TestIAMListsTheProjectsOfARegion(t *testing.T) {
	t.Parallel()
	const inventory = "iam_projects:\n- {id: a, name: cn-north-4}\n- {id: b, name: cn-north-4}\n- {id: c, name: eu-west-101}\n"
	file, err := inventoryfile.Parse([]byte(inventory), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		options []hsstest.Option
		region  string
		want    []string
	}{
		"any region by default":              {nil, "cn-north-4", []string{hsstest.DefaultProjectID}},
		"any region with the known projects": {[]hsstest.Option{hsstest.WithProjects("p1")}, "cn-north-4", []string{"p1"}},
		"one project":                        {[]hsstest.Option{hsstest.WithInventory(file)}, "eu-west-101", []string{"c"}},
		"several projects":                   {[]hsstest.Option{hsstest.WithInventory(file)}, "cn-north-4", []string{"a", "b"}},
		"no project":                         {[]hsstest.Option{hsstest.WithInventory(file)}, "cn-east-3", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, tc.options...)
			got := ask(t, h, "name="+tc.region, func(r *http.Request) { r.URL.Path = "/v3/projects" })
			var list struct{ Projects []hsstest.IAMProject }
			if err := json.Unmarshal([]byte(got.Raw), &list); err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, project := range list.Projects {
				ids = append(ids, project.ID)
			}
			if diff := cmp.Diff(tc.want, ids); diff != "" || got.Header.Get("X-Iam-Trace-Id") == "" {
				t.Errorf("header %v, projects (-want +got):\n%s", got.Header, diff)
			}
			if got := h.Stats().Endpoints[hsstest.EndpointProjects]; got.Requests != 1 || got.Rows != len(tc.want) {
				t.Errorf("counted %+v", got)
			}
		})
	}
}
