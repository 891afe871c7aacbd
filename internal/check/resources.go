package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/config/presets"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Resources are policies and exceptions as they are written. The last one of a name
// counts, as for kubectl apply.
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

// LoadPolicies reads the policies and exceptions in files and folders with their
// subfolders. Other kinds are an error, since a policy whose kind is misspelt
// would otherwise be missing.
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
