package gate

import "github.com/hssgate/hssgate/policy/v1alpha1"

// Count returns how many policies of each enforcement there are.
func (ix *Index) Count() map[v1alpha1.Enforcement]int {
	counts := map[v1alpha1.Enforcement]int{
		v1alpha1.EnforcementDeny: 0, v1alpha1.EnforcementWarn: 0, v1alpha1.EnforcementAudit: 0,
	}
	for _, p := range ix.policies {
		counts[p.Enforcement()]++
	}
	return counts
}
