package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/internal/gate"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Summary counts objects by verdict.
type Summary struct {
	// Objects are the pods and workloads, Images the different images they name.
	Objects  int `json:"objects"`
	Images   int `json:"images"`
	Admitted int `json:"admitted"`
	// Warned are those that are admitted with a warning.
	Warned  int `json:"warned"`
	Denied  int `json:"denied"`
	Unknown int `json:"unknown"`
	// PodsDenied are those of the denied of which only the pods are.
	PodsDenied int `json:"podsDenied"`
	// Audited are those of the admitted that violate a policy that only audits.
	Audited int `json:"audited"`
}

// Changes counts the objects whose verdicts differ by two sets of policies.
type Changes struct {
	// NewlyDenied and NewlyAdmitted are objects that change, or whose pods do. A
	// warning counts as admitted.
	NewlyDenied   int `json:"newlyDenied"`
	NewlyAdmitted int `json:"newlyAdmitted"`
	// Others change in another way.
	Others int `json:"others"`
	// Unknown are those for which a verdict is unknown, since HSS is unreachable.
	Unknown int `json:"unknown"`
}

// Tests counts the cases of tests of policies. Failed are those that are not as
// expected.
type Tests struct {
	Cases  int `json:"cases"`
	Failed int `json:"failed"`
}

func (s *Summary) count(r *Result) {
	s.Objects++
	switch r.Verdict {
	case Admitted:
		s.Admitted++
		if len(r.Violations) > 0 {
			s.Audited++
		}
	case Warned:
		s.Warned++
	case PodsDenied:
		s.PodsDenied++
		s.Denied++
	case Denied:
		s.Denied++
	default:
		s.Unknown++
	}
}

// Compare adds the result of an object, and counts how it differs from that before.
func (r *Report) Compare(before *Result, after Result) {
	was, is := before.Verdict.Denies(), after.Verdict.Denies()
	if after.Verdict == Unknown || before.Verdict == Unknown {
		r.Changes.Unknown++
	}
	if before.Verdict != after.Verdict {
		after.Before, after.Was = before.Verdict, before.Why()
		switch {
		case is && !was:
			r.Changes.NewlyDenied++
		case was && !is && after.Verdict != Unknown:
			r.Changes.NewlyAdmitted++
		default:
			r.Changes.Others++
		}
	}
	r.Add(after)
}

// Outcome returns the verdict on the whole, the worst one: Denied also if other policies deny more, or if a test fails.
func (r *Report) Outcome() Verdict {
	unread := len(r.Problems) > 0 || r.Strict && len(r.Skipped) > 0
	denied, unknown := r.Summary.Denied > 0, r.Summary.Unknown > 0
	switch {
	case r.Changes != nil:
		denied, unknown = r.Changes.NewlyDenied > 0, r.Changes.Unknown > 0
	case r.Tests != nil:
		denied, unknown = r.Tests.Failed > 0 && !unread, false
	}
	switch {
	case denied:
		return Denied
	case unknown || unread:
		return Unknown
	case r.Summary.Warned > 0 || r.Audit != nil && r.Audit.Violating > 0:
		return Warned
	}
	return Admitted
}

// Headline describes the outcome in a few words.
func (r *Report) Headline() string {
	s, outcome := &r.Summary, r.Outcome()
	switch {
	case r.Audit != nil:
		return r.Audit.headline()
	case outcome == Denied && r.Changes != nil:
		return fmt.Sprintf("%d of %d would be newly denied", r.Changes.NewlyDenied, s.Objects)
	case outcome == Denied && r.Tests != nil:
		return fmt.Sprintf("%d of %d cases are not as expected", r.Tests.Failed, r.Tests.Cases)
	case outcome == Denied:
		return fmt.Sprintf("%d of %d would be denied", s.Denied, s.Objects)
	case outcome == Unknown && len(r.Problems) == 0 && s.Unknown > 0:
		return fmt.Sprintf("%d of %d could not be evaluated: HSS is unreachable", s.Unknown, s.Objects)
	case outcome == Unknown:
		return "not everything could be evaluated"
	case len(r.Skipped) > 0:
		return fmt.Sprintf("%d admitted, %d skipped", s.Objects, len(r.Skipped))
	case outcome == Warned:
		return fmt.Sprintf("all admitted, %d with a warning", s.Warned)
	}
	return fmt.Sprintf("all %d admitted", s.Objects)
}

