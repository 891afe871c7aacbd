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
	// service is IAM for a client of that; empty: HSS.
	service string
	// finder finds the project's ID; nil: the region isn't known.
	finder *projectFinder
}

// NewClient checks the configuration and makes a client. It sends nothing.
func NewClient(config Config) (*Client, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("HSS client: %w", err)
	}
	client, err := newServiceClient(config, config.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("HSS client: %w", err)
	}
	if client.finder, err = newProjectFinder(config); err != nil {
		return nil, fmt.Errorf("HSS client: %w", err)
	}
	return client, nil
}

// newServiceClient makes a client of HSS or IAM. The configuration is complete.
func newServiceClient(config Config, address string) (*Client, error) {
	endpoint, err := parseEndpoint(address, config.AllowInsecure)
	if err != nil {
		return nil, err
	}
	guard := &guard{shared: config.Keys, host: endpoint.Host, pause: config.RefusalPause, now: config.Now}
	return &Client{config: config, endpoint: endpoint, guard: guard}, nil
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
	return send(ctx, c, call[*ListResponse]{path: "/image/registries/images", query: r.Query(), decode: c.decodeImages})
}

// decodeImages reads a page of the list.
func (c *Client) decodeImages(d *decoder) (*ListResponse, error) {
	total, images, err := decodePage(d, fieldRows, func(d *decoder) (Image, error) { return readImage(d, c.config.IdentifyingFields) })
	if err != nil {
		return nil, err
	}
	return &ListResponse{Total: total, Images: images}, nil
}

// ProjectID returns the ID of the project that requests are for: the
// configuration's, that of the credentials, or the one that IAM has for the
// region. It sends nothing to HSS.
func (c *Client) ProjectID(ctx context.Context) (string, error) {
	credentials, err := c.credentials(ctx)
	return credentials.ProjectID, err
}

// root is what the paths of all requests begin with.
func (c *Client) root(credentials Credentials) string {
	if c.service == iamService {
		return ""
	}
	return "/v5/" + credentials.ProjectID
}

// credentials gets the credentials, and settles which project they are for.
// Requests to IAM are for none.
func (c *Client) credentials(ctx context.Context) (Credentials, error) {
	credentials, err := c.config.Credentials.Credentials(ctx)
	if err != nil {
		return credentials, fmt.Errorf("getting credentials: %w", err)
	}
	if c.service == iamService {
		credentials.ProjectID = ""
		return credentials, nil
	}
	if c.config.ProjectID != "" {
		credentials.ProjectID = c.config.ProjectID
	}
	if credentials.ProjectID == "" && c.finder != nil {
		credentials.ProjectID, err = c.finder.find(ctx, credentials)
		if err != nil {
			return credentials, err
		}
	}
	return credentials, checkProjectID(credentials.ProjectID)
}
