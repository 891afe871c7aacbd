package policy

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxTextRunes bounds a text from outside within a finding.
const maxTextRunes = 200

// clean makes a text from outside fit for one line of a denial or a log: without
// control, formatting and line-breaking characters, and not too long.
func clean(s string) string {
	return clip(s, maxTextRunes)
}

func clip(s string, limit int) string {
	if isClean(s) && len(s) <= limit {
		return s
	}
	s = strings.Map(printable, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + "…"
}

// printable maps white space to a space and drops what is not printable.
func printable(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case !unicode.IsPrint(r):
		return -1
	}
	return r
}

// isClean reports whether s is printable ASCII only, as most texts are.
func isClean(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// orElse returns s cleaned, or the substitute if that is empty.
func orElse(s, substitute string) string { return cmp.Or(clean(s), substitute) }

const day = 24 * time.Hour

// readable formats d in its largest fitting unit: "7 days", "36h", "5m", "30s".
func readable(d time.Duration) string {
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d == day:
		return "1 day"
	case d >= time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d >= time.Second:
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return d.String()
}

// readablePair formats two durations that differ so that the texts differ too.
func readablePair(a, b time.Duration) (string, string) {
	if x, y := readable(a), readable(b); x != y {
		return x, y
	}
	for _, unit := range []time.Duration{time.Hour, time.Minute, time.Second} {
		x, y := a.Truncate(unit), b.Truncate(unit)
		if x != y {
			return exact(x), exact(y)
		}
	}
	return a.String(), b.String()
}

// exact formats d without the zero units that Go adds: "168h", not "168h0m0s".
func exact(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
