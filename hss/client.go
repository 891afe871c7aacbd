package hss

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Client asks for the image list of one project in one region. It is safe for
// concurrent use, and should be shared: what it knows of refused credentials
// is its own.
type Client struct {
	config   Config
	endpoint *url.URL
	guard    *guard
}

// NewClient checks the configuration and makes a client. It sends nothing.
func NewClient(config Config) (*Client, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("HSS client: %w", err)
	}
	endpoint, err := parseEndpoint(config.Endpoint, config.AllowInsecure)
	if err != nil {
		return nil, fmt.Errorf("HSS client: %w", err)
	}
	return &Client{
		config:   config,
		endpoint: endpoint,
		guard:    newGuard(config.RefusalPause, config.Now),
	}, nil
}

// CloseIdleConnections closes the connections that are kept for later requests.
func (c *Client) CloseIdleConnections() {
	(&http.Client{Transport: c.config.Transport}).CloseIdleConnections()
}

// List returns one page of the list. It checks r first, and tries again inside
// ctx's deadline what may pass by itself. An answer that is no list is an
// *Error; credentials that were refused a short while ago a *RefusedError.
func (c *Client) List(ctx context.Context, r ListRequest) (*ListResponse, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	// Like the official SDK: a gateway might take "+" for itself, not a space.
	query := strings.ReplaceAll(r.Query().Encode(), "+", "%20")
	return withRetries(ctx, c.config.Retry, func(ctx context.Context) (*ListResponse, error) {
		return c.attempt(ctx, query)
	})
}

// attempt sends the request once.
func (c *Client) attempt(ctx context.Context, query string) (list *ListResponse, err error) {
	credentials, err := c.credentials(ctx)
	if err != nil {
		return nil, err
	}
	turn, err := c.guard.acquire(ctx, credentials)
	if err != nil {
		return nil, err
	}
	defer func() {
		if refusal := c.guard.release(turn, list != nil, err); refusal != nil {
			invalidate(c.config.Credentials)
			err = refusal
		}
	}()
	return c.budgeted(ctx, query, credentials)
}

// credentials gets the credentials, and settles which project they are for.
func (c *Client) credentials(ctx context.Context) (Credentials, error) {
	credentials, err := c.config.Credentials.Credentials(ctx)
	if err != nil {
		return credentials, fmt.Errorf("getting credentials: %w", err)
	}
	if c.config.ProjectID != "" {
		credentials.ProjectID = c.config.ProjectID
	}
	return credentials, checkProjectID(credentials.ProjectID)
}

// budgeted waits for the budget and sends the request, for at most the time of
// one attempt.
func (c *Client) budgeted(ctx context.Context, query string, credentials Credentials) (*ListResponse, error) {
	if c.config.Budget != nil {
		if err := c.config.Budget.Wait(ctx); err != nil {
			return nil, fmt.Errorf("waiting for the request budget: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.AttemptTimeout)
	defer cancel()
	request, err := c.newRequest(ctx, query, credentials)
	if err != nil {
		return nil, err
	}
	// The transport itself follows no redirects, so that signed headers and
	// tokens reach no other host.
	response, err := c.config.Transport.RoundTrip(request)
	if err != nil {
		return nil, &brokenError{fmt.Errorf("%s: %w", c.endpoint.Host, err)}
	}
	defer func() { _ = response.Body.Close() }() // all that matters was read
	return c.read(response, credentials)
}

// newRequest makes a signed request.
func (c *Client) newRequest(ctx context.Context, query string, credentials Credentials) (*http.Request, error) {
	target := *c.endpoint
	target.Path += "/v5/" + credentials.ProjectID + "/image/registries/images"
	target.RawQuery = query
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", c.config.UserAgent)
	if err := Sign(request, nil, credentials, c.config.Now()); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return request, nil
}

// read turns an answer into a list or an error.
func (c *Client) read(response *http.Response, credentials Credentials) (*ListResponse, error) {
	if response.StatusCode == http.StatusOK {
		body, err := readBody(response, c.config.MaxResponseBytes)
		if err != nil {
			return nil, err
		}
		return decodeAnswer(response, body, credentials, c.config.Now())
	}
	// A body that breaks off says no less about the status.
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxErrorBytes))
	return nil, newError(response, body, credentials, c.config.Now())
}
