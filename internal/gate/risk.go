package gate

import (
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Risk rates a finding for tools that sort and alert by it. HSS rates only whole images.
type Risk int

// The risks, from harmless to worst.
const (
	RiskInfo Risk = iota
	RiskLow
	RiskMedium
	RiskHigh
	RiskCritical
)

// String returns the risk as reports of policies name it.
func (r Risk) String() string { return [...]string{"info", "low", "medium", "high", "critical"}[r] }

// RiskOf returns the risk of a finding in an image of a severity level.
func RiskOf(check policy.Check, level v1alpha1.Severity) Risk {
	switch check {
	case policy.CheckMaliciousFiles, policy.CheckForbidden:
		return RiskCritical
	case policy.CheckSecrets:
		return RiskHigh
	case policy.CheckUnavailable:
		return RiskInfo
	case policy.CheckSeverityLevel, policy.CheckVulnerabilities:
	default:
		return RiskMedium
	}
	switch level {
	case v1alpha1.SeveritySecurity, v1alpha1.SeverityLow:
		return RiskLow
	case v1alpha1.SeverityMedium:
		return RiskMedium
	default: // High, unknown or missing
		return RiskHigh
	}
}

// Risk returns that of the worst finding, and the check that it failed.
func (v *Violation) Risk() (worst Risk, of policy.Check) {
	worst = -1
	consider := func(check policy.Check, level v1alpha1.Severity) {
		if risk := RiskOf(check, level); risk > worst {
			worst, of = risk, check
		}
	}
	for _, f := range v.Findings {
		if v.Facts == nil || len(v.Facts.Records) == 0 {
			consider(f.Check, "")
			continue
		}
		for i := range v.Facts.Records {
			consider(f.Check, v.Facts.Records[i].Severity)
		}
	}
	return worst, of
}
