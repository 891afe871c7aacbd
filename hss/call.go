package hss

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// call is a request of one endpoint, and how its answer is read.
type call[T any] struct {
	// path is what follows /v5/{project_id} at HSS, each segment escaped.
	path string
	// api names what the gateway counts as one API, if that has more paths
	// than one; empty: the path is its only one.
	api   string
	query url.Values
	// body is sent by POST; nil: a GET.
	body []byte
	// once forbids to send again what HSS may have received.
	once bool
	// expected says in an error what an answer is not; empty: no list.
	expected string
	decode   func(*decoder) (T, error)
}

// send sends the request until an answer is final or ctx leaves no time.
func send[T any](ctx context.Context, c *Client, e call[T]) (T, error) {
	own := c.holds.of(cmp.Or(e.api, e.path))
	return withRetries(ctx, c.config.Retry, func(ctx context.Context) (result T, err error) {
		if err := own.wait(ctx, &c.config.Retry); err != nil {
			return result, err
		}
		result, err = e.attempt(ctx, c, own)
		own.note(err)
		if e.once {
			err = unconfirmed(err)
		}
		return result, err
	})
}

// attempt sends the request once.
func (e call[T]) attempt(ctx context.Context, c *Client, own *hold) (result T, err error) {
	credentials, err := c.credentials(ctx)
	if err != nil {
		return result, err
	}
	turn, err := c.guard.acquire(ctx, credentials)
	if err != nil {
		return result, refusedKey(err, credentials)
	}
	defer func() {
		if refusal := c.guard.release(turn, err == nil, err); refusal != nil {
			invalidate(c.config.Credentials)
			err = refusedKey(refusal, credentials)
		}
	}()
	result, err = e.budgeted(ctx, c, own, credentials)
	return result, credentials.hide(err)
}

// refusedKey names the key that was refused.
func refusedKey(err error, credentials Credentials) error {
	if refusal, ok := errors.AsType[*RefusedError](err); ok && credentials.Token.Empty() {
		refusal.AccessKey = credentials.AccessKey
	}
	return err
}

// budgeted waits for the budget and sends the request, for at most the time of
// one attempt.
func (e call[T]) budgeted(ctx context.Context, c *Client, own *hold, credentials Credentials) (none T, err error) {
	if c.config.Budget != nil {
		if err := c.config.Budget.Wait(ctx); err != nil {
			return none, fmt.Errorf("waiting for the request budget: %w", err)
		}
	}
	// What HSS said while this request waited for its turn.
	if err := own.wait(ctx, &c.config.Retry); err != nil {
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.AttemptTimeout)
	defer cancel()
	request, err := e.request(ctx, c, credentials)
	if err != nil {
		return none, err
	}
	// The transport itself follows no redirects, so that signed headers and
	// tokens reach no other host.
	response, err := c.config.Transport.RoundTrip(request)
	if err != nil {
		return none, &brokenError{fmt.Errorf("%s: %w", c.endpoint.Host, err)}
	}
	defer func() { _ = response.Body.Close() }() // all that matters was read
	return e.read(response, c, credentials)
}

// request makes a signed request.
func (e call[T]) request(ctx context.Context, c *Client, credentials Credentials) (*http.Request, error) {
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if e.body != nil {
		method, body = http.MethodPost, bytes.NewReader(e.body)
	}
	// Like the official SDK: a gateway might take "+" for itself, not a space.
	query := strings.ReplaceAll(e.query.Encode(), "+", "%20")
	target := c.endpoint.String() + c.root(credentials) + e.path
	if query != "" {
		target += "?" + query
	}
	request, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", c.config.UserAgent)
	if e.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if err := Sign(request, e.body, credentials, c.config.Now()); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return request, nil
}

// read turns an answer into a result or an error.
func (e call[T]) read(response *http.Response, c *Client, credentials Credentials) (none T, err error) {
	body := &answerBody{from: response.Body, limit: c.config.MaxResponseBytes}
	if response.StatusCode == http.StatusOK || (e.body != nil && acknowledges(response.StatusCode)) {
		if response.ContentLength > body.limit {
			return none, fmt.Errorf("the answer has %d bytes, at most %d are read", response.ContentLength, body.limit)
		}
		return e.decodeAnswer(response, body, c, credentials)
	}
	return none, c.newError(response, body.beginning(), credentials)
}

// acknowledges reports whether a status says that what was posted was taken.
func acknowledges(status int) bool {
	switch status {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent:
		return true
	}
	return false
}
