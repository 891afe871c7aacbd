package hss

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// call is a request of one endpoint. It passes send, which retries it, attempt, which waits for the key, limited,
// which waits for the budget, and roundTrip, which signs, sends and decodes.
type call struct {
	// path follows /v5/{project_id} at HSS, each segment escaped.
	path  string
	query url.Values
	// decode reads the body of the answer. scrub removes secrets from a text of it.
	decode func(body []byte, scrub func(string) string) error
	// expected names in an error what the answer is not.
	expected string
	// body is sent by POST; nil: a GET.
	body []byte
	// once forbids to send again what HSS may have received.
	once bool
}

// send sends the request until an answer is final or ctx leaves no time.
func (c *Client) send(ctx context.Context, e *call) error {
	return c.config.Retry.do(ctx, func() error { return c.attempt(ctx, e) })
}

// attempt sends the request once, when the key and the budget allow it.
func (c *Client) attempt(ctx context.Context, e *call) error {
	credentials, err := c.credentials(ctx)
	if err != nil {
		return err
	}
	p, err := c.config.Keys.acquire(ctx, credentials, c.endpoint.Host, c.config.Now)
	if err != nil {
		return err
	}
	err = c.limited(ctx, e, credentials)
	if e.once {
		err = unconfirmed(err)
	}
	if refused := p.release(c.config.Now(), err); refused != nil {
		if source, ok := c.config.Credentials.(invalidator); ok {
			source.Invalidate()
		}
		err = refused
	}
	return hideSecrets(err, credentials.scrubber())
}

// limited waits for the budget, and sends the request for at most the time of one attempt.
func (c *Client) limited(ctx context.Context, e *call, credentials Credentials) error {
	if err := c.config.Budget(ctx); err != nil {
		return fmt.Errorf("waiting for the request budget: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.AttemptTimeout)
	defer cancel()
	return c.roundTrip(ctx, e, credentials)
}

// roundTrip sends the request and decodes the answer.
func (c *Client) roundTrip(ctx context.Context, e *call, credentials Credentials) error {
	request, err := c.request(ctx, e, credentials)
	if err != nil {
		return err
	}
	// A RoundTripper follows no redirects, so signed headers and tokens reach no other host.
	response, err := c.config.Transport.RoundTrip(request)
	if err != nil {
		return &brokenError{fmt.Errorf("%s: %w", c.endpoint.Host, err)}
	}
	defer func() { _ = response.Body.Close() }()
	ok := response.StatusCode == http.StatusOK || e.body != nil && isAccepted(response.StatusCode)
	most := c.config.MaxResponseBytes
	if !ok {
		most = maxErrorBytes
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, most+1))
	switch { // the body of an error may be too long or break off
	case ok && int64(len(body)) > most:
		return fmt.Errorf("the answer has more than the %d bytes that are read", most)
	case ok && err != nil:
		return &brokenError{fmt.Errorf("reading the answer: %w", err)}
	}
	scrub := credentials.scrubber() // since an answer may repeat a secret
	if !ok {
		return c.newError(response, body, scrub)
	}
	return c.decodeAnswer(e, response, body, scrub)
}

// request returns the signed request.
func (c *Client) request(ctx context.Context, e *call, credentials Credentials) (*http.Request, error) {
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if e.body != nil {
		method, body = http.MethodPost, bytes.NewReader(e.body)
	}
	target := c.endpoint.String() + e.path
	if c.service != serviceIAM {
		target = c.endpoint.String() + "/v5/" + credentials.ProjectID + e.path
	}
	if len(e.query) > 0 {
		// Like the official SDK: a gateway might take "+" literally.
		target += "?" + strings.ReplaceAll(e.query.Encode(), "+", "%20")
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

// decodeAnswer reads a successful answer. An error object, or a body that is not what the endpoint answers, is an
// error, never an empty list.
func (c *Client) decodeAnswer(e *call, response *http.Response, body []byte, scrub func(string) string) error {
	err := e.decode(body, scrub)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF) && bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")):
		return &brokenError{errors.New("the answer ends in the middle")}
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		err = fmt.Errorf("the answer is not JSON from byte %d on", syntax.ByteOffset)
	}
	failed := c.newError(response, body[:min(len(body), maxErrorBytes)], scrub)
	failed.cause = err
	if failed.Message == noList {
		failed.Message = e.expected + ": " + clean(err.Error())
	}
	return failed
}

// isAccepted reports whether a status says that a posted request was accepted.
func isAccepted(status int) bool { return slices.Contains([]int{200, 201, 202, 204}, status) }

// brokenError is a connection that failed before the answer was complete.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return "no complete answer: " + e.err.Error() }

func (e *brokenError) Unwrap() error { return e.err }

// maxErrorBytes bounds what is read of an answer to describe an error.
const maxErrorBytes = 64 << 10

// parameterEnterpriseProject is in every request.
const parameterEnterpriseProject = "enterprise_project_id"

// The bounds of the reference page.
const (
	// MaxOffset is the largest offset of a page, in rows.
	MaxOffset = 2_000_000
	// MaxLimit is the largest number of rows on a page.
	MaxLimit = 200
)

// InvalidRequestError reports that a request breaks a bound that the API documents. Such a request is never sent, so
// the error shows nothing of HSS's health.
type InvalidRequestError struct {
	// Request is its kind, such as list or vulnerability.
	Request string
	// Problems has a line for each field that breaks a bound.
	Problems []string
}

// Error describes the problems in one line.
func (e *InvalidRequestError) Error() string {
	return fmt.Sprintf("invalid %s request: %s", e.Request, strings.Join(e.Problems, "; "))
}

// text is a parameter of a request, and how many characters it may have.
type text struct {
	name, value string
	longest     int
}

// queryOf returns the parameters that are set.
func queryOf(texts []text) url.Values {
	q := url.Values{}
	for _, t := range texts {
		if t.value != "" {
			q.Set(t.name, t.value)
		}
	}
	return q
}

// setNumber adds a parameter that is not 0.
func setNumber(q url.Values, name string, n int) {
	if n != 0 {
		q.Set(name, strconv.Itoa(n))
	}
}

// validate returns an *InvalidRequestError if a text is too long or there are other problems.
func validate(request string, texts []text, problems ...string) error {
	for _, t := range texts {
		if n := utf8.RuneCountInString(t.value); n > t.longest {
			problems = append(problems, fmt.Sprintf("%s has %d characters, at most %d are allowed", t.name, n, t.longest))
		} else if !utf8.ValidString(t.value) {
			problems = append(problems, t.name+" is no valid UTF-8")
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return &InvalidRequestError{Request: request, Problems: problems}
}
