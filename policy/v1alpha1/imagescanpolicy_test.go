package v1alpha1_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const crdPath = "../../charts/hssgate/files/crds/hssgate.io_imagescanpolicies.yaml"

// The files under testdata are judged by a real API server elsewhere; here
// they must be what they claim to be.
func TestValidSamplesDecodeStrictly(t *testing.T) {
	t.Parallel()
	for _, path := range samples(t, "valid") {
		var p v1alpha1.ImageScanPolicy
		if err := yaml.UnmarshalStrict(read(t, path), &p); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if diff := cmp.Diff(&p, p.DeepCopy()); diff != "" {
			t.Errorf("%s: the deep copy differs:\n%s", path, diff)
		}
	}
}

func TestInvalidSamplesSayWhatTheyWant(t *testing.T) {
	t.Parallel()
	for _, path := range samples(t, "invalid") {
		first, _, _ := strings.Cut(string(read(t, path)), "\n")
		if !strings.HasPrefix(first, "# wants: ") {
			t.Errorf("%s must begin with %q, begins with %q", path, "# wants: ", first)
		}
	}
}

// Every message of the schema's CEL rules is provoked by a sample.
func TestEveryRuleOfTheSchemaHasAnInvalidSample(t *testing.T) {
	t.Parallel()
	var wanted []string
	for _, path := range samples(t, "invalid") {
		first, _, _ := strings.Cut(string(read(t, path)), "\n")
		wanted = append(wanted, strings.TrimPrefix(first, "# wants: "))
	}
	for _, message := range messages(schema(t)) {
		if !containsPart(wanted, message) {
			t.Errorf("no sample under testdata/invalid wants %q", message)
		}
	}
}

func TestCRDIsClusterScopedWithStatusAndShortName(t *testing.T) {
	t.Parallel()
	crd := definition(t)
	if crd.Spec.Scope != apiextensionsv1.ClusterScoped {
		t.Errorf("scope is %s", crd.Spec.Scope)
	}
	if diff := cmp.Diff([]string{"isp"}, crd.Spec.Names.ShortNames); diff != "" {
		t.Errorf("short names differ:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"security", "hssgate"}, crd.Spec.Names.Categories); diff != "" {
		t.Errorf("categories differ:\n%s", diff)
	}
	version := crd.Spec.Versions[0]
	if version.Subresources == nil || version.Subresources.Status == nil {
		t.Error("there is no status subresource")
	}
	var columns []string
	for _, c := range version.AdditionalPrinterColumns {
		if c.Priority == 0 {
			columns = append(columns, c.Name)
		}
	}
	if diff := cmp.Diff([]string{"Enforcement", "Ready", "HSS", "Evaluated", "Violations", "Unknown", "Age"}, columns); diff != "" {
		t.Errorf("columns differ:\n%s", diff)
	}
}

func TestSchemeKnowsTheKinds(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"ImageScanPolicy", "ImageScanPolicyList", "ImageScanException", "ImageScanExceptionList"} {
		if !scheme.Recognizes(v1alpha1.GroupVersion.WithKind(kind)) {
			t.Errorf("the scheme does not know %s", kind)
		}
	}
}

func TestEmptyOptionalPartsAreNotMarshalled(t *testing.T) {
	t.Parallel()
	got, err := yaml.Marshal(v1alpha1.ImageScanPolicy{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("metadata: {}\nspec: {}\n", string(got)); diff != "" {
		t.Error(diff)
	}
}

func samples(t *testing.T, kind string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", kind, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no samples of kind %s: %v", kind, err)
	}
	return paths
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func definition(t *testing.T) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(read(t, crdPath), crd); err != nil {
		t.Fatal(err)
	}
	return crd
}

func schema(t *testing.T) *apiextensionsv1.JSONSchemaProps {
	t.Helper()
	return definition(t).Spec.Versions[0].Schema.OpenAPIV3Schema
}

// messages are those of all rules in s and below.
func messages(s *apiextensionsv1.JSONSchemaProps) []string {
	var all []string
	for _, rule := range s.XValidations {
		all = append(all, rule.Message)
	}
	for _, property := range s.Properties {
		all = append(all, messages(&property)...)
	}
	if s.Items != nil && s.Items.Schema != nil {
		all = append(all, messages(s.Items.Schema)...)
	}
	return all
}

func containsPart(parts []string, whole string) bool {
	for _, part := range parts {
		if strings.Contains(whole, part) {
			return true
		}
	}
	return false
}
