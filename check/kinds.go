package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// groupVersion takes an apiVersion apart; the core group is "".
func groupVersion(apiVersion string) schema.GroupVersion {
	group, version, hasGroup := strings.Cut(apiVersion, "/")
	if !hasGroup {
		return schema.GroupVersion{Version: apiVersion}
	}
	return schema.GroupVersion{Group: group, Version: version}
}

// checkKind returns an error for a kind that no API server has. A workload whose
// kind or version is misspelt would otherwise pass without a word, as something
// that names no images.
//
// The groups of custom resources have a dot, and may have any kind. Of
// Kubernetes' own groups any version will do that knows the kind, and of what
// names no images any version at all: an older cluster has more of them.
func checkKind(kind schema.GroupVersionKind) error {
	if kind.Group == v1alpha1.GroupVersion.Group {
		return checkOwnKind(kind)
	}
	if strings.Contains(kind.Group, ".") {
		return nil
	}
	judged := image.HoldsImages(kind.Group, kind.Kind) || isNamespace(kind.GroupKind())
	if !judged {
		if err := meantWorkload(kind); err != nil {
			return err
		}
	}
	if !scheme.Scheme.IsGroupRegistered(kind.Group) || kind.Kind == "List" || kind.Kind == "PodSecurityPolicy" {
		return nil // the latter was there until Kubernetes 1.24
	}
	versions := scheme.Scheme.VersionsForGroupKind(kind.GroupKind())
	switch {
	case len(versions) == 0:
		return unknownKind(kind)
	case judged && !scheme.Scheme.IsVersionRegistered(kind.GroupVersion()):
		return fmt.Errorf("there is no apiVersion %q: kind %s is of %s", kind.GroupVersion(), kind.Kind, oneOfVersions(versions))
	default:
		return nil
	}
}

// checkOwnKind returns an error for a kind that hssgate doesn't define: an exception
// whose kind is misspelt would be missing without a word.
func checkOwnKind(kind schema.GroupVersionKind) error {
	own := []string{policyKind, exceptionKind, "ImageScanHistory"}
	if slices.Contains(own, strings.TrimSuffix(kind.Kind, "List")) && kind.Version == v1alpha1.GroupVersion.Version {
		return nil
	}
	return fmt.Errorf("there is no kind %q in apiVersion %q: the kinds of %s are %s", kind.Kind, kind.GroupVersion(), v1alpha1.GroupVersion, strings.Join(own, ", "))
}

// isCustom reports whether the kind is none of Kubernetes' own, so that it may
// hold pod templates in any place.
func isCustom(kind schema.GroupKind) bool {
	switch kind.Group {
	case v1alpha1.GroupVersion.Group, "apiextensions.k8s.io", "apiregistration.k8s.io":
		return false
	}
	return !scheme.Scheme.IsGroupRegistered(kind.Group)
}

func isNamespace(kind schema.GroupKind) bool { return kind == schema.GroupKind{Kind: "Namespace"} }

// meantWorkload returns an error for a kind that only the case of its letters or
// its group keeps from being a workload.
func meantWorkload(kind schema.GroupVersionKind) error {
	for known := range scheme.Scheme.AllKnownTypes() {
		if strings.EqualFold(known.Kind, kind.Kind) && image.HoldsImages(known.Group, known.Kind) {
			group := cmp.Or(known.Group, "the core group (such as v1)")
			return fmt.Errorf("there is no kind %q in apiVersion %q: kind %s is of %s", kind.Kind, kind.GroupVersion(), known.Kind, group)
		}
	}
	return nil
}

// unknownKind says which kind may have been meant: one of this name in another
// group, or else one that is written much like it.
func unknownKind(kind schema.GroupVersionKind) error {
	err := fmt.Errorf("there is no kind %q in apiVersion %q", kind.Kind, kind.GroupVersion())
	others := map[string]schema.GroupKind{}
	own := map[string]bool{}
	for known, t := range scheme.Scheme.AllKnownTypes() {
		switch {
		case strings.HasSuffix(known.Kind, "List"), strings.Contains(t.PkgPath(), "/apimachinery/"), known.Group == "extensions":
			// no objects that anybody writes
		case known.Group == kind.Group:
			own[known.Kind] = true
		default:
			others[known.Kind] = known.GroupKind()
		}
	}
	if other, known := others[kind.Kind]; known {
		return fmt.Errorf("%w: kind %s is of %s", err, kind.Kind, oneOfVersions(scheme.Scheme.VersionsForGroupKind(other)))
	}
	if near := config.Nearest(kind.Kind, slices.Sorted(maps.Keys(own))); near != "" {
		return fmt.Errorf("%w; did you mean %q?", err, near)
	}
	if near := config.Nearest(kind.Kind, slices.Sorted(maps.Keys(others))); near != "" {
		return fmt.Errorf("%w; did you mean %q, which is of %s?", err, near, oneOfVersions(scheme.Scheme.VersionsForGroupKind(others[near])))
	}
	return err
}

// oneOfVersions lists versions, the newest first.
func oneOfVersions(versions []schema.GroupVersion) string {
	names := make([]string, len(versions))
	for i, version := range versions {
		names[i] = version.String()
	}
	return oneOf(names)
}
