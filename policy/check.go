package policy

import (
	"cmp"
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Check names what a finding is about, spelled as in a policy.
type Check string

// The checks of requirements.
const (
	CheckSeverityLevel   Check = "severityLevel"
	CheckVulnerabilities Check = "vulnerabilities"
	CheckForbidden       Check = "forbiddenVulnerabilities"
	CheckMaliciousFiles  Check = "maliciousFiles"
	CheckUnsafeSettings  Check = "unsafeSettings"
	CheckSecrets         Check = "secrets"
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
		{id: CheckForbidden, scope: ofScan, needsResult: true, compile: compileForbidden},
		{id: CheckForbidden, scope: ofScan, needsResult: true, unsure: true, compile: compilePossible},
		{id: CheckMaliciousFiles, scope: ofScan, needsResult: true, compile: compileMaliciousFiles},
		{id: CheckUnsafeSettings, scope: ofScan, needsResult: true, compile: compileUnsafeSettings},
		{id: CheckSecrets, scope: ofScan, needsResult: true, compile: compileSecrets},
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
	// unsure is that of findings.
	unsure bool
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
	place int // among the rules of the policy
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

// subject is what a rule evaluates, and the language of what it finds.
type subject struct {
	language.Language

	image *Image
	state State
	now   time.Time
	// record and scan are nil for checks of scope ofReference.
	record *Record
	scan   *Scan
	// architecture is that of the scan; nil: the scan is the record's own.
	architecture *Architecture
	// perArchitecture reports whether numbers may be missing from the record's own
	// scan, since every architecture has its own.
	perArchitecture bool
	// needsResult reports whether another requirement needs the scan's result.
	needsResult bool
	// indexes are of forbidden vulnerabilities.
	indexes []*Affected
	// readsFindings reports whether expressions read single vulnerabilities.
	readsFindings bool
	// variables are those of expressions; nil if the policy has none.
	variables map[string]any
}

// maxTextRunes bounds a text from outside within a finding.
const maxTextRunes = 200

// clean makes a text from outside fit for one line of a denial or a log: without
// control, formatting and line-breaking characters, and not too long.
func clean(s string) string { return clip(s, maxTextRunes) }

func clip(s string, limit int) string {
	s = strings.Map(printable, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + "…"
}

// printable maps white space to a space and drops what is not printable.
func printable(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case !unicode.IsPrint(r):
		return -1
	}
	return r
}

// orElse returns s cleaned, or the substitute if that is empty.
func orElse(s, substitute string) string { return cmp.Or(clean(s), substitute) }
