package hss

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// CacheOptions say when CachedCredentials renews. What is zero has the stated
// default.
type CacheOptions struct {
	// RenewAhead is how long before they expire credentials are renewed, but
	// at most a third of the time that they had left when they came. Default:
	// 40 min, like the official SDK.
	RenewAhead time.Duration
	// Timeout bounds one renewal, which outlives the caller that began it.
	// Default: 30 s.
	Timeout time.Duration
	// RetryDelay is the least time between renewals while the old credentials
	// are valid. Default: 30 s.
	RetryDelay time.Duration
	// Now has the default time.Now.
	Now func() time.Time
}

// CachedCredentials keeps the credentials of source until shortly before they
// expire. However many callers need new ones, source is asked once; a caller
// that gives up does not fail the others. While the old credentials are valid
// they go on being used, and a renewal happens in the background. Credentials
// that do not expire are not kept, so that source may watch for changes.
func CachedCredentials(source CredentialSource, o CacheOptions) CredentialSource {
	o.RenewAhead = cmp.Or(o.RenewAhead, 40*time.Minute)
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	o.RetryDelay = cmp.Or(o.RetryDelay, 30*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	return &cachedCredentials{source: source, options: o}
}

type cachedCredentials struct {
	source  CredentialSource
	options CacheOptions

	mu      sync.Mutex
	current Credentials
	renewAt time.Time // the zero time: there is nothing to renew
	asked   time.Time // when source was asked last
	flight  *renewal
}

// renewal is one question to the source, which many may wait for.
type renewal struct {
	done        chan struct{}
	credentials Credentials
	err         error
}

// Credentials implements [CredentialSource].
func (s *cachedCredentials) Credentials(ctx context.Context) (Credentials, error) {
	current, flight := s.look(ctx)
	if flight == nil {
		return current, nil
	}
	select {
	case <-flight.done:
		return flight.credentials, flight.err
	case <-ctx.Done():
		return Credentials{}, fmt.Errorf("waiting for temporary credentials: %w", context.Cause(ctx))
	}
}

// Invalidate has the credentials renewed before they expire, but not more
// often than CacheOptions.RetryDelay says.
func (s *cachedCredentials) Invalidate() {
	s.mu.Lock()
	s.renewAt = time.Time{}
	s.mu.Unlock()
	invalidate(s.source)
}

// look returns credentials to use at once, or a renewal to wait for.
func (s *cachedCredentials) look(ctx context.Context) (Credentials, *renewal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.options.Now()
	valid := now.Before(s.current.Expires)
	due := !valid || (!now.Before(s.renewAt) && now.Sub(s.asked) >= s.options.RetryDelay)
	if due && s.flight == nil {
		s.begin(ctx, now)
	}
	if valid {
		return s.current, nil
	}
	return Credentials{}, s.flight
}

// begin asks the source in the background. The caller holds the lock.
func (s *cachedCredentials) begin(ctx context.Context, now time.Time) {
	flight := &renewal{done: make(chan struct{}), err: errors.New("the source of credentials did not return")}
	s.flight, s.asked = flight, now
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.Timeout)
	go func() {
		defer cancel()
		defer s.finish(flight)
		flight.credentials, flight.err = s.source.Credentials(ctx)
	}()
}

// finish keeps what came and wakes those who wait.
func (s *cachedCredentials) finish(flight *renewal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight = nil
	if flight.err == nil {
		s.current = flight.credentials
		now := s.options.Now()
		left := s.current.Expires.Sub(now)
		s.renewAt = s.current.Expires.Add(-min(s.options.RenewAhead, left/3))
	}
	close(flight.done)
}
