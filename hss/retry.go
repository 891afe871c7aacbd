package hss

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// RetryPolicy says when a failed request is sent again. What is zero has the
// stated default.
type RetryPolicy struct {
	// MaxAttempts counts the first request too. Default: 5. 1: no retries.
	MaxAttempts int
	// BaseDelay is the upper bound of the first wait; it doubles with each
	// retry up to MaxDelay, and each wait is a random part of it. Defaults:
	// 200 ms and 5 s.
	BaseDelay time.Duration
	MaxDelay  time.Duration
	// MaxRetryAfter is the longest Retry-After that is waited for; an answer
	// that asks for more is returned at once. Default: 1 min.
	MaxRetryAfter time.Duration
	// Rand returns a number from 0 up to, but not including, 1. Default: that
	// of math/rand/v2. It must be safe for concurrent use.
	Rand func() float64
	// Failed is called with the request's context and the error of an attempt
	// that may be followed by another: whoever waits can say by it why there is
	// no answer yet. Optional.
	Failed func(ctx context.Context, err error)
}

// tries counts the attempts at one request.
type tries struct {
	policy RetryPolicy
	made   int
	// internal counts the 500s, of which one is forgiven.
	internal int
}

// next returns how long to wait before the request is sent again, or false if
// it should not be.
func (t *tries) next(err error) (time.Duration, bool) {
	t.made++
	var answer *Error
	var broken *brokenError
	if _, sent := errors.AsType[*UnconfirmedError](err); sent {
		return 0, false
	}
	if _, retried := errors.AsType[*ProjectError](err); retried {
		return 0, false // the look-up has its own retries
	}
	switch {
	case errors.As(err, &answer):
		if !answer.Retryable || answer.RetryAfter > t.policy.MaxRetryAfter || !t.forgiven(answer) {
			return 0, false
		}
		return t.delay(answer.RetryAfter), t.made < t.policy.MaxAttempts
	case errors.As(err, &broken):
		return t.delay(0), t.made < t.policy.MaxAttempts && !untrusted(err)
	}
	return 0, false
}

// forgiven lets the first 500 pass, and whatever is none.
func (t *tries) forgiven(answer *Error) bool {
	if answer.StatusCode != http.StatusInternalServerError {
		return true
	}
	t.internal++
	return t.internal == 1
}

// delay is "full jitter": any time up to a bound that doubles. What the answer
// asks for is waited in full, and some jitter more, so that not all who were
// told the same come back at once.
func (t *tries) delay(asked time.Duration) time.Duration {
	if asked > 0 {
		return asked + t.jitter(t.policy.BaseDelay)
	}
	bound := t.policy.BaseDelay << min(t.made-1, 20)
	return t.jitter(min(bound, t.policy.MaxDelay))
}

func (t *tries) jitter(bound time.Duration) time.Duration {
	return time.Duration(t.policy.Rand() * float64(bound))
}

// unreceived reports whether HSS has certainly not acted on a request: it was
// held back, the gateway throttled it, or there was no connection to send it
// over.
func unreceived(err error) bool {
	if _, ok := errors.AsType[*heldError](err); ok {
		return true
	}
	if answer, ok := errors.AsType[*Error](err); ok {
		return answer.StatusCode == http.StatusTooManyRequests
	}
	operation, ok := errors.AsType[*net.OpError](err)
	return ok && operation.Op == "dial"
}

// untrusted reports whether the server's certificate is the trouble, which
// does not pass by itself.
func untrusted(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &authority) ||
		errors.As(err, &hostname) || errors.As(err, &invalid)
}

// Temporary reports whether the request that failed with err may succeed a
// little later: no complete answer came, or one that may pass by itself. An
// untrusted certificate does not.
func Temporary(err error) bool {
	if answer, ok := errors.AsType[*Error](err); ok {
		return answer.Retryable
	}
	_, broken := errors.AsType[*brokenError](err)
	return broken && !untrusted(err)
}

// withRetries sends until an answer is final or ctx leaves no time.
func withRetries[T any](ctx context.Context, policy RetryPolicy, send func(context.Context) (T, error)) (T, error) {
	t := tries{policy: policy}
	var before error
	for {
		result, err := send(ctx)
		if err == nil {
			return result, nil
		}
		wait, again := t.next(err)
		if !again || ctx.Err() != nil {
			return result, t.describe(err, before)
		}
		if policy.Failed != nil {
			policy.Failed(ctx, err)
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
			return result, fmt.Errorf("gave up after %s, as waiting %s more would pass the caller's deadline: %w",
				t.attempts(), wait.Round(time.Millisecond), err)
		}
		if cause := sleep(ctx, wait); cause != nil {
			return result, fmt.Errorf("gave up after %s (%w): %w", t.attempts(), cause, err)
		}
		before = err
	}
}

// describe tells how often was asked, if it was more than once, and what came
// before if the last attempt got no answer.
func (t *tries) describe(err, before error) error {
	var answer *Error
	switch {
	case before == nil:
		return err
	case errors.As(err, &answer):
		return fmt.Errorf("after %s: %w", t.attempts(), err)
	}
	return fmt.Errorf("after %s: %w; the one before: %w", t.attempts(), err, before)
}

// attempts counts in words.
func (t *tries) attempts() string {
	if t.made == 1 {
		return "1 attempt"
	}
	return fmt.Sprintf("%d attempts", t.made)
}

// sleep waits, or returns why ctx ended first.
func sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
