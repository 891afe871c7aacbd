package hss

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// More than five failed signatures in a row lock an access key for 5 minutes,
// for everyone who uses it. The guard sees to it that this client does not lock
// a key that never worked, such as a mistyped one: it is tried one request at a
// time, and after a refusal none is sent for a while.
//
// A key that has worked is sent in as many requests at once as the caller
// makes: were they fewer, every pod with several new images would wait for it.
// The price is that a key which stops working, because it was disabled or a
// clock jumped, is refused in all the requests that are under way at that
// moment, and is locked if these are more than five. Then it is of no use to
// anyone with these settings, and a lock changes nothing for them; but someone
// else's programs with the same key and a right clock are locked out for five
// minutes. Who can't have that gives hssgate a key of its own, which is wise
// anyway, or bounds its requests at one time to five.
const (
	maxRefusalPause = time.Hour
	maxGuardedKeys  = 16
)

// guard holds what is known of the credentials in use, each set apart.
type guard struct {
	pause time.Duration
	now   func() time.Time

	mu   sync.Mutex
	keys map[[sha256.Size]byte]*keyState
}

// keyState is what is known of one set of credentials.
type keyState struct {
	proven   bool
	inFlight int
	pauses   int // in a row, without a success between
	until    time.Time
	cause    error
	changed  chan struct{} // closed when a waiter should look again
}

func newGuard(pause time.Duration, now func() time.Time) *guard {
	return &guard{pause: pause, now: now, keys: map[[sha256.Size]byte]*keyState{}}
}

// acquire waits for a turn to send a request with c. It fails if c was refused
// a short while ago. Each turn must be given back with release.
func (g *guard) acquire(ctx context.Context, c Credentials) (*keyState, error) {
	for {
		key, wait, err := g.try(c)
		if err != nil || wait == nil {
			return key, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for earlier requests with these credentials: %w", context.Cause(ctx))
		case <-wait:
		}
	}
}

// try takes a turn, or returns what to wait for.
func (g *guard) try(c Credentials) (*keyState, <-chan struct{}, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := g.state(c)
	if g.now().Before(key.until) {
		return nil, nil, &RefusedError{Until: key.until, Err: key.cause}
	}
	if key.inFlight >= key.slots() {
		return key, key.changed, nil
	}
	key.inFlight++
	return key, nil, nil
}

// state finds the state of c, or begins one. The caller holds the lock.
func (g *guard) state(c Credentials) *keyState {
	fingerprint := c.fingerprint()
	if key, ok := g.keys[fingerprint]; ok {
		return key
	}
	g.forget()
	key := &keyState{changed: make(chan struct{})}
	g.keys[fingerprint] = key
	return key
}

// forget drops credentials that are neither in use nor held back, once there
// are many: temporary keys come and go. The caller holds the lock.
func (g *guard) forget() {
	if len(g.keys) < maxGuardedKeys {
		return
	}
	now := g.now()
	for fingerprint, key := range g.keys {
		if key.inFlight == 0 && !now.Before(key.until) {
			delete(g.keys, fingerprint)
		}
	}
}

// slots is how many requests may be under way at once.
func (k *keyState) slots() int {
	if !k.proven {
		return 1
	}
	return math.MaxInt
}

// release gives a turn back. answered says that a list came, err what came in
// its place; a refusal is returned with the time until which nothing is sent.
func (g *guard) release(key *keyState, answered bool, err error) *RefusedError {
	g.mu.Lock()
	defer g.mu.Unlock()
	key.inFlight--
	close(key.changed)
	key.changed = make(chan struct{})
	var answer *Error
	if errors.As(err, &answer) && answer.Unauthenticated() {
		return g.refuse(key, answer)
	}
	if answered || (answer != nil && !answer.Retryable) {
		key.proven, key.pauses, key.cause = true, 0, nil
	}
	return nil
}

// refuse begins a pause, each in a row twice as long as the one before.
// Requests that were under way when it began do not lengthen it. The caller
// holds the lock.
func (g *guard) refuse(key *keyState, answer *Error) *RefusedError {
	key.proven, key.cause = false, answer
	if now := g.now(); !now.Before(key.until) {
		key.until = now.Add(min(g.pause<<min(key.pauses, 10), max(maxRefusalPause, g.pause)))
		key.pauses++
	}
	return &RefusedError{Until: key.until, Err: answer}
}
