package hsstest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// IdentityProvider is an identity provider (OpenID Connect) of IAM, with one rule that maps a subject to a user.
type IdentityProvider struct {
	// ID is sent as X-Idp-Id.
	ID string `json:"-"`
	// Issuer, Subject and Audience are the claims that a token must have: the cluster, the service account, and the client ID.
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"-"`
}

// claims are those of a service account's token that are checked.
type claims struct {
	IdentityProvider

	Audiences []string `json:"aud"`
	Expires   int64    `json:"exp"`
}

// Token returns a token that the provider accepts until a time. It has no signature, and none is checked.
func (p IdentityProvider) Token(until time.Time) string {
	payload, err := json.Marshal(claims{p, []string{p.Audience}, until.Unix()})
	if err != nil {
		panic(err) // strings and a number
	}
	return "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString(payload) + ".no-signature"
}

// exchange is the body of both requests that exchange a token.
type exchange struct {
	Auth struct {
		IDToken struct {
			ID string `json:"id"`
		} `json:"id_token"`
		Identity struct {
			Methods []string `json:"methods"`
			Token   struct {
				ID      string `json:"id"`
				Seconds int    `json:"duration_seconds"`
			} `json:"token"`
		} `json:"identity"`
	} `json:"auth"`
}

// exchangeToken exchanges a service account's token for one of IAM (CreateTokenWithIdToken).
func (h *Handler) exchangeToken(c *call) (any, error) {
	var body exchange
	var token claims
	_ = json.Unmarshal(c.body, &body) // without a token, that is missing
	n := slices.IndexFunc(h.options.providers, func(p IdentityProvider) bool { return p.ID == c.Header.Get("X-Idp-Id") })
	parts := append(strings.Split(body.Auth.IDToken.ID, "."), "")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	switch {
	case n < 0:
		return nil, gatewayError(http.StatusNotFound, "IAM.0004", "Could not find identity provider: "+c.Header.Get("X-Idp-Id"))
	case err != nil, json.Unmarshal(payload, &token) != nil:
		return nil, gatewayError(http.StatusBadRequest, "IAM.0011", "Request body is invalid.")
	}
	p := h.options.providers[n]
	switch {
	case token.Issuer != p.Issuer, !slices.Contains(token.Audiences, p.Audience), token.Expires <= h.options.now().Unix():
		return nil, unauthenticated()
	case token.Subject != p.Subject:
		return nil, gatewayError(http.StatusForbidden, "IAM.0003", "No rule maps this user.")
	}
	subject, until := h.issue("hsstest-token", 24*time.Hour)
	c.answered.Set("X-Subject-Token", subject)
	return map[string]any{"token": map[string]any{"expires_at": until, "methods": []string{"mapped"}}}, nil
}

// createKeys makes temporary keys for the token that is in the body (CreateTemporaryAccessKeyByToken).
func (h *Handler) createKeys(c *call) (any, error) {
	var body exchange
	_ = json.Unmarshal(c.body, &body) // without a token, that is missing
	identity := body.Auth.Identity
	if len(identity.Methods) != 1 || identity.Methods[0] != "token" || identity.Token.Seconds < 900 || identity.Token.Seconds > 86400 {
		return nil, gatewayError(http.StatusBadRequest, "IAM.0011", "Request body is invalid.")
	}
	if !h.options.issued("hsstest-token", identity.Token.ID) {
		return nil, unauthenticated()
	}
	key, until := h.issue(temporaryKey, time.Duration(identity.Token.Seconds)*time.Second)
	known := temporary(key)
	return map[string]any{"credential": map[string]any{
		"access": key, "secret": known.SecretKey, "securitytoken": known.SecurityToken, "expires_at": until}}, nil
}

func unauthenticated() *apiError {
	return gatewayError(http.StatusUnauthorized, "IAM.0001", "The request you have made requires authentication.")
}

const temporaryKey = "HSSTESTTEMPORARYKEY"

// issue returns a name of a kind, unlike all others, that is valid for a while and shows until when.
func (h *Handler) issue(kind string, valid time.Duration) (name, until string) {
	end := h.options.now().Add(valid).UTC()
	return fmt.Sprintf("%s_%s_%d", kind, end.Format(dateFormat), h.requests.Load()), end.Format("2006-01-02T15:04:05.000000Z")
}

// issued reports whether a name was issued and is still valid.
func (o *options) issued(kind, name string) bool {
	parts := append(strings.Split(name, "_"), "")
	until, err := time.Parse(dateFormat, parts[1])
	return len(o.providers) > 0 && parts[0] == kind && err == nil && o.now().Before(until)
}

// temporary returns the key that belongs to a temporary access key.
func temporary(accessKey string) Credential {
	return Credential{AccessKey: accessKey, SecretKey: "secret-of-" + accessKey, SecurityToken: "token-of-" + accessKey}
}
