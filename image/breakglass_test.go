package image_test

import (
	"encoding/json"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/hssgate/hssgate/image"
)

// The pod's own annotation counts, or that of the pods-to-be in a template: a
// workload's own would not show on its pods.
func TestBreakGlassIsReadWhereThePodIs(t *testing.T) {
	t.Parallel()
	const annotated = `"metadata":{"uid":"1","annotations":{"other":"x","hssgate.io/break-glass":"INC-7"}}`
	why := "INC-7"
	tests := map[string]struct {
		group, kind, object string
		want                *string
	}{
		"a pod's":                {"", "Pod", `{` + annotated + `}`, &why},
		"a deployment's pods'":   {"apps", "Deployment", `{"spec":{"template":{` + annotated + `}}}`, &why},
		"a cron job's pods'":     {"batch", "CronJob", `{"spec":{"jobTemplate":{"spec":{"template":{` + annotated + `}}}}}`, &why},
		"a pod template's pods'": {"", "PodTemplate", `{"template":{` + annotated + `}}`, &why},
		"a deployment's own":     {"apps", "Deployment", `{` + annotated + `}`, nil},
		"another annotation":     {"", "Pod", `{"metadata":{"annotations":{"hssgate.io/break-glass-2":"x","HSSGATE.IO/BREAK-GLASS":"x"}}}`, nil},
		"an empty one is there":  {"", "Pod", `{"metadata":{"annotations":{"hssgate.io/break-glass":""}}}`, new(string)},
		"none at all":            {"", "Pod", `{"metadata":{"annotations":null}}`, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var m image.Manifest
			if err := jsonv2.Unmarshal([]byte(tt.object), &m); err != nil {
				t.Fatal(err)
			}
			w, ok := m.Workload(tt.group, tt.kind)
			if !ok || (w.BreakGlass == nil) != (tt.want == nil) || tt.want != nil && *w.BreakGlass != *tt.want {
				got, _ := json.Marshal(w.BreakGlass)
				t.Errorf("BreakGlass = %s of %t", got, ok)
			}
		})
	}
}
