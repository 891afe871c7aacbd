package policy

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestReadable(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0:                           "0s",
		time.Millisecond:            "1ms",
		90 * time.Second:            "1m",
		59 * time.Minute:            "59m",
		2 * time.Hour:               "2h",
		24 * time.Hour:              "1 day",
		25 * time.Hour:              "25h",
		47 * time.Hour:              "47h",
		48 * time.Hour:              "2 days",
		60*24*time.Hour + time.Hour: "60 days",
		-time.Hour:                  "-1h0m0s",
	} {
		if got := readable(d); got != want {
			t.Errorf("readable(%d) is %q, want %q", d, got, want)
		}
	}
}

func TestReadablePairsDiffer(t *testing.T) {
	t.Parallel()
	week := 7 * day
	for _, c := range []struct {
		a, b         time.Duration
		first, other string
	}{
		{60 * day, week, "60 days", "7 days"},
		{week + 5*time.Hour, week, "173h", "168h"},
		{week + 90*time.Second, week, "168h1m", "168h"},
		{time.Hour + time.Second, time.Hour, "1h0m1s", "1h"},
		{time.Second + 1, time.Second, "1.000000001s", "1s"},
	} {
		first, other := readablePair(c.a, c.b)
		if first != c.first || other != c.other {
			t.Errorf("readablePair(%s, %s) is %q, %q, want %q, %q", c.a, c.b, first, other, c.first, c.other)
		}
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                       "",
		"plain  text":            "plain  text",
		"认证失败":                   "认证失败",
		"a\r\n\tb":               "a b",
		"a\u2028b\u0085c":        "a b c",
		"\x1b[31mred\x07":        "[31mred",
		"\u202eevil\u200b":       "evil",
		"\xff\xfe":               "\uFFFD",
		strings.Repeat("x", 201): strings.Repeat("x", 199) + "…",
		strings.Repeat("失", 200): strings.Repeat("失", 200),
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) is %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("认证失败\n\x00")
	f.Add(strings.Repeat("\u2028x", 300))
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s)
		if n := utf8.RuneCountInString(got); n > maxTextRunes || !utf8.ValidString(got) {
			t.Errorf("clean(%q) has %d characters or isn't UTF-8", s, n)
		}
		if strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("clean(%q) isn't printable: %q", s, got)
		}
		if clean(got) != got {
			t.Errorf("clean(%q) changes when cleaned again", s)
		}
	})
}
