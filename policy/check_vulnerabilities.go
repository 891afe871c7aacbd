package policy

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

/*
The number of vulnerabilities that HSS found in an image is bounded.

	forbids:  more than vulnerabilities.max, a missing number
	allows:   0 to the maximum
	judges:   each record and each of its architectures
*/

func checkVulnerabilities() check {
	return check{id: CheckVulnerabilities, scope: ofScan, needsResult: true, compile: compileVulnerabilities}
}

func compileVulnerabilities(r *v1alpha1.Requirements, path *field.Path) ([]judge, field.ErrorList) {
	vulnerabilities := counted{
		one:  "vulnerability",
		many: "vulnerabilities",
		of:   func(s *Scan) *int { return s.Vulnerabilities },
	}
	return compileCount(vulnerabilities, r.Vulnerabilities, path.Child("vulnerabilities"))
}
