package hss

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ErrNotConfigured is matched by the errors of a [CredentialSource] that was
// given nothing to read: then a chain goes on to its next source. A source
// that was given something and cannot use it returns another error.
var ErrNotConfigured = errors.New("not configured")

// Credentials are either an access key and its secret key, for signing, or a
// token. They print without their secrets.
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
}

// CredentialSource supplies credentials. It must be safe for concurrent use.
// Sources that hold on to what they read may also have a method Invalidate(),
// which is called once the credentials were refused.
type CredentialSource interface {
	// Credentials returns the credentials to use now. It must not wait longer
	// than ctx allows.
	Credentials(ctx context.Context) (Credentials, error)
}

// invalidator is a source that holds on to what it read.
type invalidator interface{ Invalidate() }

// invalidate tells a source, if it listens, that its credentials were refused.
func invalidate(source CredentialSource) {
	if i, ok := source.(invalidator); ok {
		i.Invalidate()
	}
}

// check reports what is missing for a request to be authenticated, or could
// not be sent in a header.
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

// checkHeaderValue refuses control characters, without showing the value.
func checkHeaderValue(name, value string) error {
	for _, r := range value {
		if r < ' ' || r == 0x7f {
			return fmt.Errorf("%s contains a control character", name)
		}
	}
	return nil
}

// fingerprint tells credentials apart without keeping them.
func (c Credentials) fingerprint() [sha256.Size]byte {
	return sha256.Sum256([]byte(strings.Join([]string{
		c.AccessKey, c.SecretKey.Reveal(), c.SecurityToken.Reveal(), c.Token.Reveal(),
	}, "\x00")))
}

// leastInRow is how long a secret is at least that is removed from rows: a
// shorter one is no real secret, and may well be a part of an image's name.
const leastInRow = 8

// scrub returns a function that removes the secrets from text of an error.
func (c Credentials) scrub() func(string) string {
	return scrubber(1, c.SecretKey, c.SecurityToken, c.Token)
}

// scrubRow returns a function that removes the secrets from text of a row.
func (c Credentials) scrubRow() func(string) string {
	return scrubber(leastInRow, c.SecretKey, c.SecurityToken, c.Token)
}

// hide removes the secrets from an error's text.
func (c Credentials) hide(err error) error { return hideIn(err, c.scrub()) }

// authenticate adds to header what does not depend on the request.
func (c Credentials) authenticate(header http.Header) {
	header.Del(headerAuthorization)
	if c.ProjectID != "" {
		header.Set(headerProjectID, c.ProjectID)
	}
	setOrDelete(header, headerAuthToken, c.Token.Reveal())
	if c.Token.Empty() {
		setOrDelete(header, headerSecurityToken, c.SecurityToken.Reveal())
	} else {
		header.Del(headerSecurityToken)
	}
}

// setOrDelete sets a header, or leaves it out if it would be empty.
func setOrDelete(header http.Header, name, value string) {
	if value == "" {
		header.Del(name)
		return
	}
	header.Set(name, value)
}

// StaticCredentials is a source that always supplies the same credentials.
func StaticCredentials(c Credentials) CredentialSource { return staticCredentials{c} }

type staticCredentials struct{ credentials Credentials }

// Credentials implements [CredentialSource].
func (s staticCredentials) Credentials(context.Context) (Credentials, error) {
	return s.credentials, s.credentials.check()
}
