package hsstest

import (
	"log/slog"
	"slices"
)

// Credential is a key pair that the server accepts.
type Credential struct {
	AccessKey string
	SecretKey string
	// SecurityToken makes it a temporary credential: requests must carry it
	// in X-Security-Token, and sign it.
	SecurityToken string
	// Projects are those it may ask about; empty: all that the server has.
	Projects []string
}

// DefaultCredential is what a server accepts that was given no credential and
// no token. It is public and protects nothing.
func DefaultCredential() Credential {
	return Credential{AccessKey: "HSSTESTACCESSKEY", SecretKey: "hsstest-secret-key"}
}

// String names the credential without its secrets.
func (c Credential) String() string { return "credential " + c.AccessKey }

// GoString names the credential without its secrets.
func (c Credential) GoString() string { return c.String() }

// LogValue names the credential without its secrets.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

func (c Credential) mayAsk(project string) bool {
	return len(c.Projects) == 0 || slices.Contains(c.Projects, project)
}
