package hss

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"
)

// More than five refused signatures in a row lock an access key for 5 minutes, for everyone who uses it. So after a
// refusal nothing is sent with the key for a while, and until a key has worked once there is one request at a time.
//
// A project's settings can be what is refused: the gateway has the same code for a project that is not the key's. So a
// refusal pauses one project, and only the second one of a key that never worked pauses all projects.
const (
	refusalPause    = 5 * time.Minute // the first; each in a row is twice as long
	maxRefusalPause = time.Hour
	maxGuardedKeys  = 256
)

// KeyGuard keeps a process from locking an access key by sending requests with it after it was refused. It holds no
// secret. Clients that may have the same key must share one.
type KeyGuard struct {
	mu   sync.Mutex
	uses map[keyID]*keyUse
}

// keyID identifies credentials in a project of an endpoint, or without these in all of them.
type keyID struct {
	fingerprint   [sha256.Size]byte
	host, project string
}

// keyUse is the state of credentials.
type keyUse struct {
	worked   bool // since the last refusal
	refusals int  // in a row
	until    time.Time
	cause    *Error
	slot     chan struct{} // held by a request until one has worked
}

// NewKeyGuard returns an empty guard.
func NewKeyGuard() *KeyGuard { return &KeyGuard{uses: map[keyID]*keyUse{}} }

// use returns the state of credentials. It drops old states once there are many: temporary keys come and go.
func (g *KeyGuard) use(id keyID) *keyUse {
	if use, ok := g.uses[id]; ok {
		return use
	}
	if len(g.uses) >= maxGuardedKeys {
		maps.DeleteFunc(g.uses, func(_ keyID, use *keyUse) bool { return len(use.slot) == 0 && !time.Now().Before(use.until) })
	}
	g.uses[id] = &keyUse{slot: make(chan struct{}, 1)}
	return g.uses[id]
}

// permit is the right to send one request.
type permit struct {
	guard        *KeyGuard
	accessKey    string  // empty: a token
	exchanged    string  // describes a service account's token; empty: another
	project, key *keyUse // of the credentials in the project, and in all
	slot         chan struct{}
}

// acquire waits for a permit to send a request with c, which must be released. It fails with a *RefusedError during the
// pause after a refusal.
func (g *KeyGuard) acquire(ctx context.Context, c Credentials, host string) (*permit, error) {
	p, fingerprint := &permit{guard: g, exchanged: c.exchanged}, c.fingerprint()
	if c.Token.Empty() {
		p.accessKey = c.AccessKey
	}
	g.mu.Lock()
	p.key, p.project = g.use(keyID{fingerprint: fingerprint}), g.use(keyID{fingerprint, host, c.ProjectID})
	g.mu.Unlock()
	for {
		slot, err := p.next()
		if p.slot != nil && (err != nil || slot != p.slot) {
			<-p.slot
			p.slot = nil
		}
		if err != nil || slot == p.slot {
			return p, err
		}
		select {
		case slot <- struct{}{}:
			p.slot = slot // look again: the request before may have been refused
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for an earlier request with these credentials: %w", context.Cause(ctx))
		}
	}
}

// next returns the slot that the request must hold; nil: none, since the credentials have worked.
func (p *permit) next() (chan struct{}, error) {
	p.guard.mu.Lock()
	defer p.guard.mu.Unlock()
	switch err := p.paused(); {
	case err != nil || p.project.worked:
		return nil, err
	case p.key.worked:
		return p.project.slot, nil
	}
	return p.key.slot, nil
}

// paused returns why nothing may be sent now, or nil.
func (p *permit) paused() error {
	for _, use := range []*keyUse{p.project, p.key} {
		if time.Now().Before(use.until) && (use == p.project || !use.worked) {
			return p.refused(use.until, use.cause)
		}
	}
	return nil
}

func (p *permit) refused(until time.Time, cause *Error) error {
	return &RefusedError{AccessKey: p.accessKey, ServiceAccount: p.exchanged, Until: until, Err: cause}
}

// release ends a request, which failed with err if that is not nil. It returns a *RefusedError if the credentials were
// refused. A pause then starts, which requests that are in flight do not lengthen.
func (p *permit) release(err error) error {
	p.guard.mu.Lock()
	defer p.guard.mu.Unlock()
	if p.slot != nil {
		defer func() { <-p.slot }()
	}
	answer, answered := errors.AsType[*Error](err)
	switch {
	case answered && answer.Unauthenticated():
	case answered && p.exchanged != "" && answer.refuses() && !answer.Retryable: // 404 is an unknown identity provider
	case err != nil && (!answered || answer.Retryable), p.paused() != nil:
		return nil // an answer to what was sent before a refusal ends no pause
	default:
		p.key.worked, p.project.worked, p.project.refusals = true, true, 0
		return nil
	}
	now := time.Now()
	p.project.worked, p.project.cause = false, answer
	if !now.Before(p.project.until) {
		p.project.until = now.Add(min(refusalPause<<min(p.project.refusals, 10), maxRefusalPause))
		p.project.refusals++
	}
	if p.key.refusals++; !p.key.worked && p.key.refusals > 1 {
		p.key.until, p.key.cause = now.Add(refusalPause), answer
	}
	return p.refused(p.project.until, answer)
}
