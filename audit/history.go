package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// maxSightings bounds the images that one audit notes for one policy.
const maxSightings = 4 * v1alpha1.MaxHistory

// sightings gathers what an audit sees run, for the policies that give a grace.
// The zero value is ready for use.
type sightings struct {
	mu       sync.Mutex
	policies map[string]*sighting
}

// sighting is what was seen for one policy. Covered are those of the bad images
// that a grace would let past.
type sighting struct {
	policy.Sighting
	covered map[string]struct{}
}

// add adds what was decided of one pod. A bad record is bad wherever it was
// seen; passed has what runs, by the word of the node, and by no other: what is
// written in a pod's status is the kubelet's, not its author's.
func (s *sightings) add(pod *corev1.Pod, d *gate.Decision) {
	if len(d.Sightings) == 0 {
		return
	}
	ids := imageIDs(pod)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range d.Sightings {
		one := &d.Sightings[i]
		seen := s.of(one.Policy)
		for k := range one.Digests {
			digests := &one.Digests[k]
			switch {
			case one.Bad:
				note(seen.Bad, digests.Image)
				note(seen.Bad, digests.Whole)
				if one.Covered {
					note(seen.covered, digests.Image)
				}
			case one.Passed && digests.Has(ids[place{one.Use.Place, one.Use.Name}]):
				note(seen.Passed, digests.Image)
			}
		}
	}
}

func (s *sightings) of(name string) *sighting {
	if s.policies == nil {
		s.policies = map[string]*sighting{}
	}
	seen, ok := s.policies[name]
	if !ok {
		seen = &sighting{policy.Sighting{Passed: map[string]struct{}{}, Bad: map[string]struct{}{}}, map[string]struct{}{}}
		s.policies[name] = seen
	}
	return seen
}

func note(digests map[string]struct{}, digest string) {
	if digest != "" && len(digests) < maxSightings {
		digests[digest] = struct{}{}
	}
}

// take returns what was seen for a policy.
func (s *sightings) take(name string, complete bool) sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := *s.of(name)
	seen.Complete = complete
	return seen
}

type place struct {
	place image.Place
	name  string
}

// imageIDs returns the digests that the node reports of a pod's containers. A
// container that has one has been started, or is about to be.
func imageIDs(pod *corev1.Pod) map[place]string {
	ids := map[place]string{}
	add := func(p image.Place, statuses []corev1.ContainerStatus) {
		for i := range statuses {
			ids[place{p, statuses[i].Name}] = digestOf(statuses[i].ImageID)
		}
	}
	add(image.PlaceInitContainer, pod.Status.InitContainerStatuses)
	add(image.PlaceContainer, pod.Status.ContainerStatuses)
	add(image.PlaceEphemeralContainer, pod.Status.EphemeralContainerStatuses)
	return ids
}

// digestOf returns the digest in a container's imageID, such as
// registry.example.com/app@sha256:…, with or without a scheme, or sha256:….
func digestOf(imageID string) string {
	if i := strings.LastIndexByte(imageID, '@'); i >= 0 {
		return imageID[i+1:]
	}
	if _, digest, ok := strings.Cut(imageID, "://"); ok {
		return digest
	}
	return imageID
}

// historyWriter brings the histories up to date at the end of an audit.
type historyWriter struct {
	*Auditor
	seen     *sightings
	complete bool
	// stored are those that there are and no policy has claimed yet.
	stored map[string]*v1alpha1.ImageScanHistory
}

// writeHistories writes what ran and passed, and what no longer does, for each
// policy that gives a grace, and returns the graces under way. What stands in
// the cluster is always read first: another replica may have written it.
func (a *Auditor) writeHistories(ctx context.Context, seen *sightings, complete bool) (map[string]graces, error) {
	var policies v1alpha1.ImageScanPolicyList
	if err := a.Client.List(ctx, &policies); err != nil {
		return nil, fmt.Errorf("read the policies: %w", err)
	}
	w := &historyWriter{Auditor: a, seen: seen, complete: complete, stored: map[string]*v1alpha1.ImageScanHistory{}}
	if err := w.read(ctx); err != nil {
		return nil, err
	}
	var failures []error
	given := map[string]graces{}
	for i := range policies.Items {
		p := &policies.Items[i]
		compiled, _ := policy.Compile(p) // an error is for the status
		if compiled.GracePeriod() == 0 {
			continue
		}
		history, err := w.write(ctx, p, compiled.GracePeriod())
		if err != nil {
			failures = append(failures, fmt.Errorf("write the history of policy %q: %w", p.Name, err))
		}
		given[p.Name] = newGraces(history, w.seen.take(p.Name, complete).covered, compiled.GracePeriod(), a.Clock.Now())
	}
	return given, errors.Join(append(failures, w.deleteRest(ctx))...)
}

