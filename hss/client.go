package hss

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// Client asks HSS about the images of one project in one region. It is safe for
// concurrent use, and should be shared: how long HSS asked to wait is known to
// it alone, and so are refused credentials without [Config].Keys.
type Client struct {
	config   Config
	endpoint *url.URL
	guard    *guard
	holds    holds
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
		guard:    &guard{shared: config.Keys, host: endpoint.Host, pause: config.RefusalPause, now: config.Now},
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
	return send(ctx, c, call[*ListResponse]{path: "/image/registries/images", query: r.Query(), decode: readList})
}

// CheckCredentials tells whether there are credentials to ask HSS with, and that
// they are for a project. It does not ask HSS whether it accepts them.
func (c *Client) CheckCredentials(ctx context.Context) error {
	_, err := c.credentials(ctx)
	return err
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
