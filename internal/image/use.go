package image

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Place is the kind of place where a pod names an image.
type Place string

// The places, as they are called in messages.
const (
	PlaceContainer          Place = "container"
	PlaceInitContainer      Place = "init container"
	PlaceEphemeralContainer Place = "ephemeral container"
	PlaceVolume             Place = "image volume"
)

// Use is one place of a pod that names an image.
type Use struct {
	Place Place
	// Name is the container's or the volume's name.
	Name string
	// Image is the reference as written; it may be empty or invalid.
	Image string
}

// String returns the place in words, such as `init container "setup"`.
func (u Use) String() string { return fmt.Sprintf("%s %q", u.Place, u.Name) }

// InPodSpec lists every place of a pod that names an image, in the order in
// which the API lists them: init containers, containers, ephemeral containers,
// volumes.
func InPodSpec(spec *corev1.PodSpec) []Use {
	uses := make([]Use, 0, len(spec.InitContainers)+len(spec.Containers)+len(spec.EphemeralContainers))
	for i := range spec.InitContainers {
		uses = append(uses, Use{PlaceInitContainer, spec.InitContainers[i].Name, spec.InitContainers[i].Image})
	}
	for i := range spec.Containers {
		uses = append(uses, Use{PlaceContainer, spec.Containers[i].Name, spec.Containers[i].Image})
	}
	for i := range spec.EphemeralContainers {
		uses = append(uses, Use{PlaceEphemeralContainer, spec.EphemeralContainers[i].Name, spec.EphemeralContainers[i].Image})
	}
	for i := range spec.Volumes {
		if volume := spec.Volumes[i].Image; volume != nil {
			uses = append(uses, Use{PlaceVolume, spec.Volumes[i].Name, volume.Reference})
		}
	}
	return uses
}

// RunningImage is the image of a container that the node has started, or is about to.
type RunningImage struct {
	// Digest is empty if the node reports none.
	Digest string
	// Pulled reports whether the digest is that of an image in a registry, and not the ID of one that a node only has.
	Pulled bool
}

// Running returns what the node reports of a container: the kubelet writes a pod's status, and the pod's author does
// not. An imageID is such as registry.example.com/app@sha256:…, with or without a scheme, or sha256:….
func Running(pod *corev1.Pod, use Use) RunningImage {
	statuses := map[Place][]corev1.ContainerStatus{
		PlaceInitContainer:      pod.Status.InitContainerStatuses,
		PlaceContainer:          pod.Status.ContainerStatuses,
		PlaceEphemeralContainer: pod.Status.EphemeralContainerStatuses,
	}[use.Place]
	i := slices.IndexFunc(statuses, func(s corev1.ContainerStatus) bool { return s.Name == use.Name })
	if i < 0 {
		return RunningImage{}
	}
	id := statuses[i].ImageID
	at := strings.LastIndexByte(id, '@')
	id = id[at+1:]
	return RunningImage{Digest: id[strings.LastIndexByte(id, '/')+1:], Pulled: at >= 0}
}

// Missing returns the uses whose image, as written, old does not have
// anywhere: those that an update brings in.
func Missing(uses, old []Use) []Use {
	known := make(map[string]bool, len(old))
	for _, u := range old {
		known[u.Image] = true
	}
	return slices.DeleteFunc(slices.Clone(uses), func(u Use) bool { return known[u.Image] })
}
