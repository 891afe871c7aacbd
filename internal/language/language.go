// Package language has hssgate's messages in each language. A message is named by its
// English text, which is a format; catalogue_test.go checks that none is missing.
package language

import (
	"cmp"
	"fmt"
	"strings"
)

// Language is one in which messages are written. Any other value, also none, is English.
type Language string

// The languages.
const (
	English Language = "en"
	Chinese Language = "zh-CN"
)

// Sprintf formats as fmt.Sprintf does, in the language.
func (l Language) Sprintf(format string, args ...any) string {
	if l == Chinese {
		return fmt.Sprintf(l.Text(format), args...)
	}
	return fmt.Sprintf(format, args...)
}

// Text returns a text without arguments in the language, or as it is if it is in no catalogue, such as one from outside.
func (l Language) Text(text string) string {
	if l != Chinese {
		return text
	}
	return cmp.Or(chinese[text], text)
}

// Error returns what an error says, each of its parts in the language that has a translation.
func (l Language) Error(err error) string {
	parts := strings.Split(err.Error(), ": ")
	for i := range parts {
		parts[i] = l.Text(parts[i])
	}
	return strings.Join(parts, l.Text(": "))
}
