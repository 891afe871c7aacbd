package hss

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// CCE sets these variables in a pod whose service account has an agency.
const (
	envPodIdentityURI   = "HC_CONTAINER_CREDENTIALS_FULL_URI"
	envPodIdentityToken = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE" //nolint:gosec // the name of a variable
	podIdentityTimeout  = 10 * time.Second
)

// PodIdentityCredentials asks the agent of CCE's pod identity for temporary
// keys: HC_CONTAINER_CREDENTIALS_FULL_URI names it and
// HC_CONTAINER_AUTHORIZATION_TOKEN_FILE the file with the pod's token, which is
// read for every call. If getenv is nil, os.Getenv is asked; if transport is
// nil, one without a proxy is made.
//
// Every call asks anew; wrap it in CachedCredentials.
func PodIdentityCredentials(getenv Getenv, transport http.RoundTripper) CredentialSource {
	return &podIdentity{getenv: getenv, service: newKeyService(transport, podIdentityTimeout)}
}

type podIdentity struct {
	getenv  Getenv
	service keyService
}

// Credentials implements [CredentialSource].
func (s *podIdentity) Credentials(ctx context.Context) (Credentials, error) {
	uri, path := s.getenv.value(envPodIdentityURI), s.getenv.value(envPodIdentityToken)
	switch {
	case uri == "" && path == "":
		err := fmt.Errorf("pod identity: %s and %s are %w", envPodIdentityURI, envPodIdentityToken, ErrNotConfigured)
		return Credentials{}, &sourceError{place: "the pod's identity", err: err}
	case uri == "":
		return Credentials{}, fmt.Errorf("pod identity: %s is set, but %s is not", envPodIdentityToken, envPodIdentityURI)
	case path == "":
		return Credentials{}, fmt.Errorf("pod identity: %s is set, but %s is not", envPodIdentityURI, envPodIdentityToken)
	}
	c, err := s.fetch(ctx, uri, path)
	if err != nil {
		return Credentials{}, fmt.Errorf("pod identity: %w", err)
	}
	return c, nil
}

func (s *podIdentity) fetch(ctx context.Context, uri, path string) (Credentials, error) {
	if err := checkAgentURI(uri); err != nil {
		return Credentials{}, err
	}
	token, err := (&watched{paths: []string{path}}).values()
	if err != nil {
		return Credentials{}, fmt.Errorf("token: %w", err)
	}
	status, body, err := s.service.call(ctx, http.MethodPost, uri, "{}", map[string]string{
		headerAuthorization: token[0].Reveal(), "Content-Type": "application/json; charset=utf-8",
	})
	if err != nil {
		return Credentials{}, err
	}
	if status != http.StatusOK {
		return Credentials{}, fmt.Errorf("%s %w", uri, statusError(status, body))
	}
	var answer struct {
		Credentials *temporaryKeys `json:"credentials"`
	}
	if err := decodeKeys(body, &answer); err != nil {
		return Credentials{}, err
	}
	return answer.Credentials.credentials()
}

// checkAgentURI keeps the pod's token on this machine or its network, unless
// it goes over TLS.
func checkAgentURI(uri string) error {
	u, err := url.Parse(uri)
	if err != nil {
		return fmt.Errorf("%s: %w", envPodIdentityURI, err)
	}
	ip := net.ParseIP(u.Hostname())
	local := isLoopback(u.Hostname()) || (ip != nil && (ip.IsLinkLocalUnicast() || ip.IsPrivate()))
	if u.Host != "" && (u.Scheme == "https" || (u.Scheme == "http" && local)) {
		return nil
	}
	return fmt.Errorf("%s is %q; it must be https, or http to a private, link-local or loopback address",
		envPodIdentityURI, u.Redacted())
}
