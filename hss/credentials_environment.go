package hss

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// The environment variables of the official SDK.
const (
	envAccessKey       = "HUAWEICLOUD_SDK_AK"
	envSecretKey       = "HUAWEICLOUD_SDK_SK"
	envSecurityToken   = "HUAWEICLOUD_SDK_SECURITY_TOKEN"
	envProjectID       = "HUAWEICLOUD_SDK_PROJECT_ID"
	envCredentialsFile = "HUAWEICLOUD_SDK_CREDENTIALS_FILE"
	envIAMEndpoint     = "HUAWEICLOUD_SDK_IAM_ENDPOINT"
)

// Getenv looks up an environment variable, as [os.Getenv] does.
type Getenv func(name string) string

// value returns a variable without the space around it.
func (g Getenv) value(name string) string {
	if g == nil {
		g = os.Getenv
	}
	return strings.TrimSpace(g(name))
}

// EnvironmentCredentials reads HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK and, if
// they are set, HUAWEICLOUD_SDK_SECURITY_TOKEN and HUAWEICLOUD_SDK_PROJECT_ID.
// If getenv is nil, os.Getenv is asked.
func EnvironmentCredentials(getenv Getenv) CredentialSource {
	return environmentCredentials{getenv}
}

type environmentCredentials struct{ getenv Getenv }

// Credentials implements [CredentialSource].
func (s environmentCredentials) Credentials(context.Context) (Credentials, error) {
	accessKey, secretKey := s.getenv.value(envAccessKey), s.getenv.value(envSecretKey)
	switch {
	case accessKey == "" && secretKey == "":
		err := fmt.Errorf("environment: %s and %s are %w", envAccessKey, envSecretKey, ErrNotConfigured)
		return Credentials{}, &sourceError{place: "the environment (" + envAccessKey + ")", err: err}
	case accessKey == "":
		return Credentials{}, fmt.Errorf("environment: %s is set, but %s is not", envSecretKey, envAccessKey)
	case secretKey == "":
		return Credentials{}, fmt.Errorf("environment: %s is set, but %s is not", envAccessKey, envSecretKey)
	}
	return Credentials{
		AccessKey:     accessKey,
		SecretKey:     NewSecret(secretKey),
		SecurityToken: NewSecret(s.getenv.value(envSecurityToken)),
		ProjectID:     s.getenv.value(envProjectID),
	}, nil
}

// TokenEnvironment reads an IAM token, sent as X-Auth-Token, from the
// environment variable name. A token is valid for 24 hours at most, so it has
// to be set anew; TokenFile can be renewed without a restart.
func TokenEnvironment(name string, getenv Getenv) CredentialSource {
	return tokenEnvironment{name, getenv}
}

type tokenEnvironment struct {
	name   string
	getenv Getenv
}

// Credentials implements [CredentialSource].
func (s tokenEnvironment) Credentials(context.Context) (Credentials, error) {
	token := s.getenv.value(s.name)
	if token == "" {
		err := fmt.Errorf("token: environment variable %s is %w", s.name, ErrNotConfigured)
		return Credentials{}, &sourceError{place: s.name, err: err}
	}
	return tokenCredentials(token)
}

// maxToken is the longest X-Auth-Token that the API takes, in characters.
const maxToken = 32768

// tokenCredentials checks a token that was read.
func tokenCredentials(token string) (Credentials, error) {
	if len(token) > maxToken {
		return Credentials{}, fmt.Errorf("token has %d characters, at most %d are allowed", len(token), maxToken)
	}
	return Credentials{Token: NewSecret(token)}, nil
}
