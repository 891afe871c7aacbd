package webhook

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"
)

// quantum is the least by which the share of a body grows.
const quantum = 64 << 10

// bodies bounds the memory of the large request bodies that are being read. A
// body counts by what has arrived of it, whatever length it claims. Without room
// for more, only the oldest body goes on; if that takes longer than patience, it
// is dropped. So a slow sender does not keep others out.
type bodies struct {
	maxBytes int64
	patience time.Duration

	mu   sync.Mutex
	used int64
	// all holds the bodies, the oldest first.
	all []*body
	// changed is closed when a body leaves.
	changed chan struct{}
}

func newBodies(maxBytes int64, patience time.Duration) *bodies {
	return &bodies{maxBytes: maxBytes, patience: patience, changed: make(chan struct{})}
}

type body struct {
	of     *bodies
	ctx    context.Context //nolint:containedctx // a Read has none
	reader io.Reader
	// interrupt makes the reader fail.
	interrupt func()

	read, reserved int64
	dropped        bool
	// since is when the body began, or last stopped waiting for room; zero while it waits.
	since time.Time
}

// add counts a body until it leaves.
func (s *bodies) add(ctx context.Context, reader io.Reader, interrupt func()) *body {
	b := &body{of: s, ctx: ctx, reader: reader, interrupt: interrupt, since: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, b)
	return b
}

// leave frees what the body reserved.
func (b *body) leave() {
	b.of.mu.Lock()
	defer b.of.mu.Unlock()
	if !b.dropped {
		b.of.remove(b)
	}
}

func (s *bodies) remove(b *body) {
	s.all = slices.DeleteFunc(s.all, func(other *body) bool { return other == b })
	s.used -= b.reserved
	close(s.changed)
	s.changed = make(chan struct{})
}

// Read reads from the body, and returns once there is room for what it read.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.reader.Read(p)
	b.read += int64(n)
	for b.read > b.reserved {
		changed, wait, err := b.tryReserve(max(b.read-b.reserved, quantum))
		if err != nil {
			return 0, err
		}
		if changed == nil {
			break
		}
		select {
		case <-changed:
		case <-time.After(wait):
		case <-b.ctx.Done():
			return 0, errBusy
		}
	}
	return n, err
}

// tryReserve returns what to wait for, or nil. The oldest body never waits, so
// that one of them always ends; it may exceed the bound.
func (b *body) tryReserve(n int64) (changed <-chan struct{}, wait time.Duration, err error) {
	s, now := b.of, time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.since.IsZero() {
		b.since = now
	}
	for !b.dropped {
		oldest := s.all[0]
		if oldest == b || s.used+n <= s.maxBytes {
			s.used += n
			b.reserved += n
			return nil, 0, nil
		}
		wait = s.patience
		if !oldest.since.IsZero() {
			wait -= now.Sub(oldest.since)
		}
		if wait > 0 {
			b.since = time.Time{}
			return s.changed, wait, nil
		}
		oldest.dropped = true
		s.remove(oldest)
		oldest.interrupt()
	}
	return nil, 0, errLate
}
