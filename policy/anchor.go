package policy

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// Anchors are what an index of policies can find a policy by. Whatever the
// policy judges has at least one of them; if there are none, the policy may
// judge anything.
type Anchors struct {
	// Label, if it has a key, is one that every judged pod has.
	Label Label
	// Images are the beginnings, each a host or host and first path segment,
	// one of which every judged image has; empty if Label is given.
	Images []string
}

// Label is one label of a pod.
type Label struct{ Key, Value string }

// Anchors returns what the policy can be found by.
func (p *Policy) Anchors() Anchors {
	if label, ok := requiredLabel(p.matcher.objects); ok {
		return Anchors{Label: label}
	}
	if p.matcher.allImages {
		return Anchors{}
	}
	images := make([]string, 0, len(p.matcher.included))
	for _, g := range p.matcher.included {
		anchor := g.anchor()
		if anchor == "" {
			return Anchors{}
		}
		images = append(images, anchor)
	}
	slices.Sort(images)
	return Anchors{Images: slices.Compact(images)}
}

func requiredLabel(selector labels.Selector) (Label, bool) {
	requirements, _ := selector.Requirements()
	for _, r := range requirements {
		switch r.Operator() {
		case selection.Equals, selection.DoubleEquals, selection.In:
			if values := r.ValuesUnsorted(); len(values) == 1 {
				return Label{r.Key(), values[0]}, true
			}
		}
	}
	return Label{}, false
}

// anchor is the host, and the first path segment if that is literal too; empty
// if not even the host is.
func (g glob) anchor() string {
	host, path, found := strings.Cut(g.literal, "/")
	if !found {
		return ""
	}
	segment, _, ended := strings.Cut(path, "/")
	if ended || g.whole {
		return host + "/" + segment
	}
	return host
}

// ImageAnchors returns the two anchors of an image, its host and its host with
// the first path segment, of the repository "host/path".
func ImageAnchors(repository string) (host, segment string) {
	slash := strings.IndexByte(repository, '/')
	if slash < 0 {
		return repository, repository
	}
	if end := strings.IndexByte(repository[slash+1:], '/'); end >= 0 {
		return repository[:slash], repository[:slash+1+end]
	}
	return repository[:slash], repository
}
