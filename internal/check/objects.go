package check

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	goyaml "go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/hssgate/hssgate/hss/inventoryfile"
	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/report"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Object is something that names images: a pod, a workload, or an image itself.
type Object struct {
	// Request is the gate's. Its namespace is empty if the object names none.
	gate.Request

	// Source is the object's file and Line its line there, from 1; both are empty for objects that are in no file.
	Source string
	Line   int
	Owner  image.Owner
	// Running are the digests that a pod runs in its uses; empty: the node reports none. Nil: it is no running pod.
	Running []string

	lines map[string]int // those of its images in Source, by the images as they are written
}

// ImageObject returns an object for an image by itself, as the only container of a pod.
func ImageObject(reference string) Object {
	use := image.Use{Place: image.PlaceContainer, Name: "image", Image: reference}
	return Object{Request: gate.Request{Name: reference, Workload: image.Workload{Kind: "Image", Uses: []image.Use{use}}, BeforePinning: true}}
}

// Manifests is the content of files.
type Manifests struct {
	// Resources are the exceptions, and the policies if onlyResources is set.
	Resources

	Objects []Object
	// Namespaces are labels by name. The last one of a name counts, as for kubectl apply.
	Namespaces map[string]map[string]string
	// Skipped are objects that may create pods, in which no image was found.
	Skipped  []report.Problem
	Problems []report.Problem
	// Notes are about what was found in folders and read otherwise, or not at all.
	Notes []report.Problem

	onlyResources bool                   // makes anything but policies and exceptions a problem
	definitions   map[string]*definition // by kind
}

// addDocuments adds the objects of a file. A folder may hold YAML for other programs;
// among policies, it could be a misspelt one.
func (m *Manifests) addDocuments(ctx context.Context, from input, data []byte) {
	for _, d := range split(data) {
		at := Object{Source: from.name}
		if from.origin != builtBy {
			at.Line, at.lines = cmp.Or(d.start, d.line), d.images
		}
		value, err := d.decode()
		fields, _ := value.(map[string]any)
		isOther := fields["apiVersion"] == nil && fields["kind"] == nil && (err == nil || !bytes.Contains(d.text, []byte("apiVersion")))
		problem := report.Problem{Source: from.name, Line: at.Line}
		switch {
		case err == nil && value == nil:
			continue
		case isOther && from.origin == inside && !m.onlyResources:
			problem.Message = "not evaluated, since it is no Kubernetes object: it has no apiVersion and no kind"
			m.Notes = append(m.Notes, problem)
			continue
		case err == nil:
			err = m.addValue(ctx, value, at)
		}
		if err != nil {
			problem.Message = err.Error()
			m.Problems = append(m.Problems, problem)
		}
	}
}

// addValue adds an object, or the items of a list. Items without a type, as in typed lists, are of that of the list.
func (m *Manifests) addValue(ctx context.Context, value any, at Object) error {
	fields, _ := value.(map[string]any)
	o := &unstructured.Unstructured{Object: fields}
	if o.GetAPIVersion() == "" || o.GetKind() == "" {
		return errors.New("it is no Kubernetes object: it has no apiVersion or no kind")
	}
	ofItems, isList := strings.CutSuffix(o.GetKind(), "List")
	items, hasItems := fields["items"].([]any)
	if !isList || !hasItems {
		return m.add(ctx, o, at)
	}
	for i, item := range items {
		if one, ok := item.(map[string]any); ok && ofItems != "" && one["kind"] == nil && one["apiVersion"] == nil {
			one["kind"], one["apiVersion"] = ofItems, o.GetAPIVersion()
		}
		if err := m.addValue(ctx, item, at); err != nil {
			return fmt.Errorf("items[%d]: %w", i, err)
		}
	}
	return nil
}

const (
	policyKind    = "ImageScanPolicy"
	exceptionKind = "ImageScanException"
)

