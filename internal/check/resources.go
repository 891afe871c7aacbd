package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/charts"
	"github.com/hssgate/hssgate/config/presets"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Resources are policies and exceptions as they are written. The last one of a name counts, as for kubectl apply.
type Resources struct {
	Policies []v1alpha1.ImageScanPolicy
	// Exceptions are of both kinds.
	Exceptions []v1alpha1.ImageScanException
}

// policies compiles the policies, in the order of their names.
func (o *Options) policies() (compiled []*policy.Policy, err error) {
	last := map[string]*v1alpha1.ImageScanPolicy{}
	for i := range o.Resources.Policies {
		last[o.Resources.Policies[i].Name] = &o.Resources.Policies[i]
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(last)) {
		p, problems := policy.Compile(last[name])
		if len(problems) > 0 {
			errs = append(errs, fmt.Errorf("policy %q is invalid: %w", name, problems.ToAggregate()))
		}
		compiled = append(compiled, p)
	}
	return compiled, errors.Join(errs...)
}

// exceptions compiles the exceptions by namespace; those of the whole cluster have none.
func (o *Options) exceptions() (compiled map[string][]*policy.Exception, err error) {
	var errs []error
	last := map[types.NamespacedName]*policy.Exception{}
	for _, e := range o.Resources.Exceptions {
		if !e.ClusterWide() {
			e.Namespace = cmp.Or(e.Namespace, o.Namespace)
		}
		if e.CreationTimestamp.IsZero() { // an API server would refuse to create an invalid one
			e.CreationTimestamp = metav1.NewTime(o.Now)
			if wrong := policy.ValidateException(&e, false, o.Now, o.MaxLifetime); len(wrong) > 0 {
				errs = append(errs, fmt.Errorf("exception %q is invalid: %w", e.Name, wrong.ToAggregate()))
				continue
			}
		}
		one, problems := policy.CompileException(&e, o.MaxLifetime)
		if len(problems) > 0 {
			errs = append(errs, fmt.Errorf("exception %q is invalid: %w", e.Name, problems.ToAggregate()))
		}
		last[types.NamespacedName{Namespace: e.Namespace, Name: e.Name}] = one
	}
	compiled = map[string][]*policy.Exception{}
	for name, e := range last {
		compiled[name.Namespace] = append(compiled[name.Namespace], e)
	}
	return compiled, errors.Join(errs...)
}

// Preset returns one of the policies that come with the chart.
func Preset(name string) (loaded Resources, err error) {
	data, err := presets.Policy(name)
	if err == nil {
		loaded.Policies = make([]v1alpha1.ImageScanPolicy, 1)
		err = yaml.UnmarshalStrict(data, &loaded.Policies[0])
	}
	return loaded, err
}

// LoadPolicies reads the policies and exceptions in files and folders with their subfolders. Other kinds are an error,
// since a policy whose kind is misspelt would otherwise be missing.
func LoadPolicies(ctx context.Context, f Files) (Resources, error) {
	m := Manifests{onlyResources: true}
	f.Recursive = true
	if err := f.readInto(ctx, &m); err != nil {
		return Resources{}, err
	}
	var errs []error
	for _, p := range m.Problems {
		errs = append(errs, errors.New(p.String()))
	}
	if len(errs)+len(m.Policies) == 0 {
		errs = append(errs, errors.New("there is no ImageScanPolicy in it"))
	}
	return m.Resources, errors.Join(errs...)
}

// addResource adds a custom resource of hssgate to a list of m, and refuses what an API server would: it validates by
// the CustomResourceDefinitions of the chart, which are read with the first one, since that takes 20 ms.
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

// validate takes an object through the steps of an API server: null fields are dropped, defaults added, unknown fields
// refused, and the schema and its rules in CEL checked.
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
