package image

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Custom is an object of a kind that may have containers in any place, as a
// custom resource may.
type Custom struct {
	Metadata Metadata
	// Gaps are the places that may name an image and do not say which.
	Gaps []Gap

	workloads []Workload
	places    int
}

// Gap is a place that may name an image and does not say which.
type Gap struct {
	// Pointer leads to the object that has, or should have, the field image.
	Pointer jsontext.Pointer
	// Image is what is written there; empty: nothing. Pattern reports whether it is
	// a parameter or a glob; otherwise the place is not known to be a container.
	Image   string
	Pattern bool
}

// InTemplate reports whether the gap is a container of a pod template, which must
// have an image. In other places a container may be a patch for another one.
func (g *Gap) InTemplate() bool {
	return strings.HasSuffix(string(g.Pointer.Parent().Parent()), "/template/spec")
}

// part is a JSON object within the custom one.
type part struct {
	pointer jsontext.Pointer
	// field is the one whose value it is, or in whose list it stands.
	field  string
	inList bool
	value  map[string]any
	// labels are those of the nearest metadata around it.
	labels Labels
}

// UnmarshalJSONFrom reads the object. It knows containers by what they look
// like, whatever is around them, and leaves out what a status says.
func (c *Custom) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	var root struct {
		Metadata Metadata       `json:"metadata"`
		Status   jsontext.Value `json:"status"` // nothing that the object's author wants
		Others   map[string]any `json:",embed"`
	}
	if err := json.UnmarshalDecode(dec, &root); err != nil {
		return err
	}
	*c = Custom{Metadata: root.Metadata}
	return c.walk(part{value: root.Others, labels: root.Metadata.Labels}, root.Others)
}

// walk keeps the images in a value of a part, the innermost first.
func (c *Custom) walk(at part, value any) error {
	switch v := value.(type) {
	case []any:
		pointer := at.pointer
		for i, one := range v {
			at.pointer, at.inList = pointer.AppendToken(strconv.Itoa(i)), true
			if err := c.walk(at, one); err != nil {
				return err
			}
		}
	case map[string]any:
		at.value = v
		if labels, ok := labelsIn(v["metadata"]); ok {
			at.labels = labels
		}
		for _, field := range slices.Sorted(maps.Keys(v)) {
			if _, object := v[field].(map[string]any); object && (field == "metadata" || field == "image" && at.field == "volumes") {
				continue
			}
			if err := c.walk(part{pointer: at.pointer.AppendToken(field), field: field, labels: at.labels}, v[field]); err != nil {
				return err
			}
		}
		return c.keep(&at)
	}
	return nil
}

// labelsIn returns the labels of metadata. What is not of its form, as in the
// schema of a template, is not metadata.
func labelsIn(metadata any) (labels Labels, ok bool) {
	m, ok := metadata.(map[string]any)
	if !ok || m["labels"] == nil {
		return nil, ok
	}
	labels, _, err := unstructured.NestedStringMap(m, "labels")
	return labels, err == nil
}

// keep notes the image that a part names, or fails to name.
func (c *Custom) keep(p *part) error {
	image := p.image()
	if image == "" && !p.lacksImage() {
		return nil
	}
	if c.places++; c.places > maxUses {
		return fmt.Errorf("%w images: at most %d are allowed", ErrTooMany, maxUses)
	}
	pattern := strings.ContainsAny(image, "{$*") // a parameter, such as $(params.image), or a glob of a policy
	switch {
	case image == "":
		c.Gaps = append(c.Gaps, Gap{Pointer: p.pointer})
	case p.isContainer() && !pattern:
		name, _ := p.value["name"].(string)
		c.add(p.labels, Use{p.place(), cmp.Or(name, p.field), image})
	case p.isContainer() || !strings.Contains(image, ":/") && !strings.HasPrefix(image, "data:"): // a picture is no image
		c.Gaps = append(c.Gaps, Gap{Pointer: p.pointer, Image: image, Pattern: pattern})
	}
	return nil
}

// add adds an image to the template with these labels.
func (c *Custom) add(labels Labels, use Use) {
	i := slices.IndexFunc(c.workloads, func(w Workload) bool { return maps.Equal(w.Labels, labels) })
	if i < 0 {
		i = len(c.workloads)
		c.workloads = append(c.workloads, Workload{Template: true, Labels: labels})
	}
	c.workloads[i].Uses = append(c.workloads[i].Uses, use)
}

// Workloads returns the templates of pods, one for each set of labels.
func (c *Custom) Workloads(kind string) []Workload {
	for i := range c.workloads {
		c.workloads[i].Kind = kind
	}
	return c.workloads
}

// image returns the image that the part names, as a container or as a volume.
func (p *part) image() string {
	image := p.value["image"]
	if source, ok := image.(map[string]any); ok && p.field == "volumes" {
		image = source["reference"]
	}
	written, _ := image.(string)
	return written
}

// isContainer reports whether the part is a container, by where it stands or by
// what it has besides an image.
func (p *part) isContainer() bool {
	return p.shaped() || strings.Contains(strings.ToLower(p.field), "container") ||
		slices.Contains([]string{"sidecars", "steps", "stepTemplate", "script", "volumes"}, p.field)
}

// shaped reports whether the part has fields that only containers have.
func (p *part) shaped() bool {
	return slices.ContainsFunc([]string{
		"args", "command", "env", "envFrom", "imagePullPolicy", "lifecycle", "livenessProbe", "ports", "readinessProbe", "resources",
		"securityContext", "startupProbe", "volumeDevices", "volumeMounts", "workingDir",
	}, func(field string) bool {
		_, has := p.value[field]
		return has
	})
}

// lacksImage reports whether a part without an image should have one.
func (p *part) lacksImage() bool {
	return p.inList && slices.Contains([]string{"containers", "initContainers", "ephemeralContainers"}, p.field) ||
		p.shaped() && slices.Contains([]string{"container", "sidecars", "script"}, p.field)
}

func (p *part) place() Place {
	return cmp.Or(map[string]Place{
		"initContainers": PlaceInitContainer, "ephemeralContainers": PlaceEphemeralContainer, "volumes": PlaceVolume,
	}[p.field], PlaceContainer)
}
