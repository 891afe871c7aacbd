package hsstest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Limits and forms that the API gateway documents.
const (
	algorithm      = "SDK-HMAC-SHA256"
	dateHeader     = "x-sdk-date"
	dateFormat     = "20060102T150405Z"
	maxSkew        = 15 * time.Minute
	maxTokenLength = 32768
)

func unauthorized(reason string) *apiError {
	return gatewayError(http.StatusUnauthorized, codeUnauthorized, "Incorrect IAM authentication information: "+reason)
}

// authenticate checks the signature or the token of r.
func (o *options) authenticate(r *http.Request, body []byte) error {
	token := r.Header.Get("X-Auth-Token")
	switch {
	case o.withoutAuth:
		return nil
	case r.Header.Get("Authorization") != "":
		return o.verify(r, body)
	case token == "":
		return unauthorized("x-auth-token not found")
	case len(token) > maxTokenLength:
		return unauthorized("x-auth-token must have 1 to 32768 characters")
	case !slices.Contains(o.tokens, token):
		return unauthorized("decrypt token fail")
	}
	return nil
}

// verify checks the signature of r. It follows the description of the scheme and shares no code with package hss.
func (o *options) verify(r *http.Request, body []byte) error {
	auth, err := parseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		return unauthorized(err.Error())
	}
	at := slices.IndexFunc(o.credentials, func(c Credential) bool { return c.AccessKey == auth.accessKey })
	if at < 0 {
		return unauthorized("get secretKey failed: access key not found")
	}
	if err := checkDate(r.Header.Get(dateHeader), o.now()); err != nil {
		return err
	}
	canonical, err := canonicalRequest(r, auth.signedHeaders, body)
	if err != nil {
		return unauthorized(err.Error())
	}
	token := r.Header.Get("X-Security-Token")
	switch {
	case !hmac.Equal(signature(canonical, r.Header.Get(dateHeader), o.credentials[at].SecretKey), auth.signature):
		return unauthorized("verify aksk signature fail")
	case token != o.credentials[at].SecurityToken:
		return unauthorized("x-security-token is not that of the access key")
	case token != "" && !slices.Contains(auth.signedHeaders, "x-security-token"):
		return unauthorized("x-security-token must be signed")
	}
	return nil
}

func signature(canonical, date, secret string) []byte {
	digest := sha256.Sum256([]byte(canonical))
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s\n%s\n%x", algorithm, date, digest)
	return mac.Sum(nil)
}

func checkDate(date string, now time.Time) error {
	at, err := time.Parse(dateFormat, date)
	if err != nil {
		return unauthorized("x-sdk-date must be of the form " + dateFormat)
	}
	if at.Sub(now).Abs() > maxSkew {
		return gatewayError(http.StatusUnauthorized, codeClockSkew,
			"the request's x-sdk-date is more than 15 minutes from the server's time "+now.UTC().Format(dateFormat))
	}
	return nil
}

// authorization is a parsed Authorization header.
type authorization struct {
	accessKey     string
	signedHeaders []string
	signature     []byte
}

// parseAuthorization reads the header.
func parseAuthorization(header string) (authorization, error) {
	form := regexp.MustCompile("^" + algorithm + " Access=([^,=]+), *SignedHeaders=([^,=]+), *Signature=([0-9a-f]{64})$")
	fields := form.FindStringSubmatch(header)
	if fields == nil {
		return authorization{}, errors.New("the Authorization header must be " + algorithm +
			" Access=…, SignedHeaders=a;b, Signature=…, with 64 hexadecimal digits in lower case")
	}
	names := strings.Split(fields[2], ";")
	sorted := slices.Compact(slices.Sorted(slices.Values(strings.Split(strings.ToLower(fields[2]), ";"))))
	switch {
	case !slices.Equal(names, sorted) || names[0] == "":
		return authorization{}, fmt.Errorf("the signed headers are %q, allowed: names in lower case, in order and each once", fields[2])
	case !slices.Contains(names, dateHeader):
		return authorization{}, errors.New("the header X-Sdk-Date must be signed")
	}
	given, err := hex.DecodeString(fields[3])
	return authorization{fields[1], names, given}, err
}

func canonicalRequest(r *http.Request, signed []string, body []byte) (string, error) {
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
	payload := fmt.Sprintf("%x", sha256.Sum256(body))
	return strings.Join([]string{r.Method, path, query, headers, strings.Join(signed, ";"), payload}, "\n"), nil
}

// canonicalPath escapes every segment and ends with a slash.
func canonicalPath(escaped string) (string, error) {
	segments := strings.Split(strings.TrimSuffix(escaped, "/"), "/")
	for i, segment := range segments {
		plain, err := url.PathUnescape(segment)
		if err != nil {
			return "", fmt.Errorf("path segment %q: %w", segment, err)
		}
		segments[i] = escape(plain)
	}
	return strings.Join(segments, "/") + "/", nil
}

// canonicalQuery sorts by name, then by value. A "+" is no space: the official SDK sends %20.
func canonicalQuery(raw string) (string, error) {
	values, err := url.ParseQuery(strings.ReplaceAll(raw, "+", "%2B"))
	if err != nil {
		return "", fmt.Errorf("query: %w", err)
	}
	for _, same := range values {
		slices.Sort(same)
	}
	return strings.ReplaceAll(values.Encode(), "+", "%20"), nil
}

// canonicalHeaders has one line for every value of a signed header.
func canonicalHeaders(r *http.Request, signed []string) (string, error) {
	var lines strings.Builder
	for _, name := range signed {
		values := slices.Sorted(slices.Values(r.Header.Values(name)))
		if name == "host" {
			values = []string{r.Host}
		}
		if len(values) == 0 {
			return "", fmt.Errorf("signed header %q is not in the request", name)
		}
		for _, value := range values {
			lines.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
		}
	}
	return lines.String(), nil
}

// escape escapes every byte but A-Za-z0-9-_.~.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
