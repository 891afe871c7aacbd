package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Object is something that names images: a pod, a workload, or an image itself.
type Object struct {
	// Source is the object's file and Line its line there, from 1; both are empty
	// for objects that are in no file.
	Source string
	Line   int
	// Namespace is empty if the object names none.
	Namespace string
	Name      string
	// Owner is the object's controller; zero: none.
	Owner    image.Owner
	Workload image.Workload

	// running reports whether it is a running pod, which is not pinned any more.
	running bool
	// lines are those of its images in Source, by the images as they are written.
	lines map[string]int
}

func (o *Object) setMetadata(m *image.Metadata) {
	o.Namespace, o.Name, o.Owner = m.Namespace, m.DisplayName(), m.Controller
}

// ImageObject returns an object for an image by itself, as the only container of
// a pod in a namespace.
func ImageObject(reference, namespace string) Object {
	use := image.Use{Place: image.PlaceContainer, Name: "image", Image: reference}
	return Object{Namespace: namespace, Name: reference, Workload: image.Workload{Kind: "Image", Uses: []image.Use{use}}}
}

// Manifests is the content of files.
type Manifests struct {
	Objects    []Object
	Namespaces []metav1.ObjectMeta // name and labels of each
	Exceptions []v1alpha1.ImageScanException
	// Others counts the objects that name no images, such as Services.
	Others int
	// Skipped are objects that may create pods, in which no image was found.
	Skipped []report.Problem
	// Problems are documents and objects that could not be read.
	Problems []report.Problem

	definitions definitions
}

// Read reads Kubernetes objects, and lists of them. A document that cannot be read is a
// problem, and the rest is read. It fails for a path that does not exist, and if
// ctx ends.
func (f *Files) Read(ctx context.Context) (m *Manifests, err error) {
	m = &Manifests{}
	m.Problems, err = f.objects(ctx, m.add)
	return m, err
}

// visitor takes an object of a file, which is at a place.
type visitor func(value []byte, kind schema.GroupVersionKind, at Object) error

// objects passes each object to visit, items of lists too. A document that cannot be
// read, or that visit refuses, is a problem, and the rest is read.
func (f *Files) objects(ctx context.Context, visit visitor) (problems []report.Problem, err error) {
	err = f.each(ctx, func(name string, data []byte, err error) {
		if err != nil {
			problems = append(problems, report.Problem{Source: name, Message: err.Error()})
			return
		}
		problems = append(problems, visit.documents(name, data, name == f.Kustomize)...)
	})
	return problems, err
}

// documents visits the objects of a file. Generated text has no lines that a person
// could look at.
func (visit visitor) documents(name string, data []byte, generated bool) (problems []report.Problem) {
	for _, d := range split(data) {
		at := Object{Source: name, Line: d.start()}
		value, lines, err := d.decode()
		if generated {
			at.Line, lines = 0, nil
		}
		at.lines = lines
		if err == nil && value != nil {
			err = visit.value(value, at, metav1.TypeMeta{}, 0)
		}
		if err != nil {
			problems = append(problems, report.Problem{Source: name, Line: at.Line, Message: err.Error()})
		}
	}
	return problems
}

// head holds the fields by which a document is recognised.
type head struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"`
	Items      []jsontext.Value `json:"items"`
}

const maxListDepth = 4

var (
	errNoObject = errors.New("it is no Kubernetes object: it has no apiVersion or no kind")
	errList     = errors.New("it is a list, no Kubernetes object: give objects as documents of their own, or in a kind: List")
)

// value visits an object or the items of a list. An object without a type, as in
// typed lists, is of the default one.
func (visit visitor) value(value []byte, at Object, byDefault metav1.TypeMeta, depth int) error {
	switch jsontext.Value(value).Kind() {
	case '{':
	case '[':
		return errList
	default:
		return errNoObject
	}
	var h head
	if err := json.Unmarshal(value, &h); err != nil {
		return fmt.Errorf("read the object: %w", wrongType(err))
	}
	if h.Kind == "" && h.APIVersion == "" {
		h.APIVersion, h.Kind = byDefault.APIVersion, byDefault.Kind
	}
	switch {
	case h.Kind == "" || h.APIVersion == "":
		return errNoObject
	case strings.HasSuffix(h.Kind, "List") && h.Items != nil:
		return visit.items(&h, at, depth+1)
	}
	return visit(value, schema.FromAPIVersionAndKind(h.APIVersion, h.Kind), at)
}

func (visit visitor) items(list *head, at Object, depth int) error {
	if depth > maxListDepth {
		return fmt.Errorf("lists stand within lists more than %d deep", maxListDepth)
	}
	var ofItems metav1.TypeMeta
	if list.Kind != "List" { // a v1 List may hold any kind
		ofItems = metav1.TypeMeta{APIVersion: list.APIVersion, Kind: strings.TrimSuffix(list.Kind, "List")}
	}
	for i, item := range list.Items {
		if err := visit.value(item, at, ofItems, depth); err != nil {
			return fmt.Errorf("items[%d]: %w", i, err)
		}
	}
	return nil
}

