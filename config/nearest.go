package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// unknownField returns the message for a field that does not exist.
func unknownField(name string, t reflect.Type, known map[string]int) string {
	names := slices.Sorted(maps.Keys(known))
	message := "unknown field; allowed are " + strings.Join(names, ", ")
	if near := Nearest(name, names); near != "" {
		message = fmt.Sprintf("unknown field; did you mean %q?", near)
	}
	if t == reflect.TypeFor[Credentials]() {
		message += "; keys and tokens must not stand in the file: name files that hold them, or use source Environment"
	}
	return message
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
