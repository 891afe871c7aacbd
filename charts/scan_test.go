package charts_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hssgate/hssgate/config"
)

// claims are the rights of a release's Role on ConfigMaps, and the ConfigMap of
// claims, if there is one.
func claims(rendered objects) (verbs []string, name string) {
	for _, role := range rendered.ofKind("Role") {
		rules, _ := role.Object["rules"].([]any)
		for _, rule := range rules {
			fields, _ := rule.(map[string]any)
			resources, _ := fields["resources"].([]any)
			if !slices.Contains(resources, any("configmaps")) {
				continue
			}
			for _, of := range fields["resourceNames"].([]any) {
				for _, verb := range fields["verbs"].([]any) {
					verbs = append(verbs, of.(string)+" "+verb.(string))
				}
			}
		}
	}
	for _, object := range rendered.ofKind("ConfigMap") {
		if data, ok := object.Object["data"]; !ok || data == nil {
			name = object.GetName()
		}
	}
	return verbs, name
}

func TestScansOnDemandGetWhatTheyNeedAndNoMore(t *testing.T) {
	t.Parallel()
	project := []string{"config.projects[0].name=a", "config.projects[0].region=cn-north-4", "config.registries[0].name=r", "config.registries[0].hosts={swr.example.com}"}
	for name, test := range map[string]struct {
		values []string
		on     bool
	}{
		"off by default":              {working(), false},
		"off, though bounds are set":  {working("hss.scanOnDemand.maxPerHour=5"), false},
		"on for the region's project": {working("hss.scanOnDemand.enabled=true", "hss.scanOnDemand.maxPerHour=5"), true},
		"on for one of the projects":  {set(append(project, "config.projects[0].scanOnDemand.enabled=true", "config.projects[0].scanOnDemand.maxPerHour=5")...), true},
		"off for a project":           {set(append(project, "config.projects[0].scanOnDemand.enabled=false")...), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rendered := render(t, test.values...)
			c := configurationIn(t, rendered)
			verbs, kept := claims(rendered)
			if !test.on {
				if len(verbs) > 0 || kept != "" || c.ScanClaimsConfigMap != "" || c.ScansOnDemand() {
					t.Errorf("it has rights %v, ConfigMap %q, configuration %q", verbs, kept, c.ScanClaimsConfigMap)
				}
				return
			}
			if diff := cmp.Diff([]string{"hssgate-scans get", "hssgate-scans update"}, verbs); diff != "" || kept != "hssgate-scans" || c.ScanClaimsConfigMap != kept {
				t.Errorf("ConfigMap %q, configuration %q, rights (-want +got):\n%s", kept, c.ScanClaimsConfigMap, diff)
			}
			want := config.ScanOnDemand{Enabled: true, MaxPerHour: 5, MaxPerDay: 100, RepeatAfter: config.Duration(24 * time.Hour), SyncInterval: config.Duration(10 * time.Minute)}
			if diff := cmp.Diff(want, c.Projects[0].ScanOnDemand); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
