package image

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of what is read of one object. A pod that the API server accepts has
// far fewer; without them a small review could make a large map or slice.
const (
	maxUses   = 1000
	maxLabels = 10000
)

// ErrTooMany says that an object names more images or labels than are read.
var ErrTooMany = errors.New("too many")

// Manifest is what matters here of a Kubernetes object in JSON: its metadata
// and every place that names an image. It decodes any of the kinds in one pass
// and skips all else. Field names are case-sensitive, as the API server's are.
type Manifest struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Metadata   Metadata    `json:"metadata"`
	Spec       Spec        `json:"spec"`
	Template   PodTemplate `json:"template"`
}

// Metadata is the part of an object's metadata that matters here.
type Metadata struct {
	Name         string      `json:"name"`
	GenerateName string      `json:"generateName"`
	Namespace    string      `json:"namespace"`
	UID          string      `json:"uid"`
	Labels       Labels      `json:"labels"`
	Annotations  Annotations `json:"annotations"`
	// Controller is what the object says it belongs to. Nothing must be
	// decided by it: whoever writes the object may say so.
	Controller Controller `json:"ownerReferences"`
}

// Labels are an object's labels.
type Labels map[string]string

// Annotations are those that matter here; all others are skipped.
type Annotations struct {
	// Mirror is set on a mirror pod, which shows what a node runs by itself.
	Mirror *string `json:"kubernetes.io/config.mirror"`
}

// Spec is a pod's spec, or that of a workload with a pod template in it.
type Spec struct {
	PodSpec
	Template    PodTemplate `json:"template"`
	JobTemplate struct {
		Spec struct {
			Template PodTemplate `json:"template"`
		} `json:"spec"`
	} `json:"jobTemplate"`
}

// PodTemplate is the part of a pod template that matters here.
type PodTemplate struct {
	Metadata PodMetadata `json:"metadata"`
	Spec     PodSpec     `json:"spec"`
}

// PodMetadata is the part of a pod's metadata that matters here.
type PodMetadata struct {
	Labels Labels `json:"labels"`
}

// PodSpec is the part of a pod's spec that names images.
type PodSpec struct {
	InitContainers      containers `json:"initContainers"`
	Containers          containers `json:"containers"`
	EphemeralContainers containers `json:"ephemeralContainers"`
	Volumes             volumes    `json:"volumes"`
}

type container struct {
	Name  string `json:"name"`
	Image string `json:"image"`
}

type volume struct {
	Name  string `json:"name"`
	Image *struct {
		Reference string `json:"reference"`
	} `json:"image"`
	// index is its place among all volumes, images or not.
	index int
}

type containers []container

type volumes []volume

// UnmarshalJSONFrom reads at most maxUses containers.
func (c *containers) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return readArray(dec, func() error {
		if len(*c) == maxUses {
			return fmt.Errorf("%w containers: at most %d are allowed", ErrTooMany, maxUses)
		}
		*c = append(*c, container{})
		return json.UnmarshalDecode(dec, &(*c)[len(*c)-1])
	})
}

// UnmarshalJSONFrom keeps the volumes that are images, at most maxUses.
func (v *volumes) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	index := -1
	return readArray(dec, func() error {
		index++
		one := volume{index: index}
		if err := json.UnmarshalDecode(dec, &one); err != nil || one.Image == nil {
			return err
		}
		if len(*v) == maxUses {
			return fmt.Errorf("%w image volumes: at most %d are allowed", ErrTooMany, maxUses)
		}
		*v = append(*v, one)
		return nil
	})
}

// UnmarshalJSONFrom reads at most maxLabels labels.
func (l *Labels) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == 'n' {
		return dec.SkipValue()
	}
	if kind := dec.PeekKind(); kind != '{' {
		return fmt.Errorf("labels are a JSON %s, not an object", kind)
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	labels := Labels{}
	var key, value string
	for dec.PeekKind() != '}' {
		if len(labels) == maxLabels {
			return fmt.Errorf("%w labels: at most %d are allowed", ErrTooMany, maxLabels)
		}
		if err := json.UnmarshalDecode(dec, &key); err != nil {
			return err
		}
		if err := json.UnmarshalDecode(dec, &value); err != nil {
			return err
		}
		labels[key] = value
	}
	*l = labels
	_, err := dec.ReadToken()
	return err
}

func readArray(dec *jsontext.Decoder, element func() error) error {
	if dec.PeekKind() == 'n' {
		return dec.SkipValue()
	}
	if kind := dec.PeekKind(); kind != '[' {
		return fmt.Errorf("a JSON %s where an array was expected", kind)
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		if err := element(); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// Uses lists every place of the pod that names an image, in InPodSpec's order.
func (s *PodSpec) Uses() []Use {
	uses := make([]Use, 0, len(s.InitContainers)+len(s.Containers)+len(s.EphemeralContainers)+len(s.Volumes))
	uses = s.InitContainers.appendUses(uses, PlaceInitContainer)
	uses = s.Containers.appendUses(uses, PlaceContainer)
	uses = s.EphemeralContainers.appendUses(uses, PlaceEphemeralContainer)
	for _, v := range s.Volumes {
		uses = append(uses, Use{PlaceVolume, v.Name, v.Image.Reference})
	}
	return uses
}

// Pointers are the JSON pointers (RFC 6901) to the images of a pod, in the order
// of Uses.
func (s *PodSpec) Pointers() []string {
	pointers := make([]string, 0, len(s.InitContainers)+len(s.Containers)+len(s.EphemeralContainers)+len(s.Volumes))
	for _, list := range []struct {
		field string
		n     int
	}{
		{"initContainers", len(s.InitContainers)},
		{"containers", len(s.Containers)},
		{"ephemeralContainers", len(s.EphemeralContainers)},
	} {
		for i := range list.n {
			pointers = append(pointers, "/spec/"+list.field+"/"+strconv.Itoa(i)+"/image")
		}
	}
	for _, v := range s.Volumes {
		pointers = append(pointers, "/spec/volumes/"+strconv.Itoa(v.index)+"/image/reference")
	}
	return pointers
}

func (c containers) appendUses(uses []Use, place Place) []Use {
	for _, one := range c {
		uses = append(uses, Use{place, one.Name, one.Image})
	}
	return uses
}