func (w *historyWriter) read(ctx context.Context) error {
	var list v1alpha1.ImageScanHistoryList
	err := pages(ctx, w.Live, &list, func() {
		for i := range list.Items {
			w.stored[list.Items[i].Name] = list.Items[i].DeepCopy()
		}
	})
	if err != nil {
		return fmt.Errorf("list histories: %w", err)
	}
	return nil
}

// write writes the history of one policy if it has changed, and returns it.
func (w *historyWriter) write(ctx context.Context, p *v1alpha1.ImageScanPolicy, period time.Duration) (policy.History, error) {
	object, known := w.stored[p.Name]
	if known && !metav1.IsControlledBy(object, p) {
		return nil, nil // that of a policy of before: it is deleted first
	}
	delete(w.stored, p.Name)
	if !known {
		object = newHistory(p)
	}
	before, err := policy.CompileHistory(object)
	if err != nil {
		w.Log.Warn("a part of a history can't be read and is dropped", "history", p.Name, "error", err)
	}
	seen := w.seen.take(p.Name, w.complete)
	seen.Every = w.Interval
	after, dropped := before.After(seen.Sighting, period, w.Clock.Now())
	if dropped > 0 {
		w.Log.Warn("a history is full: images that passed the longest ago were left out and have no grace", "policy", p.Name, "dropped", dropped)
	}
	w.Metrics.dropped(p.Name, dropped)
	object.Images = after.Images()
	switch {
	case !known && len(after) > 0:
		err = w.Client.Create(ctx, object)
	case known && !same(before, after):
		err = w.Client.Update(ctx, object) // fails if it has changed meanwhile
	default:
		err = nil
	}
	return after, err
}

// same tells whether After had nothing to write.
func same(before, after policy.History) bool {
	if len(before) != len(after) {
		return false
	}
	for digest, p := range before {
		if q, ok := after[digest]; !ok || !p.PassedAt.Equal(q.PassedAt) || !p.WorsenedAt.Equal(q.WorsenedAt) {
			return false
		}
	}
	return true
}

func newHistory(p *v1alpha1.ImageScanPolicy) *v1alpha1.ImageScanHistory {
	owner := metav1.OwnerReference{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "ImageScanPolicy", Name: p.Name, UID: p.UID, Controller: new(true),
	}
	return &v1alpha1.ImageScanHistory{ObjectMeta: metav1.ObjectMeta{
		Name: p.Name, Labels: map[string]string{managedBy: reporter}, OwnerReferences: []metav1.OwnerReference{owner},
	}}
}

// deleteRest deletes the histories that belong to no policy that gives a grace.
func (w *historyWriter) deleteRest(ctx context.Context) error {
	var failures []error
	for name, object := range w.stored {
		err := w.Client.Delete(ctx, object, client.Preconditions{UID: &object.UID})
		if client.IgnoreNotFound(err) != nil {
			failures = append(failures, fmt.Errorf("delete history %q: %w", name, err))
		}
	}
	return errors.Join(failures...)
}

// graces are those under way of one policy: of images that run.
type graces struct {
	images int
	next   time.Time
}

func newGraces(h policy.History, covered map[string]struct{}, period time.Duration, now time.Time) graces {
	var g graces
	for digest, worsened := range h.Worsenings() {
		end := worsened.Add(period)
		if _, runs := covered[digest]; !runs || !now.Before(end) {
			continue
		}
		g.images++
		if g.next.IsZero() || end.Before(g.next) {
			g.next = end
		}
	}
	return g
}

func (g graces) status() *v1alpha1.AuditGrace {
	if g.images == 0 {
		return nil
	}
	return &v1alpha1.AuditGrace{Images: int32Of(g.images), NextEnd: metav1.NewTime(g.next)}
}
