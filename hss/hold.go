package hss

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// maxHold bounds how long one answer can hold an API's requests back.
const maxHold = 10 * time.Minute

// holds has the hold of each API that a client calls. What one of them asks
// says nothing of the others: the only throttling that is documented, code 0308
// of the gateway, counts the calls of one API. Neither a status nor a code is
// documented to speak for all, a 503 of one API least of all; were there one
// limit for all of them, each would still learn of it by one call of its own.
// So it costs a call an API at most, while one hold for all would have an image
// not looked up because too many vulnerabilities were asked for.
type holds struct {
	mu   sync.Mutex
	apis map[string]*hold
}

// of is the hold of one API. There are as many as the client has methods.
func (h *holds) of(api string) *hold {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.apis == nil {
		h.apis = map[string]*hold{}
	}
	if h.apis[api] == nil {
		h.apis[api] = &hold{}
	}
	return h.apis[api]
}

// hold keeps all requests of an API back once HSS has told one of them to
// wait: else it would have to tell each of them, when it has too much to do.
type hold struct {
	mu    sync.Mutex
	until time.Time
	cause *Error
}

// note heeds how long an answer asks to wait.
func (h *hold) note(err error) {
	answer, ok := errors.AsType[*Error](err)
	if !ok || !answer.Retryable || answer.RetryAfter <= 0 {
		return
	}
	until := time.Now().Add(min(answer.RetryAfter, maxHold))
	h.mu.Lock()
	defer h.mu.Unlock()
	if until.After(h.until) {
		h.until, h.cause = until, answer
	}
}

// left is how long there is to wait, and what asked for it.
func (h *hold) left() (time.Duration, *Error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Until(h.until), h.cause
}

// wait returns when a request may be sent, or at once with what HSS answered to
// another one if that is too late.
func (h *hold) wait(ctx context.Context, policy *RetryPolicy) error {
	for {
		left, cause := h.left()
		if left <= 0 {
			return nil
		}
		told := *cause
		told.RetryAfter = left
		deadline, ok := ctx.Deadline()
		if left > policy.MaxRetryAfter || (ok && time.Until(deadline) <= left) {
			return &heldError{&told}
		}
		jitter := time.Duration(policy.Rand() * float64(policy.BaseDelay))
		if cause := sleep(ctx, left+jitter); cause != nil {
			return fmt.Errorf("gave up (%w): %w", cause, &heldError{&told})
		}
	}
}

// heldError is what HSS answered to another request, so that this one wasn't
// sent.
type heldError struct{ told *Error }

// Error implements error.
func (e *heldError) Error() string {
	return "not sent, since an earlier request was told to wait: " + e.told.Error()
}

// Unwrap returns the answer, an *Error.
func (e *heldError) Unwrap() error { return e.told }
