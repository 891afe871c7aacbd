package hss

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// renewAhead is how long before they expire credentials are renewed, like the official SDK does, but at most a
	// third of the time that they are valid.
	renewAhead = 40 * time.Minute
	// renewTimeout bounds one renewal, which outlives the caller that started it.
	renewTimeout = 30 * time.Second
	// renewDelay is the least time between renewals while the old credentials are valid.
	renewDelay = 30 * time.Second
	// maxKeyAnswer bounds an answer that holds temporary keys or a token.
	maxKeyAnswer = 256 << 10
)

// cached keeps the credentials of source until shortly before they expire. However many callers need new ones, there is
// one request. While the old credentials are valid they stay in use, and a renewal happens in the background.
type cached struct {
	source CredentialSource
	group  singleflight.Group

	mu      sync.Mutex
	current Credentials
	renewAt time.Time
	tried   time.Time // when a renewal was last started
}

func reuse(source CredentialSource) CredentialSource { return (&cached{source: source}).get }

func (s *cached) get(ctx context.Context) (Credentials, error) {
	s.mu.Lock()
	now, current := time.Now(), s.current
	valid := now.Before(current.Expires)
	due := !valid || !now.Before(s.renewAt) && now.Sub(s.tried) >= renewDelay
	if due {
		s.tried = now
	}
	s.mu.Unlock()
	if !due {
		return current, nil
	}
	result := s.group.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTimeout)
		defer cancel()
		return s.renew(ctx)
	})
	if valid {
		return current, nil
	}
	select {
	case r := <-result:
		c, _ := r.Val.(Credentials)
		return c, r.Err
	case <-ctx.Done():
		return Credentials{}, fmt.Errorf("waiting for temporary credentials: %w", context.Cause(ctx))
	}
}

func (s *cached) renew(ctx context.Context) (Credentials, error) {
	c, err := s.source(ctx)
	if err != nil {
		return Credentials{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Refused = s.invalidate
	s.current = c
	s.renewAt = c.Expires.Add(-min(renewAhead, time.Until(c.Expires)/3))
	return c, nil
}

// invalidate renews the credentials before they expire, but not more often than renewDelay.
func (s *cached) invalidate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewAt = time.Time{}
}

const (
	// keyTimeout bounds a request for temporary keys.
	keyTimeout          = 5 * time.Second
	headerMetadataToken = "X-Metadata-Token" //nolint:gosec // the name of a header

	envPodIdentityURI       = "HC_CONTAINER_CREDENTIALS_FULL_URI"
	envPodIdentityTokenFile = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE" //nolint:gosec // the name of a variable
)

// MetadataCredentials returns the temporary keys of the node's agency, from the metadata service of an ECS node, as the
// official SDK calls it. They are kept and renewed ahead of expiry.
func MetadataCredentials() CredentialSource { return reuse(metadata("http://169.254.169.254")) }

func metadata(base string) CredentialSource {
	return func(ctx context.Context) (Credentials, error) {
		c, err := fetchMetadata(ctx, base)
		if err != nil {
			// A chain looks here on every machine, so it may not be set up.
			return Credentials{}, notConfigured("the node's metadata service", "metadata service at %s: %s", base, err)
		}
		return c, nil
	}
}

// fetchMetadata requests a token and then the keys. A service without tokens does not need one.
func fetchMetadata(ctx context.Context, base string) (Credentials, error) {
	status, token, err := callKeyService(ctx, http.MethodPut, base+"/meta-data/latest/api/token", "",
		map[string]string{"X-Metadata-Token-Ttl-Seconds": "60"})
	header := map[string]string{headerMetadataToken: strings.TrimSpace(string(token))}
	switch status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusServiceUnavailable:
		header, err = nil, nil
	}
	if err != nil {
		return Credentials{}, fmt.Errorf("token: %w", err)
	}
	_, body, err := callKeyService(ctx, http.MethodGet, base+"/openstack/latest/securitykey", "", header)
	if err != nil {
		return Credentials{}, fmt.Errorf("security key: %w (has the node an agency?)", err)
	}
	return readKeys(body)
}

// PodIdentityCredentials returns temporary keys from the agent of CCE's pod identity: HC_CONTAINER_CREDENTIALS_FULL_URI
// names it and HC_CONTAINER_AUTHORIZATION_TOKEN_FILE the file with the pod's token. They are kept and renewed ahead of
// expiry.
func PodIdentityCredentials() CredentialSource { return reuse(fetchPodIdentity) }

