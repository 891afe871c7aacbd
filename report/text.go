package report

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// columns is how many columns of a terminal a text takes.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

// runeColumns is 2 for the scripts that terminals draw twice as wide.
func runeColumns(r rune) int {
	switch {
	case unicode.Is(unicode.Mn, r):
		return 0
	case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana), r >= 0x3000 && r <= 0x303f, r >= 0xff01 && r <= 0xff60:
		return 2
	}
	return 1
}

// wrap breaks a text into lines of at most width columns: between words where
// it can. What would steer a terminal is left out.
func wrap(text string, width int) []string {
	width = max(width, 2)
	var lines []string
	line := ""
	for _, word := range words(text) {
		switch {
		case line == "":
			line = word
		case columns(line)+1+columns(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
		for columns(line) > width {
			head := cut(line, width)
			lines, line = append(lines, head), line[len(head):]
		}
	}
	return append(lines, line)
}

func words(text string) []string {
	printable := func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}
	return strings.Fields(strings.Map(printable, text))
}

// cut returns what of a word fits, after a slash or the like if it holds one.
func cut(word string, width int) string {
	end, used := 0, 0
	for i, r := range word {
		if used += runeColumns(r); used > width {
			break
		}
		end = i + utf8.RuneLen(r)
	}
	if i := strings.LastIndexAny(word[:end], "/:@-_"); i > 0 {
		return word[:i+1]
	}
	return word[:end]
}
