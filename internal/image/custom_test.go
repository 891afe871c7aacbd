package image_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/internal/image"
)

func TestTheLabelsOfATemplateAreThoseOfTheNearestMetadata(t *testing.T) {
	t.Parallel()
	const container = `"spec": {"containers": [{"name": "a", "image": "x/y:1"}]}`
	tests := map[string]struct {
		text string
		want []image.Labels
	}{
		"the template's":                   {`{"metadata": {"labels": {"a": "root"}}, "spec": {"template": {"metadata": {"labels": {"a": "b"}}, ` + container + `}}}`, []image.Labels{{"a": "b"}}},
		"the template's after its spec":    {`{"spec": {"template": {` + container + `, "metadata": {"labels": {"a": "b"}}}}, "metadata": {"labels": {"a": "root"}}}`, []image.Labels{{"a": "b"}}},
		"none of a template with metadata": {`{"metadata": {"labels": {"a": "root"}}, "spec": {"template": {"metadata": {}, ` + container + `}}}`, []image.Labels{nil}},
		"the object's":                     {`{"metadata": {"labels": {"a": "root"}}, ` + container + `}`, []image.Labels{{"a": "root"}}},
		"two templates alike":              {`{"spec": [{"template": {` + container + `}}, {"template": {` + container + `}}]}`, []image.Labels{nil}},
		"two templates that differ":        {`{"spec": [{"template": {` + container + `}}, {"template": {"metadata": {"labels": {"a": "b"}}, ` + container + `}}]}`, []image.Labels{nil, {"a": "b"}}},
		"metadata of another form":         {`{"spec": {"template": {"metadata": {"labels": ["x"]}, ` + container + `}}, "metadata": {"labels": {"a": "root"}}}`, []image.Labels{{"a": "root"}}},
	}
	for name, tt := range tests {
		var c image.Custom
		if err := json.Unmarshal([]byte(tt.text), &c); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []image.Labels
		for _, w := range c.Workloads("Widget") {
			got = append(got, w.Labels)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAContainerIsKnownByItsPlaceOrByItsFields(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text, want string
		gaps       int
	}{
		"by its list":             {`{"spec": {"containers": [{"image": "x/y:1"}]}}`, `container "containers" x/y:1`, 0},
		"by a field named for it": {`{"spec": {"containerDisk": {"image": "x/y:1"}}}`, `container "containerDisk" x/y:1`, 0},
		"by its fields":           {`{"spec": {"resources": {}, "image": "x/y:1"}}`, `container "spec" x/y:1`, 0},
		"an image volume":         {`{"spec": {"volumes": [{"name": "v", "image": {"reference": "x/y:1"}}]}}`, `image volume "v" x/y:1`, 0},
		"nested templates once":   {`{"template": {"spec": {"containers": [{"name": "a", "image": "x/y:1", "template": {"spec": {"containers": [{"name": "b", "image": "x/z:1"}]}}}]}}}`, `container "b" x/z:1, container "a" x/y:1`, 0},
		"a machine's image":       {`{"spec": {"flavor": "m1", "image": "ubuntu-22.04"}}`, "", 1},
		"a picture":               {`{"spec": {"image": "https://example.com/logo.png", "other": {"image": "data:image/png;base64,AA"}}}`, "", 0},
		"values of a chart":       {`{"spec": {"image": {"repository": "x/y", "tag": "1"}}}`, "", 0},
		"a glob of a policy":      {`{"spec": {"containers": [{"image": "*.example.com/*"}]}}`, "", 1},
		"an invalid reference":    {`{"spec": {"containers": [{"name": "a", "image": "Upper"}]}}`, `container "a" Upper`, 0},
		"a schema":                {`{"properties": {"containers": {"items": {"properties": {"image": {"type": "string"}}}}, "image": {"type": "string"}}}`, "", 0},
	}
	for name, tt := range tests {
		var c image.Custom
		if err := json.Unmarshal([]byte(tt.text), &c); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []string
		for _, w := range c.Workloads("Widget") {
			for _, use := range w.Uses {
				got = append(got, use.String()+" "+use.Image)
			}
		}
		if strings.Join(got, ", ") != tt.want || len(c.Gaps) != tt.gaps {
			t.Errorf("%s: got %q and %v, want %q and %d gaps", name, got, c.Gaps, tt.want, tt.gaps)
		}
	}
}

func TestWhatIsReadOfACustomObjectIsBounded(t *testing.T) {
	t.Parallel()
	for name, container := range map[string]string{"images": `{"image":"x"}`, "containers without one": `{}`} {
		var c image.Custom
		list := strings.TrimSuffix(strings.Repeat(container+",", 1001), ",")
		if err := json.Unmarshal([]byte(`{"spec":{"containers":[`+list+`]}}`), &c); !errors.Is(err, image.ErrTooMany) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
