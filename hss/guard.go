package hss

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"
)

// More than five failed signatures in a row lock an access key for 5 minutes,
// for everyone who uses it. The guard sees to it that a process does not lock a
// key that never worked, such as a mistyped one: it is tried in one request at
// a time, or in two if these are of different projects, and after a refusal none
// is sent for a while.
//
// A refusal may be the key's fault or that of one project's settings: the
// gateway has the same code for a signature that is wrong and for a project
// that isn't the key's. So the first refusal stops its own project, and a second
// one in a row, of another project, all that use the key. Of each process at
// most two requests are refused then, however many projects it asks. Processes
// don't know of each other: three of them that begin with a mistyped key at the
// same time can have six requests refused in a row, and lock it.
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
	maxGuardedKeys  = 256
	// maxAtRisk is how many requests of different projects may be refused in a
	// row before a key is given up: those that were, and those being tried.
	maxAtRisk = 2
)

// KeyGuard knows which credentials HSS refused, so that no access key is locked
// by asking with it again and again. It holds no secret. Clients that may have
// the same key should share one.
type KeyGuard struct {
	mu   sync.Mutex
	keys map[[sha256.Size]byte]*keyState
}

// NewKeyGuard makes one that knows nothing yet.
func NewKeyGuard() *KeyGuard { return &KeyGuard{keys: map[[sha256.Size]byte]*keyState{}} }

// guard is a client's view of what is known of its credentials.
type guard struct {
	shared *KeyGuard
	host   string
	pause  time.Duration
	now    func() time.Time
}

// keyState is what is known of one set of credentials, each set apart.
type keyState struct {
	// proven says that it has worked, and was refused nowhere since.
	proven bool
	trials int // under way
	paused refusalPause
	places map[place]*placeState
	// changed is closed when a waiter should look again.
	changed chan struct{}
}

// place is a project at an endpoint.
type place struct{ host, project string }

// placeState is what is known of one set of credentials at one place.
type placeState struct {
	proven bool
	trial  bool // under way
	using  int  // requests under way, trials too
	// refused says that it was refused here since it last worked anywhere.
	refused bool
	// ownFault says that it worked elsewhere after it was refused here: that it
	// is refused here again says nothing of the key.
	ownFault bool
	paused   refusalPause
}

// refusalPause is a time in which nothing is sent.
type refusalPause struct {
	until  time.Time
	inARow int // without a success between
	cause  *Error
}

// turn is the right to send a request.
type turn struct {
	key   *keyState
	place *placeState
	// trial says that it may well be refused.
	trial bool
}

// acquire waits for a turn to send a request with c. It fails if c was refused
// a short while ago. Each turn must be given back with release.
func (g *guard) acquire(ctx context.Context, c Credentials) (*turn, error) {
	for {
		own, wait, err := g.try(c)
		if err != nil || wait == nil {
			return own, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for earlier requests with these credentials: %w", context.Cause(ctx))
		case <-wait:
		}
	}
}

// try takes a turn, or returns what to wait for.
func (g *guard) try(c Credentials) (*turn, <-chan struct{}, error) {
	g.shared.mu.Lock()
	defer g.shared.mu.Unlock()
	now := g.now()
	key := g.shared.state(c, now)
	at := key.at(place{g.host, c.ProjectID})
	if cause := key.refusal(at, now); cause != nil {
		return nil, nil, cause
	}
	own := &turn{key: key, place: at, trial: !key.proven || !at.proven}
	if own.trial && (at.trial || key.trials >= max(1, maxAtRisk-key.refusals())) {
		return nil, key.changed, nil
	}
	at.using++
	if own.trial {
		at.trial = true
		key.trials++
	}
	return own, nil, nil
}

