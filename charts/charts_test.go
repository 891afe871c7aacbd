package charts_test

import (
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/charts"
)

func TestCustomResourceDefinitionsAreWhole(t *testing.T) {
	t.Parallel()
	manifests, err := charts.CustomResourceDefinitions()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, manifest := range manifests {
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(manifest, &crd); err != nil {
			t.Fatal(err)
		}
		if crd.Spec.Group != "hssgate.io" {
			t.Errorf("%s is of group %q, want hssgate.io", crd.Name, crd.Spec.Group)
		}
		kinds[crd.Spec.Names.Kind] = true
	}
	if !kinds["ImageScanPolicy"] {
		t.Errorf("got kinds %v, want ImageScanPolicy among them", kinds)
	}
}
