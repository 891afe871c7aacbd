package hsstest

import (
	"slices"

	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// What a server knows has the same types as what an inventory file holds.
type (
	// Image is one row of the list. The server serves it as it is: nothing is
	// checked or defaulted except where a field says so, since real rows lack
	// fields too. ID 0 lets the server assign one.
	Image = inventoryfile.Image
	// Architecture is one architecture of a multi-architecture image.
	Architecture = inventoryfile.Architecture
	// Vulnerability is one row of an image's vulnerabilities.
	Vulnerability = inventoryfile.Vulnerability
	// ScanOutcome is what a scan finds once it was started and ends.
	ScanOutcome = inventoryfile.ScanOutcome
	// Registry is a registry that the server knows.
	Registry = inventoryfile.Registry
	// IAMProject is a project as IAM lists it: its name is that of its region.
	IAMProject = inventoryfile.IAMProject
	// Credential is a key pair that the server accepts.
	Credential = inventoryfile.Credential
)

// Count is a count for [Image] and [Architecture], whose counts may be missing.
func Count(n int) *int { return new(n) }

// DefaultCredential is what a server accepts that was given no credential and
// no token. It is public and protects nothing.
func DefaultCredential() Credential {
	return Credential{AccessKey: "HSSTESTACCESSKEY", SecretKey: "hsstest-secret-key"}
}

func mayAsk(c *Credential, project string) bool {
	return len(c.Projects) == 0 || slices.Contains(c.Projects, project)
}

// anyCount reports whether the counts of the row or of one of its architectures pass.
func anyCount(i *Image, passes func(vul, unsafe, malicious *int) bool) bool {
	return passes(i.VulNum, i.UnsafeSettingNum, i.MaliciousFileNum) ||
		slices.ContainsFunc(i.AssociationImages, func(a Architecture) bool {
			return passes(a.VulNum, a.UnsafeSettingNum, a.MaliciousFileNum)
		})
}

func positive(n *int) bool { return n != nil && *n > 0 }

func hasVul(i *Image) bool {
	return anyCount(i, func(vul, _, _ *int) bool { return positive(vul) })
}

func hasUnsafeSetting(i *Image) bool {
	return anyCount(i, func(_, unsafe, _ *int) bool { return positive(unsafe) })
}

func hasMaliciousFile(i *Image) bool {
	return anyCount(i, func(_, _, malicious *int) bool { return positive(malicious) })
}

func risky(i *Image) bool { return hasVul(i) || hasUnsafeSetting(i) || hasMaliciousFile(i) }
