package hsstest

import (
	"crypto/subtle"
	"net/http"
	"slices"
	"time"
)

// What the API gateway documents.
const (
	// maxSkew is how far X-Sdk-Date may be from the server's clock.
	maxSkew = 15 * time.Minute
	// maxTokenLength is the limit of X-Auth-Token.
	maxTokenLength = 32768
)

// authenticator knows who may ask. The zero value lets nobody in.
type authenticator struct {
	open        bool
	credentials map[string]*Credential
	tokens      []*string
	lockout     *lockout
	now         func() time.Time
}

// authenticate returns the credential that r was signed with; nil for a token
// or if the server is open.
func (a *authenticator) authenticate(r *http.Request) (*Credential, *refusal) {
	if a.open {
		return nil, nil
	}
	if header := r.Header.Get("Authorization"); header != "" {
		return a.signed(r, header)
	}
	if values := r.Header.Values("X-Auth-Token"); len(values) == 1 {
		return nil, a.token(values[0])
	}
	return nil, unauthorized("x-auth-token not found")
}

func (a *authenticator) token(token string) *refusal {
	if token == "" || len(token) > maxTokenLength {
		return unauthorized("x-auth-token must have 1 to 32768 characters")
	}
	known := slices.ContainsFunc(a.tokens, func(t *string) bool {
		return subtle.ConstantTimeCompare([]byte(*t), []byte(token)) == 1
	})
	if !known {
		return unauthorized("decrypt token fail")
	}
	return nil
}

func (a *authenticator) signed(r *http.Request, header string) (*Credential, *refusal) {
	auth, err := parseAuthorization(header)
	if err != nil {
		return nil, unauthorized(err.Error())
	}
	credential, ok := a.credentials[auth.accessKey]
	if !ok {
		return nil, unauthorized("get secretKey failed: access key not found")
	}
	now := a.now()
	if a.lockout.locked(auth.accessKey, now) {
		return nil, unauthorized("the access key is locked after too many failed signatures")
	}
	if refused := checkDate(r.Header.Get(dateHeader), now); refused != nil {
		return nil, refused
	}
	if err := verifySignature(r, auth, credential.SecretKey); err != nil {
		a.lockout.failed(auth.accessKey, now)
		return nil, unauthorized(err.Error())
	}
	a.lockout.succeeded(auth.accessKey)
	return credential, checkSecurityToken(r, auth, credential)
}

func checkDate(date string, now time.Time) *refusal {
	at, err := time.Parse(dateFormat, date)
	if err != nil {
		return unauthorized("x-sdk-date must be of the form " + dateFormat)
	}
	if at.Sub(now).Abs() > maxSkew {
		return fromGateway(http.StatusUnauthorized, codeClockSkew,
			"the request's x-sdk-date is more than 15 minutes from the server's time "+now.UTC().Format(dateFormat))
	}
	return nil
}

func checkSecurityToken(r *http.Request, auth authorization, credential *Credential) *refusal {
	token := r.Header.Get("X-Security-Token")
	if subtle.ConstantTimeCompare([]byte(token), []byte(credential.SecurityToken)) != 1 {
		return unauthorized("x-security-token is not that of the access key")
	}
	if token != "" && !slices.Contains(auth.signedHeaders, "x-security-token") {
		return unauthorized("x-security-token must be signed")
	}
	return nil
}
