package audit

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
)

// ReasonOtherImage is of a warning about pods whose node pulled another image than the
// one that HSS scanned under its tag.
const ReasonOtherImage = "RunsOtherImage"

// otherImage is such an image of a pod.
type otherImage struct {
	line     line
	policies []string
}

// otherImages returns the images of a pod that HSS did not scan under their tags,
// since a tag moved. One whose digest is unknown, here or at HSS, is none of them.
func otherImages(pod *corev1.Pod, d *gate.Decision) (others []otherImage) {
	for _, s := range d.Scanned {
		running := image.Running(pod, s.Use)
		ran := func(scanned policy.Digests) bool { return scanned.Has(running.Digest) }
		if !running.Pulled || !image.IsDigest(running.Digest) || slices.ContainsFunc(s.Digests, ran) {
			continue
		}
		var scanned []string
		for _, one := range s.Digests {
			if !slices.Contains(scanned, one.Image) {
				scanned = append(scanned, one.Image)
			}
		}
		text := d.Language.Sprintf("%s %q: %s runs as %s, and HSS scanned %s",
			d.Language.Text(string(s.Use.Place)), s.Use.Name, s.Reference, running.Digest, strings.Join(scanned, d.Language.Text(", ")))
		others = append(others, otherImage{line{text: cut(text, maxLine), image: s.Reference}, s.Policies})
	}
	return others
}

// addOthers counts a pod for each policy that evaluates such an image of it.
func (f *findings) addOthers(o image.Owner, d *gate.Decision, others []otherImage) {
	if len(others) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var policies []string
	for _, one := range others {
		policies = append(policies, one.policies...)
	}
	slices.Sort(policies)
	for _, name := range slices.Compact(policies) {
		f.of(name).OtherImages++
	}
	g := f.moved[o]
	switch {
	case g == nil && len(f.moved) >= maxGroups:
		return
	case g == nil:
		g = &group{groupKey: groupKey{owner: o}, Language: d.Language}
		f.moved[o] = g
	}
	g.violations++
	for _, one := range others {
		g.addLine(one.line)
	}
}

// otherEvent returns the Event of a workload whose pods run other images.
func (g *group) otherEvent(namespace string, now time.Time) *corev1ac.EventApplyConfiguration {
	format := "%d pods run an image that is not the one HSS scanned under its tag: %s"
	if g.violations == 1 {
		format = "%d pod runs an image that is not the one HSS scanned under its tag: %s"
	}
	toDo := g.Text("have HSS synchronise the registry and scan the tag, and name or pin the image by its digest")
	note := g.Sprintf(format, g.violations, g.message()+"\n"+g.Sprintf("to do: %s", toDo))
	return g.newEvent(namespace, now, ReasonOtherImage, ReasonOtherImage, note)
}
