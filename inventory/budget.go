package inventory

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/hssgate/hssgate/config"
)

// budget bounds how often a project's HSS is asked. Admissions take what they
// need, in their order. Anything else takes a call only while half of the
// burst is left, and the background no more than its share on top of that; it
// reserves nothing, so that it never stands before an admission.
type budget struct {
	all        *rate.Limiter
	background *rate.Limiter
	reserve    float64
	interval   time.Duration
	mu         sync.Mutex // held to take for anything but an admission
}

// limited is why a request was not sent in time.
func limited() error {
	return &unsentError{errors.New("HSS was not asked in time, since as many requests as requestsPerSecond allows were sent")}
}

// The bounds of how long anything but an admission waits before it looks
// again whether there is a call left.
const (
	minBudgetInterval = 5 * time.Millisecond
	maxBudgetInterval = time.Second
)

func newBudget(p *config.Project) *budget {
	share := float64(p.BackgroundPercent) / 100
	interval := time.Duration(float64(time.Second) / p.RequestsPerSecond)
	return &budget{
		all:        rate.NewLimiter(rate.Limit(p.RequestsPerSecond), p.Burst),
		background: rate.NewLimiter(rate.Limit(p.RequestsPerSecond*share), max(1, int(float64(p.Burst)*share))),
		reserve:    float64(p.Burst / 2),
		interval:   min(max(interval, minBudgetInterval), maxBudgetInterval),
	}
}

// Wait waits until one more request may be sent.
func (b *budget) Wait(ctx context.Context) error {
	u := urgencyOf(ctx)
	u.limited.Add(1)
	defer u.limited.Add(-1)
	if err := b.await(ctx, u); err != nil {
		return err
	}
	u.sent.CompareAndSwap(0, time.Now().UnixNano())
	return nil
}

func (b *budget) await(ctx context.Context, u *urgency) error {
	if u.level() == forAdmission {
		return b.wait(ctx)
	}
	ticker := time.NewTicker(b.interval)
	defer ticker.Stop()
	for !b.take(u.level()) {
		select {
		case <-ticker.C:
		case <-u.raised:
			return b.wait(ctx)
		case <-ctx.Done():
			return limited()
		}
	}
	return nil
}

func (b *budget) wait(ctx context.Context) error {
	if err := b.all.Wait(ctx); err != nil {
		return limited()
	}
	return nil
}

// take takes one call if enough are left.
func (b *budget) take(l level) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l == forBackground && b.background.Tokens() < 1 || b.all.Tokens() < 1+b.reserve || !b.all.Allow() {
		return false
	}
	return l != forBackground || b.background.Allow()
}
