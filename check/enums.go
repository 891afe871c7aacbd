package check

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// enumerations are the values that the API server's schema allows. A policy in
// a file has met no schema, and what it doesn't know is judged by it as
// something strict: a typo would go by as a policy that denies.
func enumerations() map[reflect.Type][]string {
	return map[reflect.Type][]string{
		reflect.TypeFor[v1alpha1.Enforcement]():       {"Deny", "Warn", "Audit"},
		reflect.TypeFor[v1alpha1.Action]():            {"Deny", "Warn", "Audit", "Allow"},
		reflect.TypeFor[v1alpha1.TemplateAction]():    {"Deny", "Warn", "Ignore"},
		reflect.TypeFor[v1alpha1.Severity]():          {"Security", "Low", "Medium", "High"},
		reflect.TypeFor[v1alpha1.ScanStatus]():        {"unscan", "success", "scanning", "failed", "download_failed", "image_oversized", "waiting_for_scan"},
		reflect.TypeFor[v1alpha1.DigestRequirement](): {"Required", "Optional"},
		reflect.TypeFor[v1alpha1.Permission]():        {"Allow", "Forbid"},
	}
}

// checkEnumerations returns what is wrong with the values of a policy that have
// to be one of several.
func checkEnumerations(p *v1alpha1.ImageScanPolicy) error {
	w := &enumWalk{allowed: enumerations()}
	w.walk("spec", reflect.ValueOf(p.Spec))
	return errors.Join(w.errs...)
}

// enumWalk goes through all values of a policy.
type enumWalk struct {
	allowed map[reflect.Type][]string
	errs    []error
}

func (w *enumWalk) walk(path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			w.walk(path, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			w.walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	case reflect.Struct:
		w.fields(path, v)
	case reflect.String:
		w.text(path, v)
	default:
	}
}

func (w *enumWalk) fields(path string, v reflect.Value) {
	for field, value := range v.Fields() {
		if !field.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" { // what is embedded stands beside the rest
			w.walk(path, value)
			continue
		}
		w.walk(path+"."+name, value)
	}
}

// text checks one value; left out, it has its default.
func (w *enumWalk) text(path string, v reflect.Value) {
	allowed, is := w.allowed[v.Type()]
	if !is || v.Len() == 0 || slices.Contains(allowed, v.String()) {
		return
	}
	last := len(allowed) - 1
	w.errs = append(w.errs, fmt.Errorf("%s must be %s or %s, not %q", path, strings.Join(allowed[:last], ", "), allowed[last], v.String()))
}
