package hsstest

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// throttle lets so many requests pass in each second. Nil lets all pass.
type throttle struct {
	perSecond  int
	retryAfter time.Duration
	now        func() time.Time

	mu    sync.Mutex
	start time.Time
	count int
}

// check refuses a request that is over the limit.
func (t *throttle) check() *refusal {
	if t == nil || t.allow() {
		return nil
	}
	refused := fromGateway(http.StatusTooManyRequests, codeThrottled,
		"The throttling threshold has been reached: policy user over ratelimit,limit:"+
			strconv.Itoa(t.perSecond)+",time:1 second")
	if t.retryAfter > 0 {
		seconds := int64((t.retryAfter + time.Second - 1) / time.Second)
		refused.header = map[string]string{"Retry-After": strconv.FormatInt(seconds, 10)}
	}
	return refused
}

func (t *throttle) allow() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if since := now.Sub(t.start); since >= time.Second || since < 0 {
		t.start, t.count = now, 0
	}
	t.count++
	return t.count <= t.perSecond
}
