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

	forbids:  a status that scanStatus.in doesn't list; a status unknown to us,
	          even if nothing is required; any status but success if another
	          requirement needs the scan's result
	allows:   the listed ones
	judges:   each record and each of its architectures. A scan that has not
	          been completed is decided by when.notScanned and not here
*/

func checkScanStatus() check {
	return check{id: CheckScanStatus, scope: ofScan, compile: compileScanStatus}
}

func compileScanStatus(r *v1alpha1.Requirements, path *field.Path) ([]judge, field.ErrorList) {
	rule := scanStatusRule{needsResult: needsResult(r)}
	var errs field.ErrorList
	if r.ScanStatus != nil {
		rule.in = slices.Clone(r.ScanStatus.In)
		rule.required = true
		errs = validateScanStatuses(rule.in, path.Child("scanStatus", "in"))
	}
	return []judge{func(_ context.Context, s *subject) string { return rule.judge(s.scan) }}, errs
}

func validateScanStatuses(in []v1alpha1.ScanStatus, path *field.Path) field.ErrorList {
	errs := duplicates(in, path)
	if !slices.Contains(in, v1alpha1.ScanStatusSuccess) {
		errs = append(errs, field.Invalid(path, in, "must list success: no other status has a result"))
	}
	for i, status := range in {
		switch stageOf(status) {
		case stageUnknown:
			errs = append(errs, field.NotSupported(path.Index(i), status, completedStatuses()))
		case stagePending:
			errs = append(errs, field.Invalid(path.Index(i), status, "is decided by when.notScanned: leave it out"))
		}
	}
	return errs
}

// needsResult tells whether r asks something that only a scan's result answers.
func needsResult(r *v1alpha1.Requirements) bool {
	return r.SeverityLevel != nil || r.Vulnerabilities != nil || r.MaliciousFiles != nil ||
		r.UnsafeSettings != nil || r.ScanAge != nil
}

type scanStatusRule struct {
	// in holds the accepted statuses if required is true.
	in          []v1alpha1.ScanStatus
	required    bool
	needsResult bool
}

func (r scanStatusRule) judge(s *Scan) string {
	switch {
	case stageOf(s.Status) == stageUnknown:
		return fmt.Sprintf("unknown scan status %q, allowed %s", clean(string(s.Status)), r.allowed())
	case r.required && !slices.Contains(r.in, s.Status):
		return fmt.Sprintf("scan %s%s, allowed %s", s.Status, failure(s), r.allowed())
	case r.needsResult && s.Status != v1alpha1.ScanStatusSuccess && r.required:
		return fmt.Sprintf("scan %s%s, which leaves no result to judge", s.Status, failure(s))
	case r.needsResult && s.Status != v1alpha1.ScanStatusSuccess:
		return fmt.Sprintf("scan %s%s, allowed %s", s.Status, failure(s), r.allowed())
	}
	return ""
}

func (r scanStatusRule) allowed() string {
	if !r.required {
		return string(v1alpha1.ScanStatusSuccess)
	}
	words := make([]string, 0, len(r.in))
	for _, status := range r.in {
		words = append(words, clean(string(status)))
	}
	return strings.Join(words, " or ")
}

// failure is HSS's reason for a failed scan, in parentheses.
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
