package image

import (
	"errors"
	"fmt"

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
	// decided by it: the author of the object may say so.
	Controller Owner `json:"ownerReferences"`
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
	Metadata struct {
		Labels Labels `json:"labels"`
	} `json:"metadata"`
	Spec PodSpec `json:"spec"`
}

// PodSpec is the part of a pod's spec that names images.
type PodSpec struct {
	InitContainers      list[container] `json:"initContainers"`
	Containers          list[container] `json:"containers"`
	EphemeralContainers list[container] `json:"ephemeralContainers"`
	Volumes             list[volume]    `json:"volumes"`
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
}

// list is a list of containers or volumes.
type list[T any] []T

// UnmarshalJSONFrom reads at most maxUses of them.
func (l *list[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	return read(dec, '[', func() error {
		if len(*l) == maxUses {
			return fmt.Errorf("%w containers or volumes: at most %d are allowed", ErrTooMany, maxUses)
		}
		*l = append(*l, *new(T))
		return json.UnmarshalDecode(dec, &(*l)[len(*l)-1])
	})
}

// UnmarshalJSONFrom reads at most maxLabels labels.
func (l *Labels) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	var key, value string // not in the function below, where each label would take two allocations
	return read(dec, '{', func() error {
		if *l == nil {
			*l = Labels{}
		}
		if len(*l) == maxLabels {
			return fmt.Errorf("%w labels: at most %d are allowed", ErrTooMany, maxLabels)
		}
		if err := json.UnmarshalDecode(dec, &key); err != nil {
			return err
		}
		if err := json.UnmarshalDecode(dec, &value); err != nil {
			return err
		}
		(*l)[key] = value
		return nil
	})
}

// read reads an array or an object, which begins with open, element by element;
// null has none.
func read(dec *jsontext.Decoder, open jsontext.Kind, element func() error) error {
	kind := dec.PeekKind()
	if kind == 'n' {
		return dec.SkipValue()
	}
	if kind != open {
		return fmt.Errorf("a JSON %s where %s was expected", kind, open)
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for kind := dec.PeekKind(); kind != ']' && kind != '}'; kind = dec.PeekKind() {
		if err := element(); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// Uses lists every place of the pod that names an image, in InPodSpec's order.
func (s *PodSpec) Uses() []Use {
	uses := make([]Use, 0, len(s.InitContainers)+len(s.Containers)+len(s.EphemeralContainers))
	s.visit(func(use Use, _ string, _ int) { uses = append(uses, use) })
	return uses
}

// Pointers are the JSON pointers (RFC 6901) to the images of a pod, in the order
// of Uses.
func (s *PodSpec) Pointers() (pointers []string) {
	s.visit(func(_ Use, format string, i int) { pointers = append(pointers, fmt.Sprintf(format, i)) })
	return pointers
}

// visit calls f for each place, with the format of its pointer and its index.
func (s *PodSpec) visit(f func(use Use, format string, i int)) {
	for i, c := range s.InitContainers {
		f(Use{PlaceInitContainer, c.Name, c.Image}, "/spec/initContainers/%d/image", i)
	}
	for i, c := range s.Containers {
		f(Use{PlaceContainer, c.Name, c.Image}, "/spec/containers/%d/image", i)
	}
	for i, c := range s.EphemeralContainers {
		f(Use{PlaceEphemeralContainer, c.Name, c.Image}, "/spec/ephemeralContainers/%d/image", i)
	}
	for i, v := range s.Volumes {
		if v.Image != nil {
			f(Use{PlaceVolume, v.Name, v.Image.Reference}, "/spec/volumes/%d/image/reference", i)
		}
	}
}
