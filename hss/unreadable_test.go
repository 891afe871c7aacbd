package hss_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/hss"
)

// listed asks a server that answers body for a page.
func listed(t *testing.T, body string) (*hss.ListResponse, error) {
	t.Helper()
	endpoint, _ := serve(t, answer(200, body))
	return newClient(t, endpoint, nil).List(t.Context(), hss.ListRequest{})
}

func TestARowThatCannotBeReadIsMarkedAndTheOthersAreRead(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1000)
	for name, tt := range map[string]struct {
		row  string
		want hss.Image
	}{
		"a time that is none": {
			`{"id":7,"namespace":"prod","image_name":"app","image_version":"1","image_id":"i","image_digest":"sha256:a","image_type":"harbor",` +
				`"registry_id":"ri","registry_name":"rn","registry_type":"Harbor","instance_id":"ii","instance_name":"in",` +
				`"scan_status":"success","severity_level":"Low","vul_num":0,"latest_scan_time":"-"}`,
			hss.Image{
				ID: "7", Namespace: "prod", Name: "app", Version: "1", ImageID: "i", Digest: "sha256:a", Type: "harbor",
				RegistryID: "ri", RegistryName: "rn", RegistryType: "Harbor", InstanceID: "ii", InstanceName: "in",
				Unreadable: `latest_scan_time is "-"`,
			},
		},
		"neither true nor false": {
			`{"image_name":"app","is_multiple_arch":"perhaps"}`, hss.Image{Name: "app", MultiArch: true, Unreadable: `is_multiple_arch is "perhaps"`},
		},
		"a long value":       {`{"image_name":"app","latest_scan_time":"` + long + `"}`, hss.Image{Name: "app", Unreadable: `latest_scan_time is "` + long[:80] + `"…`}},
		"control characters": {`{"image_name":"app","latest_scan_time":"\u0007\n"}`, hss.Image{Name: "app", Unreadable: `latest_scan_time is "\a\n"`}},
		"a status that is a list": {
			`{"image_name":"app","scan_status":["success"]}`, hss.Image{Name: "app", Unreadable: `scan_status is a list`},
		},
		"an architecture's status": {
			`{"image_name":"app","association_images":[{"image_digest":"sha256:b","scan_status":{}}]}`,
			hss.Image{
				Name: "app", MultiArch: true, Architectures: []hss.AssociatedImage{{Digest: "sha256:b"}},
				Unreadable: `association_images[0].scan_status is an object`,
			},
		},
		"architectures that are none": {
			`{"image_name":"app","association_images":[null]}`, hss.Image{Name: "app", MultiArch: true, Unreadable: "association_images[0] is null, not an object"},
		},
		"a name that is none": {`{"id":7,"namespace":"prod","image_name":{}}`, hss.Image{Unreadable: "image_name is an object"}},
		"a namespace that is none, and an image's name": {
			`{"namespace":["prod"],"image_name":"app"}`, hss.Image{Unreadable: `namespace is a list`},
		},
		"null":   {`null`, hss.Image{Unreadable: "the row is null, not an object"}},
		"a text": {`"app"`, hss.Image{Unreadable: `the row is "app", not an object`}},
		"a list": {`[]`, hss.Image{Unreadable: "the row is a list, not an object"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := listed(t, `{"total_num":3,"data_list":[{"id":1,"image_name":"a"},`+tt.row+`,{"id":"2","image_name":"b","vul_num":"3"}]}`)
			if err != nil {
				t.Fatal(err)
			}
			want := &hss.ListResponse{Total: 3, Images: []hss.Image{{ID: "1", Name: "a"}, tt.want, {ID: "2", Name: "b", Vulnerabilities: new(3)}}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("page (-want +got):\n%s", diff)
			}
			if got.Images[1].Anonymous() != (tt.want.Name == "") || got.Images[0].Anonymous() {
				t.Errorf("anonymous: %t and %t", got.Images[1].Anonymous(), got.Images[0].Anonymous())
			}
		})
	}
}

func TestAPageThatIsNoneHasNoMarkedRows(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"an error object":    `{"error_code":"HSS.0001","data_list":[{"latest_scan_time":"-"}]}`,
		"JSON that goes on":  `{"data_list":[{"latest_scan_time":"-"}]}{}`,
		"JSON that is wrong": `{"data_list":[{"latest_scan_time":"-"},}]}`,
		"a list of no list":  `{"data_list":{"latest_scan_time":"-"}}`,
	} {
		var answered *hss.Error
		if got, err := listed(t, body); got != nil || !errors.As(err, &answered) {
			t.Errorf("%s: got %v, error %v", name, got, err)
		}
	}
}

func TestRowsThatCannotBeReadEndNoList(t *testing.T) {
	t.Parallel()
	page := func(rows string) step { return step{status: 200, body: `{"total_num":99,"data_list":[` + rows + `]}`} }
	unreadable := func(id, name string) string { return `{` + id + `"image_name":"` + name + `","latest_scan_time":"-"}` }
	client := scripted(t, newScript(
		page(unreadable("", "a")+","+unreadable("", "b")+",null"),
		page(unreadable(`"id":1,`, "c")+","+unreadable(`"id":1,`, "c")),
		page(`{"id":2,"image_name":"d"}`), list()), nil)
	var got []string
	for row, err := range client.All(t.Context(), hss.ListRequest{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, row.Name+" "+row.Unreadable)
	}
	const why = `latest_scan_time is "-"`
	want := []string{"a " + why, "b " + why, " the row is null, not an object", "c " + why, "d "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestARowOfAnotherListThatCannotBeReadIsToldFromNoList(t *testing.T) {
	t.Parallel()
	endpoint, _ := serve(t, answer(200, `{"data_list":[{"vul_id":"CVE-1"},{"app_name":{},"vul_id":"CVE-2"}]}`))
	_, err := vulnerabilities(t, newClient(t, endpoint, nil), vulnerable())
	var row *hss.RowError
	if !errors.As(err, &row) {
		t.Fatalf("error is %v", err)
	}
	if diff := cmp.Diff(&hss.RowError{Row: 1, Reason: "app_name is an object"}, row); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	endpoint, _ = serve(t, answer(200, `{"data_list":{}}`))
	if _, err := vulnerabilities(t, newClient(t, endpoint, nil), vulnerable()); err == nil || errors.As(err, &row) {
		t.Errorf("error is %v", err)
	}
}

func TestAFieldThatTellsRegistriesApartIsNeededOnlyWhereItDoes(t *testing.T) {
	t.Parallel()
	for _, field := range []string{"registry_id", "instance_id", "instance_name"} {
		for _, needed := range []bool{false, true} {
			endpoint, _ := serve(t, answer(200, `{"data_list":[{"image_name":"app","`+field+`":{}}]}`))
			got, err := newClient(t, endpoint, func(c *hss.Config) {
				if needed {
					c.IdentifyingFields = []string{field}
				}
			}).List(t.Context(), hss.ListRequest{})
			if err != nil {
				t.Fatal(err)
			}
			want := hss.Image{Name: "app"}
			if needed {
				want = hss.Image{Unreadable: field + " is an object"}
			}
			if diff := cmp.Diff([]hss.Image{want}, got.Images); diff != "" {
				t.Errorf("%s, needed %t (-want +got):\n%s", field, needed, diff)
			}
		}
	}
}
