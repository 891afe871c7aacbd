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

// readResource reads a custom resource of hssgate from a file into a list, and refuses
// what an API server would: it validates by the CustomResourceDefinition of the chart.
func readResource[T any](known *definitions, o *unstructured.Unstructured, list *[]T) error {
	crd, err := known.of(o.GetKind())
	if err != nil {
		return err
	}
	if err := crd.validate(o); err != nil {
		return fmt.Errorf("%s %q is invalid: %w", o.GetKind(), o.GetName(), err)
	}
	var resource T
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &resource); err != nil {
		return fmt.Errorf("decode the object: %w", err)
	}
	*list = append(*list, resource)
	return nil
}

// definitions are those that have been needed, by kind: to read one takes 10 ms.
type definitions map[string]*definition

// definition validates the resources of a CustomResourceDefinition.
type definition struct {
	namespaced bool
	structural *structuralschema.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator
}

// of returns the definition of a kind in the chart.
func (d *definitions) of(kind string) (*definition, error) {
	if known := (*d)[kind]; known != nil {
		return known, nil
	}
	manifests, err := charts.CustomResourceDefinitions()
	if err != nil {
		return nil, err
	}
	for _, manifest := range manifests {
		var v1 apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(manifest, &v1); err != nil {
			return nil, fmt.Errorf("read a CustomResourceDefinition: %w", err)
		}
		if v1.Spec.Names.Kind != kind {
			continue
		}
		read, err := newDefinition(&v1)
		if *d == nil {
			*d = definitions{}
		}
		(*d)[kind] = read
		return read, err
	}
	return nil, fmt.Errorf("the chart has no CustomResourceDefinition of %s", kind)
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
func (d *definition) validate(o *unstructured.Unstructured) error {
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
		errs, _ = d.rules.Validate(context.Background(), nil, d.structural, o.Object, nil, celconfig.RuntimeCELCostBudget)
	}
	if !d.namespaced {
		o.SetNamespace("") // the API server ignores it
	}
	check := apivalidation.ValidateObjectMetaAccessor(o, o.GetNamespace() != "", apivalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	errs = append(errs, check...)
	slices.SortFunc(errs, func(a, b *field.Error) int { return strings.Compare(a.Field, b.Field) }) // the validator's order is random
	return errs.ToAggregate()
}
