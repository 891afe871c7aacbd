package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hssgate/hssgate/config/presets"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Resources are policies and exceptions as they are written. The last one of a name
// counts, as for kubectl apply.
type Resources struct {
	Policies   []v1alpha1.ImageScanPolicy
	Exceptions []v1alpha1.ImageScanException

	definitions definitions
}

// policies compiles the policies, in the order of their names.
func (o *Options) policies() (compiled []*policy.Policy, err error) {
	last := map[string]*v1alpha1.ImageScanPolicy{}
	for i := range o.Resources.Policies {
		last[o.Resources.Policies[i].Name] = &o.Resources.Policies[i]
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(last)) {
		p, err := policy.Compile(last[name])
		compiled, errs = append(compiled, p), append(errs, err)
	}
	return compiled, errors.Join(errs...)
}

// exceptions compiles the exceptions, by namespace.
func (o *Options) exceptions() (compiled map[string][]*policy.Exception, err error) {
	var errs []error
	last := map[types.NamespacedName]*policy.Exception{}
	for i := range o.Resources.Exceptions {
		e, err := o.compile(o.Resources.Exceptions[i].DeepCopy())
		if e != nil {
			last[types.NamespacedName{Namespace: e.Namespace(), Name: e.Name()}] = e
		}
		errs = append(errs, err)
	}
	compiled = map[string][]*policy.Exception{}
	for _, e := range last {
		compiled[e.Namespace()] = append(compiled[e.Namespace()], e)
	}
	return compiled, errors.Join(errs...)
}

// compile returns nil for an exception that an API server would refuse to create.
func (o *Options) compile(e *v1alpha1.ImageScanException) (*policy.Exception, error) {
	e.Namespace = cmp.Or(e.Namespace, o.Namespace)
	if e.CreationTimestamp.IsZero() {
		e.CreationTimestamp = metav1.NewTime(o.Now)
		if wrong := policy.ValidateException(e, false, o.Now, o.MaxLifetime); len(wrong) > 0 {
			return nil, fmt.Errorf("exception %q is invalid: %w", e.Name, wrong.ToAggregate())
		}
	}
	return policy.CompileException(e, o.MaxLifetime)
}

// Preset returns one of the policies that come with the chart.
func Preset(name string) (loaded Resources, err error) {
	data, err := presets.Policy(name)
	if err == nil {
		err = loaded.report(visitor(loaded.add).documents(name, data, true))
	}
	return loaded, err
}

// LoadPolicies reads the policies and exceptions in files and folders with their
// subfolders. Other kinds are an error, since a policy whose kind is misspelt
// would otherwise be missing.
func LoadPolicies(ctx context.Context, f Files) (loaded Resources, err error) {
	f.Recursive = true
	problems, err := f.objects(ctx, loaded.add)
	if err == nil {
		err = loaded.report(problems)
	}
	return loaded, err
}

// report returns an error if there are problems, or no policy.
func (r *Resources) report(problems []report.Problem) error {
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = errors.New(p.String())
	}
	if len(errs) == 0 && len(r.Policies) == 0 {
		return errors.New("there is no ImageScanPolicy in it")
	}
	return errors.Join(errs...)
}

// add adds a policy or an exception.
func (r *Resources) add(o *unstructured.Unstructured, _ Object) error {
	switch kind := o.GroupVersionKind(); kind {
	case v1alpha1.GroupVersion.WithKind(exceptionKind):
		return readResource(&r.definitions, o, &r.Exceptions)
	case v1alpha1.GroupVersion.WithKind(policyKind):
		return readResource(&r.definitions, o, &r.Policies)
	default:
		return fmt.Errorf("it must be a %s %s or %s, not %q, %q", v1alpha1.GroupVersion, policyKind, exceptionKind, o.GetAPIVersion(), o.GetKind())
	}
}
