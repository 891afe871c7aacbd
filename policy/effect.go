package policy

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// MatchesNothing returns why m can match no image of any pod, whatever labels
// and images there are, and an empty string where it may match one. Nothing is
// evaluated in the exempt namespaces.
func MatchesNothing(m *v1alpha1.Match, exempt []string) string {
	if key := contradiction(m.NamespaceSelector, exempt); key != "" {
		return fmt.Sprintf("match.namespaceSelector can select no namespace that is not exempt: see its requirements of the label %s", key)
	}
	if key := contradiction(m.ObjectSelector, nil); key != "" {
		return fmt.Sprintf("match.objectSelector can select no pod: its requirements of the label %s contradict each other", key)
	}
	images := m.Images
	if len(images) == 0 {
		images = []string{"**"}
	}
	kept := func(image string) bool {
		return !slices.ContainsFunc(m.ExcludeImages, func(excluded string) bool { return coversGlob(excluded, image) })
	}
	if !slices.ContainsFunc(images, kept) {
		return "match.excludeImages excludes every image that the policy could match"
	}
	return ""
}

// contradiction returns a label of which no value can fulfil what the selector
// requires, or an empty string.
func contradiction(s *metav1.LabelSelector, exempt []string) string {
	if s == nil {
		return ""
	}
	requirements := slices.Clone(s.MatchExpressions)
	for key, value := range s.MatchLabels {
		requirements = append(requirements, metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpIn, Values: []string{value}})
	}
	for _, r := range requirements {
		if r.Operator != metav1.LabelSelectorOpIn && r.Operator != metav1.LabelSelectorOpExists {
			continue
		}
		left, isIn := slices.Clone(r.Values), r.Operator == metav1.LabelSelectorOpIn
		for _, other := range requirements {
			switch {
			case other.Key != r.Key:
			case other.Operator == metav1.LabelSelectorOpDoesNotExist:
				return r.Key
			case other.Operator == metav1.LabelSelectorOpIn:
				left = slices.DeleteFunc(left, func(v string) bool { return !slices.Contains(other.Values, v) })
			case other.Operator == metav1.LabelSelectorOpNotIn:
				left = slices.DeleteFunc(left, func(v string) bool { return slices.Contains(other.Values, v) })
			}
		}
		if r.Key == corev1.LabelMetadataName {
			left = slices.DeleteFunc(left, func(v string) bool { return slices.Contains(exempt, v) })
		}
		if isIn && len(left) == 0 {
			return r.Key
		}
	}
	return ""
}

// coversGlob reports whether the glob outer matches all that inner matches, as
// far as that is certain.
func coversGlob(outer, inner string) bool {
	outer, inner = normalizeGlob(outer), normalizeGlob(inner)
	if outer == inner || slices.Contains([]string{"**", "*/**", "**/*", "**/**"}, outer) {
		return true
	}
	if !strings.Contains(inner, "*") {
		g, err := compileGlob(outer)
		return err == nil && g.matches(inner)
	}
	prefix, open := strings.CutSuffix(outer, "**")
	return open && !strings.Contains(prefix, "*") && strings.HasPrefix(inner, prefix)
}

// GlobHost returns the host of a glob, as references are normalised, and an empty
// string where the glob may match several.
func GlobHost(glob string) string {
	host, _, _ := strings.Cut(normalizeGlob(glob), "/")
	if strings.Contains(host, "*") {
		return ""
	}
	return host
}

// MayMatch reports whether the policy may match an image that an exception
// selects by pattern, a glob or a digest.
func (p *Policy) MayMatch(pattern string) bool {
	return namesDigest(pattern) || strings.Contains(pattern, "*") || p.MatchesImage(normalizeGlob(pattern))
}
