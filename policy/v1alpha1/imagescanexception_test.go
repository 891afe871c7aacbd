package v1alpha1_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const exceptionCRDPath = "../../charts/hssgate/files/crds/hssgate.io_imagescanexceptions.yaml"

func TestValidExceptionsDecodeStrictly(t *testing.T) {
	t.Parallel()
	for _, path := range samples(t, "exceptions/valid") {
		var e v1alpha1.ImageScanException
		if err := yaml.UnmarshalStrict(read(t, path), &e); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if diff := cmp.Diff(&e, e.DeepCopy()); diff != "" {
			t.Errorf("%s: the deep copy differs:\n%s", path, diff)
		}
	}
}

// The samples are judged by a real API server elsewhere; here every message of
// the schema's rules must be wanted by one.
func TestEveryRuleOfAnExceptionHasAnInvalidSample(t *testing.T) {
	t.Parallel()
	var wanted []string
	for _, path := range samples(t, "exceptions/invalid") {
		first, _, _ := strings.Cut(string(read(t, path)), "\n")
		want, ok := strings.CutPrefix(first, "# wants: ")
		if !ok {
			t.Errorf("%s must begin with %q, begins with %q", path, "# wants: ", first)
		}
		wanted = append(wanted, want)
	}
	for _, message := range messages(exceptionDefinition(t).Spec.Versions[0].Schema.OpenAPIV3Schema) {
		if !containsPart(wanted, message) {
			t.Errorf("no sample under testdata/exceptions/invalid wants %q", message)
		}
	}
}

func TestExceptionCRDIsNamespacedWithStatusAndShortName(t *testing.T) {
	t.Parallel()
	crd := exceptionDefinition(t)
	if crd.Spec.Scope != apiextensionsv1.NamespaceScoped {
		t.Errorf("scope is %s", crd.Spec.Scope)
	}
	if diff := cmp.Diff([]string{"ise"}, crd.Spec.Names.ShortNames); diff != "" {
		t.Errorf("short names differ:\n%s", diff)
	}
	version := crd.Spec.Versions[0]
	if version.Subresources == nil || version.Subresources.Status == nil {
		t.Error("there is no status subresource")
	}
	if got := version.Schema.OpenAPIV3Schema.Properties["spec"].Properties["expiresAt"].Format; got != "date-time" {
		t.Errorf("expiresAt has format %q, want date-time", got)
	}
}

func exceptionDefinition(t *testing.T) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	content, err := os.ReadFile(filepath.FromSlash(exceptionCRDPath))
	if err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(content, crd); err != nil {
		t.Fatal(err)
	}
	return crd
}
