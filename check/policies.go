package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	jsonexp "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/config/presets"
	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Policies are policies that don't change.
type Policies struct {
	index    *gate.Index
	compiled []*policy.Policy
	specs    []v1alpha1.ImageScanPolicy
	// Names are theirs, in the order in which they were given.
	Names []string
}

// Index returns them.
func (p *Policies) Index() *gate.Index { return p.index }

// Specs returns the policies as they were given.
func (p *Policies) Specs() []v1alpha1.ImageScanPolicy { return p.specs }

// GiveGrace tells whether any of them gives a grace.
func (p *Policies) GiveGrace() bool {
	return slices.ContainsFunc(p.compiled, func(one *policy.Policy) bool { return one.GracePeriod() > 0 })
}

// Compile prepares policies. One that is invalid fails closed, as in the
// webhook; the error then lists every problem.
func Compile(policies []v1alpha1.ImageScanPolicy) (*Policies, error) {
	compiled := make([]*policy.Policy, len(policies))
	names := make([]string, len(policies))
	var errs []error
	for i := range policies {
		var err error
		if compiled[i], err = policy.Compile(&policies[i]); err != nil {
			errs = append(errs, err)
		}
		names[i] = policies[i].Name
	}
	return &Policies{index: gate.NewIndex(compiled), compiled: compiled, specs: policies, Names: names}, errors.Join(errs...)
}

// LoadPolicies reads the ImageScanPolicies in files and folders, and in the
// folders in these. Other kinds are an error: a policy whose kind is misspelt
// would be missing without a word.
func LoadPolicies(ctx context.Context, f Files) ([]v1alpha1.ImageScanPolicy, error) {
	f.Recursive = true
	var (
		policies []v1alpha1.ImageScanPolicy
		errs     []error
	)
	err := f.each(ctx, func(name string, data []byte, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			return
		}
		for _, d := range split(data) {
			p, err := d.policy()
			if err != nil {
				errs = append(errs, fmt.Errorf("%s:%d: %w", name, d.start(), err))
			}
			if p != nil {
				policies = append(policies, *p)
			}
		}
	})
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	if len(policies) == 0 {
		return nil, errors.New("there is no ImageScanPolicy in it")
	}
	return policies, unique(policies)
}

// policy reads the document as a policy; nil if there is nothing in it.
func (d *document) policy() (*v1alpha1.ImageScanPolicy, error) {
	data, err := d.json()
	if err != nil || data == nil {
		return nil, err
	}
	var object metav1.PartialObjectMetadata
	want := v1alpha1.GroupVersion.WithKind("ImageScanPolicy")
	if err := json.Unmarshal(data, &object); err != nil || object.GroupVersionKind() != want || object.Name == "" {
		return nil, fmt.Errorf("it must be a %s %s with metadata.name, not %q, %q", want.GroupVersion(), want.Kind, object.APIVersion, object.Kind)
	}
	if !hasSpec(data) {
		return nil, fmt.Errorf("policy %q has no spec, which is required", object.Name)
	}
	p := &v1alpha1.ImageScanPolicy{}
	if err := into(data, p); err != nil {
		return nil, fmt.Errorf("read the policy: %w", err)
	}
	return p, checkEnumerations(p)
}

// hasSpec tells whether there is one: without, a policy would ask for nothing,
// and the API server refuses it.
func hasSpec(data []byte) bool {
	var fields map[string]jsontext.Value
	err := jsonexp.Unmarshal(data, &fields)
	spec := fields["spec"]
	return err == nil && spec != nil && spec.Kind() != 'n'
}

// unique returns an error if two policies have the same name.
func unique(policies []v1alpha1.ImageScanPolicy) error {
	known := map[string]bool{}
	for i := range policies {
		name := policies[i].Name
		if known[name] {
			return fmt.Errorf("policy %q is there twice", name)
		}
		known[name] = true
	}
	return nil
}

// Preset returns one of the policies that the chart offers: audit, baseline or
// strict.
func Preset(name string) (v1alpha1.ImageScanPolicy, error) {
	data, err := presets.Policy(name)
	if err != nil {
		return v1alpha1.ImageScanPolicy{}, err
	}
	d := document{text: data, line: 1}
	p, err := d.policy()
	if err != nil {
		return v1alpha1.ImageScanPolicy{}, fmt.Errorf("preset %s: %w", name, err)
	}
	return *p, nil
}
