package image

import "strings"

// IsDigest reports whether s is a whole sha256 digest as the OCI image
// specification writes it: sha256: and 64 hexadecimal digits in lower case. A
// digest that is cut short, or of another algorithm, isn't one.
func IsDigest(s string) bool {
	const hexDigits = 64
	hex, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(hex) == hexDigits && strings.Trim(hex, "0123456789abcdef") == ""
}
