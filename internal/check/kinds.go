package check

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// The kinds of policies and exceptions.
const (
	policyKind    = "ImageScanPolicy"
	exceptionKind = "ImageScanException"
)

// checkKind refuses a kind that no API server has: a misspelt workload would
// otherwise pass as an object without images.
//
// Groups with a dot are those of custom resources, and may have any kind. For
// objects without images the version does not matter: older clusters have others.
func checkKind(kind schema.GroupVersionKind) error {
	own := []string{policyKind, exceptionKind}
	holdsImages := image.HoldsImages(kind.Group, kind.Kind)
	matters := holdsImages || kind.GroupKind() == schema.GroupKind{Kind: "Namespace"}
	switch {
	case kind.Group == v1alpha1.GroupVersion.Group:
		if slices.Contains(own, strings.TrimSuffix(kind.Kind, "List")) && kind.Version == v1alpha1.GroupVersion.Version {
			return nil
		}
		return fmt.Errorf("%w: the kinds of %s are %s", noKind(kind), v1alpha1.GroupVersion, strings.Join(own, " and "))
	case strings.Contains(kind.Group, "."):
		return nil
	case !holdsImages && soundsLikeWorkload(kind.Kind):
		return unknownKind(kind)
	case !scheme.Scheme.IsGroupRegistered(kind.Group), kind.Kind == "List", kind.Kind == "PodSecurityPolicy": // until 1.24
		return nil
	case len(scheme.Scheme.VersionsForGroupKind(kind.GroupKind())) == 0,
		matters && !scheme.Scheme.IsVersionRegistered(kind.GroupVersion()):
		return unknownKind(kind)
	default:
		return nil
	}
}

func noKind(kind schema.GroupVersionKind) error {
	return fmt.Errorf("there is no kind %q in apiVersion %q", kind.Kind, kind.GroupVersion())
}

// soundsLikeWorkload reports whether a kind of that name in another group holds
// images, whatever the case of its letters.
func soundsLikeWorkload(kind string) bool {
	for known := range scheme.Scheme.AllKnownTypes() {
		if strings.EqualFold(known.Kind, kind) && image.HoldsImages(known.Group, known.Kind) {
			return true
		}
	}
	return false
}

// unknownKind suggests the kind that may have been meant.
func unknownKind(kind schema.GroupVersionKind) error {
	known := map[string]schema.GroupKind{}
	for one, t := range scheme.Scheme.AllKnownTypes() {
		helper := strings.HasSuffix(one.Kind, "List") || strings.Contains(t.PkgPath(), "/apimachinery/")
		if _, there := known[one.Kind]; !helper && one.Group != "extensions" && (!there || one.Group == kind.Group) {
			known[one.Kind] = one.GroupKind()
		}
	}
	near := kind.Kind
	if _, there := known[near]; !there {
		near = config.Nearest(near, slices.Sorted(maps.Keys(known)))
	}
	if near == "" {
		return noKind(kind)
	}
	var versions []string
	for _, v := range scheme.Scheme.VersionsForGroupKind(known[near]) {
		versions = append(versions, v.String())
	}
	return fmt.Errorf("%w; did you mean kind %s of %s?", noKind(kind), near, strings.Join(versions, ", "))
}

// isCustom reports whether a group is none of Kubernetes' own, so that its objects
// may hold pod templates anywhere.
func isCustom(group string) bool {
	others := []string{v1alpha1.GroupVersion.Group, "apiextensions.k8s.io", "apiregistration.k8s.io"}
	return !slices.Contains(others, group) && !scheme.Scheme.IsGroupRegistered(group)
}

// wrongType names the field of an error of the decoder, and what it must be, in
// the terms of the file.
func wrongType(err error) error {
	wrong, is := errors.AsType[*json.SemanticError](err)
	switch {
	case !is || wrong.JSONPointer == "" || errors.Is(err, image.ErrTooMany):
		return err
	case errors.Is(err, json.ErrUnknownName):
		return fmt.Errorf("unknown field %q", fieldPath(wrong.JSONPointer))
	case wrong.GoType == nil:
		return err
	}
	want := map[reflect.Kind]string{
		reflect.Slice: "a list", reflect.Map: "a mapping", reflect.Struct: "a mapping", reflect.Bool: "true or false",
		reflect.String: "a string (in quotes, if it reads as something else)",
	}
	t := wrong.GoType
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return fmt.Errorf("%s must be %s", fieldPath(wrong.JSONPointer), cmp.Or(want[t.Kind()], "a number"))
}

// fieldPath writes a JSON pointer as Kubernetes writes the path of a field.
func fieldPath(pointer jsontext.Pointer) string {
	var b strings.Builder
	for token := range pointer.Tokens() {
		switch {
		case token != "" && strings.Trim(token, "0123456789") == "":
			b.WriteString("[" + token + "]")
		case b.Len() > 0:
			b.WriteString("." + token)
		default:
			b.WriteString(token)
		}
	}
	return b.String()
}
