package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/charts"
)

// addResource adds a custom resource of hssgate to a list of m, and refuses what an API
// server would: it validates by the CustomResourceDefinitions of the chart, which are
// read with the first one, since that takes 20 ms.
func addResource[T any](ctx context.Context, m *Manifests, o *unstructured.Unstructured, list *[]T) (err error) {
	if m.definitions == nil {
		if m.definitions, err = readDefinitions(); err != nil {
			return err
		}
	}
	if err := m.definitions[o.GetKind()].validate(ctx, o); err != nil {
		return fmt.Errorf("%s %q is invalid: %w", o.GetKind(), o.GetName(), err)
	}
	var resource T
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &resource); err != nil {
		return fmt.Errorf("decode the object: %w", err)
	}
	*list = append(*list, resource)
	return nil
}

// definition validates the resources of a CustomResourceDefinition.
type definition struct {
	namespaced bool
	structural *structuralschema.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator
}

// readDefinitions returns the definitions of the chart by kind.
func readDefinitions() (map[string]*definition, error) {
	manifests, err := charts.CustomResourceDefinitions()
	definitions := map[string]*definition{}
	for _, manifest := range manifests {
		var v1 apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(manifest, &v1); err != nil {
			return nil, fmt.Errorf("read a CustomResourceDefinition: %w", err)
		}
		if definitions[v1.Spec.Names.Kind], err = newDefinition(&v1); err != nil {
			return nil, err
		}
	}
	return definitions, err
}

// newDefinition compiles a definition, which has one version.
func newDefinition(v1 *apiextensionsv1.CustomResourceDefinition) (*definition, error) {
	var internal apiextensions.JSONSchemaProps
	err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v1.Spec.Versions[0].Schema.OpenAPIV3Schema, &internal, nil)
	if err != nil {
		return nil, err
	}
	d := &definition{namespaced: v1.Spec.Scope == apiextensionsv1.NamespaceScoped}
	if d.structural, err = structuralschema.NewStructural(&internal); err != nil {
		return nil, err
	}
	d.schema, _, err = validation.NewSchemaValidator(&internal)
	d.rules = cel.NewValidator(d.structural, true, celconfig.PerCallLimit)
	return d, err
}

// validate takes an object through the steps of an API server: null fields are
// dropped, defaults added, unknown fields refused, and the schema and its rules in
// CEL checked.
func (d *definition) validate(ctx context.Context, o *unstructured.Unstructured) error {
	defaulting.PruneNonNullableNullsWithoutDefaults(o.Object, d.structural)
	defaulting.Default(o.Object, d.structural)
	coerced, unknown := objectmeta.CoerceWithOptions(nil, o.Object, d.structural, true, objectmeta.CoerceOptions{ReturnUnknownFieldPaths: true})
	if coerced != nil {
		return coerced
	}
	track := structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	unknown = append(unknown, pruning.PruneWithOptions(o.Object, d.structural, true, track)...)
	if len(unknown) > 0 {
		return errors.New(`unknown field "` + strings.Join(unknown, `", "`) + `"`)
	}
	errs := validation.ValidateCustomResource(nil, o.Object, d.schema)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, d.structural, o.Object)...)
	if len(errs) == 0 {
		errs, _ = d.rules.Validate(ctx, nil, d.structural, o.Object, nil, celconfig.RuntimeCELCostBudget)
	}
	if !d.namespaced {
		o.SetNamespace("") // the API server ignores it
	}
	check := apivalidation.ValidateObjectMetaAccessor(o, o.GetNamespace() != "", apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	errs = append(errs, check...)
	slices.SortFunc(errs, func(a, b *field.Error) int { return strings.Compare(a.Field, b.Field) }) // the validator's order is random
	return errs.ToAggregate()
}
