package hss

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// call is a request of one endpoint. It passes send, which retries it, attempt, which waits for the key, and roundTrip,
// which waits for the budget, signs, sends and decodes.
type call struct {
	// path follows /v5/{project_id} at HSS, each segment escaped.
	path  string
	query url.Values
	// decode reads the body of the answer. scrub removes secrets from a text of it.
	decode func(body []byte, scrub func(string) string) error
	// body is sent by POST; nil: a GET.
	body []byte
	// header is added to the request.
	header http.Header
	// answered is the header of a successful answer.
	answered http.Header
	// once forbids to send again what HSS may have received.
	once bool
}

// attempt sends the request once, when the key and the budget allow it.
func (c *Client) attempt(ctx context.Context, e *call) error {
	credentials, err := c.credentials(ctx)
	if err != nil {
		return err
	}
	p, err := c.config.Keys.acquire(ctx, credentials, c.endpoint.Host)
	if err != nil {
		return err
	}
	err = c.roundTrip(ctx, e, credentials)
	if e.once {
		err = unconfirmed(err)
	}
	if refused := p.release(err); refused != nil {
		if credentials.Refused != nil {
			credentials.Refused()
		}
		err = refused
	}
	return hideSecrets(err, credentials.scrubber())
}

// roundTrip waits for the budget, sends the request for at most the time of one attempt, and decodes the answer.
func (c *Client) roundTrip(ctx context.Context, e *call, credentials Credentials) error {
	if err := c.config.Budget(ctx); err != nil {
		return fmt.Errorf("waiting for the request budget: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.AttemptTimeout)
	defer cancel()
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
	scrub := credentials.scrubber() // since an answer may repeat a secret
	if !ok {
		body, _ := io.ReadAll(io.LimitReader(response.Body, maxErrorBytes)) // may be too long or break off
		return c.newError(response, body, scrub, nil)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponseBytes+1))
	if err != nil {
		return &brokenError{fmt.Errorf("reading the answer: %w", err)}
	}
	if len(body) > maxResponseBytes {
		return fmt.Errorf("the answer has more than the %d bytes that are read", maxResponseBytes)
	}
	// An error object, or a body that is not what the endpoint answers, is an error, never an empty list.
	e.answered = response.Header
	err = e.decode(body, scrub)
	syntax, wrong := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF) && bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")):
		return &brokenError{errors.New("the answer ends in the middle")}
	case wrong:
		err = fmt.Errorf("the answer is not JSON from byte %d on", syntax.ByteOffset)
	}
	return c.newError(response, body[:min(len(body), maxErrorBytes)], scrub, err)
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
	maps.Copy(request.Header, e.header)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", c.config.UserAgent)
	if e.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if err := Sign(request, e.body, credentials, time.Now()); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return request, nil
}

// isAccepted reports whether a status says that a posted request was accepted.
func isAccepted(status int) bool { return slices.Contains([]int{200, 201, 202, 204}, status) }

// brokenError is a connection that failed before the answer was complete.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return "no complete answer: " + e.err.Error() }

func (e *brokenError) Unwrap() error { return e.err }

const (
	// maxResponseBytes bounds one answer, unpacked.
	maxResponseBytes = 16 << 20
	// maxErrorBytes bounds what is read of an answer to describe an error.
	maxErrorBytes = 64 << 10
)

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

// parameters returns the parameters of a request that are set, and an *InvalidRequestError if there are problems or one
// breaks a bound that the API documents. A field has its name in the tag query. The tag chars holds the fewest and the
// most characters of a text: "1-128". Without the fewest, an empty text is not sent.
func parameters(kind string, request any, problems ...string) (url.Values, error) {
	set := url.Values{}
	for field, value := range reflect.ValueOf(request).Fields() {
		name := field.Tag.Get("query")
		low, high, _ := strings.Cut(field.Tag.Get("chars"), "-")
		if name == "" || low == "" && value.IsZero() {
			continue
		}
		var text string
		switch content := value.Interface().(type) {
		case time.Time:
			text = strconv.FormatInt(content.UnixMilli(), 10)
		case int:
			text = strconv.Itoa(content)
		default:
			text = value.String()
		}
		set.Set(name, text)
		fewest, _ := strconv.Atoi(low) // "" is 0
		most, err := strconv.Atoi(high)
		switch n := utf8.RuneCountInString(text); {
		case n < fewest:
			problems = append(problems, name+" is missing")
		case err == nil && n > most:
			problems = append(problems, fmt.Sprintf("%s has %d characters, at most %d are allowed", name, n, most))
		case !utf8.ValidString(text):
			problems = append(problems, name+" is no valid UTF-8")
		}
	}
	if len(problems) > 0 {
		return set, &InvalidRequestError{Request: kind, Problems: problems}
	}
	return set, nil
}
