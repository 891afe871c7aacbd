package inventory

import (
	"math"
	"time"
)

const (
	// clockTolerance is how far the clock may be set back before what HSS said
	// until then counts no more: its age isn't known.
	clockTolerance = time.Minute
	// noAge is that of what lies in the future, older than anything may be.
	noAge = time.Duration(math.MaxInt64)
)

// since is how long ago a time was, in nanoseconds since the epoch.
func (i *Inventory) since(at int64) time.Duration {
	ago := i.clock.Now().UnixNano() - at
	if ago < -int64(clockTolerance) {
		return noAge
	}
	return time.Duration(ago)
}

// vouchedAt is when HSS last said what an answer says, in nanoseconds since
// the epoch: when it was asked, or later if a synchronisation has seen since
// that nothing changed.
func (i *Inventory) vouchedAt(a *answer) int64 {
	s := a.registry.project.syncer
	if s == nil || !a.found {
		return a.asOf // that HSS does not know an image, only asking for it shows
	}
	return s.vouchedAt(a)
}

// isAgeless tells whether an answer is of a time that hasn't come: the clock was
// set back since.
func (i *Inventory) isAgeless(a *answer) bool { return i.since(a.asOf) == noAge }

// age is how long ago HSS last said what an answer says.
func (i *Inventory) age(a *answer) time.Duration {
	return i.since(i.vouchedAt(a))
}

// isUsable tells whether an answer may be used while HSS can't be asked.
func (i *Inventory) isUsable(a *answer) bool {
	return i.age(a) <= time.Duration(i.cfg.MaxStaleness)
}

// lasts is how long an answer may be used without asking again. It depends on
// what it says of the digest that is asked for.
func (i *Inventory) lasts(a *answer, digest string) time.Duration {
	switch {
	case !a.isFound(digest):
		return time.Duration(i.cfg.NotFoundFor)
	case a.isPending(digest):
		return time.Duration(i.cfg.PendingFor)
	default:
		return time.Duration(i.cfg.FreshFor)
	}
}

// shortest is the time for which any answer is fresh.
func (i *Inventory) shortest() time.Duration {
	return time.Duration(min(i.cfg.FreshFor, i.cfg.NotFoundFor, i.cfg.PendingFor))
}