func (m *Manifests) add(ctx context.Context, o *unstructured.Unstructured, at Object) error {
	switch kind := o.GroupVersionKind(); {
	case kind == v1alpha1.GroupVersion.WithKind(exceptionKind), kind == v1alpha1.GroupVersion.WithKind(v1alpha1.ClusterImageScanExceptionKind):
		return addResource(ctx, m, o, &m.Exceptions)
	case m.onlyResources && kind == v1alpha1.GroupVersion.WithKind(policyKind):
		return addResource(ctx, m, o, &m.Policies)
	case m.onlyResources:
		return fmt.Errorf("it must be a %s %s, %s or %s, not %q, %q", v1alpha1.GroupVersion, policyKind, exceptionKind, v1alpha1.ClusterImageScanExceptionKind, o.GetAPIVersion(), o.GetKind())
	case kind.GroupKind() == schema.GroupKind{Kind: "Namespace"}:
		m.Namespaces[o.GetName()] = o.GetLabels()
	case kind.Group == v1alpha1.GroupVersion.Group && kind.Kind == policyKind, isBuiltIn(kind) && !image.HoldsImages(kind.Group, kind.Kind):
	case kind.Group == "config.hssgate.io" || kind.Group == "test.hssgate.io": // a file of hssgate's, which no cluster holds
	default:
		return m.addWorkload(o, at)
	}
	return nil
}

// isBuiltIn reports whether a kind is one of Kubernetes' own, in any version. All others may hold pod templates
// anywhere, a misspelt kind and a Deployment of the group extensions too.
func isBuiltIn(kind schema.GroupVersionKind) bool {
	others := []string{"apiextensions.k8s.io", "apiregistration.k8s.io"}
	return slices.Contains(others, kind.Group) || kind.Group != "extensions" && len(scheme.Scheme.VersionsForGroupKind(kind.GroupKind())) > 0
}

// addWorkload adds an object that holds a pod or pod templates. Containers that lack an image are an error in a pod
// template, as for an API server; in other places the parts that can't be evaluated are noted.
func (m *Manifests) addWorkload(o *unstructured.Unstructured, at Object) error {
	kind, own, found := o.GroupVersionKind(), image.Manifest{}, image.Custom{}
	if err := decode(o.Object, kind.Kind, &found); err != nil {
		return err
	}
	at.Namespace, at.Name, at.Owner, at.BeforePinning = found.Metadata.Namespace, found.Metadata.DisplayName(), found.Metadata.Controller, true
	workloads, isKnown := found.Workloads(kind.Kind), image.HoldsImages(kind.Group, kind.Kind)
	if isKnown {
		if err := decode(o.Object, kind.Kind, &own); err != nil {
			return err
		}
		if path := own.WithoutContainers(kind.Group, kind.Kind); path != "" {
			return fmt.Errorf("%s %q has no containers: %s is required", kind.Kind, at.Name, path)
		}
		workload, _ := own.Workload(kind.Group, kind.Kind)
		workloads = []image.Workload{workload}
	}
	var reasons []string
	for i := range found.Gaps {
		gap := &found.Gaps[i]
		path := inventoryfile.FieldPath(gap.Pointer + "/image")
		switch {
		case gap.Image == "" && (isKnown || gap.InTemplate()):
			return fmt.Errorf("%s %q: %s is required", kind.Kind, at.Name, path)
		case gap.Image == "":
			reasons = append(reasons, path+" is missing")
		case gap.Pattern:
			reasons = append(reasons, fmt.Sprintf("%s %q is not an image reference", path, gap.Image))
		default:
			reasons = append(reasons, fmt.Sprintf("%s %q is not in a container", path, gap.Image))
		}
	}
	for _, workload := range workloads {
		at.Workload = workload
		m.Objects = append(m.Objects, at)
	}
	if len(found.Gaps) == 0 && len(workloads) == 0 {
		reasons = []string{"no pod template found"}
	}
	if len(reasons) > 0 && !isKnown {
		message := fmt.Sprintf("%s/%s (%s): %s", kind.Kind, at.Name, kind.GroupVersion(), strings.Join(reasons, "; "))
		m.Skipped = append(m.Skipped, report.Problem{Source: at.Source, Line: at.Line, Message: message})
	}
	return nil
}

func decode(fields any, kind string, v any) error {
	data, err := json.Marshal(fields)
	if err == nil {
		err = json.Unmarshal(data, v, json.RejectUnknownMembers(kind == policyTestKind))
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", kind, wrongType(err))
	}
	return nil
}

