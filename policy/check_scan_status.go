package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

/*
The scan must have ended in an accepted status.

	forbids:   a status that scanStatus.in does not list; an unknown status, even
	           if nothing is required; any status but success if another
	           requirement needs the scan's result
	allows:    the listed ones
	evaluates: each record and each of its architectures. A scan that is not
	           completed is decided by when.notScanned instead
*/
func compileScanStatus(r *v1alpha1.Requirements, path *field.Path) ([]rule, field.ErrorList) {
	accepted := []v1alpha1.ScanStatus{v1alpha1.ScanStatusSuccess}
	required, text := r.ScanStatus != nil, ""
	if required {
		accepted = slices.Clone(r.ScanStatus.In)
		text = fmt.Sprintf("one of %v", accepted)
	}
	var errs field.ErrorList
	words := make([]string, len(accepted))
	for i, status := range accepted {
		words[i] = clean(string(status))
		if stageOf(status) == stageUnknown {
			errs = append(errs, field.Invalid(path.Child("scanStatus", "in").Index(i), status, "is an unknown scan status"))
		}
	}
	allowed := strings.Join(words, " or ")
	return []rule{{text, func(_ context.Context, s subject) string {
		status := s.scan.Status
		switch {
		case stageOf(status) == stageUnknown:
			return fmt.Sprintf("unknown scan status %q, allowed %s", clean(string(status)), allowed)
		case !slices.Contains(accepted, status) && (required || s.needsResult):
			return fmt.Sprintf("scan %s%s, allowed %s", status, failure(s.scan), allowed)
		case status != v1alpha1.ScanStatusSuccess && s.needsResult:
			return fmt.Sprintf("scan %s%s, which leaves no result to evaluate", status, failure(s.scan))
		}
		return ""
	}}}, errs
}

// failure returns HSS's reason for a failed scan, in parentheses.
func failure(s *Scan) string {
	code, description := clean(s.FailedCode), clean(s.FailedDescription)
	switch {
	case code == "" && description == "":
		return ""
	case code == "" || description == "":
		return " (" + code + description + ")"
	}
	return " (" + code + ": " + description + ")"
}