// Counts returns the counts in words.
func (r *Report) Counts() string {
	switch {
	case r.Changes != nil:
		c := r.Changes
		return plural(r.Summary.Objects, "object", "objects") + ": " + fmt.Sprintf("%d newly denied, %d newly admitted", c.NewlyDenied, c.NewlyAdmitted) +
			counted(", %d changed otherwise", c.Others) + counted(", %d unknown", c.Unknown) + "."
	case r.Tests == nil:
		return r.Summary.String()
	case r.Tests.Failed > 0:
		return fmt.Sprintf("%s, %d of them (marked FAIL) not as expected.", plural(r.Tests.Cases, "case", "cases"), r.Tests.Failed)
	}
	return plural(r.Tests.Cases, "case", "cases") + ", all as expected."
}

// String returns the counts in words.
func (s Summary) String() string {
	verdicts := counted(", %d denied", s.Denied) + counted(" (%d of them: its pods)", s.PodsDenied) + counted(", %d unknown", s.Unknown) + counted(", %d admitted with a warning", s.Warned) +
		counted(", %d admitted", s.Admitted)
	text := plural(s.Objects, "object", "objects") + " with " + plural(s.Images, "image", "images") + strings.Replace(verdicts, ",", ":", 1)
	if s.Audited > 0 {
		text += fmt.Sprintf(" (%s a policy that only audits)", plural(s.Audited, "of them violates", "of them violate"))
	}
	return text + "."
}

func counted(format string, n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(format, n)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Audit counts running pods, as the status of each policy does.
type Audit struct {
	// Pods are all of them, Violating those that violate a policy, whatever its
	// enforcement. Unknown are others that could not be evaluated for a policy, since
	// no scan result was available from HSS.
	Pods      int `json:"pods"`
	Violating int `json:"violating"`
	Unknown   int `json:"unknown"`
	// Policies are those in force.
	Policies []PolicyCounts `json:"policies"`
}

// PolicyCounts counts pods for one policy.
type PolicyCounts struct {
	Policy      string               `json:"policy"`
	Enforcement v1alpha1.Enforcement `json:"enforcement"`
	// Evaluated are the pods that the policy evaluated. Of these, Violations violate
	// it, and Excepted are allowed by an exception. Unknown could not be evaluated,
	// since no scan result was available from HSS.
	Evaluated  int `json:"evaluated"`
	Violations int `json:"violations"`
	Unknown    int `json:"unknown"`
	Excepted   int `json:"excepted"`
}

func (a *Audit) count(r *Result) {
	a.Pods++
	violating, unknown := false, false
	for i := range a.Policies {
		c := &a.Policies[i]
		if !slices.Contains(r.Policies, c.Policy) {
			continue
		}
		violates, lacks, excepted := r.compliance(c.Policy)
		switch {
		case violates:
			c.Violations++
			violating = true
		case lacks:
			c.Unknown++
			unknown = true
			continue
		case excepted:
			c.Excepted++
		}
		c.Evaluated++
	}
	switch {
	case violating:
		a.Violating++
	case unknown:
		a.Unknown++
	}
}

// compliance reports whether the object violates a policy, lacks a scan result for it, and is allowed by an exception.
func (r *Result) compliance(name string) (violates, lacks, excepted bool) {
	lacks = slices.Contains(r.Unknown, name)
	hasResult := func(f policy.Finding) bool { return f.Check != policy.CheckUnavailable }
	for i := range r.Violations {
		v := &r.Violations[i]
		switch {
		case v.Policy != name:
		case v.PodEffect == gate.EffectExcepted:
			excepted = true
		case slices.ContainsFunc(v.Findings, hasResult):
			violates = true
		default:
			lacks = true
		}
	}
	return violates, lacks, excepted
}

func (a *Audit) headline() string {
	switch {
	case a.Violating > 0:
		return fmt.Sprintf("%d of %s", a.Violating, plural(a.Pods, "running pod violates a policy", "running pods violate a policy"))
	case a.Unknown > 0:
		return fmt.Sprintf("%d of %s could not be evaluated", a.Unknown, plural(a.Pods, "running pod", "running pods"))
	}
	return "no running pod violates a policy"
}
