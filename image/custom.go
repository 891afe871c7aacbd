package image

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Custom is an object of a kind that may have containers in any place, as a
// custom resource may.
type Custom struct {
	Metadata Metadata
	// Gaps are the places that may name an image and do not say which.
	Gaps []Gap

	uses []labelledUse
}

// Gap is a place that may name an image and does not say which.
type Gap struct {
	// Pointer leads to the object that has, or should have, the field image.
	Pointer jsontext.Pointer
	// Image is what is written there; empty: nothing. Pattern reports whether it is
	// a parameter or a glob; otherwise the place is not known to be a container.
	Image   string
	Pattern bool
	// Fields are those of a container without an image.
	Fields []string
}

// InTemplate reports whether the gap is a container of a pod template, which must
// have an image. In other places a container may be a patch for another one.
func (g *Gap) InTemplate() bool {
	return strings.HasSuffix(string(g.Pointer.Parent().Parent()), "/template/spec")
}

// labelledUse is a place that names an image, with the labels of its pod.
type labelledUse struct {
	Use
	labels Labels
	// labelled reports whether the labels are known: those of the nearest metadata
	// around it.
	labelled bool
}

// UnmarshalJSONFrom reads the object. It knows containers by what they look
// like, whatever is around them, and leaves out what a status says.
func (c *Custom) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*c = Custom{}
	w := walker{dec: dec, custom: c, root: dec.StackDepth() + 1}
	return w.value("", false)
}

// Workloads returns the templates of pods, one for each set of labels.
func (c *Custom) Workloads(kind string) []Workload {
	var workloads []Workload
	for _, use := range c.uses {
		i := slices.IndexFunc(workloads, func(w Workload) bool { return maps.Equal(w.Labels, use.labels) })
		if i < 0 {
			i = len(workloads)
			workloads = append(workloads, Workload{Kind: kind, Template: true, Labels: use.labels})
		}
		workloads[i].Uses = append(workloads[i].Uses, use.Use)
	}
	return workloads
}

// walker goes through an object.
type walker struct {
	dec    *jsontext.Decoder
	custom *Custom
	// root is the depth of the fields of the object itself.
	root int
}

// part is a JSON object on the way.
type part struct {
	// field is the one whose value it is, or in whose list it stands.
	field       string
	inList      bool
	name, image string
	labels      Labels
	// labelled reports whether it has metadata, and shaped whether it has fields
	// that only containers have.
	labelled, shaped bool
	fields           []string
}

func (w *walker) value(field string, inList bool) error {
	switch w.dec.PeekKind() {
	case '[':
		return readArray(w.dec, func() error { return w.value(field, true) })
	case '{':
		return w.object(&part{field: field, inList: inList})
	default:
		return w.dec.SkipValue()
	}
}

func (w *walker) object(p *part) error {
	if _, err := w.dec.ReadToken(); err != nil {
		return err
	}
	first := len(w.custom.uses)
	for w.dec.PeekKind() != '}' {
		name, err := w.dec.ReadToken()
		if err != nil {
			return err
		}
		if err := w.readField(p, name.String()); err != nil {
			return err
		}
	}
	if _, err := w.dec.ReadToken(); err != nil {
		return err
	}
	if err := w.keep(p); err != nil {
		return err
	}
	for i := first; p.labelled && i < len(w.custom.uses); i++ {
		if use := &w.custom.uses[i]; !use.labelled {
			use.labels, use.labelled = p.labels, true
		}
	}
	return nil
}

func (w *walker) readField(p *part, name string) error {
	kind := w.dec.PeekKind()
	switch {
	case w.dec.StackDepth() == w.root && (name == "metadata" || name == "status"):
		return w.readRoot(p, name)
	case name == "metadata" && kind == '{':
		return w.readMetadata(p)
	case name == "image" && kind == '"':
		return json.UnmarshalDecode(w.dec, &p.image)
	case name == "name" && kind == '"':
		return json.UnmarshalDecode(w.dec, &p.name)
	case name == "image" && p.field == "volumes":
		return w.readVolume(p)
	}
	p.shaped = p.shaped || onlyContainersHave(name)
	if p.inContainerList() {
		p.fields = append(p.fields, name)
	}
	return w.value(name, false)
}

