package hss

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Credentials are either an access key and its secret key, for signing, or a token. They print without their secrets.
type Credentials struct {
	AccessKey string
	SecretKey Secret
	// SecurityToken belongs to temporary access keys.
	SecurityToken Secret
	// Token is sent as X-Auth-Token in place of a signature, if it is there.
	Token Secret
	// ProjectID may be empty; then the client's configuration has it.
	ProjectID string
	// Expires is when the credentials stop being valid; zero: not known.
	Expires time.Time
	// Refused is called when HSS, or IAM, refuses the credentials. A source that keeps what it got may then renew them.
	// Optional.
	Refused func() `json:"-"`

	// exchanged describes Token if it is a service account's, which is exchanged at IAM. Then requests carry secrets in their
	// bodies, and no header.
	exchanged string
}

// check reports what is missing for a request to be authenticated, or could not be sent in a header.
func (c Credentials) check() error {
	if !c.Token.Empty() {
		return checkHeaderValue("token", c.Token.Reveal())
	}
	if c.AccessKey == "" || c.SecretKey.Empty() {
		return errors.New("credentials need an access key and a secret key, or a token")
	}
	if strings.ContainsAny(c.AccessKey, " ,") {
		return errors.New("access key contains a space or a comma")
	}
	return errors.Join(checkHeaderValue("access key", c.AccessKey),
		checkHeaderValue("security token", c.SecurityToken.Reveal()))
}

// checkHeaderValue rejects control characters, without showing the value.
func checkHeaderValue(name, value string) error {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%s contains a control character", name)
	}
	return nil
}

// fingerprint identifies credentials without keeping them.
func (c Credentials) fingerprint() [sha256.Size]byte {
	if c.exchanged != "" {
		c.SecurityToken = Secret{} // another one after each exchange
	}
	return sha256.Sum256([]byte(strings.Join([]string{
		c.exchanged, c.AccessKey, c.SecretKey.Reveal(), c.SecurityToken.Reveal(), c.Token.Reveal(),
	}, "\x00")))
}

// scrubber returns a function that removes the secrets from a text.
func (c Credentials) scrubber() func(string) string {
	return scrubber(c.SecretKey, c.SecurityToken, c.Token)
}

// authenticate adds to header what does not depend on the request, in place of an earlier authentication.
func (c Credentials) authenticate(header http.Header) {
	for _, name := range []string{headerAuthorization, headerAuthToken, headerSecurityToken} {
		header.Del(name)
	}
	if !c.Token.Empty() {
		c.SecurityToken = Secret{} // belongs to the access key, which is not used
	}
	if c.exchanged != "" {
		c.Token = Secret{}
	}
	for name, value := range map[string]string{
		headerProjectID: c.ProjectID, headerAuthToken: c.Token.Reveal(), headerSecurityToken: c.SecurityToken.Reveal(),
	} {
		if value != "" {
			header.Set(name, value)
		}
	}
}

// The scheme of Huawei Cloud's API gateway, as its official SDK for Go v0.1.207 implements it.
const (
	signatureAlgorithm  = "SDK-HMAC-SHA256"
	signatureDate       = "20060102T150405Z"
	headerAuthorization = "Authorization"
	headerDate          = "X-Sdk-Date"
	headerProjectID     = "X-Project-Id"
	headerSecurityToken = "X-Security-Token"
	headerAuthToken     = "X-Auth-Token" //nolint:gosec // the name of a header
)

// Sign authenticates r, whose body is body, as of at: with X-Auth-Token if c has a token, otherwise with a signature in
// the manner of SDK-HMAC-SHA256. It changes r's headers, so r must be the caller's own.
//
// Signed are all headers that r has, except for Authorization, those that begin with Content-Type, and those with an
// underscore in their names. A signature is valid for 15 minutes before and after at. A space in the query is better
// sent as %20: a gateway might take "+" for itself.
func Sign(r *http.Request, body []byte, c Credentials, at time.Time) error {
	if err := c.check(); err != nil {
		return err
	}
	c.authenticate(r.Header)
	if !c.Token.Empty() {
		return nil
	}
	query, err := canonicalQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	date := at.UTC().Format(signatureDate)
	r.Header.Set(headerDate, date)
	headers, names := canonicalHeaders(r)
	request := strings.Join([]string{
		cmp.Or(r.Method, http.MethodGet), canonicalPath(r.URL), query, headers, names, fmt.Sprintf("%x", sha256.Sum256(body)),
	}, "\n")
	mac := hmac.New(sha256.New, []byte(c.SecretKey.Reveal()))
	fmt.Fprintf(mac, "%s\n%s\n%x", signatureAlgorithm, date, sha256.Sum256([]byte(request)))
	r.Header.Set(headerAuthorization, fmt.Sprintf("%s Access=%s, SignedHeaders=%s, Signature=%x",
		signatureAlgorithm, c.AccessKey, names, mac.Sum(nil)))
	return nil
}

