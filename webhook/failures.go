package webhook

import (
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// lineLimit bounds how many lines are logged, whatever reviews hold and whoever
// sends them.
type lineLimit struct {
	limiter    *rate.Limiter
	suppressed atomic.Int64
}

// newLineLimit lets a burst pass, and then a line every so often.
func newLineLimit(burst int, every time.Duration) lineLimit {
	return lineLimit{limiter: rate.NewLimiter(rate.Every(every), burst)}
}

// note reports whether a line is to be logged, and how many were not since the
// last one that was.
func (l *lineLimit) note() (suppressed int64, log bool) {
	if !l.limiter.Allow() {
		l.suppressed.Add(1)
		return 0, false
	}
	return l.suppressed.Swap(0), true
}

// decisionLog returns the log for what became of a review, or one that drops
// everything if there were too many such lines lately.
func (h *Handler) decisionLog() *slog.Logger {
	suppressed, log := h.decided.note()
	switch {
	case !log:
		return slog.New(slog.DiscardHandler)
	case suppressed > 0:
		return h.Log.With("notLogged", suppressed)
	}
	return h.Log
}
