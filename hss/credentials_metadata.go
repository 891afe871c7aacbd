package hss

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The metadata service of an ECS node, as the official SDK asks it.
const (
	// DefaultMetadataURL is where every node finds its metadata service.
	DefaultMetadataURL = "http://169.254.169.254"

	metadataTokenPath    = "/meta-data/latest/api/token" //nolint:gosec // a path
	metadataKeyPath      = "/openstack/latest/securitykey"
	headerMetadataAuth   = "X-Metadata-Token"
	headerMetadataTTL    = "X-Metadata-Token-Ttl-Seconds"
	metadataTokenSeconds = 6 * 60 * 60
	metadataTimeout      = 3 * time.Second
)

// MetadataCredentials asks the node's metadata service for the temporary keys
// of the agency that the node has. If baseURL is empty it is
// DefaultMetadataURL; if transport is nil, one without a proxy is made.
//
// Every call asks anew; wrap it in CachedCredentials.
func MetadataCredentials(baseURL string, transport http.RoundTripper) CredentialSource {
	if baseURL == "" {
		baseURL = DefaultMetadataURL
	}
	return &metadataCredentials{
		base: strings.TrimRight(baseURL, "/"), service: newKeyService(transport, metadataTimeout),
	}
}

type metadataCredentials struct {
	base    string
	service keyService

	mu    sync.Mutex
	token Secret
}

// Credentials implements [CredentialSource].
func (s *metadataCredentials) Credentials(ctx context.Context) (Credentials, error) {
	c, err := s.fetch(ctx)
	if err != nil {
		err = fmt.Errorf("metadata service at %s: %w", s.base, err)
		return Credentials{}, &sourceError{place: "the node's metadata service", unsought: true, err: err}
	}
	return c, nil
}

// fetch asks for the keys with the token that is at hand, and with a new one
// if that is refused.
func (s *metadataCredentials) fetch(ctx context.Context) (Credentials, error) {
	token := s.heldToken()
	if token.Empty() {
		var err error
		if token, err = s.newToken(ctx); err != nil {
			return Credentials{}, err
		}
		return s.keys(s.ask(ctx, token))
	}
	status, body, err := s.ask(ctx, token)
	if err == nil && status == http.StatusUnauthorized {
		if token, err = s.newToken(ctx); err != nil {
			return Credentials{}, err
		}
		status, body, err = s.ask(ctx, token)
	}
	return s.keys(status, body, err)
}

func (s *metadataCredentials) heldToken() Secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

// newToken asks for a token. A service that knows no tokens answers without.
func (s *metadataCredentials) newToken(ctx context.Context) (Secret, error) {
	status, body, err := s.service.call(ctx, http.MethodPut, s.base+metadataTokenPath, "",
		map[string]string{headerMetadataTTL: strconv.Itoa(metadataTokenSeconds)})
	if err != nil {
		return Secret{}, err
	}
	var token Secret
	switch status {
	case http.StatusOK:
		token = NewSecret(strings.TrimSpace(string(body)))
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusServiceUnavailable:
	default:
		return Secret{}, fmt.Errorf("token: %w", statusError(status, body))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
	return token, nil
}

// ask asks for the keys.
func (s *metadataCredentials) ask(ctx context.Context, token Secret) (int, []byte, error) {
	header := map[string]string{}
	if !token.Empty() {
		header[headerMetadataAuth] = token.Reveal()
	}
	return s.service.call(ctx, http.MethodGet, s.base+metadataKeyPath, "", header)
}

// keys reads the answer.
func (s *metadataCredentials) keys(status int, body []byte, err error) (Credentials, error) {
	if err != nil {
		return Credentials{}, err
	}
	if status != http.StatusOK {
		return Credentials{}, fmt.Errorf("security key: %w (has the node an agency?)", statusError(status, body))
	}
	var answer struct {
		Credential *temporaryKeys `json:"credential"`
	}
	if err := decodeKeys(body, &answer); err != nil {
		return Credentials{}, err
	}
	return answer.Credential.credentials()
}