// canonicalPath escapes every segment of the path and ends it with a slash, for the signature only. A path with escaped
// slashes is taken as it stands and escaped once more, which is what the SDK makes of it.
func canonicalPath(u *url.URL) string {
	segments := strings.Split(cmp.Or(u.RawPath, u.Path), "/")
	for i, segment := range segments {
		segments[i] = escape(segment)
	}
	return strings.TrimSuffix(strings.Join(segments, "/"), "/") + "/"
}

// canonicalQuery sorts the parameters by name and then value, as they are before escaping, and escapes them. Empty
// values keep their "=".
func canonicalQuery(raw string) (string, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return "", fmt.Errorf("query cannot be signed: %w", err)
	}
	for _, same := range values {
		slices.Sort(same)
	}
	return strings.ReplaceAll(values.Encode(), "+", "%20"), nil
}

// canonicalHeaders returns the headers to sign, a line each and an empty one after them, and their names.
func canonicalHeaders(r *http.Request) (lines, names string) {
	signed := map[string][]string{}
	for name, values := range r.Header {
		lower := strings.ToLower(name)
		switch {
		case strings.HasPrefix(lower, "content-type"), strings.Contains(lower, "_"):
		case lower == "host": // the Host that is sent is another field of r
		default:
			signed[lower] = append(signed[lower], values...)
		}
	}
	sorted := slices.Sorted(maps.Keys(signed))
	var b strings.Builder
	for _, name := range sorted {
		for _, value := range slices.Sorted(slices.Values(signed[name])) {
			b.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
		}
	}
	return b.String(), strings.Join(sorted, ";")
}

// escape escapes every byte but A–Z, a–z, 0–9, "-", "_", "." and "~".
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// redacted is what a secret prints as.
const redacted = "[redacted]"

// Secret is a value that must not be shown: a secret key or a token. It prints as "[redacted]" with every format verb,
// in JSON and in log/slog; only [Secret.Reveal] returns the value. The zero value is an empty secret.
type Secret struct {
	// value is a pointer, as fmt prints the text of unexported struct fields without calling their Format method, but
	// only the address of a pointer.
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

// String implements [fmt.Stringer] and shows only whether there is a value.
func (s Secret) String() string {
	if s.Empty() {
		return ""
	}
	return redacted
}

// Format implements [fmt.Formatter], for every verb alike.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText implements [encoding.TextMarshaler], and so serves JSON, XML, YAML and log/slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// minSecret is the shortest secret that is removed from texts: a shorter one is no real secret, and may well be a part
// of an image's name.
const minSecret = 6

// scrubber returns a function that removes secrets from text that came from elsewhere, also as they are written in a
// URL, in HTML, in JSON and in quotes.
func scrubber(secrets ...Secret) func(string) string {
	var pairs []string
	for _, secret := range secrets {
		plain := secret.Reveal()
		if len(plain) < minSecret {
			continue
		}
		quoted := strings.Trim(strconv.Quote(plain), `"`)
		encoded := strings.NewReplacer("<", `\u003c`, ">", `\u003e`, "&", `\u0026`).Replace(quoted) // by encoding/json
		for _, form := range []string{
			plain, url.QueryEscape(plain), url.PathEscape(plain), html.EscapeString(plain), quoted,
			encoded, strings.ReplaceAll(plain, "/", `\/`),
		} {
			pairs = append(pairs, form, redacted)
		}
	}
	replacer := strings.NewReplacer(pairs...)
	return func(text string) string {
		for i := 0; i < len(pairs); i += 2 { // the replacer copies each text, and hardly any has a secret
			if strings.Contains(text, pairs[i]) {
				return replacer.Replace(text)
			}
		}
		return text
	}
}