// readRoot reads what every object has besides what whoever wrote it wants. What
// a status says is no wish.
func (w *walker) readRoot(p *part, name string) error {
	if name == "status" {
		return w.dec.SkipValue()
	}
	err := json.UnmarshalDecode(w.dec, &w.custom.Metadata)
	p.labels, p.labelled = w.custom.Metadata.Labels, true
	return err
}

// readMetadata reads the metadata of a template. What is not of its form, as in
// the schema of a template, is not metadata.
func (w *walker) readMetadata(p *part) error {
	value, err := w.dec.ReadValue()
	if err != nil {
		return err
	}
	var m struct {
		Labels Labels `json:"labels"`
	}
	if json.Unmarshal(value, &m) == nil {
		p.labels, p.labelled = m.Labels, true
	}
	return nil
}

// readVolume reads the source of a volume that may be an image.
func (w *walker) readVolume(p *part) error {
	value, err := w.dec.ReadValue()
	if err != nil {
		return err
	}
	var source struct {
		Reference string `json:"reference"`
	}
	if json.Unmarshal(value, &source) == nil {
		p.image = source.Reference
	}
	return nil
}

// keep notes the image that a part names, or fails to name.
func (w *walker) keep(p *part) error {
	if len(w.custom.uses)+len(w.custom.Gaps) >= maxUses && (p.image != "" || p.lacksImage()) {
		return fmt.Errorf("%w images: at most %d are allowed", ErrTooMany, maxUses)
	}
	switch {
	case p.image == "":
		if p.lacksImage() {
			w.custom.Gaps = append(w.custom.Gaps, Gap{Pointer: w.dec.StackPointer(), Fields: p.fields})
		}
	case p.isContainer() && !isPattern(p.image):
		w.custom.uses = append(w.custom.uses, labelledUse{Use: Use{p.place(), cmp.Or(p.name, p.field), p.image}})
	case p.isContainer() || !strings.Contains(p.image, ":/") && !strings.HasPrefix(p.image, "data:"): // a picture is no image
		w.custom.Gaps = append(w.custom.Gaps, Gap{Pointer: w.dec.StackPointer(), Image: p.image, Pattern: isPattern(p.image)})
	}
	return nil
}

// isPattern reports whether an image is written as a parameter, such as
// {{inputs.image}}, $(params.image) or ${IMAGE}, or as a glob of a policy.
func isPattern(written string) bool { return strings.ContainsAny(written, "{$*") }

// isContainer reports whether the part is a container, by where it stands or by
// what it has besides an image.
func (p *part) isContainer() bool {
	return p.shaped || strings.Contains(strings.ToLower(p.field), "container") ||
		slices.Contains([]string{"sidecars", "steps", "stepTemplate", "script", "volumes"}, p.field)
}

// inContainerList reports whether the part is a container of a pod's spec.
func (p *part) inContainerList() bool {
	return p.inList && slices.Contains([]string{"containers", "initContainers", "ephemeralContainers"}, p.field)
}

// lacksImage reports whether a part without an image should have one.
func (p *part) lacksImage() bool {
	return p.inContainerList() || p.shaped && slices.Contains([]string{"container", "sidecars", "script"}, p.field)
}

func (p *part) place() Place {
	switch p.field {
	case "initContainers":
		return PlaceInitContainer
	case "ephemeralContainers":
		return PlaceEphemeralContainer
	case "volumes":
		return PlaceVolume
	default:
		return PlaceContainer
	}
}

// onlyContainersHave reports whether a field beside an image shows that it is a
// container's.
func onlyContainersHave(field string) bool {
	return slices.Contains([]string{
		"args", "command", "env", "envFrom", "imagePullPolicy", "lifecycle", "livenessProbe", "ports", "readinessProbe", "resources",
		"securityContext", "startupProbe", "volumeDevices", "volumeMounts", "workingDir",
	}, field)
}
