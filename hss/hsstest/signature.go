package hsstest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	dateHeader    = "x-sdk-date"
	dateFormat    = "20060102T150405Z"
	contentHeader = "X-Sdk-Content-Sha256"
	// unsignedPayload stands for a body's hash that the client left out.
	unsignedPayload = "UNSIGNED-PAYLOAD"
	// maxSignedBody bounds what is read to verify a body.
	maxSignedBody = 1 << 20
)

// verifySignature tells whether auth signs r with secret. It is written from
// the description of the scheme, and shares no code with package hss.
func verifySignature(r *http.Request, auth authorization, secret string) error {
	canonical, err := canonicalRequest(r, auth.signedHeaders)
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte(canonical))
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s\n%s\n%s", algorithm, r.Header.Get(dateHeader), hex.EncodeToString(digest[:]))
	if !hmac.Equal(mac.Sum(nil), auth.signature) {
		return errors.New("verify aksk signature fail")
	}
	return nil
}

func canonicalRequest(r *http.Request, signed []string) (string, error) {
	path, err := canonicalPath(r.URL.EscapedPath())
	if err != nil {
		return "", err
	}
	query, err := canonicalQuery(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	headers, err := canonicalHeaders(r, signed)
	if err != nil {
		return "", err
	}
	body, err := bodyHash(r)
	if err != nil {
		return "", err
	}
	return strings.Join([]string{r.Method, path, query, headers, strings.Join(signed, ";"), body}, "\n"), nil
}

// canonicalPath escapes every segment once more from its plain form and ends
// with a slash.
func canonicalPath(escaped string) (string, error) {
	segments := strings.Split(escaped, "/")
	for i, segment := range segments {
		plain, err := url.PathUnescape(segment)
		if err != nil {
			return "", fmt.Errorf("path segment %q: %w", segment, err)
		}
		segments[i] = escape(plain)
	}
	path := strings.Join(segments, "/")
	if !strings.HasSuffix(path, "/") {
		path += "/"
	}
	return path, nil
}

// canonicalQuery sorts by name, then by value. A "+" stands for itself: the
// official SDK is careful to send %20 for a space.
func canonicalQuery(raw string) (string, error) {
	if raw == "" {
		return "", nil
	}
	type pair struct{ name, value string }
	var pairs []pair
	for part := range strings.SplitSeq(raw, "&") {
		escapedName, escapedValue, _ := strings.Cut(part, "=")
		name, nameErr := url.PathUnescape(escapedName)
		value, valueErr := url.PathUnescape(escapedValue)
		if err := errors.Join(nameErr, valueErr); err != nil {
			return "", fmt.Errorf("query parameter %q: %w", part, err)
		}
		pairs = append(pairs, pair{name, value})
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	lines := make([]string, 0, len(pairs))
	for _, p := range pairs {
		lines = append(lines, escape(p.name)+"="+escape(p.value))
	}
	return strings.Join(lines, "&"), nil
}

// canonicalHeaders gives every signed header a line that ends it.
func canonicalHeaders(r *http.Request, signed []string) (string, error) {
	var lines strings.Builder
	for _, name := range signed {
		values := slices.Clone(r.Header.Values(name))
		if name == "host" {
			values = []string{r.Host}
		}
		if len(values) == 0 {
			return "", fmt.Errorf("signed header %q is not in the request", name)
		}
		slices.Sort(values)
		for _, value := range values {
			lines.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
		}
	}
	return lines.String(), nil
}

// bodyHash is the hash of the body, or what the client declares if that is true.
func bodyHash(r *http.Request) (string, error) {
	declared := r.Header.Get(contentHeader)
	if declared == unsignedPayload {
		return declared, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxSignedBody+1))
	if err != nil {
		return "", fmt.Errorf("read body: %w", err)
	}
	if len(body) > maxSignedBody {
		return "", fmt.Errorf("body has more than %d bytes", maxSignedBody)
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	if declared != "" && declared != hash {
		return "", fmt.Errorf("header %s does not match the body", contentHeader)
	}
	return hash, nil
}

// escape leaves A-Za-z0-9-_.~ and escapes every other byte.
func escape(s string) string {
	var out strings.Builder
	for i := range len(s) {
		c := s[i]
		if unreserved(c) {
			out.WriteByte(c)
			continue
		}
		fmt.Fprintf(&out, "%%%02X", c)
	}
	return out.String()
}

func unreserved(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("-_.~", c) >= 0
}
