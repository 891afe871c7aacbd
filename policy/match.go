package policy

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/glob"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// matcher selects the pods and images that a policy evaluates.
type matcher struct {
	namespaces, pods labels.Selector
	// allImages is true without globs, and if any of them is invalid.
	allImages          bool
	included, excluded glob.Set
}

// SelectsNamespaces reports whether the policy has a namespace selector. Only then
// the labels of a namespace must be known.
func (m *matcher) SelectsNamespaces() bool { return !m.namespaces.Empty() }

// MatchesNamespace reports whether the policy selects a namespace with these labels.
func (m *matcher) MatchesNamespace(namespaceLabels map[string]string) bool {
	return m.namespaces.Matches(labels.Set(namespaceLabels))
}

// MatchesPod reports whether the policy selects a pod with these labels in a
// namespace that it selects.
func (m *matcher) MatchesPod(podLabels map[string]string) bool {
	return m.pods.Matches(labels.Set(podLabels))
}

// MatchesImage reports whether the policy selects images of a repository, the
// "host/path" of a normalised reference.
func (m *matcher) MatchesImage(repository string) bool {
	return (m.allImages || m.included.Match(repository)) && !m.excluded.Match(repository)
}

// MayMatch reports whether the policy may match an image that an exception
// selects by pattern, a glob or a digest.
func (m *matcher) MayMatch(pattern string) bool {
	return namesDigest(pattern) || strings.Contains(pattern, "*") || m.MatchesImage(glob.Normalize(pattern))
}

// setMatch matches too much rather than too little where match is invalid.
func (m *matcher) setMatch(match *v1alpha1.Match, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	m.namespaces = compileSelector(&errs, match.NamespaceSelector, path.Child("namespaceSelector"))
	m.pods = compileSelector(&errs, match.ObjectSelector, path.Child("objectSelector"))
	m.included = compileGlobs(&errs, match.Images, path.Child("images"))
	m.allImages = len(m.included) < len(match.Images) || len(match.Images) == 0
	m.excluded = compileGlobs(&errs, match.ExcludeImages, path.Child("excludeImages"))
	return errs
}

// compileSelector returns a selector of everything for one that is invalid.
func compileSelector(errs *field.ErrorList, s *metav1.LabelSelector, path *field.Path) labels.Selector {
	if s == nil {
		return labels.Everything()
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		*errs = append(*errs, field.Invalid(path, field.OmitValueType{}, err.Error()))
		return labels.Everything()
	}
	return selector
}

// compileGlobs leaves out patterns that are invalid.
func compileGlobs(errs *field.ErrorList, patterns []string, path *field.Path) (globs glob.Set) {
	for i, pattern := range patterns {
		g, err := glob.Compile(pattern)
		if err != nil {
			*errs = append(*errs, field.Invalid(path.Index(i), pattern, err.Error()))
			continue
		}
		globs = append(globs, g)
	}
	return globs
}

// MatchesNothing returns why m can match no image of any pod, and an empty string
// where it may match one. Nothing is evaluated in the exempt namespaces.
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
	for _, image := range images {
		if !slices.ContainsFunc(m.ExcludeImages, func(excluded string) bool { return glob.Covers(excluded, image) }) {
			return ""
		}
	}
	return "match.excludeImages excludes every image that the policy could match"
}

// contradiction returns a label that a selector wants to exist, but with no value that
// meets all of its requirements and is not exempt; or an empty string.
func contradiction(s *metav1.LabelSelector, exempt []string) string {
	if s == nil {
		return ""
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return ""
	}
	requirements, _ := selector.Requirements()
	for _, r := range requirements {
		if r.Operator() == selection.NotIn || r.Operator() == selection.DoesNotExist {
			continue // an absent label meets it
		}
		const unnamed = "\x00"
		candidates, meetsAll := []string{unnamed}, labels.NewSelector()
		for _, other := range requirements {
			if other.Key() == r.Key() {
				candidates, meetsAll = append(candidates, other.ValuesUnsorted()...), meetsAll.Add(other)
			}
		}
		possible := func(value string) bool {
			isExempt := r.Key() == corev1.LabelMetadataName && slices.Contains(exempt, value)
			return !isExempt && meetsAll.Matches(labels.Set{r.Key(): value})
		}
		if !slices.ContainsFunc(candidates, possible) {
			return r.Key()
		}
	}
	return ""
}
