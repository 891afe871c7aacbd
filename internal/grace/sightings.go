package grace

import (
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/hssgate/hssgate/internal/gate"
	imagepkg "github.com/hssgate/hssgate/internal/image"
)

// Sightings are the images that one audit saw, for policies that give grace. The
// zero value is ready for use, also concurrently.
type Sightings struct {
	mu     sync.Mutex
	passed map[image]bool
	// bad tells of each bad image whether a grace would admit it.
	bad map[image]bool
}

// Add adds the decision about one pod. A bad record is bad wherever it was seen.
// An image passed only if the node reports its digest: the kubelet writes a pod's
// status, and the pod's author does not.
func (s *Sightings) Add(pod *corev1.Pod, d *gate.Decision) {
	if len(d.Sightings) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.passed == nil {
		s.passed, s.bad = map[image]bool{}, map[image]bool{}
	}
	for i := range d.Sightings {
		one := &d.Sightings[i]
		for _, digests := range one.Digests {
			key := image{pod.Namespace, one.Policy, digests.Image}
			switch {
			case one.Bad:
				s.markBad(key, one.Covered)
				if digests.Whole != "" {
					s.markBad(image{pod.Namespace, one.Policy, digests.Whole}, one.Covered)
				}
			case one.Passed && digests.Has(runningDigest(pod, one.Use)):
				s.passed[key] = true
			}
		}
	}
}

// markBad notes a bad image. Findings that a grace does not cover count if any pod
// has them.
func (s *Sightings) markBad(one image, covered bool) {
	before, known := s.bad[one]
	s.bad[one] = covered && (before || !known)
}

// runningDigest returns the digest that the node reports of a container, which has
// been started then, or is about to be; empty if it reports none. An imageID is such
// as registry.example.com/app@sha256:…, with or without a scheme, or sha256:….
func runningDigest(pod *corev1.Pod, use imagepkg.Use) string {
	statuses := map[imagepkg.Place][]corev1.ContainerStatus{
		imagepkg.PlaceInitContainer:      pod.Status.InitContainerStatuses,
		imagepkg.PlaceContainer:          pod.Status.ContainerStatuses,
		imagepkg.PlaceEphemeralContainer: pod.Status.EphemeralContainerStatuses,
	}[use.Place]
	i := slices.IndexFunc(statuses, func(s corev1.ContainerStatus) bool { return s.Name == use.Name })
	if i < 0 {
		return ""
	}
	id := statuses[i].ImageID
	id = id[strings.LastIndexByte(id, '@')+1:]
	return id[strings.LastIndexByte(id, '/')+1:]
}