func fetchPodIdentity(ctx context.Context) (Credentials, error) {
	const source = "pod identity"
	uri, path, err := bothSet(source, "the pod's identity", envPodIdentityURI, envPodIdentityTokenFile)
	if err != nil {
		return Credentials{}, err
	}
	if err := checkAgentURI(uri); err != nil {
		return Credentials{}, fmt.Errorf(source+": %w", err)
	}
	token, err := readFiles(path)
	if err != nil {
		return Credentials{}, fmt.Errorf(source+": token: %w", err)
	}
	_, body, err := callKeyService(ctx, http.MethodPost, uri, "{}", map[string]string{
		headerAuthorization: token[0], "Content-Type": "application/json; charset=utf-8",
	})
	if err != nil {
		return Credentials{}, fmt.Errorf(source+": %s %w", uri, err)
	}
	c, err := readKeys(body)
	if err != nil {
		err = fmt.Errorf(source+": %w", err)
	}
	return c, err
}

// checkAgentURI keeps the pod's token on this machine or its network, unless it is sent over TLS.
func checkAgentURI(uri string) error {
	u, err := url.Parse(uri)
	if err != nil {
		return fmt.Errorf("%s: %w", envPodIdentityURI, err)
	}
	ip := net.ParseIP(u.Hostname())
	local := isLoopback(u.Hostname()) || ip != nil && (ip.IsLinkLocalUnicast() || ip.IsPrivate())
	if u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && local) {
		return nil
	}
	return fmt.Errorf("%s is %q; it must be https, or http to a private, link-local or loopback address",
		envPodIdentityURI, u.Redacted())
}

// callKeyService sends a request to what hands out temporary keys, and returns the status of the answer and its body. Any
// but a 200 is an error, too. The token in the header is removed from what an error may show. It never uses a proxy, as
// the address is one of this machine or its network, and follows no redirects, to keep tokens from other hosts.
func callKeyService(ctx context.Context, method, url, body string, header map[string]string) (status int, answer []byte, err error) {
	scrub := scrubber(NewSecret(header[headerMetadataToken]), NewSecret(header[headerAuthorization]))
	defer func() { err = hideSecrets(err, scrub) }()
	ctx, cancel := context.WithTimeout(ctx, keyTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	transport := &http.Transport{DisableKeepAlives: true} // it is needed a few times a day
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxKeyAnswer+1))
	switch {
	case err != nil:
		err = fmt.Errorf("reading the answer: %w", err)
	case len(answer) > maxKeyAnswer:
		err = fmt.Errorf("the answer has more than %d bytes", maxKeyAnswer)
	case response.StatusCode != http.StatusOK:
		err = fmt.Errorf("answered %d: %s", response.StatusCode, cmp.Or(clean(scrub(string(answer))), "no reason given"))
	}
	return response.StatusCode, answer, err
}

// temporaryKeys are keys as the metadata service and the agent of pod identity spell them.
type temporaryKeys struct {
	Access          string    `json:"access"`
	AccessKeyID     string    `json:"accessKeyId"`
	Secret          string    `json:"secret"`
	SecretAccessKey string    `json:"secretAccessKey"`
	SecurityToken   string    `json:"securityToken"` // or securitytoken, as encoding/json ignores case
	ExpiresAt       time.Time `json:"expires_at"`
	Expiration      time.Time `json:"expiration"`
}

// readKeys reads an answer with temporary keys. Errors never show what is there.
func readKeys(body []byte) (Credentials, error) {
	var answer struct {
		Credential  temporaryKeys `json:"credential"`
		Credentials temporaryKeys `json:"credentials"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return Credentials{}, errors.New("the answer is not the JSON that was expected")
	}
	keys := answer.Credential
	if keys == (temporaryKeys{}) {
		keys = answer.Credentials
	}
	c := Credentials{
		AccessKey:     cmp.Or(keys.Access, keys.AccessKeyID),
		SecretKey:     NewSecret(cmp.Or(keys.Secret, keys.SecretAccessKey)),
		SecurityToken: NewSecret(keys.SecurityToken),
		Expires:       cmp.Or(keys.ExpiresAt, keys.Expiration).UTC(),
	}
	if c.AccessKey == "" || c.SecretKey.Empty() || c.SecurityToken.Empty() || c.Expires.IsZero() {
		return Credentials{}, errors.New("the answer lacks the access key, the secret key, the security token or its time of expiry")
	}
	return c, nil
}
