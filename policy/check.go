package policy

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Check names what a finding is about, spelled as in a policy.
type Check string

// The checks of requirements.
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

// The states without a completed scan to evaluate.
const (
	CheckNotFound    Check = "notFound"
	CheckNotScanned  Check = "notScanned"
	CheckUnavailable Check = "unavailable"
)

// checks returns every kind of requirement, in the order of findings.
func checks() []check {
	return []check{
		{id: CheckSeverityLevel, scope: ofRecord, needsResult: true, compile: compileSeverity},
		{id: CheckVulnerabilities, scope: ofScan, needsResult: true, compile: compileVulnerabilities},
		{id: CheckMaliciousFiles, scope: ofScan, needsResult: true, compile: compileMaliciousFiles},
		{id: CheckUnsafeSettings, scope: ofScan, needsResult: true, compile: compileUnsafeSettings},
		{id: CheckScanStatus, scope: ofScan, compile: compileScanStatus},
		{id: CheckScanAge, scope: ofRecord, needsResult: true, compile: compileScanAge},
		{id: CheckDigest, scope: ofReference, compile: compileDigest},
		{id: CheckExpression, scope: ofRecord, compile: compileExpressions},
	}
}

// check is one kind of requirement.
type check struct {
	id    Check
	scope scope
	// needsResult limits the check to scans that succeeded. The scanStatus check
	// reports the others, once.
	needsResult bool
	// compile returns rules for what a policy requires, none if it requires nothing of
	// the kind, and the problems that the schema does not find. Rules of an invalid
	// requirement fail closed.
	compile func(r *v1alpha1.Requirements, path *field.Path) ([]rule, field.ErrorList)
}

// rule is one requirement of a policy.
type rule struct {
	// text is what is required, in a few words; empty for the rule of every policy.
	text string
	// violation returns in one line what is wrong with a subject, and an empty string
	// if it passes.
	violation func(ctx context.Context, s subject) string
}

type compiledRule struct {
	check
	rule
}

// scope is what a check looks at.
type scope int

const (
	// ofReference: once for an image, whatever HSS knows.
	ofReference scope = iota + 1
	// ofRecord: once for a record.
	ofRecord
	// ofScan: for a record's own scan and for the scan of each architecture.
	ofScan
)

// subject is what a rule evaluates.
type subject struct {
	image *Image
	now   time.Time
	// record and scan are nil for checks of scope ofReference.
	record *Record
	scan   *Scan
	// perArchitecture reports whether numbers may be missing from the record's own
	// scan, since every architecture has its own.
	perArchitecture bool
	// needsResult reports whether another requirement needs the scan's result.
	needsResult bool
	// variables are those of expressions; nil if the policy has none.
	variables map[string]any
}

// count is a number that HSS reports of a scan.
type count struct {
	one, many string // nouns
	of        func(*Scan) *int
	// explain returns what follows a number that is too high; optional.
	explain func(*Scan) string
}

// compile returns the rule that the count is at most r.Max.
func (c count) compile(r *v1alpha1.CountRequirement) ([]rule, field.ErrorList) {
	if r == nil {
		return nil, nil
	}
	limit := int(r.Max)
	return []rule{{fmt.Sprintf("at most %d", limit), func(_ context.Context, s subject) string {
		n := c.of(s.scan)
		switch {
		case n == nil && s.perArchitecture || n != nil && *n >= 0 && *n <= limit:
			return ""
		case n == nil || *n < 0:
			return fmt.Sprintf("number of %s unknown, allowed %d", c.many, limit)
		}
		noun := c.many
		if *n == 1 {
			noun = c.one
		}
		message := fmt.Sprintf("%d %s, allowed %d", *n, noun, limit)
		if c.explain != nil {
			message += c.explain(s.scan)
		}
		return message
	}}}, nil
}
