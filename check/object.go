package check

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy/v1alpha1"
	"github.com/hssgate/hssgate/report"
)

// Object is something that names images: a pod, a workload, or an image itself.
type Object struct {
	// Source is the file that it stands in, and Line where, from 1; both are
	// empty for what doesn't come from a file.
	Source string
	Line   int
	// Namespace is empty if the object names none; it is then in the default one.
	Namespace string
	Name      string
	// Owner is the kind and name of what controls it; empty: nothing.
	Owner    string
	Workload image.Workload

	// running says that it is a pod that runs, and so is pinned or isn't.
	running bool
	// lines are where its images stand in Source, by how they are written.
	lines map[string]int
}

// ImageObject returns an object for an image that is to be judged by itself, as
// the only container of a pod in a namespace.
func ImageObject(reference, namespace string) Object {
	return Object{
		Namespace: namespace, Name: reference,
		Workload: image.Workload{Kind: "Image", Uses: []image.Use{{Place: image.PlaceContainer, Name: "image", Image: reference}}},
	}
}

// Namespace is a namespace among the objects.
type Namespace struct {
	Name   string
	Labels map[string]string
}

// head is what tells what a document is.
type head struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		OwnerReferences []metav1.OwnerReference `json:"ownerReferences"`
	} `json:"metadata"`
	Items []jsontext.Value `json:"items"`
}

// maxListDepth bounds lists within lists, of which kubectl makes none.
const maxListDepth = 4

// content is what the documents hold that a check needs.
type content struct {
	objects    []Object
	namespaces []Namespace
	// others counts the objects that name no images, such as Services.
	others     int
	exceptions []v1alpha1.ImageScanException
	// skipped are objects that may make pods, and where these name no image.
	skipped []report.Problem
}

// errNoObject says that a document is no Kubernetes object.
var errNoObject = errors.New("it is no Kubernetes object: it has no apiVersion or no kind")

// errList is of objects in a bare list, which kubectl doesn't take either.
var errList = errors.New("it is a list, no Kubernetes object: give objects as documents of their own, or in a kind: List")

// read adds what a document holds, which is one object, or a list of them.
func (c *content) read(document []byte, at Object) error {
	return c.readValue(document, at, "", "", 0)
}

// readValue reads an object; if it doesn't say its kind, as the items of some
// lists don't, it is of the version and kind that its list says.
func (c *content) readValue(value []byte, at Object, version, kind string, depth int) error {
	switch jsontext.Value(value).Kind() {
	case '{':
	case '[':
		return errList
	default:
		return errNoObject
	}
	var h head
	if err := json.Unmarshal(value, &h); err != nil {
		return fmt.Errorf("read the object: %w", misread(err))
	}
	if h.Kind == "" && h.APIVersion == "" {
		h.APIVersion, h.Kind = version, kind
	}
	if h.Kind == "" || h.APIVersion == "" {
		return errNoObject
	}
	if strings.HasSuffix(h.Kind, "List") && h.Items != nil {
		return c.readItems(&h, at, depth+1)
	}
	return c.readObject(value, &h, at)
}

func (c *content) readItems(list *head, at Object, depth int) error {
	if depth > maxListDepth {
		return fmt.Errorf("lists stand within lists more than %d deep", maxListDepth)
	}
	version, kind := list.APIVersion, strings.TrimSuffix(list.Kind, "List")
	if kind == "" {
		version = "" // a v1 List is of anything
	}
	for i, item := range list.Items {
		if err := c.readValue(item, at, version, kind, depth); err != nil {
			return fmt.Errorf("items[%d]: %w", i, err)
		}
	}
	return nil
}

func (c *content) readObject(value []byte, h *head, at Object) error {
	kind := groupVersion(h.APIVersion).WithKind(h.Kind)
	if err := checkKind(kind); err != nil {
		c.others++
		return err
	}
	at.Owner = controllerOf(h.Metadata.OwnerReferences)
	switch {
	case isNamespace(kind.GroupKind()):
		return c.readNamespace(value)
	case image.HoldsImages(kind.Group, kind.Kind):
		return c.readWorkload(value, kind, at)
	case kind == v1alpha1.GroupVersion.WithKind(exceptionKind):
		return c.readException(value)
	case isCustom(kind.GroupKind()):
		return c.readCustom(value, kind, at)
	default:
		c.others++
		return nil
	}
}

