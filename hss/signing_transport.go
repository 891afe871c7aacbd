package hss

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxSignedBody bounds the body of a request that is signed.
const maxSignedBody = 16 << 20

// SigningTransport is an [http.RoundTripper] that authenticates every request
// with [Sign]. It neither retries nor waits; [Client] does.
//
// A client that uses it should not follow redirects: the next host would get
// the signature or the token.
type SigningTransport struct {
	// Source supplies the credentials; it is asked for every request.
	Source CredentialSource
	// Base sends the signed request. If nil, [http.DefaultTransport] does.
	Base http.RoundTripper
	// Now dates the signature. If nil, [time.Now] does.
	Now func() time.Time
}

// RoundTrip signs a copy of r and sends it. It reads a body, of at most 16 MiB,
// into memory, as its hash is signed.
func (t *SigningTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := readRequestBody(r)
	if err != nil {
		return nil, err
	}
	if t.Source == nil {
		return nil, errors.New("signing transport has no source of credentials")
	}
	credentials, err := t.Source.Credentials(r.Context())
	if err != nil {
		return nil, fmt.Errorf("getting credentials: %w", err)
	}
	signed := r.Clone(r.Context())
	if body != nil {
		signed.Body = io.NopCloser(bytes.NewReader(body))
		signed.ContentLength = int64(len(body))
	}
	if err := Sign(signed, body, credentials, t.now()); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	if t.Base == nil {
		return http.DefaultTransport.RoundTrip(signed)
	}
	return t.Base.RoundTrip(signed)
}

func (t *SigningTransport) now() time.Time {
	if t.Now == nil {
		return time.Now()
	}
	return t.Now()
}

// readRequestBody reads and closes the body of r; nil if it has none.
func readRequestBody(r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxSignedBody+1))
	if err := errors.Join(err, r.Body.Close()); err != nil {
		return nil, fmt.Errorf("reading the request's body: %w", err)
	}
	if len(body) > maxSignedBody {
		return nil, fmt.Errorf("request body is larger than %d bytes and cannot be signed", maxSignedBody)
	}
	return body, nil
}
