package check_test

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/config/presets"
	"github.com/hssgate/hssgate/internal/check"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// TestPresetsAreThoseOfTheChart reads them out of the chart's template, where
// they stand without anything that Helm would fill in.
func TestPresetsAreThoseOfTheChart(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../charts/hssgate/templates/_policies.tpl")
	must(t, err)
	defined := regexp.MustCompile(`(?s)define "hssgate\.preset\.(\w+)" -}}\n(.*?)\{\{- end`).FindAllStringSubmatch(string(text), -1)
	if len(defined) != len(presets.Names()) {
		t.Errorf("the chart has %d presets, the binary has %v", len(defined), presets.Names())
	}
	for _, one := range defined {
		manifest, err := presets.Policy(one[1])
		must(t, err)
		spec := strings.ReplaceAll("\n"+one[2], "\n", "\n  ")
		want, inChart := load(t, strings.Replace(policyHead, "{name: p}", "{name: "+one[1]+"}", 1)+spec)
		inBinary, invalid := load(t, string(manifest))
		got, err := check.Preset(one[1])
		must(t, errors.Join(inChart, invalid, err))
		if diff := cmp.Diff(want.Policies[0].Spec, inBinary.Policies[0].Spec); diff != "" {
			t.Errorf("%s (-chart +binary):\n%s", one[1], diff)
		}
		if _, err := check.NewChecker(check.Options{Resources: got}); err != nil || got.Policies[0].Name != one[1] {
			t.Errorf("%s: named %q, %v", one[1], got.Policies[0].Name, err)
		}
	}
	if _, err := check.Preset("lax"); err == nil || err.Error() != `preset must be audit, baseline, strict, not "lax"` {
		t.Errorf("got %v", err)
	}
}

// The API server takes such entries away before it evaluates.
func TestWhatIsNullIsNotThere(t *testing.T) {
	t.Parallel()
	loaded, err := load(t, policyHead+"{match: {namespaceSelector: {matchLabels: {env: null, tier: web}}}, require: {maliciousFiles: {max: 0}}}\n")
	must(t, err)
	if diff := cmp.Diff(map[string]string{"tier": "web"}, loaded.Policies[0].Spec.Match.NamespaceSelector.MatchLabels); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A live exception comes before those of files.
func TestTheLastExceptionOfANameCounts(t *testing.T) {
	t.Parallel()
	now := time.Now()
	exception := func(namespace, image string, lifetime time.Duration) v1alpha1.ImageScanException {
		e := v1alpha1.ImageScanException{ObjectMeta: metav1.ObjectMeta{Name: "one", Namespace: namespace}}
		e.Spec = v1alpha1.ImageScanExceptionSpec{Images: []string{image}, Policies: []string{"none"}, Reason: "x", ExpiresAt: metav1.NewTime(now.Add(lifetime))}
		return e
	}
	clusterWide := func(e v1alpha1.ImageScanException) v1alpha1.ImageScanException {
		e.Kind = v1alpha1.ClusterImageScanExceptionKind
		return e
	}
	live := exception("shop", "h.io/n1", time.Hour)
	live.CreationTimestamp = metav1.NewTime(now)
	for name, tt := range map[string]struct {
		file     v1alpha1.ImageScanException
		excepted string // the images, by their numbers
	}{
		"of the same name":                           {exception("", "h.io/n2", time.Hour), "2"},
		"of the whole cluster":                       {clusterWide(exception("", "h.io/n2", time.Hour)), "12"},
		"of another namespace":                       {exception("other", "h.io/n2", time.Hour), "1"},
		"that the API server would refuse to create": {exception("", "h.io/n2", 100*time.Hour), "1"},
	} {
		o := check.Options{Facts: &facts{}, Resources: by(noVulnerabilities("")), Namespace: "shop", MaxLifetime: 24 * time.Hour, Now: now}
		o.Resources.Exceptions = []v1alpha1.ImageScanException{live, tt.file}
		excepted := ""
		for _, number := range []string{"1", "2"} {
			objects := []check.Object{inShop("h.io/n" + number + ":1")}
			if checkObjects(t, o, objects).Results[0].Verdict == report.Warned {
				excepted += number
			}
		}
		if excepted != tt.excepted {
			t.Errorf("%s: the exception of image %s counts, want %s", name, excepted, tt.excepted)
		}
	}
}
