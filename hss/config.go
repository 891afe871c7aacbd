package hss

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// The defaults of what a Config leaves zero.
const (
	DefaultMaxResponseBytes = 16 << 20
	DefaultAttemptTimeout   = 10 * time.Second
	DefaultRefusalPause     = 5 * time.Minute
	DefaultMaxPages         = 1000
	DefaultUserAgent        = "hssgate"
)

// RequestBudget bounds how often HSS is asked. *rate.Limiter of
// golang.org/x/time/rate is one.
type RequestBudget interface {
	// Wait blocks until one more request may be sent, or fails if ctx ends
	// before that.
	Wait(ctx context.Context) error
}

// Config is that of a client for one project in one region. What is zero has
// the stated default.
type Config struct {
	// Endpoint is such as https://hss.cn-north-4.myhuaweicloud.com, which
	// RegionEndpoint makes. It must be https, unless its host is this machine
	// or AllowInsecure is set.
	Endpoint string
	// AllowInsecure lets an http endpoint be on another host. Tokens and rows
	// then go over the network in the clear.
	AllowInsecure bool
	// ProjectID is the project's ID. Default: that of the credentials, or the
	// one that IAM has for Region.
	ProjectID string
	// Region is the region whose project is looked up at IAM, if neither
	// ProjectID nor the credentials have one. Optional.
	Region string
	// IAMEndpoint is where it is looked up. Default: IAM's endpoint of Region.
	IAMEndpoint string
	// Credentials is required. DefaultCredentials suits most.
	Credentials CredentialSource
	// Transport sends the requests. Default: a clone of
	// http.DefaultTransport that speaks TLS 1.2 or newer.
	Transport http.RoundTripper
	// UserAgent has the default DefaultUserAgent.
	UserAgent string
	// MaxResponseBytes bounds one answer, unpacked. Default: 16 MiB.
	MaxResponseBytes int64
	// AttemptTimeout bounds one attempt, so that an answer that never comes
	// leaves time for another. Default: 10 s.
	AttemptTimeout time.Duration
	// Retry says when a failed request is sent again.
	Retry RetryPolicy
	// Budget is asked before every attempt. Default: no bound.
	Budget RequestBudget
	// RefusalPause is how long nothing is sent after the credentials were
	// refused; it doubles while they go on being refused, up to an hour.
	// Default: 5 min, which is how long an access key is locked.
	RefusalPause time.Duration
	// Keys is shared by the clients of a process that may have the same key.
	// Default: one of the client's own.
	Keys *KeyGuard
	// IdentifyingFields are those of registry_id, instance_id and instance_name
	// that the caller tells images apart by: a row in which one of them can't be
	// read is [Image.Anonymous]. Default: none, so that such a row is read without.
	IdentifyingFields []string
	// MaxPages bounds what All reads. Default: 1000 pages.
	MaxPages int
	// Now dates signatures and pauses. Default: time.Now.
	Now func() time.Time
}

// withDefaults fills in what is zero and checks the rest.
func (c Config) withDefaults() (Config, error) {
	if c.Credentials == nil {
		return c, errors.New("no source of credentials")
	}
	if c.MaxResponseBytes < 0 || c.AttemptTimeout < 0 || c.RefusalPause < 0 || c.MaxPages < 0 {
		return c, fmt.Errorf("negative bound: MaxResponseBytes %d, AttemptTimeout %s, RefusalPause %s, MaxPages %d",
			c.MaxResponseBytes, c.AttemptTimeout, c.RefusalPause, c.MaxPages)
	}
	if c.ProjectID != "" {
		if err := checkProjectID(c.ProjectID); err != nil {
			return c, err
		}
	}
	c.UserAgent = cmp.Or(c.UserAgent, DefaultUserAgent)
	c.MaxResponseBytes = cmp.Or(c.MaxResponseBytes, DefaultMaxResponseBytes)
	c.AttemptTimeout = cmp.Or(c.AttemptTimeout, DefaultAttemptTimeout)
	c.RefusalPause = cmp.Or(c.RefusalPause, DefaultRefusalPause)
	c.MaxPages = cmp.Or(c.MaxPages, DefaultMaxPages)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Keys == nil {
		c.Keys = NewKeyGuard()
	}
	if c.Transport == nil {
		c.Transport = defaultTransport()
	}
	var err error
	c.Retry, err = c.Retry.withDefaults()
	return c, err
}

// withDefaults fills in what is zero and checks the rest.
func (p RetryPolicy) withDefaults() (RetryPolicy, error) {
	if p.MaxAttempts < 0 || p.BaseDelay < 0 || p.MaxDelay < 0 || p.MaxRetryAfter < 0 {
		return p, fmt.Errorf("negative retry bound: MaxAttempts %d, BaseDelay %s, MaxDelay %s, MaxRetryAfter %s",
			p.MaxAttempts, p.BaseDelay, p.MaxDelay, p.MaxRetryAfter)
	}
	p.MaxAttempts = cmp.Or(p.MaxAttempts, 5)
	p.BaseDelay = cmp.Or(p.BaseDelay, 200*time.Millisecond)
	p.MaxDelay = cmp.Or(p.MaxDelay, 5*time.Second)
	p.MaxRetryAfter = cmp.Or(p.MaxRetryAfter, time.Minute)
	if p.Rand == nil {
		p.Rand = rand.Float64
	}
	return p, nil
}

// maxIdleConnections is how many connections to HSS are kept for later requests.
const maxIdleConnections = 16

// defaultTransport is a transport of the client's own, with TLS 1.2 or newer.
func defaultTransport() http.RoundTripper {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	transport := base.Clone()
	transport.MaxIdleConnsPerHost = maxIdleConnections
	if transport.TLSClientConfig == nil {
		transport.TLSClientConfig = &tls.Config{}
	}
	transport.TLSClientConfig.MinVersion = max(transport.TLSClientConfig.MinVersion, tls.VersionTLS12)
	return transport
}
