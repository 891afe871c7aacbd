package hss

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The scheme of Huawei Cloud's API gateway, as its official SDK for Go v0.1.207
// implements it.
const (
	signatureAlgorithm  = "SDK-HMAC-SHA256"
	signatureDate       = "20060102T150405Z"
	headerAuthorization = "Authorization"
	headerDate          = "X-Sdk-Date"
	headerProjectID     = "X-Project-Id"
	headerSecurityToken = "X-Security-Token"
	headerAuthToken     = "X-Auth-Token"         //nolint:gosec // the name of a header
	headerContentHash   = "X-Sdk-Content-Sha256" // in place of the body's own hash
)

// Sign authenticates r, whose body is body, as of at: with X-Auth-Token if c
// has a token, otherwise with a signature in the manner of SDK-HMAC-SHA256. It
// changes r's headers, so r must be the caller's own.
//
// Signed are all headers that r has, except for Authorization, those that
// begin with Content-Type, and those with an underscore in their names. A
// signature is valid for 15 minutes before and after at. A space in the query
// is better sent as %20: a gateway might take "+" for itself.
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
		cmp.Or(r.Method, http.MethodGet), canonicalPath(r.URL), query, headers, names, contentHash(r.Header, body),
	}, "\n")
	text := signatureAlgorithm + "\n" + date + "\n" + hexSHA256([]byte(request))
	mac := hmac.New(sha256.New, []byte(c.SecretKey.Reveal()))
	mac.Write([]byte(text))
	r.Header.Set(headerAuthorization, fmt.Sprintf("%s Access=%s, SignedHeaders=%s, Signature=%s",
		signatureAlgorithm, c.AccessKey, names, hex.EncodeToString(mac.Sum(nil))))
	return nil
}

// canonicalPath escapes every segment of the path and ends it with a slash,
// for the signature only. A path with escaped slashes is taken as it stands
// and escaped once more, which is what the SDK makes of it.
func canonicalPath(u *url.URL) string {
	segments := strings.Split(cmp.Or(u.RawPath, u.Path), "/")
	for i, segment := range segments {
		segments[i] = escape(segment)
	}
	path := strings.Join(segments, "/")
	if strings.HasSuffix(path, "/") {
		return path
	}
	return path + "/"
}

// canonicalQuery sorts the parameters by name and then value, as they are
// before escaping, and escapes them. Empty values keep their "=".
func canonicalQuery(raw string) (string, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return "", fmt.Errorf("query cannot be signed: %w", err)
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, value := range slices.Sorted(slices.Values(values[name])) {
			pairs = append(pairs, escape(name)+"="+escape(value))
		}
	}
	return strings.Join(pairs, "&"), nil
}

// canonicalHeaders returns the headers to sign, a line each and an empty one
// after them, and their names.
func canonicalHeaders(r *http.Request) (lines, names string) {
	signed := map[string][]string{}
	for name, values := range r.Header {
		lower := strings.ToLower(name)
		switch {
		case strings.HasPrefix(lower, "content-type"), strings.Contains(lower, "_"):
		case lower == "host":
			signed[lower] = []string{cmp.Or(r.Host, r.URL.Host)}
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

// contentHash is the hash that the request states, or that of its body.
func contentHash(header http.Header, body []byte) string {
	if stated := header.Get(headerContentHash); stated != "" {
		return stated
	}
	return hexSHA256(body)
}

// hexSHA256 is the SHA-256 of data in hexadecimal.
func hexSHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// escape escapes every byte but A–Z, a–z, 0–9, "-", "_", "." and "~".
func escape(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s))
	for i := range len(s) {
		if c := s[i]; unreserved(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

// unreserved reports whether RFC 3986 lets c stand for itself anywhere.
func unreserved(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '-' || c == '_' || c == '.' || c == '~'
}
