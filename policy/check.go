package policy

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Check names what a finding is about, spelled as in a policy.
type Check string

// The requirements of a policy.
const (
	CheckSeverityLevel   Check = "severityLevel"
	CheckVulnerabilities Check = "vulnerabilities"
	CheckMaliciousFiles  Check = "maliciousFiles"
	CheckUnsafeSettings  Check = "unsafeSettings"
	CheckScanStatus      Check = "scanStatus"
	CheckScanAge         Check = "scanAge"
	CheckDigest          Check = "digest"
	CheckExpression      Check = "expression"
)

// The states in which there is no completed scan to judge.
const (
	CheckNotFound    Check = "notFound"
	CheckNotScanned  Check = "notScanned"
	CheckUnavailable Check = "unavailable"
)

// scope is what a requirement looks at.
type scope int

const (
	// ofReference: once for an image, whatever HSS says.
	ofReference scope = iota + 1
	// ofRecord: once for a record.
	ofRecord
	// ofScan: for a record's own scan and for that of each architecture.
	ofScan
	scopes
)

// subject is what a requirement judges.
type subject struct {
	image *Image
	now   time.Time
	// record and scan are nil for requirements of scope ofReference.
	record *Record
	scan   *Scan
	// judgedApart says that the record's architectures are judged in their own
	// right, so that a number missing from the record itself hides nothing.
	judgedApart bool
	// variables are those of expressions, made for the first that asks.
	variables map[string]any
}

// judge says in one line what is wrong with a subject, and nothing ("") if it
// passes.
type judge func(ctx context.Context, s *subject) string

// check is one kind of requirement.
type check struct {
	id    Check
	scope scope
	// needsResult says that only a scan that succeeded can be judged. For
	// others the scanStatus check reports the failure, once.
	needsResult bool
	// compile returns the judges for what a policy requires, none if it
	// doesn't require it. A judge is returned even beside errors, and then
	// fails closed.
	compile func(r *v1alpha1.Requirements, path *field.Path) ([]judge, field.ErrorList)
}

// checks lists every kind of requirement, in the order of findings.
func checks() []check {
	return []check{
		checkSeverity(),
		checkVulnerabilities(),
		checkMaliciousFiles(),
		checkUnsafeSettings(),
		checkScanStatus(),
		checkScanAge(),
		checkDigest(),
		checkExpressions(),
	}
}

// requirement is a check as one policy configures it.
type requirement struct {
	check
	judge judge
}

// compileRequirements returns what r requires, in the order of checks.
func compileRequirements(r *v1alpha1.Requirements, path *field.Path) ([]requirement, field.ErrorList) {
	var (
		all  []requirement
		errs field.ErrorList
	)
	for _, c := range checks() {
		judges, bad := c.compile(r, path)
		errs = append(errs, bad...)
		for _, j := range judges {
			all = append(all, requirement{check: c, judge: j})
		}
	}
	return all, errs
}
