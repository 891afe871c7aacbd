package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// The bounds of an exception are those of the schema.
const (
	maxExceptionPolicies        = 64
	maxExceptionVulnerabilities = 256
	maxVulnerabilityLength      = 128
	maxReasonLength             = 1024
)

// Patterns of the schema.
const (
	policyNamePattern = `^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	cvePattern        = `^CVE-[0-9]{4}-[0-9]{4,19}$`
	advisoryPattern   = `^[A-Za-z][A-Za-z0-9]*-[A-Za-z0-9:._-]*[0-9][A-Za-z0-9:._-]*$`
	cveLikePattern    = `^[Cc][Vv][Ee]-`
)

const digestAlgorithm = "sha256:"

// ValidateException lists what is wrong with e at the time now, each problem
// with its field: what makes it invalid, an end that is further than maxLifetime
// from its creation, and, of a new one, an end that is past.
func ValidateException(e *v1alpha1.ImageScanException, isNew bool, now time.Time, maxLifetime time.Duration) field.ErrorList {
	_, errs := compileException(e, maxLifetime)
	path, end, created := field.NewPath("spec", "expiresAt"), e.Spec.ExpiresAt.Time, e.CreationTimestamp.Time
	if isNew || created.IsZero() {
		created = now
	}
	switch lifetime := end.Sub(created); {
	case end.IsZero():
	case isNew && !end.After(now):
		errs = append(errs, field.Invalid(path, written(end), "is past: it is now "+written(now)))
	case lifetime > maxLifetime:
		errs = append(errs, field.Invalid(path, written(end), fmt.Sprintf(
			"is %s after its creation, allowed %s, that is until %s: to prolong an exception, grant a new one",
			exact(lifetime.Round(time.Second)), exact(maxLifetime), written(created.Add(maxLifetime)))))
	}
	return errs
}

func written(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// namesDigest tells a digest from a glob, which can't begin so: a host is followed
// by a slash, and its port is a number.
func namesDigest(pattern string) bool { return strings.HasPrefix(pattern, digestAlgorithm) }

// validateDigest is of what namesDigest is true.
func validateDigest(digest string) error {
	if !isDigest(digest) {
		return errors.New("a digest must be sha256: and 64 hexadecimal digits in lower case")
	}
	return nil
}

func validatePolicies(names []string, path *field.Path) field.ErrorList {
	errs := validateList(names, path, maxExceptionPolicies, regexp.MustCompile(policyNamePattern).MatchString, "must be the name of an ImageScanPolicy, such as production: there are no wildcards")
	if len(names) == 0 {
		errs = append(errs, field.Required(path, "name the policies that the images are let past"))
	}
	for i, name := range names {
		if len(name) > maxNameLength {
			errs = append(errs, field.TooLong(path.Index(i), name, maxNameLength))
		}
	}
	return errs
}

func validateVulnerabilities(ids []string, path *field.Path) field.ErrorList {
	return validateList(ids, path, maxExceptionVulnerabilities, isVulnerability, "must be the identifier of a vulnerability as HSS lists it, such as CVE-2024-1234 or RHSA-2022:4991")
}

// isVulnerability tells whether id is a CVE's identifier, or an advisory's: HSS
// lists packages of a distribution by its advisories.
func isVulnerability(id string) bool {
	if regexp.MustCompile(cveLikePattern).MatchString(id) {
		return regexp.MustCompile(cvePattern).MatchString(id)
	}
	return len(id) <= maxVulnerabilityLength && regexp.MustCompile(advisoryPattern).MatchString(id)
}

func validateList(values []string, path *field.Path, limit int, fits func(string) bool, message string) field.ErrorList {
	errs := duplicates(values, path)
	if n := len(values); n > limit {
		errs = append(errs, field.TooMany(path, n, limit))
	}
	for i, value := range values {
		if !fits(value) {
			errs = append(errs, field.Invalid(path.Index(i), value, message))
		}
	}
	return errs
}

func validateReason(reason string, path *field.Path) field.ErrorList {
	switch {
	case strings.TrimSpace(reason) == "":
		return field.ErrorList{field.Required(path, "must say why")}
	case len([]rune(reason)) > maxReasonLength:
		return field.ErrorList{field.TooLong(path, "", maxReasonLength)}
	case strings.ContainsFunc(reason, unicode.IsControl):
		return field.ErrorList{field.Invalid(path, reason, "must be one line without control characters")}
	}
	return nil
}
