package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/internal/language"
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
	for i, status := range accepted {
		if stageOf(status) == stageUnknown {
			errs = append(errs, field.Invalid(path.Child("scanStatus", "in").Index(i), status, "is an unknown scan status"))
		}
	}
	return []rule{{text, func(_ context.Context, s subject) string {
		status := s.scan.Status
		switch {
		case stageOf(status) == stageUnknown:
			return s.Sprintf("unknown scan status %q, allowed %s", clean(string(status)), statuses(s.Language, accepted))
		case !slices.Contains(accepted, status) && (required || s.needsResult):
			return s.Sprintf("scan %s%s, allowed %s", s.Text(string(status)), failure(s.Language, s.scan), statuses(s.Language, accepted))
		case status != v1alpha1.ScanStatusSuccess && s.needsResult:
			return s.Sprintf("scan %s%s, which leaves no result to evaluate", s.Text(string(status)), failure(s.Language, s.scan))
		}
		return ""
	}}}, errs
}

// statuses returns the accepted ones.
func statuses(l language.Language, accepted []v1alpha1.ScanStatus) string {
	words := make([]string, len(accepted))
	for i, status := range accepted {
		words[i] = l.Text(clean(string(status)))
	}
	return strings.Join(words, l.Text(" or "))
}

// failure returns HSS's reason for a failed scan, in parentheses.
func failure(l language.Language, s *Scan) string {
	code, description := clean(s.FailedCode), clean(s.FailedDescription)
	switch {
	case code == "" && description == "":
		return ""
	case code == "" || description == "":
		return l.Sprintf(" (%s)", code+description)
	}
	return l.Sprintf(" (%s)", code+": "+description)
}
