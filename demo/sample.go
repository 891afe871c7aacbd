package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/hssgate/hssgate/image"
)

// The annotations that say what a sample expects.
const (
	// VerdictAnnotation holds the expected Verdict.
	VerdictAnnotation = "demo.hssgate.io/verdict"
	// SaysAnnotation holds a part of what is expected to be said.
	SaysAnnotation = "demo.hssgate.io/says"
)

// Verdict is what came of a sample.
type Verdict string

// The verdicts.
const (
	// Admitted: without a word.
	Admitted Verdict = "Admitted"
	// Denied: by the webhook.
	Denied Verdict = "Denied"
	// Warned: admitted, with a warning to whoever sent it.
	Warned Verdict = "Warned"
	// Failed: refused by something else, such as the API server's validation.
	// No sample expects it.
	Failed Verdict = "Failed"
)

func expectable() []Verdict { return []Verdict{Admitted, Denied, Warned} }

// sample is one request: to create an object or to update it.
type sample struct {
	file     string
	object   *unstructured.Unstructured
	old      *unstructured.Unstructured // nil: create
	uses     []image.Use
	newUses  []image.Use
	expected Verdict
	says     string
}

// newSample reads what an object expects; old is nil unless it is an update.
func newSample(file string, object, old *unstructured.Unstructured) (*sample, error) {
	s := &sample{file: file, object: object, old: old}
	s.expected, s.says = Verdict(object.GetAnnotations()[VerdictAnnotation]), object.GetAnnotations()[SaysAnnotation]
	if !slices.Contains(expectable(), s.expected) {
		return nil, fmt.Errorf("annotation %s must be Admitted, Denied or Warned, not %q", VerdictAnnotation, s.expected)
	}
	uses, err := usesOf(object)
	if err != nil {
		return nil, err
	}
	s.uses, s.newUses = uses, uses
	if old == nil {
		return s, nil
	}
	before, err := usesOf(old)
	s.newUses = image.Missing(uses, before)
	return s, err
}

// usesOf lists the places of an object that name an image.
func usesOf(o *unstructured.Unstructured) ([]image.Use, error) {
	data, err := o.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("write as JSON: %w", err)
	}
	var manifest image.Manifest
	if err := jsonv2.Unmarshal(data, &manifest); err != nil {
		return nil, fmt.Errorf("read its images: %w", err)
	}
	kind := o.GroupVersionKind()
	workload, ok := manifest.Workload(kind.Group, kind.Kind)
	if !ok {
		return nil, fmt.Errorf("kind %s names no images", kind.Kind)
	}
	return workload.Uses, nil
}

func (s *sample) operation() admissionv1.Operation {
	if s.old == nil {
		return admissionv1.Create
	}
	return admissionv1.Update
}

const ephemeralContainers = "ephemeralcontainers"

// subResource is that of kubectl debug, if the sample does what it does.
func (s *sample) subResource() string {
	if s.old == nil {
		return ""
	}
	added, _, _ := unstructured.NestedSlice(s.object.Object, "spec", "ephemeralContainers")
	if len(added) == 0 {
		return ""
	}
	return ephemeralContainers
}

// name is kind/name, and what is done with it unless it is created.
func (s *sample) name() string {
	name := s.object.GetKind() + "/" + s.object.GetName()
	switch {
	case s.subResource() != "":
		return name + " (debug)"
	case s.old != nil:
		return name + " (update)"
	}
	return name
}

// resource guesses the resource of a kind as kubectl's own clients do offline:
// it is right for all kinds that hold images.
func resource(kind schema.GroupVersionKind) schema.GroupVersionResource {
	return kind.GroupVersion().WithResource(strings.ToLower(kind.Kind) + "s")
}

// newObject reads one document of a manifest.
func newObject(document []byte) (*unstructured.Unstructured, error) {
	fields := map[string]any{}
	if err := json.Unmarshal(document, &fields); err != nil {
		return nil, fmt.Errorf("read the object: %w", err)
	}
	object := &unstructured.Unstructured{Object: fields}
	switch {
	case object.GetAPIVersion() == "" || object.GetKind() == "":
		return nil, errors.New("it has no apiVersion or no kind")
	case object.GetName() == "":
		return nil, fmt.Errorf("%s without metadata.name", object.GetKind())
	}
	return object, nil
}
