package scan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
)

// Outcome is the outcome of a request.
type Outcome string

// The outcomes.
const (
	// Asked: HSS accepted the request of a scan. It costs money.
	Asked Outcome = "asked"
	// Unconfirmed: HSS may have accepted it.
	Unconfirmed Outcome = "unconfirmed"
	// Synchronised: HSS accepted the request to synchronise the registry.
	Synchronised Outcome = "synchronised"
	// Held: it has been requested already, or the scan is running.
	Held Outcome = "held"
	// Refused: HSS refused the request.
	Refused Outcome = "refused"
	// Exhausted: the hourly limit is used up.
	Exhausted Outcome = "exhausted"
	// Needless: there is nothing to scan, or it has been scanned.
	Needless Outcome = "needless"
	// Failed: HSS could not be reached.
	Failed Outcome = "failed"
)

// When an image is looked at again, if a pod needs it then.
const (
	againAfterAsking  = 10 * time.Second
	againAfterSync    = 5 * time.Second
	againAfterFailure = 15 * time.Second
	againAfterLimit   = time.Minute
)

const (
	// hold is how long HSS has to show an accepted request in its list.
	hold = 10 * time.Minute
	// refusedHold is how long a refused request is not repeated.
	refusedHold = 30 * time.Minute
	// repeatAfter is how long a failed scan is not repeated: each costs money.
	repeatAfter = 24 * time.Hour
	// syncHold is the least time between two synchronisations of a registry.
	syncHold = 10 * time.Minute
)

// result is the result of a request.
type result struct {
	outcome Outcome
	note    string
	again   time.Duration
}

// attempt reads what HSS lists of the image now, and requests what it lacks.
func (s *Scans) attempt(t inventory.ScanTarget) result {
	rows, err := t.Rows()
	if err == nil && (len(rows) == 0 || slices.ContainsFunc(rows, s.needsScan)) {
		time.Sleep(s.Jitter())
		rows, err = t.Rows()
	}
	switch {
	case err != nil:
		return failed(err)
	case len(rows) == 0:
		return s.synchronise(t)
	}
	r := result{Needless, "HSS has scanned it meanwhile; try again", againAfterAsking}
	for n := range rows {
		one := resultOf(&rows[n], s.Clock.Now())
		if one.outcome == Asked {
			one = s.requestScan(t, &rows[n])
		}
		if one.outcome != "" && (r.outcome == Needless || one.outcome != Held && one.outcome != Needless) {
			r = one
		}
	}
	return r
}

func (s *Scans) needsScan(row hss.Image) bool { return resultOf(&row, s.Clock.Now()).outcome == Asked }

// resultOf returns why a row of HSS's list needs no scan: no outcome if it has been
// scanned. It returns Asked if it needs one, since it was never scanned, or not since
// it was pushed.
func resultOf(row *hss.Image, now time.Time) result {
	statuses := []hss.ScanStatus{row.ScanStatus}
	for n := range row.Architectures {
		statuses = append(statuses, row.Architectures[n].ScanStatus)
	}
	failed := slices.ContainsFunc(statuses, hss.ScanStatus.Failed)
	toScan := result{outcome: Asked}
	switch {
	case slices.ContainsFunc(statuses, hss.ScanStatus.Running):
		return result{Held, "it is being scanned; " + tryAgain, againAfterAsking}
	case slices.Contains(statuses, hss.ScanStatusUnscan):
		return toScan
	case slices.Contains(statuses, hss.ScanStatusImageOversized), failed && now.Sub(row.LatestScanTime) < repeatAfter:
		return result{Needless, "its scan failed, and is not repeated so soon", againAfterLimit}
	case failed, row.LatestScanTime.IsZero(), row.LatestUpdateTime.After(row.LatestScanTime):
		return toScan
	case row.MultiArch && len(row.Architectures) == 0, slices.ContainsFunc(statuses, func(s hss.ScanStatus) bool { return !s.Completed() }):
		return result{Needless, "HSS shows no result that can be evaluated", againAfterLimit}
	}
	return result{}
}

