package hss

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// temporaryKeySeconds is how long temporary keys are requested for, as by the official SDK.
const temporaryKeySeconds = 6 * 60 * 60

// OIDCCredentials returns temporary keys that IAM exchanges a service account's token for, by an identity provider
// (OpenID Connect) that trusts the token's cluster. If one of them is empty, it is that of HUAWEICLOUD_SDK_IDP_ID or
// HUAWEICLOUD_SDK_ID_TOKEN_FILE, as for the official SDK. The token's file is read for every exchange, as the kubelet
// replaces it. The keys are kept and renewed ahead of expiry. IAM is called as config says: by its Region or IAMEndpoint,
// Transport and Keys, whose guard pauses after a refusal until the token changes.
func OIDCCredentials(identityProviderID, tokenFile string, config Config) CredentialSource {
	const providerName, fileName = "HUAWEICLOUD_SDK_IDP_ID", "HUAWEICLOUD_SDK_ID_TOKEN_FILE"
	provider, file, projectID := cmp.Or(identityProviderID, getenv(providerName)), cmp.Or(tokenFile, getenv(fileName)), ""
	if identityProviderID == "" {
		projectID = getenv(projectIDName)
	}
	var missing error
	switch {
	case provider == "" && file == "":
		missing = notConfigured("the environment ("+providerName+")", "OIDC: %s and %s are not configured", providerName, fileName)
	case provider == "":
		missing = errors.New("OIDC: a token is configured, but no identity provider: set identityProviderID or " + providerName)
	case file == "":
		missing = errors.New("OIDC: an identity provider is configured, but no token: set tokenFile or " + fileName)
	}
	if missing != nil {
		return func(context.Context) (Credentials, error) { return Credentials{}, missing }
	}
	config.Keys = cmp.Or(config.Keys, NewKeyGuard())
	return reuse(func(ctx context.Context) (Credentials, error) {
		c, err := exchangeToken(ctx, provider, file, config)
		if err != nil {
			err = fmt.Errorf("OIDC: %w", err)
		}
		c.ProjectID = projectID
		return c, err
	})
}

// exchangeToken exchanges a service account's token for one of IAM, which no other API accepts, and that for temporary
// keys. It does not retry: the request that needs the keys is retried itself.
func exchangeToken(ctx context.Context, identityProviderID, tokenFile string, config Config) (keys Credentials, err error) {
	contents, err := readFiles(tokenFile)
	if err != nil {
		return Credentials{}, fmt.Errorf("token: %w", err)
	}
	token := Credentials{
		Token:     NewSecret(contents[0]),
		exchanged: fmt.Sprintf("the service account's token (%s) for identity provider %q", describeToken(contents[0]), identityProviderID),
	}
	unscoped := &call{
		path: "/v3.0/OS-AUTH/id-token/tokens", header: http.Header{"X-Idp-Id": {identityProviderID}},
		decode: func([]byte, func(string) string) error { return nil }, // the token is in the header
	}
	if err := callIAM(ctx, config, token, unscoped, map[string]any{"id_token": map[string]string{"id": contents[0]}}); err != nil {
		return Credentials{}, err
	}
	subject := unscoped.answered.Get("X-Subject-Token")
	if subject == "" {
		return Credentials{}, errors.New("IAM answered without a token in X-Subject-Token")
	}
	token.SecurityToken = NewSecret(subject)
	err = callIAM(ctx, config, token, &call{
		path: "/v3.0/OS-CREDENTIAL/securitytokens",
		decode: func(body []byte, _ func(string) string) (err error) {
			keys, err = readKeys(body)
			return err
		},
	}, map[string]any{"identity": map[string]any{
		"methods": []string{"token"}, "token": map[string]any{"id": subject, "duration_seconds": temporaryKeySeconds},
	}})
	return keys, err
}

// callIAM posts a request to IAM, in which c is in the body.
func callIAM(ctx context.Context, config Config, c Credentials, e *call, auth any) (err error) {
	config.Credentials = StaticCredentials(c)
	if config, err = config.withDefaults(); err != nil {
		return err
	}
	iam, err := newIAMClient(config)
	if err != nil {
		return err
	}
	if e.body, err = json.Marshal(map[string]any{"auth": auth}); err != nil {
		return err
	}
	return iam.attempt(ctx, e)
}

// describeToken returns the claims of a service account's token that an identity provider compares. None is secret without
// the signature.
func describeToken(token string) string {
	var claims struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience any    `json:"aud"`
		Expires  int64  `json:"exp"`
	}
	parts := strings.Split(token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[min(1, len(parts)-1)])
	if err != nil || len(parts) != 3 || json.Unmarshal(payload, &claims) != nil {
		return "no JSON Web Token"
	}
	return clean(fmt.Sprintf("issuer %s, subject %s, audience %s, valid until %s",
		claims.Issuer, claims.Subject, strings.Trim(fmt.Sprint(claims.Audience), "[]"), time.Unix(claims.Expires, 0).UTC().Format(time.RFC3339)))
}
