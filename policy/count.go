package policy

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// counted is a number that HSS gives a scan.
type counted struct {
	// one and many are its noun, such as "vulnerability", "vulnerabilities".
	one, many string
	of        func(*Scan) *int
	// more, if set, is what is said after a number that is too high.
	more func(*Scan) string
}

// compileCount returns the judge of one bounded number.
func compileCount(c counted, r *v1alpha1.CountRequirement, path *field.Path) ([]judge, field.ErrorList) {
	if r == nil {
		return nil, nil
	}
	limit := int(r.Max)
	var errs field.ErrorList
	if limit < 0 {
		errs = append(errs, field.Invalid(path.Child("max"), r.Max, "must not be negative"))
	}
	return []judge{func(_ context.Context, s *subject) string {
		return c.judge(s, limit)
	}}, errs
}

func (c counted) judge(s *subject, limit int) string {
	n := c.of(s.scan)
	switch {
	case n == nil && s.judgedApart:
		return ""
	case n == nil || *n < 0:
		return fmt.Sprintf("number of %s unknown, allowed %d", c.many, limit)
	case *n <= limit:
		return ""
	case *n == 1:
		return fmt.Sprintf("1 %s, allowed %d", c.one, limit) + c.explain(s.scan)
	}
	return fmt.Sprintf("%d %s, allowed %d", *n, c.many, limit) + c.explain(s.scan)
}

func (c counted) explain(s *Scan) string {
	if c.more == nil {
		return ""
	}
	return c.more(s)
}
