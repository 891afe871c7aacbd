package policy

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

/*
The numbers of malicious files and of unsafe settings that HSS found are limited.

	forbids:   more than maliciousFiles.max, unsafeSettings.max, a missing number
	allows:    0 to the maximum
	evaluates: each record and each of its architectures
*/
func compileMaliciousFiles(r *v1alpha1.Requirements, _ *field.Path) ([]rule, field.ErrorList) {
	return count{
		one: "%d malicious file, allowed %d", many: "%d malicious files, allowed %d", unknown: "number of malicious files unknown, allowed %d",
		of: func(s *Scan, _ time.Time) *int { return s.MaliciousFiles }, explain: nameMaliciousFiles,
	}.compile(r.MaliciousFiles)
}

// MaliciousFile is one that HSS found in an image. Its texts are the attacker's.
type MaliciousFile struct{ Name, Path, Description string }

// MaxMaliciousFiles is how many malicious files a finding names.
const MaxMaliciousFiles = maxWorst

// nameMaliciousFiles returns what follows their number: the first ones, if they are known.
func nameMaliciousFiles(l language.Language, s *Scan, _ time.Time) string {
	if s.Listed == nil {
		return ""
	}
	var files []string
	for _, f := range s.Listed.MaliciousFiles[:min(len(s.Listed.MaliciousFiles), MaxMaliciousFiles)] {
		file := f.Path
		if f.Name != "" && !strings.HasSuffix(f.Path, f.Name) {
			file = path.Join(f.Path, f.Name)
		}
		file = cmp.Or(briefPath(file), l.Text("unnamed"))
		if description := brief(f.Description); description != "" {
			file += l.Text(": ") + description
		}
		files = append(files, file)
	}
	if more := *s.MaliciousFiles - len(files); more > 0 && len(files) > 0 {
		files = append(files, l.Sprintf("%d more", more))
	}
	return inParentheses(l, strings.Join(files, l.Text(", ")))
}

func compileUnsafeSettings(r *v1alpha1.Requirements, _ *field.Path) ([]rule, field.ErrorList) {
	return count{
		one: "%d unsafe setting, allowed %d", many: "%d unsafe settings, allowed %d", unknown: "number of unsafe settings unknown, allowed %d",
		of: func(s *Scan, _ time.Time) *int { return s.UnsafeSettings },
	}.compile(r.UnsafeSettings)
}

// count is a number that HSS reports of a scan.
type count struct {
	one, many, unknown string // findings
	of                 func(*Scan, time.Time) *int
	// explain returns what follows a number that is too high; optional.
	explain func(language.Language, *Scan, time.Time) string
}

// compile returns the rule that the count is at most r.Max.
func (c count) compile(r *v1alpha1.CountRequirement) ([]rule, field.ErrorList) {
	if r == nil {
		return nil, nil
	}
	limit := int(r.Max)
	return []rule{{fmt.Sprintf("at most %d", limit), func(_ context.Context, s subject) string {
		n := c.of(s.scan, s.now)
		switch {
		case n == nil && s.perArchitecture || n != nil && *n >= 0 && *n <= limit:
			return ""
		case n == nil || *n < 0:
			return s.Sprintf(c.unknown, limit)
		}
		format := c.many
		if *n == 1 {
			format = c.one
		}
		message := s.Sprintf(format, *n, limit)
		if c.explain != nil {
			message += c.explain(s.Language, s.scan, s.now)
		}
		return message
	}}}, nil
}
