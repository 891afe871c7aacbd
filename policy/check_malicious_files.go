package policy

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

/*
The number of malicious files that HSS found in an image is bounded.

	forbids:  more than maliciousFiles.max, a missing number
	allows:   0 to the maximum
	judges:   each record and each of its architectures
*/

func checkMaliciousFiles() check {
	return check{id: CheckMaliciousFiles, scope: ofScan, needsResult: true, compile: compileMaliciousFiles}
}

func compileMaliciousFiles(r *v1alpha1.Requirements, path *field.Path) ([]judge, field.ErrorList) {
	files := counted{
		one:  "malicious file",
		many: "malicious files",
		of:   func(s *Scan) *int { return s.MaliciousFiles },
	}
	return compileCount(files, r.MaliciousFiles, path.Child("maliciousFiles"))
}
