// Package hss is a client of Huawei Cloud HSS (Host Security Service) for the images of one project in one region: the
// list of images in its registries with the results of their scans (ListRegistryImages); the vulnerabilities, secrets and
// malicious files of one image; the CVEs of a vulnerability, and the images that have it; scans on demand and how many
// were made, and the synchronisation of registries.
//
// A [Client] needs an endpoint, a project and a [CredentialSource]. It signs requests with an access key
// (SDK-HMAC-SHA256) or sends a token (X-Auth-Token).
//
//   - Answers 429, 502, 503 and 504 and broken connections are retried inside the caller's deadline; 500 once; other
//     errors never.
//   - A scan costs money: it is only retried if HSS certainly did not receive the request, see [Client.StartScan].
//   - More than five refused signatures in a row lock an access key for 5 minutes. After a refusal the client sends
//     nothing for a while; new credentials end that.
//   - A 200 without a list is an error, never an empty list.
//   - Secrets are of the type [Secret], which prints as "[redacted]".
//
// The package has no endpoints for hosts, containers or policies of HSS. Facts about the API are those of its reference
// page of 2025-09-26 and of the models of the official Go SDK v0.1.207.
package hss

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"
)

// Config holds the settings of a client. Zero values have the stated default.
type Config struct {
	// Endpoint is such as https://hss.cn-north-4.myhuaweicloud.com. It must be https, unless its host is this machine or
	// AllowInsecure is set. Default: that of Region, see RegionEndpoint.
	Endpoint string
	// AllowInsecure permits an http endpoint on another host. Tokens and rows are then sent in the clear.
	AllowInsecure bool
	// ProjectID is the project's ID. Default: that of the credentials, or the one that IAM has for Region.
	ProjectID string
	// Region is the region whose project is looked up at IAM if neither ProjectID nor the credentials have one.
	// Optional if there is an Endpoint.
	Region string
	// IAMEndpoint is the endpoint of IAM. Default: that of Region, see the function IAMEndpoint.
	IAMEndpoint string
	// Credentials is required.
	Credentials CredentialSource
	// Transport sends the requests. Default: http.DefaultTransport.
	Transport http.RoundTripper
	// UserAgent is the header of that name. Default: hssgate.
	UserAgent string
	// AttemptTimeout bounds one attempt, so that an answer that never comes leaves time for another. Default: 10 s.
	AttemptTimeout time.Duration
	// Retry is called with the request's context and the error of an attempt that may be followed by another. It reports
	// whether it is. Default: it is.
	Retry func(ctx context.Context, err error) bool
	// Rand returns a number from 0 up to, but not including, 1, which is how much of a wait before another attempt is waited.
	// It must be safe for concurrent use. Default: that of math/rand/v2.
	Rand func() float64
	// Budget is called before every attempt. It blocks until one more request may be sent, or fails if ctx ends first.
	// Optional.
	Budget func(ctx context.Context) error
	// Keys holds which credentials were refused. Clients that may have the same key must share it. Default: one of the
	// client's own.
	Keys *KeyGuard
	// IdentifyingFields are those of registry_id, instance_id and instance_name by which the caller distinguishes
	// images: a row in which one of them cannot be read is [Image.Anonymous]. Optional.
	IdentifyingFields []string
}

// withDefaults fills in zero values and validates the others.
func (c Config) withDefaults() (Config, error) {
	if c.Credentials == nil {
		return c, errors.New("no source of credentials")
	}
	if c.Endpoint == "" && c.Region != "" {
		var err error
		if c.Endpoint, err = RegionEndpoint(c.Region); err != nil {
			return c, err
		}
	}
	if c.ProjectID != "" {
		if err := checkProjectID(c.ProjectID); err != nil {
			return c, err
		}
	}
	c.UserAgent = cmp.Or(c.UserAgent, "hssgate")
	c.AttemptTimeout = cmp.Or(c.AttemptTimeout, 10*time.Second)
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	if c.Retry == nil {
		c.Retry = func(context.Context, error) bool { return true }
	}
	if c.Budget == nil {
		c.Budget = func(context.Context) error { return nil }
	}
	if c.Keys == nil {
		c.Keys = NewKeyGuard()
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	return c, nil
}

// Client sends requests for the images of one project in one region. It is safe for concurrent use, and should be
// shared.
type Client struct {
	config   Config
	endpoint *url.URL
	service  string         // IAM; empty: HSS
	finder   *projectFinder // nil: the project need not be found, or cannot be
}

// NewClient validates the configuration and returns a client. It sends nothing.
func NewClient(config Config) (*Client, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("HSS client: %w", err)
	}
	endpoint, err := parseEndpoint(config.Endpoint, config.AllowInsecure)
	if err != nil {
		return nil, fmt.Errorf("HSS client: %w", err)
	}
	finder, err := newProjectFinder(config)
	if err != nil {
		return nil, fmt.Errorf("HSS client: %w", err)
	}
	return &Client{config: config, endpoint: endpoint, finder: finder}, nil
}

// Format prints the endpoint, whatever the verb: a client in use must be printable, and its fields hold locks,
// connections and secrets.
func (c *Client) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "HSS client of %s", c.endpoint.Redacted())
}

// CloseIdleConnections closes the connections that are kept for later requests.
func (c *Client) CloseIdleConnections() {
	(&http.Client{Transport: c.config.Transport}).CloseIdleConnections()
}

// ProjectID returns the ID of the project that requests are for: the configuration's, that of the credentials, or the
// one that IAM has for the region. It sends nothing to HSS.
func (c *Client) ProjectID(ctx context.Context) (string, error) {
	credentials, err := c.credentials(ctx)
	return credentials.ProjectID, err
}

// credentials returns the credentials with the ID of the project that they are used for, which is empty for IAM.
func (c *Client) credentials(ctx context.Context) (Credentials, error) {
	credentials, err := c.config.Credentials(ctx)
	if err != nil {
		return credentials, fmt.Errorf("getting credentials: %w", err)
	}
	if c.service == serviceIAM {
		credentials.ProjectID = ""
		return credentials, nil
	}
	credentials.ProjectID = cmp.Or(c.config.ProjectID, credentials.ProjectID)
	if credentials.ProjectID == "" && c.finder != nil {
		if credentials.ProjectID, err = c.finder.find(ctx, credentials); err != nil {
			return credentials, err
		}
	}
	return credentials, checkProjectID(credentials.ProjectID)
}