// requestScan requests a scan unless this replica did so lately, by whatever row of
// the same digest, or the hourly limit is used up.
func (s *Scans) requestScan(t inventory.ScanTarget, row *hss.Image) result {
	now := s.Clock.Now()
	key := t.Project() + "/" + digestOf(row)
	if before, ok := s.ledger.claim(key, now); !ok {
		return before
	}
	if until, ok := s.ledger.take(t.Project(), t.MaxPerHour(), now); !ok {
		s.ledger.hold(key, result{}, now)
		note := fmt.Sprintf("no scan is requested before %s, since %d an hour are allowed", clockTime(until), t.MaxPerHour())
		return result{Exhausted, note, min(againAfterLimit, max(time.Second, until.Sub(now)))}
	}
	r, keep := settle(t.Scan(row), now, requestWords{"a scan was requested at ", "to scan it", Asked, againAfterAsking, hold})
	if r.outcome == Refused || r.outcome == Failed {
		s.ledger.giveBack(t.Project(), now)
	}
	s.ledger.hold(key, r, now.Add(keep))
	return r
}

// digestOf names what a scan is for: the digest, or a row without one.
func digestOf(row *hss.Image) string {
	if image.IsDigest(row.Digest) {
		return row.Digest
	}
	return strings.Join([]string{row.ID, row.ImageID, row.RegistryID, row.InstanceID, row.Namespace, row.Name, row.Version}, "\x00")
}

// synchronise requests that HSS reads the list of an unknown image's registry.
func (s *Scans) synchronise(t inventory.ScanTarget) result {
	now := s.Clock.Now()
	key := t.Project() + "//" + t.Registry()
	if before, ok := s.ledger.claim(key, now); !ok {
		return before
	}
	found, err := t.Synchronise()
	if err == nil && !found {
		note := fmt.Sprintf("HSS does not know it, and lists no registry that is %q of hssgate's configuration", t.Registry())
		r := result{Needless, note, againAfterLimit}
		s.ledger.hold(key, r, now.Add(againAfterLimit))
		return r
	}
	r, keep := settle(err, now, requestWords{
		"HSS does not know it yet, and a synchronisation of its registry was requested at ", "to synchronise its registry", Synchronised, againAfterSync, syncHold,
	})
	s.ledger.hold(key, r, now.Add(keep))
	return r
}

// requestWords are those of a kind of request.
type requestWords struct {
	requested, action string
	accepted          Outcome
	again, keep       time.Duration
}

// settle returns the result of a request, and how long it is not repeated.
func settle(err error, now time.Time, w requestWords) (r result, keep time.Duration) {
	var unconfirmed *hss.UnconfirmedError
	switch {
	case err == nil:
		return result{w.accepted, w.requested + clockTime(now) + "; " + tryAgain, w.again}, w.keep
	case errors.As(err, &unconfirmed):
		note := w.requested + clockTime(now) + ", and HSS did not confirm it (" + inventory.DescribeScanFailure(err) + "); " + tryAgain
		return result{Unconfirmed, note, w.again}, hold
	case isRefusal(err):
		note := fmt.Sprintf("HSS refused %s at %s (%s); it is not requested again before %s",
			w.action, clockTime(now), inventory.DescribeScanFailure(err), clockTime(now.Add(refusedHold)))
		return result{Refused, note, againAfterLimit}, refusedHold
	}
	return failed(err), 0
}

func failed(err error) result {
	return result{Failed, "a scan could not be requested: " + inventory.DescribeScanFailure(err) + "; " + tryAgain, againAfterFailure}
}

// isRefusal reports whether HSS refused the request itself, and not the caller or
// the rate of calls.
func isRefusal(err error) bool {
	var refused *hss.RefusedError
	var answer *hss.Error
	return !errors.As(err, &refused) && errors.As(err, &answer) && !answer.Unauthenticated() && !answer.Retryable
}

func clockTime(t time.Time) string { return t.UTC().Format("15:04:05") + " UTC" }
