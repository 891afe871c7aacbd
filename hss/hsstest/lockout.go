package hsstest

import (
	"sync"
	"time"
)

// What the API gateway does against guessing.
const (
	maxFailedSignatures = 5
	lockTime            = 5 * time.Minute
)

// lockout locks an access key after failed signatures in a row.
type lockout struct {
	mu   sync.Mutex
	keys map[string]*lockState
}

type lockState struct {
	failures int
	until    time.Time
}

func newLockout() *lockout { return &lockout{keys: map[string]*lockState{}} }

// locked tells whether the key is locked at now.
func (l *lockout) locked(key string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	state, ok := l.keys[key]
	return ok && now.Before(state.until)
}

// failed counts a failed signature, and locks the key at the fifth in a row.
func (l *lockout) failed(key string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	state, ok := l.keys[key]
	if !ok {
		state = &lockState{}
		l.keys[key] = state
	}
	state.failures++
	if state.failures >= maxFailedSignatures {
		*state = lockState{until: now.Add(lockTime)}
	}
}

// succeeded ends a row of failures.
func (l *lockout) succeeded(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.keys, key)
}
