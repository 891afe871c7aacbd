package hss

import (
	"crypto/subtle"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
)

// redacted is what a secret prints as.
const redacted = "[redacted]"

// Secret is a value that must not be shown: a secret key or a token. It prints
// as "[redacted]" in every format verb, in JSON and in log/slog; only
// [Secret.Reveal] gives the value. The zero value is an empty secret.
type Secret struct {
	// value is a pointer, as fmt prints the text of unexported struct fields
	// without asking their Format method, but only the address of a pointer.
	value *string
}

// NewSecret hides value. An empty one is the zero Secret.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: &value}
}

// Reveal returns the value itself, for a request header or a signature.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Empty reports whether there is no value.
func (s Secret) Empty() bool { return s.value == nil }

// Equal reports whether both hold the same value, in constant time for values
// of one length.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String implements [fmt.Stringer] and shows only whether there is a value.
func (s Secret) String() string {
	if s.Empty() {
		return ""
	}
	return redacted
}

// GoString implements [fmt.GoStringer].
func (s Secret) GoString() string { return s.String() }

// Format implements [fmt.Formatter], for every verb alike.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, s.String()) // fmt offers no way to report an error
}

// MarshalText implements [encoding.TextMarshaler], and so serves JSON, XML and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// scrubber returns a function that removes secrets of at least so many bytes
// from text that came from elsewhere, also as they are written in a URL, in
// HTML, in JSON and in quotes.
func scrubber(least int, secrets ...Secret) func(string) string {
	var pairs []string
	for _, secret := range secrets {
		plain := secret.Reveal()
		if len(plain) < max(least, 1) {
			continue
		}
		quoted := strings.Trim(strconv.Quote(plain), `"`)
		inHTML := strings.NewReplacer("<", `\u003c`, ">", `\u003e`, "&", `\u0026`).Replace(quoted) // JSON of encoding/json
		for _, form := range []string{
			plain, url.QueryEscape(plain), url.PathEscape(plain), html.EscapeString(plain), quoted,
			inHTML, strings.ReplaceAll(plain, "/", `\/`),
		} {
			pairs = append(pairs, form, redacted)
		}
	}
	return strings.NewReplacer(pairs...).Replace
}

// hiddenError is an error whose text held a secret.
type hiddenError struct {
	text string
	err  error
}

// Error implements error.
func (e *hiddenError) Error() string { return e.text }

// Unwrap returns the error, for what it is and not for its text.
func (e *hiddenError) Unwrap() error { return e.err }

// hideIn removes secrets from an error's text.
func hideIn(err error, scrub func(string) string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if scrubbed := scrub(text); scrubbed != text {
		return &hiddenError{scrubbed, err}
	}
	return err
}
