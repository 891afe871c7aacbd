package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// unknownField says that a field does not exist, and what may have been meant.
func unknownField(name, field string, t reflect.Type, fields map[string]int) string {
	if advice := inlineSecret(name); advice != "" && t == reflect.TypeFor[Credentials]() {
		return fmt.Sprintf("%s must not stand in the file: %s", join(field, name), advice)
	}
	where := ""
	if field != "" {
		where = " in " + field
	}
	if near := Nearest(name, slices.Sorted(maps.Keys(fields))); near != "" {
		return fmt.Sprintf("unknown field %q%s; did you mean %q?", shorten(name), where, near)
	}
	return fmt.Sprintf("unknown field %q%s; allowed are %s", shorten(name), where, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
}

// inlineSecret tells how to give the secret that a field of this name would
// hold, or nothing if the name is not that of a secret.
func inlineSecret(name string) string {
	switch strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name)) {
	case "secretkey", "secret", "sk", "secretaccesskey":
		return "put the secret key into a file of its own and name it in secretKeyFile, or use source Environment and HUAWEICLOUD_SDK_SK"
	case "accesskey", "accesskeyid", "ak":
		return "put the access key into a file of its own and name it in accessKeyFile, or use source Environment and HUAWEICLOUD_SDK_AK"
	case "securitytoken", "sessiontoken":
		return "put the security token into a file of its own and name it in securityTokenFile, or use source Environment and HUAWEICLOUD_SDK_SECURITY_TOKEN"
	case "token", "authtoken", "xauthtoken", "password":
		return "put the token into a file and name it in tokenFile, or into an environment variable and name that in tokenVariable"
	default:
		return ""
	}
}

// Nearest returns the candidate that differs from name by the fewest edits,
// if there is one that differs little; otherwise nothing.
func Nearest(name string, candidates []string) string {
	if len(name) > 64 {
		return ""
	}
	best, least := "", 1+max(1, len(name)/3)
	for _, c := range candidates {
		if n := edits(strings.ToLower(name), strings.ToLower(c)); n < least {
			best, least = c, n
		}
	}
	return best
}

// edits counts the insertions, deletions and replacements from a to b
// (Levenshtein's distance); two swapped letters count as two.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// shorten keeps a message readable whatever the file holds.
func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