// wrongType names the field of an error of the decoder, and what it must be, in the terms of the file.
func wrongType(err error) error {
	wrong, is := errors.AsType[*json.SemanticError](err)
	switch {
	case !is || wrong.JSONPointer == "" || errors.Is(err, image.ErrTooMany):
		return err
	case errors.Is(err, json.ErrUnknownName):
		return fmt.Errorf("unknown field %q", inventoryfile.FieldPath(wrong.JSONPointer))
	case wrong.GoType == nil:
		return err
	}
	times := map[reflect.Type]string{
		reflect.TypeFor[time.Time](): "a time such as 2026-11-23T12:00:00Z", reflect.TypeFor[metav1.Duration](): "a duration such as 48h",
	}
	want := map[reflect.Kind]string{
		reflect.Slice: "a list", reflect.Map: "a mapping", reflect.Struct: "a mapping", reflect.Bool: "true or false",
		reflect.String: "a string (in quotes, if it reads as something else)",
	}
	t := wrong.GoType
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return fmt.Errorf("%s must be %s", inventoryfile.FieldPath(wrong.JSONPointer), cmp.Or(times[t], want[t.Kind()], "a number"))
}

// document is one YAML document in a file. Lines count from 1.
type document struct {
	text []byte
	// line is that of the text's first line, start that of the first one that is no
	// comment, and images are the first ones that name each image.
	line, start int
	images      map[string]int
}

// split divides a file at its lines of three dashes, after which only a comment may stand.
func split(data []byte) []*document {
	field := regexp.MustCompile(`\b(?:image|reference)["']?\s*:\s*["']?([^\s"',}\]]+)`)
	line := 1
	d := &document{line: 1, images: map[string]int{}}
	documents := []*document{d}
	for text := range bytes.Lines(data) {
		rest, dashes := bytes.CutPrefix(text, []byte("---"))
		rest = bytes.TrimSpace(rest)
		comment := len(rest) == 0 || rest[0] == '#'
		if dashes && comment {
			d = &document{line: line + 1, images: map[string]int{}}
			documents = append(documents, d)
		} else {
			d.text = append(d.text, text...)
		}
		if !comment && d.start == 0 {
			d.start = line
		}
		for _, found := range field.FindAllSubmatch(text, -1) {
			if image := string(found[1]); d.images[image] == 0 {
				d.images[image] = line
			}
		}
		line++
	}
	return documents
}

var errSeveral = errors.New("something follows the first document: put a line of three dashes (---) between documents")

// decode returns the document's value by the rules of kubectl; nil if it is empty.
// Duplicate keys are an error, since readers differ in which of them counts.
func (d *document) decode() (value any, err error) {
	data, err := yaml.YAMLToJSON(d.text)
	if err != nil {
		return nil, d.syntaxError(err)
	}
	// The other reader finds duplicate keys, and knows where the first document ends.
	decoder := goyaml.NewDecoder(bytes.NewReader(d.text))
	switch err := decoder.Decode(&value); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, d.syntaxError(err)
	}
	if err := decoder.Decode(&goyaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, errSeveral
	}
	value = nil
	err = utiljson.Unmarshal(data, &value)
	return value, err
}

// syntaxError names the line of the file instead of the document's, and the usual cause.
func (d *document) syntaxError(err error) error {
	text := regexp.MustCompile(`\bline \d+`).ReplaceAllStringFunc(err.Error(), func(found string) string {
		line, _ := strconv.Atoi(strings.TrimPrefix(found, "line "))
		return "line " + strconv.Itoa(d.line-1+line)
	})
	text = regexp.MustCompile(`^(yaml: |json: |unmarshal errors:\s+)+`).ReplaceAllString(text, "")
	text = "read the YAML: " + regexp.MustCompile(`: (\[\]|map\[).*`).ReplaceAllString(text, "") // no Go types
	switch {
	case bytes.Contains(d.text, []byte("{{")):
		return fmt.Errorf("%s: it looks like a Helm template: render it first (helm template … | hssgate check -f -)", text)
	case strings.Contains(text, "cannot start any token") && regexp.MustCompile(`(?m)^ *\t`).Match(d.text):
		return fmt.Errorf("%s: YAML must not be indented by tabs, only by spaces", text)
	}
	return errors.New(text)
}
