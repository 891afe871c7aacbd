package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Exception is an ImageScanException ready to be asked. It is immutable and safe
// for concurrent use. One that is invalid lets nothing past.
type Exception struct {
	namespace, name string
	globs           []glob
	digests         []string
	policies        []string
	vulnerabilities []string
	reason          string
	until           time.Time
	valid           bool
}

// CompileException prepares e, which ends maxLifetime after its creation at the
// latest. The exception is never nil; if it is invalid, the error lists every
// problem, each with its field.
func CompileException(e *v1alpha1.ImageScanException, maxLifetime time.Duration) (*Exception, error) {
	if e == nil {
		return &Exception{}, errors.New("there is no exception to compile")
	}
	compiled, errs := compileException(e, maxLifetime)
	if len(errs) > 0 {
		return compiled, fmt.Errorf("exception %q is invalid: %w", e.Name, errs.ToAggregate())
	}
	return compiled, nil
}

func compileException(e *v1alpha1.ImageScanException, maxLifetime time.Duration) (*Exception, field.ErrorList) {
	compiled := &Exception{
		namespace: e.Namespace, name: e.Name,
		policies: slices.Clone(e.Spec.Policies), vulnerabilities: slices.Clone(e.Spec.Vulnerabilities),
		reason: clip(e.Spec.Reason, maxReasonLength), until: endOf(e, maxLifetime),
	}
	spec := field.NewPath("spec")
	errs := compiled.setImages(e.Spec.Images, spec.Child("images"))
	errs = append(errs, validatePolicies(e.Spec.Policies, spec.Child("policies"))...)
	errs = append(errs, validateVulnerabilities(e.Spec.Vulnerabilities, spec.Child("vulnerabilities"))...)
	errs = append(errs, validateReason(e.Spec.Reason, spec.Child("reason"))...)
	if e.Spec.ExpiresAt.IsZero() {
		errs = append(errs, field.Required(spec.Child("expiresAt"), "an exception must end"))
	}
	compiled.valid = len(errs) == 0
	return compiled, errs
}

// endOf is when e ends. One without a time of creation, which no API server has
// seen, has only its own word for it.
func endOf(e *v1alpha1.ImageScanException, maxLifetime time.Duration) time.Time {
	end := e.Spec.ExpiresAt.Time
	if e.CreationTimestamp.IsZero() {
		return end
	}
	if last := e.CreationTimestamp.Add(maxLifetime); last.Before(end) {
		return last
	}
	return end
}

// setImages keeps globs and digests apart.
func (e *Exception) setImages(images []string, path *field.Path) field.ErrorList {
	errs := duplicates(images, path)
	switch n := len(images); {
	case n == 0:
		errs = append(errs, field.Required(path, "name what is let past: globs over host/path, or digests"))
	case n > maxGlobs:
		errs = append(errs, field.TooMany(path, n, maxGlobs))
	}
	for i, image := range images {
		if err := e.addImage(image); err != nil {
			errs = append(errs, field.Invalid(path.Index(i), image, err.Error()))
		}
	}
	return errs
}

func (e *Exception) addImage(pattern string) error {
	if namesDigest(pattern) {
		e.digests = append(e.digests, pattern)
		return validateDigest(pattern)
	}
	g, err := compileGlob(pattern)
	e.globs = append(e.globs, g)
	return err
}

// Namespace is the only one that the exception counts in.
func (e *Exception) Namespace() string { return e.namespace }

// Name is the exception's name, unique in its namespace.
func (e *Exception) Name() string { return e.name }

// Reason says why, in one line of printable text.
func (e *Exception) Reason() string { return e.reason }

// Until is when the exception ends.
func (e *Exception) Until() time.Time { return e.until }

// Vulnerabilities are those that alone are let past; none: whatever is found is.
func (e *Exception) Vulnerabilities() []string { return slices.Clone(e.vulnerabilities) }

// NamesVulnerabilities tells whether only some are let past.
func (e *Exception) NamesVulnerabilities() bool { return len(e.vulnerabilities) > 0 }

// Active tells whether the exception lets anything past at the time now.
func (e *Exception) Active(now time.Time) bool { return e.valid && now.Before(e.until) }

// Covers tells whether the exception, while it is active, is about a policy and
// an image. The image's digest is the one that its reference names; it is empty
// if it names none, and then no digest of the exception fits.
func (e *Exception) Covers(policy string, image *Image) bool {
	if !e.valid || !slices.Contains(e.policies, policy) {
		return false
	}
	if image.Digest != "" && slices.Contains(e.digests, image.Digest) {
		return true
	}
	return matchesAny(e.globs, image.Host+"/"+image.Path)
}

// Excuses returns which checks of p the exception lets an image past. One that
// names vulnerabilities excuses a check only if nothing is left to find by it
// once those are taken away.
func (e *Exception) Excuses(ctx context.Context, p *Policy, f Facts, now time.Time) func(Check) bool {
	if len(e.vulnerabilities) == 0 {
		return func(Check) bool { return true }
	}
	left := p.Evaluate(ctx, f.Without(e.vulnerabilities), now)
	return func(c Check) bool {
		return !slices.ContainsFunc(left, func(one Finding) bool { return one.Check == c })
	}
}
