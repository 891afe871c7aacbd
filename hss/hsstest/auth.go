package hsstest

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hssgate/hssgate/hss"
)

// Limits and forms that the API gateway documents.
const (
	dateFormat     = "20060102T150405Z"
	maxSkew        = 15 * time.Minute
	maxTokenLength = 32768
)

func unauthorized(reason string) *apiError {
	return gatewayError(http.StatusUnauthorized, codeUnauthorized, "Incorrect IAM authentication information: "+reason)
}

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

// verify signs the signed headers of r again, which must give the same signature. Package sdkoracle shows that the
// official SDK signs likewise. A "+" in the query is no space: a gateway might take it literally.
func (o *options) verify(r *http.Request, body []byte) error {
	given := r.Header.Get("Authorization")
	fields := regexp.MustCompile("^SDK-HMAC-SHA256 Access=([^,=]+), SignedHeaders=([^,=]+), Signature=[0-9a-f]{64}$").FindStringSubmatch(given)
	if fields == nil {
		return unauthorized("the Authorization header must be SDK-HMAC-SHA256 Access=…, SignedHeaders=a;b, Signature=…, with 64 hexadecimal digits in lower case")
	}
	credentials := o.credentials
	if o.issued(temporaryKey, fields[1]) {
		credentials = append(slices.Clone(credentials), temporary(fields[1]))
	}
	n := slices.IndexFunc(credentials, func(c Credential) bool { return c.AccessKey == fields[1] })
	if n < 0 {
		return unauthorized("get secretKey failed: access key not found")
	}
	known, now := credentials[n], o.now()
	at, err := time.Parse(dateFormat, r.Header.Get("X-Sdk-Date"))
	if err != nil {
		return unauthorized("x-sdk-date must be of the form " + dateFormat)
	}
	if at.Sub(now).Abs() > maxSkew {
		return gatewayError(http.StatusUnauthorized, codeClockSkew,
			"the request's x-sdk-date is more than 15 minutes from the server's time "+now.UTC().Format(dateFormat))
	}
	again := r.Clone(r.Context())
	again.Header = http.Header{}
	for name := range strings.SplitSeq(fields[2], ";") {
		again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
	}
	err = hss.Sign(again, body, hss.Credentials{AccessKey: known.AccessKey, SecretKey: hss.NewSecret(known.SecretKey),
		SecurityToken: hss.NewSecret(known.SecurityToken)}, at)
	switch {
	case err != nil, again.Header.Get("Authorization") != given, strings.Contains(r.URL.RawQuery, "+"):
		return unauthorized("verify aksk signature fail")
	case r.Header.Get("X-Security-Token") != known.SecurityToken:
		return unauthorized("x-security-token is not that of the access key")
	}
	return nil
}
