package policy

import (
	"slices"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Without returns the facts as if the vulnerabilities of these identifiers had
// not been found. A scan whose vulnerabilities aren't known one by one stays as
// it is.
func (f Facts) Without(ids []string) Facts {
	f.Records = slices.Clone(f.Records)
	for i := range f.Records {
		f.Records[i] = f.Records[i].without(ids)
	}
	return f
}

func (r Record) without(ids []string) Record {
	r.Severity = r.severityWithout(ids)
	r.Scan = r.Scan.without(ids)
	r.Architectures = slices.Clone(r.Architectures)
	for i := range r.Architectures {
		r.Architectures[i].Scan = r.Architectures[i].Scan.without(ids)
	}
	if r.LastCompleted != nil {
		last := r.LastCompleted.without(ids)
		r.LastCompleted = &last
	}
	return r
}

func (s Scan) without(ids []string) Scan {
	if s.Found == nil || s.Vulnerabilities == nil {
		return s
	}
	named := func(v Vulnerability) bool { return slices.Contains(ids, v.ID) }
	n := s.number(func(v Vulnerability) bool { return !named(v) })
	s.Found, s.Vulnerabilities = slices.DeleteFunc(slices.Clone(s.Found), named), &n
	return s
}

// severityWithout is the severity level that the record would have without the
// vulnerabilities: that of the worst other one. HSS tells one level for all that
// a scan found, so it stays as it is unless these vulnerabilities alone explain
// it: one of them is as bad, every other one is listed, and nothing else was
// found.
func (r *Record) severityWithout(ids []string) v1alpha1.Severity {
	left, explained := v1alpha1.SeveritySecurity, false
	for _, s := range r.scans() {
		if s.isSilent() && r.MultiArch {
			continue // its architectures tell
		}
		if r.PinnedArchitecture || !s.onlyListedVulnerabilities() {
			return r.Severity
		}
		for i := range s.Found {
			v := &s.Found[i]
			switch {
			case !slices.Contains(ids, v.ID):
				left = worse(left, v.Severity)
			case v.rank() >= severityRank(r.Severity):
				explained = true
			}
		}
	}
	if !explained || severityRank(r.Severity) == 0 || severityRank(left) == 0 || severityRank(left) > severityRank(r.Severity) {
		return r.Severity
	}
	return left
}

// scans are the record's own and those of its architectures.
func (r *Record) scans() []*Scan {
	scans := []*Scan{&r.Scan}
	for i := range r.Architectures {
		scans = append(scans, &r.Architectures[i].Scan)
	}
	return scans
}

// isSilent tells whether HSS sent no counts.
func (s *Scan) isSilent() bool {
	return s.Vulnerabilities == nil && s.MaliciousFiles == nil && s.UnsafeSettings == nil
}

// onlyListedVulnerabilities tells whether all that the scan found is in Found.
func (s *Scan) onlyListedVulnerabilities() bool {
	none := func(n *int) bool { return n != nil && *n == 0 }
	return none(s.MaliciousFiles) && none(s.UnsafeSettings) && s.Vulnerabilities != nil && *s.Vulnerabilities <= len(s.Found)
}

// worse returns the worse of two severities; an unknown one is the worst.
func worse(a, b v1alpha1.Severity) v1alpha1.Severity {
	if (&Vulnerability{Severity: b}).rank() > (&Vulnerability{Severity: a}).rank() {
		return b
	}
	return a
}
