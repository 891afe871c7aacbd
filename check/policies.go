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
	"k8s.io/apimachinery/pkg/runtime/schema"
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

// Loaded are the policies and exceptions of files.
type Loaded struct {
	Policies   []v1alpha1.ImageScanPolicy
	Exceptions []v1alpha1.ImageScanException
}

// LoadPolicies reads the ImageScanPolicies and ImageScanExceptions in files and
// folders, and in the folders in these. Other kinds are an error: a policy whose
// kind is misspelt would be missing without a word.
func LoadPolicies(ctx context.Context, f Files) (*Loaded, error) {
	f.Recursive = true
	var (
		loaded Loaded
		errs   []error
	)
	places := map[string]string{}
	err := f.each(ctx, func(name string, data []byte, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			return
		}
		for _, d := range split(data) {
			at := fmt.Sprintf("%s:%d", name, d.start())
			what, err := loaded.read(&d)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", at, err))
			}
			if what != "" {
				errs = append(errs, unique(places, what, at))
			}
		}
	})
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	if len(loaded.Policies) == 0 {
		return nil, errors.New("there is no ImageScanPolicy in it")
	}
	return &loaded, nil
}

// The kinds of policies and exceptions.
const (
	policyKind    = "ImageScanPolicy"
	exceptionKind = "ImageScanException"
)

// read adds the policy or the exception of a document, and returns which one that
// is; empty if there is nothing in it.
func (l *Loaded) read(d *document) (what string, err error) {
	data, err := d.json()
	if err != nil || data == nil {
		return "", err
	}
	if kindOf(data) == v1alpha1.GroupVersion.WithKind(exceptionKind) {
		var e v1alpha1.ImageScanException
		if err := readResource(data, exceptionKind, "exception", &e); err != nil {
			return "", err
		}
		l.Exceptions = append(l.Exceptions, e)
		return fmt.Sprintf("exception %q", strings.TrimPrefix(e.Namespace+"/"+e.Name, "/")), nil
	}
	p, err := readPolicy(data)
	if p == nil {
		return "", err
	}
	l.Policies = append(l.Policies, *p)
	return fmt.Sprintf("policy %q", p.Name), err
}

func readPolicy(data []byte) (*v1alpha1.ImageScanPolicy, error) {
	if kind, want := kindOf(data), v1alpha1.GroupVersion.WithKind(policyKind); kind != want {
		return nil, fmt.Errorf("it must be a %s %s or %s, not %q, %q", want.GroupVersion(), policyKind, exceptionKind, kind.GroupVersion(), kind.Kind)
	}
	p := &v1alpha1.ImageScanPolicy{}
	if err := readResource(data, policyKind, "policy", p); err != nil {
		return nil, err
	}
	return p, checkBesides(p)
}

// kindOf returns the kind of an object; empty if it is no object.
func kindOf(data []byte) schema.GroupVersionKind {
	var object metav1.TypeMeta
	if err := json.Unmarshal(data, &object); err != nil {
		return schema.GroupVersionKind{}
	}
	return object.GroupVersionKind()
}

// readResource reads a custom resource of hssgate as the API server would.
func readResource(data []byte, kind, word string, v any) error {
	name, err := resourceName(data, kind)
	if err != nil {
		return err
	}
	if !hasSpec(data) {
		return fmt.Errorf("%s %q has no spec, which is required", word, name)
	}
	s, err := schemaOf(kind)
	if err != nil {
		return err
	}
	pruned, wrong := s.check(data)
	unread := into(pruned, v)
	if wrong != nil && errors.As(unread, new(unreadable)) {
		unread = nil // the schema tells it of the same field
	}
	if err := errors.Join(wrong, unread); err != nil {
		return fmt.Errorf("%s %q is invalid: %w", word, name, err)
	}
	return nil
}

// resourceName is the name of an object.
func resourceName(data []byte, kind string) (string, error) {
	var object struct {
		Metadata struct {
			Name jsontext.Value `json:"name"`
		} `json:"metadata"`
	}
	err := json.Unmarshal(data, &object)
	name := strings.Trim(string(object.Metadata.Name), `"`)
	if err != nil || name == "" || name == "null" {
		return "", fmt.Errorf("metadata.name is missing: an %s must have one", kind)
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

// unique returns an error if the same policy or exception stands in another place,
// too.
func unique(places map[string]string, what, at string) error {
	if first, known := places[what]; known {
		return fmt.Errorf("%s: %s is there twice, first in %s", at, what, first)
	}
	places[what] = at
	return nil
}

// Preset returns one of the policies that the chart offers: audit, baseline or
// strict.
func Preset(name string) (v1alpha1.ImageScanPolicy, error) {
	data, err := presets.Policy(name)
	if err != nil {
		return v1alpha1.ImageScanPolicy{}, err
	}
	var loaded Loaded
	_, err = loaded.read(&document{text: data, line: 1})
	if err != nil {
		return v1alpha1.ImageScanPolicy{}, fmt.Errorf("preset %s: %w", name, err)
	}
	return loaded.Policies[0], nil
}
