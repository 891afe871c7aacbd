package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	utiljson "k8s.io/apimachinery/pkg/util/json"
	openapierrors "k8s.io/kube-openapi/pkg/validation/errors"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/charts"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// crdSchema is the one by which the API server refuses a custom resource of
// hssgate. One in a file has met no API server, and what that refuses must not
// pass here.
type crdSchema struct{ root *spec.Schema }

// definition is the part of a CustomResourceDefinition that holds the schemas.
type definition struct {
	Spec struct {
		Names struct {
			Kind string `json:"kind"`
		} `json:"names"`
		Versions []struct {
			Name   string `json:"name"`
			Schema struct {
				OpenAPIV3Schema *spec.Schema `json:"openAPIV3Schema"` //nolint:tagliatelle // as Kubernetes spells it
			} `json:"schema"`
		} `json:"versions"`
	} `json:"spec"`
}

// schemaOf takes the schema of a kind out of the CustomResourceDefinition that the
// chart installs.
func schemaOf(kind string) (*crdSchema, error) {
	manifests, err := charts.CustomResourceDefinitions()
	if err != nil {
		return nil, err
	}
	for _, manifest := range manifests {
		var d definition
		if err := yaml.Unmarshal(manifest, &d); err != nil {
			return nil, fmt.Errorf("read a CustomResourceDefinition: %w", err)
		}
		for _, version := range d.Spec.Versions {
			if d.Spec.Names.Kind == kind && version.Name == v1alpha1.GroupVersion.Version {
				return &crdSchema{version.Schema.OpenAPIV3Schema}, nil
			}
		}
	}
	return nil, fmt.Errorf("no CustomResourceDefinition is of %s", kind)
}

// check returns the resource, in JSON, without what is null, which to the API server
// isn't there; and what is wrong with it. The rules in CEL are not among that:
// package policy knows them. Fields that the schema doesn't have are for [into]
// to find.
func (s *crdSchema) check(data []byte) (pruned []byte, wrong error) {
	var document any
	if err := utiljson.Unmarshal(data, &document); err != nil {
		return data, fmt.Errorf("read the object: %w", err)
	}
	wrong = s.judge(document)
	pruned, err := json.Marshal(document)
	if err != nil {
		return data, fmt.Errorf("write the object: %w", err)
	}
	return pruned, wrong
}

// judge returns what is wrong with a document, and takes what is null out of it.
func (s *crdSchema) judge(document any) error {
	values := places{}
	values.visit("", document, s.root)
	wrong := map[string]string{}
	var errs []error
	for _, err := range validate.NewSchemaValidator(s.root, nil, "", strfmt.Default).Validate(document).Errors {
		if v, is := errors.AsType[*openapierrors.Validation](err); is {
			path := strings.TrimPrefix(v.Name, ".")
			wrong[path] = values.wrong(path)
			continue
		}
		errs = append(errs, err)
	}
	values.durations(wrong)
	if len(wrong) > 0 { // the rest only repeats them without naming the field
		errs = nil
	}
	for _, path := range slices.Sorted(maps.Keys(wrong)) {
		errs = append(errs, errors.New(wrong[path]))
	}
	return errors.Join(errs...)
}

// places are the values of a policy by their paths, such as
// spec.require.scanStatus.in[0], and those that are required and missing.
type places map[string]place

// place is a value and what the schema says of it.
type place struct {
	value   any
	missing bool
	schema  *spec.Schema
}

// visit goes through all values. It takes away those that are null: to the API
// server they are left out, and so have their defaults.
func (p places) visit(path string, value any, s *spec.Schema) {
	p[path] = place{value: value, schema: s}
	switch value := value.(type) {
	case map[string]any:
		p.visitFields(path, value, s)
	case []any:
		for i := range value {
			if s.Items != nil && s.Items.Schema != nil {
				p.visit(fmt.Sprintf("%s[%d]", path, i), value[i], s.Items.Schema)
			}
		}
	default:
	}
}

func (p places) visitFields(path string, fields map[string]any, s *spec.Schema) {
	for name, value := range fields {
		inner := property(s, name)
		if inner == nil {
			continue
		}
		if value == nil && !inner.Nullable {
			delete(fields, name)
			continue
		}
		p.visit(join(path, name), value, inner)
	}
	for _, name := range s.Required {
		if _, given := fields[name]; !given {
			p[join(path, name)] = place{missing: true, schema: property(s, name)}
		}
	}
}

// property is the schema of a field; nil if there is none.
func property(s *spec.Schema, name string) *spec.Schema {
	if one, known := s.Properties[name]; known {
		return &one
	}
	if s.AdditionalProperties != nil {
		return s.AdditionalProperties.Schema
	}
	return nil
}

