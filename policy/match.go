package policy

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// The bounds of a match are those of the schema.
const (
	maxGlobs               = 64
	maxSelectorLabels      = 32
	maxSelectorExpressions = 32
	maxSelectorValues      = 64
)

// matcher tells which images a policy judges.
type matcher struct {
	namespaces, objects labels.Selector
	// allImages is set if no glob narrows the policy, and if one that should
	// can't be read: it may have meant any image.
	allImages          bool
	included, excluded []glob
}

func (m *matcher) matchesImage(repository string) bool {
	return (m.allImages || matchesAny(m.included, repository)) && !matchesAny(m.excluded, repository)
}

func matchesAny(globs []glob, repository string) bool {
	for _, g := range globs {
		if g.matches(repository) {
			return true
		}
	}
	return false
}

// compileMatch returns the matcher of m. What can't be read matches rather
// too much than too little.
func compileMatch(m *v1alpha1.Match, path *field.Path) (matcher, field.ErrorList) {
	namespaces, errs := compileSelector(m.NamespaceSelector, path.Child("namespaceSelector"))
	objects, bad := compileSelector(m.ObjectSelector, path.Child("objectSelector"))
	errs = append(errs, bad...)
	included, bad := compileGlobs(m.Images, path.Child("images"))
	errs = append(errs, bad...)
	allImages := len(m.Images) == 0 || len(bad) > 0
	excluded, bad := compileGlobs(m.ExcludeImages, path.Child("excludeImages"))
	errs = append(errs, bad...)
	return matcher{
		namespaces: namespaces,
		objects:    objects,
		allImages:  allImages,
		included:   included,
		excluded:   excluded,
	}, errs
}

func compileSelector(s *metav1.LabelSelector, path *field.Path) (labels.Selector, field.ErrorList) {
	if s == nil {
		return labels.Everything(), nil
	}
	errs := validateSelectorSize(s, path)
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Everything(), append(errs, field.Invalid(path, field.OmitValueType{}, err.Error()))
	}
	return selector, errs
}

func validateSelectorSize(s *metav1.LabelSelector, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if n := len(s.MatchLabels); n > maxSelectorLabels {
		errs = append(errs, field.TooMany(path.Child("matchLabels"), n, maxSelectorLabels))
	}
	if n := len(s.MatchExpressions); n > maxSelectorExpressions {
		errs = append(errs, field.TooMany(path.Child("matchExpressions"), n, maxSelectorExpressions))
	}
	for i, e := range s.MatchExpressions {
		if n := len(e.Values); n > maxSelectorValues {
			errs = append(errs, field.TooMany(path.Child("matchExpressions").Index(i).Child("values"), n, maxSelectorValues))
		}
	}
	return errs
}

func compileGlobs(patterns []string, path *field.Path) ([]glob, field.ErrorList) {
	var (
		globs []glob
		errs  = duplicates(patterns, path)
	)
	if n := len(patterns); n > maxGlobs {
		errs = append(errs, field.TooMany(path, n, maxGlobs))
	}
	for i, pattern := range patterns {
		g, err := compileGlob(pattern)
		if err != nil {
			errs = append(errs, field.Invalid(path.Index(i), pattern, err.Error()))
			continue
		}
		globs = append(globs, g)
	}
	return globs, errs
}
