package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

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

// Rules are compiled policies and exceptions. They don't change.
type Rules struct {
	policies   []*policy.Policy
	exceptions map[string][]*policy.Exception // by namespace
}

// Policies returns the policies in the order of their names.
func (r *Rules) Policies() []*policy.Policy { return r.policies }

// Exceptions returns the exceptions of a namespace.
func (r *Rules) Exceptions(namespace string) []*policy.Exception { return r.exceptions[namespace] }

// Names returns the policies' names.
func (r *Rules) Names() []string {
	names := make([]string, len(r.policies))
	for i, p := range r.policies {
		names[i] = p.Name()
	}
	return names
}

// CompileOptions are for exceptions. One that no API server has seen counts as if it
// were created at the time Now.
type CompileOptions struct {
	// Namespace is that of exceptions that name none; default: DefaultNamespace.
	Namespace string
	// MaxLifetime is the longest that an exception lasts from its creation.
	MaxLifetime time.Duration
	Now         time.Time
}

// Compile prepares policies and exceptions. As in the webhook, an invalid policy fails
// closed, and an invalid exception has no effect; the error then lists every problem.
func Compile(r Resources, o CompileOptions) (*Rules, error) {
	var errs []error
	rules := &Rules{exceptions: map[string][]*policy.Exception{}}
	last := map[string]*v1alpha1.ImageScanPolicy{}
	for i := range r.Policies {
		last[r.Policies[i].Name] = &r.Policies[i]
	}
	for _, name := range slices.Sorted(maps.Keys(last)) {
		p, err := policy.Compile(last[name])
		rules.policies = append(rules.policies, p)
		errs = append(errs, err)
	}
	exceptions := map[types.NamespacedName]*policy.Exception{}
	for i := range r.Exceptions {
		e, err := o.compile(r.Exceptions[i].DeepCopy())
		if e != nil {
			exceptions[types.NamespacedName{Namespace: e.Namespace(), Name: e.Name()}] = e
		}
		errs = append(errs, err)
	}
	for _, e := range exceptions {
		rules.exceptions[e.Namespace()] = append(rules.exceptions[e.Namespace()], e)
	}
	return rules, errors.Join(errs...)
}

// compile returns nil for an exception that an API server would refuse to create.
func (o *CompileOptions) compile(e *v1alpha1.ImageScanException) (*policy.Exception, error) {
	e.Namespace = cmp.Or(e.Namespace, o.Namespace, DefaultNamespace)
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
		e, err := readResource[v1alpha1.ImageScanException](&r.definitions, o)
		r.Exceptions = append(r.Exceptions, e)
		return err
	case v1alpha1.GroupVersion.WithKind(policyKind):
		p, err := readResource[v1alpha1.ImageScanPolicy](&r.definitions, o)
		r.Policies = append(r.Policies, p)
		return err
	default:
		return fmt.Errorf("it must be a %s %s or %s, not %q, %q", v1alpha1.GroupVersion, policyKind, exceptionKind, o.GetAPIVersion(), o.GetKind())
	}
}
