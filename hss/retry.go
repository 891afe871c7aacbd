package hss

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	// maxAttempts counts the first request, too.
	maxAttempts = 5
	// baseDelay is the upper bound of the first wait. It doubles with each retry, and each wait is a random part of it.
	baseDelay = 200 * time.Millisecond
	// maxRetryAfter is the longest Retry-After that is waited for.
	maxRetryAfter = time.Minute
)

// send sends the request until it succeeds, fails for good, or ctx leaves no time.
func (c *Client) send(ctx context.Context, e *call) error {
	var before error
	internal := 0 // 500s, of which one is retried
	for attempt := 1; ; attempt++ {
		err := c.attempt(ctx, e)
		if err == nil {
			return nil
		}
		if answer, ok := errors.AsType[*Error](err); ok && answer.StatusCode == http.StatusInternalServerError {
			internal++
		}
		if attempt >= maxAttempts || internal > 1 || !isRetried(err) || ctx.Err() != nil || !c.config.Retry(ctx, err) {
			return describeAttempts(attempt, err, before)
		}
		wait := c.delay(attempt, err)
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
			return fmt.Errorf("no time for another attempt in %s: %w", wait.Round(time.Millisecond), err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w while waiting for another attempt: %w", context.Cause(ctx), err)
		case <-time.After(wait):
		}
		before = err
	}
}

// isRetried reports whether a request is sent again after err.
func isRetried(err error) bool {
	if _, sent := errors.AsType[*UnconfirmedError](err); sent {
		return false
	}
	if _, looked := errors.AsType[*ProjectError](err); looked {
		return false // that request had its own retries
	}
	answer, ok := errors.AsType[*Error](err)
	return Temporary(err) && (!ok || answer.RetryAfter <= maxRetryAfter)
}

// delay is "full jitter": any time up to a bound that doubles. A Retry-After is waited for in full, with jitter added.
func (c *Client) delay(attempt int, err error) time.Duration {
	bound, wait := baseDelay<<(attempt-1), time.Duration(0)
	if answer, ok := errors.AsType[*Error](err); ok && answer.RetryAfter > 0 {
		bound, wait = baseDelay, answer.RetryAfter
	}
	return wait + time.Duration(c.config.Rand()*float64(bound))
}

// describeAttempts adds how many attempts there were, and the error before if the last attempt got no answer.
func describeAttempts(attempts int, err, before error) error {
	if before == nil {
		return err
	}
	if _, answered := errors.AsType[*Error](err); answered {
		return fmt.Errorf("after %d attempts: %w", attempts, err)
	}
	return fmt.Errorf("after %d attempts: %w; the one before: %w", attempts, err, before)
}

// Temporary reports whether the request that failed with err may succeed a little later: no complete answer came, or
// one that may pass by itself. An untrusted certificate does not.
func Temporary(err error) bool {
	if answer, ok := errors.AsType[*Error](err); ok {
		return answer.Retryable
	}
	_, broken := errors.AsType[*brokenError](err)
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return broken && !untrusted
}
