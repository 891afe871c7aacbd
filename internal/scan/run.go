package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/inventory"
	"github.com/hssgate/hssgate/internal/language"
)

const unshown = "a scan was requested, and HSS does not show it yet"

// HSS's list is read again after firstPoll, and then less and less often.
const (
	firstPoll = 5 * time.Second
	lastPoll  = 30 * time.Second
)

// Run has HSS scan the images that a person or a pipeline names. Unlike [Scans], it has no hourly limit, repeats scans that
// failed before, and can wait for results. It requests one scan of a row, and one synchronisation of a registry.
type Run struct {
	Clock clock.Clock
	// Wait waits for results; otherwise the run ends once scans are requested. Either ends after Timeout.
	Wait    bool
	Timeout time.Duration
	// Force scans again what has been scanned.
	Force bool
	// Progress is called with the index of an image when its state changes.
	Progress func(image int, state string)

	requested map[string]string // the rows whose scan was requested, as they were before
	synced    map[string]bool   // by registry
}

// Result is what is known of a scan at the end of a run.
type Result struct {
	// Ended means that HSS's list has the last word on the image: the scan succeeded, or it failed.
	Ended bool
	// Err is why there is no result: HSS's reason if the scan failed.
	Err error

	target inventory.ScanTarget
	index  int
	done   bool
	state  string
	listed bool // by HSS
}

// Scan has the images scanned, and returns a result for each. It fails if ctx ends.
func (r *Run) Scan(ctx context.Context, targets []inventory.ScanTarget) ([]Result, error) {
	r.requested, r.synced = map[string]string{}, map[string]bool{}
	images := make([]Result, len(targets))
	for n := range targets {
		images[n].target, images[n].index = targets[n], n
	}
	end := r.Clock.Now().Add(r.Timeout)
	for wait := firstPoll; ; wait = min(wait*3/2, lastPoll) {
		for n := range images {
			if !images[n].done && ctx.Err() == nil {
				r.look(&images[n])
			}
		}
		left := end.Sub(r.Clock.Now())
		open := slices.ContainsFunc(images, func(i Result) bool { return !i.done })
		if !open || left <= 0 {
			break
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-r.Clock.After(min(left, wait*9/10+rand.N(wait/5))): //nolint:gosec // no secret
		}
	}
	for n := range images {
		if i := &images[n]; !i.done {
			i.Err = fmt.Errorf("timed out after %s: %s; run the same command again to wait for it", r.Timeout, i.state)
		}
	}
	return images, ctx.Err()
}

// look reads what HSS lists of an image now, and requests what it lacks.
func (r *Run) look(i *Result) {
	rows, err := i.target.Rows()
	switch {
	case err != nil:
		r.failed(i, "HSS's list cannot be read", err)
		return
	case len(rows) == 0:
		r.synchronise(i)
		return
	}
	for n := range rows { // a row that changes meanwhile comes in both states
		if key := keyOf(&rows[n]); r.requested[key] == "" && slices.ContainsFunc(statusesOf(&rows[n]), hss.ScanStatus.Running) {
			r.requested[key] = "by someone else"
		}
	}
	var open, failures []string
	for n := range rows {
		if state, ended := r.advance(i, &rows[n]); !ended {
			open = append(open, state)
		} else if slices.ContainsFunc(statusesOf(&rows[n]), hss.ScanStatus.Failed) {
			failures = append(failures, failure(&rows[n]))
		}
		if i.done { // a request failed for good
			return
		}
	}
	first := !i.listed
	i.listed = true
	switch {
	case slices.Contains(open, ""): // a request is to be repeated
	case len(open) > 0:
		r.show(i, open[0])
		i.done = !r.Wait
	case len(failures) > 0:
		i.done, i.Ended, i.Err = true, true, errors.New(failures[0])
		r.show(i, failures[0])
	default:
		i.done, i.Ended = true, true
		r.show(i, scanned(i.target, &rows[0], first))
	}
}

// scanned describes a completed scan. The first look shows one that was not requested.
func scanned(t inventory.ScanTarget, row *hss.Image, first bool) string {
	if !first {
		return "scanned"
	}
	text := fmt.Sprintf("scanned already (%s), so nothing is billed", row.LatestScanTime.UTC().Format(time.DateTime+" UTC"))
	if !t.IsPinned() {
		text += "; if the tag was pushed again since, HSS may not list that yet: name the image by its digest"
	}
	return text
}

