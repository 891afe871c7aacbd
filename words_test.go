package hssgate_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// oldWords matches words that this project once used in place of the field's
// terms, which docs/contributing.md lists.
var oldWords = regexp.MustCompile(`(?i)\b(un)?judg(e|ed|es|ing|ement|ment)s?\b|\bvouch|\bturnstile|\burgency\b|\bdoubtful\b|\bstrangers?\b` +
	`|\b(lets?|letting) (it |them |images? )?past\b|\bnobody (counts|does)\b|\b(is|are|was|runs|run) dry\b|can't be told|can(no|')t be asked` +
	`|\belected replica\b|\b(gives?|given|gave|giving) up\b|\bmoves? on\b|\bkeeps? up\b|as it is written|nothing (is |was )?against it|\bbears?\b` +
	`|\bauthorit(y|ies)\b|\bflights?\b`)

// fieldTerms matches uses of these words that are the field's own terms.
var fieldTerms = regexp.MustCompile(`(?i)certificate[- ](signing )?authorit(y|ies)|unknown authority|(in|single)[- ]?flights?`)

// innerCapital matches where the next word of an identifier begins.
var innerCapital = regexp.MustCompile(`([a-z])([A-Z])`)

// TestTheWordsAreTheFieldsTerms reads the code, the documentation, the chart and
// the samples.
func TestTheWordsAreTheFieldsTerms(t *testing.T) {
	t.Parallel()
	for _, path := range gitFiles(t, ".") {
		for position, text := range textsOf(t, path) {
			text = innerCapital.ReplaceAllString(text, "$1 $2")
			if word := oldWords.FindString(fieldTerms.ReplaceAllString(text, "")); word != "" {
				t.Errorf("%s: %q: use the field's term (docs/contributing.md, Words)", position, word)
			}
		}
	}
}

// textsOf returns the lines of a file that people read, by their position.
func textsOf(t *testing.T, path string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	switch {
	case path == "words_test.go" || path == "CHANGELOG.md" || path == "docs/contributing.md" || strings.Contains(path, "testdata/"):
	case slices.Contains([]string{".go", ".md"}, filepath.Ext(path)) || strings.HasPrefix(path, "charts/") || strings.HasPrefix(path, "config/"):
		for number, line := range strings.Split(read(t, path), "\n") {
			texts[path+":"+strconv.Itoa(number+1)] = line
		}
	}
	return texts
}