// refusal is why nothing may be sent to a place now, or nil.
func (k *keyState) refusal(at *placeState, now time.Time) error {
	for _, p := range []*refusalPause{&k.paused, &at.paused} {
		if now.Before(p.until) {
			return &RefusedError{Until: latest(k.paused.until, at.paused.until), Err: p.cause}
		}
	}
	return nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// state finds the state of c, or begins one. The caller holds the lock.
func (g *KeyGuard) state(c Credentials, now time.Time) *keyState {
	fingerprint := c.fingerprint()
	if key, ok := g.keys[fingerprint]; ok {
		return key
	}
	g.forget(now)
	key := &keyState{changed: make(chan struct{}), places: map[place]*placeState{}}
	g.keys[fingerprint] = key
	return key
}

// forget drops credentials that are neither in use nor held back, once there
// are many: temporary keys come and go. The caller holds the lock.
func (g *KeyGuard) forget(now time.Time) {
	if len(g.keys) < maxGuardedKeys {
		return
	}
	for fingerprint, key := range g.keys {
		if !key.matters(now) {
			delete(g.keys, fingerprint)
		}
	}
}

// matters reports whether a key is in use or held back.
func (k *keyState) matters(now time.Time) bool {
	for _, at := range k.places {
		if at.using > 0 || now.Before(at.paused.until) {
			return true
		}
	}
	return now.Before(k.paused.until)
}

// at is what is known of a place. There are as many as projects.
func (k *keyState) at(p place) *placeState {
	if k.places[p] == nil {
		k.places[p] = &placeState{}
	}
	return k.places[p]
}

// refusals is at how many places the key was refused since it last worked.
func (k *keyState) refusals() int {
	n := 0
	for _, at := range k.places {
		if at.refused {
			n++
		}
	}
	return n
}

// release gives a turn back. answered says that a list came, err what came in
// its place; a refusal is returned with the time until which nothing is sent.
func (g *guard) release(own *turn, answered bool, err error) *RefusedError {
	g.shared.mu.Lock()
	defer g.shared.mu.Unlock()
	own.place.using--
	if own.trial {
		own.place.trial = false
		own.key.trials--
	}
	close(own.key.changed)
	own.key.changed = make(chan struct{})
	var answer *Error
	if errors.As(err, &answer) && answer.Unauthenticated() {
		return g.refuse(own, answer)
	}
	if answered || (answer != nil && !answer.Retryable) {
		own.works(g.now())
	}
	return nil
}

// works notes that a key is good, whatever it was refused for elsewhere. What
// was sent before a refusal says nothing newer than that.
func (t *turn) works(now time.Time) {
	if t.key.refusal(t.place, now) != nil {
		return
	}
	t.key.proven, t.key.paused = true, refusalPause{}
	t.place.proven, t.place.paused = true, refusalPause{}
	for _, at := range t.key.places {
		at.ownFault = at.ownFault || at.refused
		at.refused = false
	}
	t.place.ownFault = false
}

// refuse begins a pause for the place, and for the key if the place is not the
// only one. When that is over, places where the key wasn't refused go first, and
// this one goes last, so that one where it always is keeps no other from showing
// that it works. The caller holds the lock.
func (g *guard) refuse(own *turn, answer *Error) *RefusedError {
	key, now := own.key, g.now()
	own.place.proven = false
	own.place.paused.begin(now, g.pause, answer)
	if own.place.ownFault {
		return &RefusedError{Until: own.place.paused.until, Err: answer}
	}
	key.proven, own.place.refused = false, true
	if key.refusals() < maxAtRisk {
		return &RefusedError{Until: own.place.paused.until, Err: answer}
	}
	key.paused.begin(now, g.pause, answer)
	for _, at := range key.places {
		if at == own.place || (at.refused && key.paused.inARow == 1) {
			at.paused.until = latest(at.paused.until, key.paused.until.Add(g.pause))
		}
	}
	return &RefusedError{Until: own.place.paused.until, Err: answer}
}

// begin begins a pause, each in a row twice as long as the one before. Requests
// that were under way when it began do not lengthen it.
func (p *refusalPause) begin(now time.Time, pause time.Duration, answer *Error) {
	p.cause = answer
	if now.Before(p.until) {
		return
	}
	p.until = now.Add(min(pause<<min(p.inARow, 10), max(maxRefusalPause, pause)))
	p.inARow++
}
