package hss

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
)

// maxKeyAnswer bounds an answer that holds temporary keys or a token.
const maxKeyAnswer = 256 << 10

// keyService is what hands out temporary keys over HTTP.
type keyService struct{ client *http.Client }

// newKeyService makes a service that never goes through a proxy: its address
// is one of this machine or its network. Each call takes timeout at most.
func newKeyService(transport http.RoundTripper, timeout time.Duration) keyService {
	if transport == nil {
		transport = &http.Transport{DisableKeepAlives: true} // it is asked a few times a day
	}
	return keyService{&http.Client{Transport: transport, CheckRedirect: followNone, Timeout: timeout}}
}

// followNone keeps tokens from other hosts.
func followNone(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// call sends a request and returns the status and the body.
func (s keyService) call(ctx context.Context, method, url, body string, header map[string]string) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewBufferString(body))
	if err != nil {
		return 0, nil, err
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	scrub := scrubber(1, NewSecret(header[headerMetadataAuth]), NewSecret(header[headerAuthorization]))
	response, err := s.client.Do(request)
	if err != nil {
		return 0, nil, hideIn(err, scrub)
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxKeyAnswer+1))
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return 0, nil, hideIn(fmt.Errorf("reading the answer: %w", err), scrub)
	}
	if len(answer) > maxKeyAnswer {
		return 0, nil, fmt.Errorf("the answer has more than %d bytes", maxKeyAnswer)
	}
	if response.StatusCode != http.StatusOK {
		answer = []byte(scrub(string(answer))) // it will be shown
	}
	return response.StatusCode, answer, nil
}

// temporaryKeys are what the metadata service ("access", "securitytoken") and pod
// identity ("accessKeyId", "securityToken") hand out.
type temporaryKeys struct {
	Access          string `json:"access"`
	AccessKeyID     string `json:"accessKeyId"`
	Secret          string `json:"secret"`
	SecretAccessKey string `json:"secretAccessKey"`
	SecurityToken   string `json:"securitytoken"`
	SessionToken    string `json:"securityToken"`
	ExpiresAt       string `json:"expires_at"`
	Expiration      string `json:"expiration"`
}

// credentials checks that all is there. Errors never show what is.
func (k *temporaryKeys) credentials() (Credentials, error) {
	if k == nil {
		return Credentials{}, errors.New("the answer holds no keys")
	}
	c := Credentials{
		AccessKey:     cmp.Or(k.Access, k.AccessKeyID),
		SecretKey:     NewSecret(cmp.Or(k.Secret, k.SecretAccessKey)),
		SecurityToken: NewSecret(cmp.Or(k.SecurityToken, k.SessionToken)),
	}
	if c.AccessKey == "" || c.SecretKey.Empty() || c.SecurityToken.Empty() {
		return Credentials{}, errors.New("the answer lacks the access key, the secret key or the security token")
	}
	expires, err := time.Parse(time.RFC3339, cmp.Or(k.ExpiresAt, k.Expiration))
	if err != nil {
		return Credentials{}, errors.New("the keys' time of expiry is missing or not as RFC 3339 writes one")
	}
	c.Expires = expires.UTC()
	return c, nil
}

// errUndecodable stands for an error of the decoder, whose text may show part of
// a secret.
var errUndecodable = errors.New("the answer is not the JSON that was expected")

// decodeKeys reads an answer without ever showing it.
func decodeKeys(body []byte, into any) error {
	if json.Unmarshal(body, into) != nil {
		return errUndecodable
	}
	return nil
}

// statusError describes an answer that holds no keys.
func statusError(status int, body []byte) error {
	text := clean(string(body))
	if text == "" {
		text = "no reason given"
	}
	return fmt.Errorf("answered %d: %s", status, text)
}
