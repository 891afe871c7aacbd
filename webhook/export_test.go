package webhook

import (
	"cmp"
	"time"

	"golang.org/x/sync/semaphore"
)

// Limits are those of a frame; 0 leaves one as it is.
type Limits struct {
	ReviewBytes, ArrivingBytes, EvaluatingBytes int64
	Patience, ArrivalTimeout                    time.Duration
}

// Limit changes the limits of a handler.
func (h *Handler) Limit(l Limits) *Handler {
	f := h.frame
	f.maxBytes, f.arrivalTimeout = cmp.Or(l.ReviewBytes, f.maxBytes), cmp.Or(l.ArrivalTimeout, f.arrivalTimeout)
	f.bodies = newBodies(cmp.Or(l.ArrivingBytes, f.bodies.maxBytes), cmp.Or(l.Patience, f.bodies.patience))
	f.evaluating = semaphore.NewWeighted(cmp.Or(l.EvaluatingBytes, maxEvaluatingBytes))
	return h
}

// LimitArrival changes how long a body may take to arrive.
func (v *Resources) LimitArrival(d time.Duration) { v.frame.arrivalTimeout = d }