// decode reads an object of a kind.
func decode(value []byte, kind string, v any) error {
	if err := json.Unmarshal(value, v); err != nil {
		return fmt.Errorf("read %s: %w", kind, misread(err))
	}
	return nil
}

func (c *content) readNamespace(value []byte) error {
	var m image.Manifest
	if err := decode(value, "Namespace", &m); err != nil {
		return err
	}
	c.namespaces = append(c.namespaces, Namespace{Name: m.Metadata.Name, Labels: m.Metadata.Labels})
	return nil
}

func (c *content) readException(value []byte) error {
	var e v1alpha1.ImageScanException
	if err := readResource(value, exceptionKind, "exception", &e); err != nil {
		return err
	}
	c.exceptions = append(c.exceptions, e)
	return nil
}

func (c *content) readWorkload(value []byte, kind schema.GroupVersionKind, at Object) error {
	var m image.Manifest
	if err := decode(value, kind.Kind, &m); err != nil {
		return err
	}
	at.Namespace, at.Name = m.Metadata.Namespace, m.Metadata.DisplayName()
	if path := m.WithoutContainers(kind.Group, kind.Kind); path != "" {
		return fmt.Errorf("%s %q has no containers: %s is required", kind.Kind, at.Name, path)
	}
	var fields image.Custom
	if err := decode(value, kind.Kind, &fields); err != nil {
		return err
	}
	for i := range fields.Gaps {
		if gap := &fields.Gaps[i]; gap.Image == "" {
			return missingImage(kind.Kind, at.Name, gap)
		}
	}
	at.Workload, _ = m.Workload(kind.Group, kind.Kind)
	c.objects = append(c.objects, at)
	return nil
}

// readCustom reads an object that may hold pod templates in any place, and notes
// what of it can't be evaluated.
func (c *content) readCustom(value []byte, kind schema.GroupVersionKind, at Object) error {
	var custom image.Custom
	if err := decode(value, kind.Kind, &custom); err != nil {
		return err
	}
	at.Namespace, at.Name = custom.Metadata.Namespace, custom.Metadata.DisplayName()
	var reasons []string
	for i := range custom.Gaps {
		gap := &custom.Gaps[i]
		if gap.Image == "" && (gap.InTemplate() || misspelt(gap) != "") {
			return missingImage(kind.Kind, at.Name, gap)
		}
		reasons = append(reasons, gapInWords(gap))
	}
	workloads := custom.Workloads(kind.Kind)
	for _, workload := range workloads {
		at.Workload = workload
		c.objects = append(c.objects, at)
	}
	if len(custom.Gaps) == 0 && len(workloads) == 0 {
		reasons = []string{"no pod template found"}
	}
	if len(reasons) > 0 {
		message := fmt.Sprintf("%s/%s (%s): %s", kind.Kind, at.Name, kind.GroupVersion(), strings.Join(reasons, "; "))
		c.skipped = append(c.skipped, report.Problem{Source: at.Source, Line: at.Line, Message: message})
	}
	return nil
}

// missingImage is the error of a container without an image, which no API server
// takes.
func missingImage(kind, name string, gap *image.Gap) error {
	err := fmt.Errorf("%s %q: %s is required", kind, name, fieldPath(gap.Pointer+"/image"))
	if field := misspelt(gap); field != "" {
		return fmt.Errorf("%w; unknown field %q: did you mean \"image\"?", err, field)
	}
	return err
}

// misspelt returns the field of a container that is meant to be its image.
func misspelt(gap *image.Gap) string {
	for _, field := range gap.Fields {
		letters := slices.Sorted(slices.Values([]rune(strings.ToLower(field))))
		if field != "image" && (string(letters) == "aegim" || config.Nearest("image", []string{field}) != "") {
			return field
		}
	}
	return ""
}

func gapInWords(gap *image.Gap) string {
	path := fieldPath(gap.Pointer + "/image")
	switch {
	case gap.Image == "":
		return path + " is missing"
	case gap.Pattern:
		return fmt.Sprintf("%s %q is not an image reference", path, gap.Image)
	default:
		return fmt.Sprintf("%s %q is not in a container", path, gap.Image)
	}
}

// controllerOf is the kind and name of the owner that controls an object.
func controllerOf(owners []metav1.OwnerReference) string {
	i := slices.IndexFunc(owners, func(o metav1.OwnerReference) bool { return o.Controller != nil && *o.Controller })
	if i < 0 {
		return ""
	}
	return owners[i].Kind + "/" + owners[i].Name
}
