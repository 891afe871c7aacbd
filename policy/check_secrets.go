package policy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

/*
The number of secrets that HSS found is limited, such as private keys and
passwords. HSS's row of an image has no such number, so their list is needed.

	forbids:   more than secrets.max of severity secrets.minSeverity or worse, an
	           unknown number
	allows:    0 to the maximum
	evaluates: each record and each of its architectures
*/
func compileSecrets(r *v1alpha1.Requirements, path *field.Path) ([]rule, field.ErrorList) {
	if r.Secrets == nil {
		return nil, nil
	}
	limit, least := int(r.Secrets.Max), cmp.Or(r.Secrets.MinSeverity, v1alpha1.SecretSeverityLow)
	var errs field.ErrorList
	if secretRank(least) == len(secretSeverities()) {
		errs = append(errs, field.NotSupported(path.Child("secrets", "minSeverity"), least, secretSeverities()))
		least = v1alpha1.SecretSeverityLow // an invalid one excludes nothing
	}
	text := fmt.Sprintf("at most %d", limit)
	if least != v1alpha1.SecretSeverityLow {
		text += fmt.Sprintf(" (of severity %s or worse)", least)
	}
	return []rule{{text, func(_ context.Context, s subject) string {
		l := s.scan.Listed
		switch {
		case l == nil && s.state != StateFound:
			return "" // when.unavailable decides about what is not known
		case l == nil:
			return s.Sprintf("number of secrets unknown, allowed %d", limit)
		case l.Secrets == nil && l.SecretsUnknown == "" && s.perArchitecture:
			return ""
		case l.Secrets == nil:
			return s.Sprintf("number of secrets unknown, allowed %d", limit) + inParentheses(s.Language, clean(l.SecretsUnknown))
		}
		n := l.Secrets.number(least)
		if n <= limit {
			return ""
		}
		return secretsMessage(s.Language, n, limit, least) + inParentheses(s.Language, l.Secrets.worst(s.Language, n, least))
	}}}, errs
}

func secretsMessage(l language.Language, n, limit int, least v1alpha1.SecretSeverity) string {
	switch all := least == v1alpha1.SecretSeverityLow; {
	case all && n == 1:
		return l.Sprintf("%d secret, allowed %d", n, limit)
	case all:
		return l.Sprintf("%d secrets, allowed %d", n, limit)
	case n == 1:
		return l.Sprintf("%d secret of severity %s or worse, allowed %d", n, l.Text(string(least)), limit)
	}
	return l.Sprintf("%d secrets of severity %s or worse, allowed %d", n, l.Text(string(least)), limit)
}

// Listed are details of a scan that were looked up, besides vulnerabilities.
type Listed struct {
	// Secrets are nil if they are unknown, and SecretsUnknown is one line why. Both are
	// empty where HSS has no list of their own for an image of several architectures.
	Secrets        *Secrets
	SecretsUnknown string
	// MaliciousFiles are some of those that the scan counts.
	MaliciousFiles []MaliciousFile
}

// Secret is where HSS found a secret in an image. The secret itself is never read.
type Secret struct {
	// Name is that of HSS's rule, such as "AWS access key".
	Name string
	// Severity may be an unknown value, which counts as the worst.
	Severity v1alpha1.SecretSeverity
	Path     string
}

// Secrets are those that HSS lists of a scan: their numbers, and the worst of them.
// The zero value is none.
type Secrets struct {
	// numbers are by rank.
	numbers [5]int
	worst3  []Secret
}

// Add adds a secret.
func (s *Secrets) Add(one Secret) {
	s.numbers[secretRank(one.Severity)]++
	compare := func(a, b Secret) int {
		return cmp.Or(cmp.Compare(secretRank(b.Severity), secretRank(a.Severity)), strings.Compare(a.Name, b.Name), strings.Compare(a.Path, b.Path))
	}
	at, found := slices.BinarySearchFunc(s.worst3, one, compare)
	if !found && at < maxWorst {
		s.worst3 = slices.Insert(s.worst3, at, one)
		s.worst3 = s.worst3[:min(len(s.worst3), maxWorst)]
	}
}

// Bytes returns about how much memory the secrets take.
func (s *Secrets) Bytes() int {
	const fixed, each = 96, 48
	n := fixed
	for i := range s.worst3 {
		n += each + len(s.worst3[i].Name) + len(s.worst3[i].Severity) + len(s.worst3[i].Path)
	}
	return n
}

// number returns how many there are of a severity or worse.
func (s *Secrets) number(least v1alpha1.SecretSeverity) (n int) {
	for _, number := range s.numbers[secretRank(least):] {
		n += number
	}
	return n
}

// worst names the worst of n secrets of a severity or worse.
func (s *Secrets) worst(l language.Language, n int, least v1alpha1.SecretSeverity) string {
	var texts []string
	for i := range s.worst3 {
		one := &s.worst3[i]
		if secretRank(one.Severity) < secretRank(least) {
			continue
		}
		text := cmp.Or(brief(one.Name), l.Text("unnamed"))
		if path := briefPath(one.Path); path != "" {
			text = l.Sprintf("%s in %s", text, path)
		}
		texts = append(texts, text)
	}
	if more := n - len(texts); more > 0 {
		return l.Sprintf("worst: %s and %d more", strings.Join(texts, l.Text(", ")), more)
	}
	return l.Sprintf("worst: %s", strings.Join(texts, l.Text(", ")))
}

// secretSeverities returns the known severities of secrets, the mildest first.
func secretSeverities() []v1alpha1.SecretSeverity {
	return []v1alpha1.SecretSeverity{
		v1alpha1.SecretSeverityLow, v1alpha1.SecretSeverityMedium, v1alpha1.SecretSeverityHigh, v1alpha1.SecretSeverityCritical,
	}
}

// secretRank orders severities; an unknown one is the worst.
func secretRank(s v1alpha1.SecretSeverity) int {
	if rank := slices.Index(secretSeverities(), s); rank >= 0 {
		return rank
	}
	return len(secretSeverities())
}

// NeedsSecrets reports whether the policy limits secrets, which only their list shows.
func (p *Policy) NeedsSecrets() bool { return p.secrets }

// LacksSecrets reports whether the secrets in an image were looked up in vain.
func (f *Facts) LacksSecrets() bool {
	return slices.ContainsFunc(f.Records, func(r Record) bool {
		return slices.ContainsFunc(r.scans(), func(s *Scan) bool { return s.Listed != nil && s.Listed.SecretsUnknown != "" })
	})
}
