package v1alpha1_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

const (
	policyCRD    = "../../charts/hssgate/files/crds/hssgate.io_imagescanpolicies.yaml"
	exceptionCRD = "../../charts/hssgate/files/crds/hssgate.io_imagescanexceptions.yaml"
	clusterCRD   = "../../charts/hssgate/files/crds/hssgate.io_clusterimagescanexceptions.yaml"
)

// The files under testdata are evaluated by a real API server, too: see test/e2e.
func TestEveryRuleOfASchemaHasAnInvalidSample(t *testing.T) {
	t.Parallel()
	for kind, crd := range map[string]string{"invalid": policyCRD, "exceptions/invalid": exceptionCRD} {
		var wanted []string
		for _, path := range samples(t, kind) {
			first, _, _ := strings.Cut(string(read(t, path)), "\n")
			want, ok := strings.CutPrefix(first, "# wants: ")
			if !ok {
				t.Errorf("%s must begin with %q, begins with %q", path, "# wants: ", first)
			}
			wanted = append(wanted, want)
		}
		for _, message := range messages(definition(t, crd).Spec.Versions[0].Schema.OpenAPIV3Schema) {
			if !slices.ContainsFunc(wanted, func(part string) bool { return strings.Contains(message, part) }) {
				t.Errorf("no sample under testdata/%s wants %q", kind, message)
			}
		}
	}
}

func TestCRDsHaveScopeStatusAndShortNames(t *testing.T) {
	t.Parallel()
	type shape struct {
		Scope                  apiextensionsv1.ResourceScope
		ShortNames, Categories []string
	}
	for path, want := range map[string]shape{
		policyCRD:    {apiextensionsv1.ClusterScoped, []string{"isp"}, []string{"security", "hssgate"}},
		exceptionCRD: {apiextensionsv1.NamespaceScoped, []string{"ise"}, []string{"security", "hssgate"}},
		clusterCRD:   {apiextensionsv1.ClusterScoped, []string{"cise"}, []string{"security", "hssgate"}},
	} {
		crd := definition(t, path)
		got := shape{Scope: crd.Spec.Scope, ShortNames: crd.Spec.Names.ShortNames, Categories: crd.Spec.Names.Categories}
		version := crd.Spec.Versions[0]
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
		if version.Subresources == nil || version.Subresources.Status == nil {
			t.Errorf("%s has no status subresource", path)
		}
	}
}

// All columns, rules and fields are the same, so that one reference is enough for both.
func TestTheKindsOfExceptionsDifferInTheirScopeOnly(t *testing.T) {
	t.Parallel()
	namespaced, clusterWide := definition(t, exceptionCRD).Spec.Versions[0], definition(t, clusterCRD).Spec.Versions[0]
	namespaced.Schema.OpenAPIV3Schema.Description = clusterWide.Schema.OpenAPIV3Schema.Description
	if diff := cmp.Diff(namespaced, clusterWide); diff != "" {
		t.Errorf("-namespaced +cluster-wide:\n%s", diff)
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

func definition(t *testing.T, path string) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(read(t, path), crd); err != nil {
		t.Fatal(err)
	}
	return crd
}

// messages returns those of all rules in s and below.
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