// advance requests a scan of a row if it lacks one. It reports whether the row's scan has ended, or else its state; empty:
// the request is to be repeated.
func (r *Run) advance(i *Result, row *hss.Image) (state string, ended bool) {
	statuses, key := statusesOf(row), keyOf(row)
	before, requested := r.requested[key]
	running := slices.ContainsFunc(statuses, hss.ScanStatus.Running)
	if !requested && !running && r.lacksScan(row) {
		r.show(i, "a scan is requested, which HSS bills if it succeeds")
		if err := i.target.Scan(row); err != nil && !isUnconfirmed(err) {
			r.failed(i, "a scan could not be requested", err)
			return "", false
		}
		r.requested[key] = shownBy(row)
		return unshown, false
	}
	unclear := func(s hss.ScanStatus) bool { return !s.Completed() && !s.Failed() }
	at := slices.IndexFunc(statuses, unclear)
	switch {
	case requested && before == shownBy(row):
		return unshown, false
	case row.ScanStatus.Failed() && !running, at < 0:
		return "", true
	}
	return string(statuses[at]), false
}

// lacksScan reports whether a row that is not being scanned is to be scanned. An image that is too large fails again.
func (r *Run) lacksScan(row *hss.Image) bool {
	statuses := statusesOf(row)
	failed := slices.ContainsFunc(statuses, hss.ScanStatus.Failed) && !slices.Contains(statuses, hss.ScanStatusImageOversized)
	return r.Force || failed || resultOf(row, r.Clock.Now()).outcome == Asked
}

// keyOf identifies a row of an image, also when a synchronisation has given them other IDs.
func keyOf(row *hss.Image) string {
	id := row.Digest
	if !image.IsDigest(id) {
		id = row.ID
	}
	return strings.Join([]string{id, string(row.Type), row.RegistryID, row.InstanceID, row.Namespace, row.Name, row.Version}, "\x00")
}

func shownBy(row *hss.Image) string {
	return fmt.Sprint(statusesOf(row), row.LatestScanTime.UnixMilli())
}

// failure returns why a scan failed, and what to do.
func failure(row *hss.Image) string {
	statuses := statusesOf(row)
	status := string(statuses[max(0, slices.IndexFunc(statuses, hss.ScanStatus.Failed))])
	text := "the scan failed: " + cmp.Or(strings.Trim(row.ScanFailedCode+": "+row.ScanFailedDescription, ": "), status)
	switch code := row.ScanFailedCode; {
	case row.ScanStatus == hss.ScanStatusImageOversized, strings.Contains(code, "over_sized"):
		return text + "; to do: make the image smaller, or allow it by an exception"
	case row.ScanStatus == hss.ScanStatusDownloadFailed, strings.Contains(code, "authentication"), strings.Contains(code, "swr"), strings.Contains(code, "download"):
		return text + "; to do: let HSS pull the image (SWROperatePolicy, or the registry's credentials in its console), and try again"
	}
	return text + "; to do: try again; if it stays so, see the image in HSS's console"
}

// synchronise requests once that HSS reads the list of an unknown image's registry.
func (r *Run) synchronise(i *Result) {
	registry := i.target.Registry()
	if !r.synced[registry] {
		err := i.target.Synchronise()
		if errors.Is(err, inventory.ErrUnknownRegistry) {
			err = fmt.Errorf("HSS does not list the image, and lists no registry that is %q of the configuration: connect it in HSS's console, or correct the configuration", registry)
			i.done, i.Err = true, err
			r.show(i, err.Error())
			return
		}
		if err != nil && !isUnconfirmed(err) {
			r.failed(i, "registry "+registry+" could not be synchronised", err)
			return
		}
		r.synced[registry] = true
	}
	r.show(i, fmt.Sprintf("HSS does not list it yet; registry %q is being synchronised", registry))
}

func isUnconfirmed(err error) bool {
	_, is := errors.AsType[*hss.UnconfirmedError](err)
	return is
}

// failed ends the run of an image unless the failure may pass.
func (r *Run) failed(i *Result, what string, err error) {
	state := what + ": " + inventory.DescribeScanFailure(language.English, err)
	if !i.target.IsTemporary(err) {
		i.done, i.Err = true, errors.New(state)
	}
	r.show(i, state)
}

func (r *Run) show(i *Result, state string) {
	if i.state != state {
		i.state = state
		r.Progress(i.index, state)
	}
}
