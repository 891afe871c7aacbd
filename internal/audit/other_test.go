package audit_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy"
)

// Digests of images.
var (
	digestA = "sha256:" + strings.Repeat("a", 64)
	digestB = "sha256:" + strings.Repeat("b", 64)
	digestC = "sha256:" + strings.Repeat("c", 64)
)

// runs has the node report an imageID of the pod's container.
func runs(imageID string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: p.Spec.Containers[0].Name, ImageID: imageID}}
	}
}

func TestAPodWhoseTagMovedIsReported(t *testing.T) {
	t.Parallel()
	scanned := []policy.Digests{{Image: digestA, Architectures: []string{digestC}}}
	for name, test := range map[string]struct {
		imageID string
		scanned []policy.Digests
		want    int32
	}{
		"another digest than HSS scanned":               {"swr.example.com/prod/app@" + digestB, scanned, 1},
		"with a scheme":                                 {"docker-pullable://swr.example.com/prod/app@" + digestB, scanned, 1},
		"the digest that HSS scanned":                   {"swr.example.com/prod/app@" + digestA, scanned, 0},
		"that of one architecture":                      {"swr.example.com/prod/app@" + digestC, scanned, 0},
		"that of one record of several":                 {"swr.example.com/prod/app@" + digestB, append(scanned, policy.Digests{Image: digestB}), 0},
		"HSS has no digest, or the reference names one": {"swr.example.com/prod/app@" + digestB, nil, 0},
		"the node reports none yet":                     {"", scanned, 0},
		"the node has an image of no registry":          {digestB, scanned, 0},
		"a digest that is none":                         {"swr.example.com/prod/app@sha256:12", scanned, 0},
	} {
		c := newCluster(t)
		c.scanned = map[string][]policy.Digests{"app:1": test.scanned}
		c.run("a", "web", "app:1", runs(test.imageID))
		status := c.audits(t)
		equal(t, name, test.want, status.OtherImages)
		equal(t, name+": violations, of which it is none", 0, status.Violations)
		equal(t, name+": Events", int(test.want), len(c.events(t)))
		equal(t, name+": metric", []string{fmt.Sprint("hssgate_audit_other_image_pods p ", test.want)}, c.measured(t, "hssgate_audit_other_image_pods"))
	}
}

func TestOneEventNamesTheOtherImagesOfAWorkload(t *testing.T) {
	t.Parallel()
	c := newViolation(t)
	c.scanned = map[string][]policy.Digests{"bad:1": {{Image: digestA}}}
	for i := range c.pods {
		runs("bad@" + digestB)(&c.pods[i])
	}
	c.audits(t)
	other := "Warning a/DaemonSet/agent RunsOtherImage: 2 pods run an image that is not the one HSS scanned under its tag: " +
		`container "app": bad:1 runs as ` + digestB + ", and HSS scanned " + digestA +
		" | to do: have HSS synchronise the registry and scan the tag, and name or pin the image by its digest"
	equal(t, "Events, of the violation and of the other image", map[string]bool{standing: true, other: true}, set(c.events(t)))

	t.Log("it is written again only if it changes, in the language of the decision")
	c.written()
	c.audits(t)
	equal(t, "what is written", nil, eventsIn(c.written()))
	c.language = language.Chinese
	c.audits(t)
	equal(t, "Events that are written in Chinese", 2, len(eventsIn(c.written())))
}

func set(all []string) map[string]bool {
	found := map[string]bool{}
	for _, one := range all {
		found[one] = true
	}
	return found
}

func eventsIn(writes []string) (events []string) {
	for _, w := range writes {
		if strings.HasPrefix(w, "apply event") {
			events = append(events, w)
		}
	}
	return events
}