func join(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

// wrong says that the value at a path is not one of those that are allowed.
func (p places) wrong(path string) string {
	one, known := p[path]
	if !known || one.schema == nil {
		return path + " is invalid"
	}
	rule := durationRule(one.schema)
	switch {
	case one.missing && rule != "":
		return fmt.Sprintf("%s is required: it %s", path, rule)
	case one.missing:
		return fmt.Sprintf("%s is required: %s", path, allowed(path, one.schema))
	case rule != "":
		return fmt.Sprintf("%s is %s: it %s", path, written(one.value), rule)
	default:
		return fmt.Sprintf("%s must be %s, not %s", path, allowed(path, one.schema), written(one.value))
	}
}

// durations adds the texts that are no duration. The schema has a rule in CEL
// for them, but without it such a text can't be read as a policy at all.
func (p places) durations(wrong map[string]string) {
	for path, one := range p {
		text, is := one.value.(string)
		if !is || durationRule(one.schema) == "" {
			continue
		}
		if _, err := time.ParseDuration(text); err != nil {
			wrong[path] = p.wrong(path)
		}
	}
}

// durationRule is the message of the rule by which a value is a duration; empty:
// it needn't be one.
func durationRule(s *spec.Schema) string {
	rules, _ := s.Extensions["x-kubernetes-validations"].([]any)
	for _, rule := range rules {
		fields, _ := rule.(map[string]any)
		if message, _ := fields["message"].(string); strings.HasPrefix(message, "must be a duration") {
			return message
		}
	}
	return ""
}

// allowed says what a value may be.
func allowed(path string, s *spec.Schema) string {
	if len(s.Enum) > 0 {
		return oneOf(choices(path, s))
	}
	switch {
	case s.Type.Contains("integer"):
		return "a whole number" + span(whole(s.Minimum), whole(s.Maximum), " from %d to %d", " of at least %d", " of at most %d")
	case s.Type.Contains("boolean"):
		return "true or false"
	case s.Type.Contains("array"):
		return "a list" + span(s.MinItems, s.MaxItems, " of %d to %d items", " of at least %d items", " of at most %d items")
	case s.Type.Contains("object"):
		return "a mapping of fields"
	default:
		return "a string" + span(s.MinLength, s.MaxLength, " of %d to %d characters", " of at least %d characters", " of at most %d characters")
	}
}

// span says between which bounds something lies.
func span(least, most *int64, both, onlyLeast, onlyMost string) string {
	switch {
	case least != nil && most != nil:
		return fmt.Sprintf(both, *least, *most)
	case least != nil:
		return fmt.Sprintf(onlyLeast, *least)
	case most != nil:
		return fmt.Sprintf(onlyMost, *most)
	default:
		return ""
	}
}

func whole(bound *float64) *int64 {
	if bound == nil {
		return nil
	}
	return new(int64(*bound))
}

// choices are the values of an enumeration, without those that a rule in CEL
// refuses in this place.
func choices(path string, s *spec.Schema) []string {
	refused := refusedChoices()[regexp.MustCompile(`\[\d+\]`).ReplaceAllString(path, "")]
	var list []string
	for _, value := range s.Enum {
		if text, is := value.(string); is && !slices.Contains(refused, text) {
			list = append(list, text)
		}
	}
	return list
}

// refusedChoices are the values that an enumeration has for the sake of other
// fields of its type.
func refusedChoices() map[string][]string {
	return map[string][]string{
		"spec.require.vulnerabilities.minSeverity": {"Security"},
		"spec.require.scanStatus.in":               {"unscan", "scanning", "waiting_for_scan"},
	}
}

// oneOf lists values that exclude each other.
func oneOf(values []string) string {
	if len(values) < 2 {
		return strings.Join(values, "")
	}
	last := len(values) - 1
	return strings.Join(values[:last], ", ") + " or " + values[last]
}

// written shows a value in a few words.
func written(value any) string {
	const most = 80
	switch value := value.(type) {
	case string:
		if runes := []rune(value); len(runes) > most {
			return fmt.Sprintf("%s (%d characters)", strconv.Quote(string(runes[:most])+"…"), len(runes))
		}
		return strconv.Quote(value)
	case []any:
		return counted(len(value), "list", "item", "items")
	case map[string]any:
		return counted(len(value), "mapping", "field", "fields")
	case nil:
		return "null"
	default:
		return fmt.Sprint(value)
	}
}

func counted(n int, what, one, several string) string {
	switch n {
	case 0:
		return "an empty " + what
	case 1:
		return "a " + what + " of 1 " + one
	default:
		return fmt.Sprintf("a %s of %d %s", what, n, several)
	}
}