// add reads an object.
func (m *Manifests) add(value []byte, kind schema.GroupVersionKind, at Object) error {
	if err := checkKind(kind); err != nil {
		return err
	}
	switch {
	case kind.GroupKind() == schema.GroupKind{Kind: "Namespace"}:
		return m.readNamespace(value)
	case image.HoldsImages(kind.Group, kind.Kind):
		return m.readWorkload(value, kind, at)
	case kind == v1alpha1.GroupVersion.WithKind(exceptionKind):
		e, err := readResource[v1alpha1.ImageScanException](&m.definitions, value, exceptionKind)
		if err != nil {
			return err
		}
		m.Exceptions = append(m.Exceptions, e)
	case isCustom(kind.Group):
		return m.readCustom(value, kind, at)
	default:
		m.Others++
	}
	return nil
}

func decode(value []byte, kind string, v any) error {
	if err := json.Unmarshal(value, v); err != nil {
		return fmt.Errorf("read %s: %w", kind, wrongType(err))
	}
	return nil
}

func (m *Manifests) readNamespace(value []byte) error {
	var n image.Manifest
	if err := decode(value, "Namespace", &n); err != nil {
		return err
	}
	m.Namespaces = append(m.Namespaces, metav1.ObjectMeta{Name: n.Metadata.Name, Labels: n.Metadata.Labels})
	return nil
}

func (m *Manifests) readWorkload(value []byte, kind schema.GroupVersionKind, at Object) error {
	var o image.Manifest
	if err := decode(value, kind.Kind, &o); err != nil {
		return err
	}
	at.setMetadata(&o.Metadata)
	if path := o.WithoutContainers(kind.Group, kind.Kind); path != "" {
		return fmt.Errorf("%s %q has no containers: %s is required", kind.Kind, at.Name, path)
	}
	var containers image.Custom
	if err := decode(value, kind.Kind, &containers); err != nil {
		return err
	}
	for i := range containers.Gaps {
		if gap := &containers.Gaps[i]; gap.Image == "" {
			return missingImage(kind.Kind, at.Name, gap)
		}
	}
	at.Workload, _ = o.Workload(kind.Group, kind.Kind)
	m.Objects = append(m.Objects, at)
	return nil
}

// missingImage returns the error of a container without an image, which no API server
// accepts.
func missingImage(kind, name string, gap *image.Gap) error {
	err := fmt.Errorf("%s %q: %s is required", kind, name, fieldPath(gap.Pointer+"/image"))
	if field := misspelt(gap); field != "" {
		return fmt.Errorf("%w; unknown field %q: did you mean \"image\"?", err, field)
	}
	return err
}

// misspelt returns the container's field that is meant to be its image.
func misspelt(gap *image.Gap) string {
	for _, field := range gap.Fields {
		letters := slices.Sorted(slices.Values([]rune(strings.ToLower(field))))
		if string(letters) == "aegim" || config.Nearest("image", []string{field}) != "" {
			return field
		}
	}
	return ""
}

// readCustom reads an object that may hold pod templates anywhere, and notes the
// parts that can't be evaluated.
func (m *Manifests) readCustom(value []byte, kind schema.GroupVersionKind, at Object) error {
	var custom image.Custom
	if err := decode(value, kind.Kind, &custom); err != nil {
		return err
	}
	at.setMetadata(&custom.Metadata)
	var reasons []string
	for i := range custom.Gaps {
		gap := &custom.Gaps[i]
		path := fieldPath(gap.Pointer + "/image")
		switch {
		case gap.Image == "" && (gap.InTemplate() || misspelt(gap) != ""):
			return missingImage(kind.Kind, at.Name, gap)
		case gap.Image == "":
			reasons = append(reasons, path+" is missing")
		case gap.Pattern:
			reasons = append(reasons, fmt.Sprintf("%s %q is not an image reference", path, gap.Image))
		default:
			reasons = append(reasons, fmt.Sprintf("%s %q is not in a container", path, gap.Image))
		}
	}
	workloads := custom.Workloads(kind.Kind)
	for _, workload := range workloads {
		at.Workload = workload
		m.Objects = append(m.Objects, at)
	}
	if len(custom.Gaps) == 0 && len(workloads) == 0 {
		reasons = []string{"no pod template found"}
	}
	if len(reasons) > 0 {
		message := fmt.Sprintf("%s/%s (%s): %s", kind.Kind, at.Name, kind.GroupVersion(), strings.Join(reasons, "; "))
		m.Skipped = append(m.Skipped, report.Problem{Source: at.Source, Line: at.Line, Message: message})
	}
	return nil
}
