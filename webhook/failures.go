package webhook

import (
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// failures bounds how often it is logged that a review could not be judged:
// whoever reaches the port can send what is none.
type failures struct {
	limiter    *rate.Limiter
	suppressed atomic.Int64
}

// newFailures lets a burst pass, and then one a second.
func newFailures() failures {
	const burst = 20
	return failures{limiter: rate.NewLimiter(rate.Every(time.Second), burst)}
}

// note notes a failure, and tells whether it is to be logged and how many were
// not since the last time.
func (f *failures) note() (suppressed int64, log bool) {
	if !f.limiter.Allow() {
		f.suppressed.Add(1)
		return 0, false
	}
	return f.suppressed.Swap(0), true
}
