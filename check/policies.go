package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	jsonexp "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

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
	s, err := policySchema()
	if err != nil {
		return nil, err
	}
	places := map[string]string{}
	err = f.each(ctx, func(name string, data []byte, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			return
		}
		for _, d := range split(data) {
			at := fmt.Sprintf("%s:%d", name, d.start())
			p, err := d.policy(s)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", at, err))
			}
			if p == nil {
				continue
			}
			errs = append(errs, unique(places, p.Name, at))
			policies = append(policies, *p)
		}
	})
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	if len(policies) == 0 {
		return nil, errors.New("there is no ImageScanPolicy in it")
	}
	return policies, nil
}

// policyKind is the kind of a policy.
const policyKind = "ImageScanPolicy"

// policy reads the document as a policy; nil if there is nothing in it.
func (d *document) policy(s *crdSchema) (*v1alpha1.ImageScanPolicy, error) {
	data, err := d.json()
	if err != nil || data == nil {
		return nil, err
	}
	name, err := policyName(data)
	if err != nil {
		return nil, err
	}
	if !hasSpec(data) {
		return nil, fmt.Errorf("policy %q has no spec, which is required", name)
	}
	p := &v1alpha1.ImageScanPolicy{}
	pruned, wrong := s.check(data)
	unread := into(pruned, p)
	if wrong != nil && errors.As(unread, new(unreadable)) {
		unread = nil // the schema tells it of the same field
	}
	if err := errors.Join(wrong, unread); err != nil {
		return nil, fmt.Errorf("policy %q is invalid: %w", name, err)
	}
	return p, checkBesides(p)
}

// policyName is the name of what must be a policy.
func policyName(data []byte) (string, error) {
	var object struct {
		metav1.TypeMeta `json:",inline"`

		Metadata struct {
			Name jsontext.Value `json:"name"`
		} `json:"metadata"`
	}
	want := v1alpha1.GroupVersion.WithKind(policyKind)
	if err := json.Unmarshal(data, &object); err != nil || object.GroupVersionKind() != want {
		return "", fmt.Errorf("it must be a %s %s, not %q, %q", want.GroupVersion(), want.Kind, object.APIVersion, object.Kind)
	}
	name := strings.Trim(string(object.Metadata.Name), `"`)
	if name == "" || name == "null" {
		return "", fmt.Errorf("metadata.name is missing: an %s must have one", want.Kind)
	}
	return name, nil
}

// checkBesides returns what the API server refuses besides: names that can't be one,
// and a policy that asks for nothing. What [Compile] finds it leaves to that,
// since such a policy can be in force, and then fails closed.
func checkBesides(p *v1alpha1.ImageScanPolicy) error {
	metadata := p.ObjectMeta
	metadata.Namespace = "" // the API server ignores it
	errs := validation.ValidateObjectMeta(&metadata, false, validation.NameIsDNSSubdomain, field.NewPath("metadata"))
	if _, err := policy.Compile(p); err == nil {
		errs = append(errs, policy.Validate(p)...)
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("policy %q is invalid: %w", p.Name, errs.ToAggregate())
}

// hasSpec tells whether there is one: without, a policy would ask for nothing,
// and the API server refuses it.
func hasSpec(data []byte) bool {
	var fields map[string]jsontext.Value
	err := jsonexp.Unmarshal(data, &fields)
	spec := fields["spec"]
	return err == nil && spec != nil && spec.Kind() != 'n'
}

// unique returns an error if a policy of the name stands in another place, too.
func unique(places map[string]string, name, at string) error {
	if first, known := places[name]; known {
		return fmt.Errorf("%s: policy %q is there twice, first in %s", at, name, first)
	}
	places[name] = at
	return nil
}

// Preset returns one of the policies that the chart offers: audit, baseline or
// strict.
func Preset(name string) (v1alpha1.ImageScanPolicy, error) {
	data, err := presets.Policy(name)
	if err != nil {
		return v1alpha1.ImageScanPolicy{}, err
	}
	s, err := policySchema()
	if err != nil {
		return v1alpha1.ImageScanPolicy{}, err
	}
	d := document{text: data, line: 1}
	p, err := d.policy(s)
	if err != nil {
		return v1alpha1.ImageScanPolicy{}, fmt.Errorf("preset %s: %w", name, err)
	}
	return *p, nil
}
