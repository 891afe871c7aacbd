package hsstest

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// The time that HSS takes unless [WithScanTimes] says otherwise.
const (
	defaultWaiting  = 2 * time.Second
	defaultScanning = 8 * time.Second
	defaultSyncing  = time.Second
)

// applyOutcome writes the outcome of a scan that ended at now to its row; nil:
// nothing bad was found.
func applyOutcome(o *ScanOutcome, row *Image, now time.Time) {
	outcome := ScanOutcome{}
	if o != nil {
		outcome = *o
	}
	row.ScanStatus = cmp.Or(outcome.ScanStatus, statusSuccess)
	row.ScanFailedCode, row.ScanFailedDesc = outcome.ScanFailedCode, outcome.ScanFailedDesc
	row.LatestScanTime = now
	for i := range row.AssociationImages {
		row.AssociationImages[i].ScanStatus = row.ScanStatus
	}
	if row.ScanStatus != statusSuccess {
		return
	}
	row.SeverityLevel = cmp.Or(outcome.SeverityLevel, "Security")
	row.VulNum, row.UnsafeSettingNum, row.MaliciousFileNum =
		orNone(outcome.VulNum), orNone(outcome.UnsafeSettingNum), orNone(outcome.MaliciousFileNum)
	for i := range row.AssociationImages {
		a := &row.AssociationImages[i]
		a.VulNum, a.UnsafeSettingNum, a.MaliciousFileNum = orNone(a.VulNum), orNone(a.UnsafeSettingNum), orNone(a.MaliciousFileNum)
	}
}

// orNone is a count, 0 if there is none.
func orNone(n *int) *int {
	if n == nil {
		return Count(0)
	}
	return Count(*n)
}

// The statuses that a scan goes through.
const (
	statusWaiting  = "waiting_for_scan"
	statusScanning = "scanning"
	statusSuccess  = "success"
)

// scanTimes is how long HSS takes; negative: until [Handler.FinishScans].
type scanTimes struct{ waiting, scanning, syncing time.Duration }

// WithScanTimes sets how long a scan that was started waits and then runs, and
// how long a synchronisation takes, by the server's clock. While a time is
// negative only [Handler.FinishScans] ends it. The default is 2, 8 and 1 s.
func WithScanTimes(waiting, scanning, syncing time.Duration) Option {
	return func(o *options) { o.scanTimes = scanTimes{waiting, scanning, syncing} }
}

// FinishScans ends all scans and synchronisations that are under way.
func (h *Handler) FinishScans() { h.tasks.advance(h.options.now(), true) }

// stage is how far a scan got that began so long ago.
func (t scanTimes) stage(since time.Duration) (status string, done bool) {
	switch {
	case t.waiting < 0 || since < t.waiting:
		return statusWaiting, false
	case t.scanning < 0 || since < t.waiting+t.scanning:
		return statusScanning, false
	}
	return statusSuccess, true
}

// advance moves what is under way to where it stands at now; finish ends it.
func (t *tasks) advance(now time.Time, finish bool) {
	if t.underWay.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active = slices.DeleteFunc(t.active, func(task *task) bool {
		if task.sync {
			return t.advanceSync(task, now, finish)
		}
		return t.advanceScan(task, now, finish)
	})
	t.underWay.Store(int32(min(len(t.active), math.MaxInt32)))
}

// advanceScan reports whether the scan ended. The caller holds the lock.
func (t *tasks) advanceScan(task *task, now time.Time, finish bool) bool {
	status, done := t.times.stage(now.Sub(task.begun))
	done = done || finish
	if !done && status == task.stage {
		return false
	}
	task.stage = status
	t.store.update(func(rows []Image) []Image {
		for i := range rows {
			if row := &rows[i]; slices.Contains(task.images, row.ID) {
				task.move(row, status, done, now)
			}
		}
		return rows
	})
	if done {
		task.ended = now
	}
	return done
}

// move brings a row of the scan to where the scan stands.
func (t *task) move(row *Image, status string, done bool, now time.Time) {
	if !done {
		row.ScanStatus = status
		return
	}
	applyOutcome(row.Outcome, row, now)
	if row.ScanStatus == statusSuccess {
		t.succeeded++
		return
	}
	t.failed = append(t.failed, wireFailedImage{
		ID: row.ID, RegistryID: row.RegistryID, RegistryName: row.RegistryName, RegistryType: row.RegistryType,
		ImageName: row.ImageName, ImageVersion: row.ImageVersion, Namespace: row.Namespace, FailedReason: row.ScanFailedCode,
	})
}

// advanceSync reports whether the synchronisation ended. The caller holds the lock.
func (t *tasks) advanceSync(task *task, now time.Time, finish bool) bool {
	if !finish && (t.times.syncing < 0 || now.Sub(task.begun) < t.times.syncing) {
		return false
	}
	t.store.update(func(rows []Image) []Image {
		for i := range rows {
			if row := &rows[i]; task.reads(row) {
				row.Hidden, row.LatestSyncTime = false, now
			}
		}
		return rows
	})
	t.synced(task, now)
	task.ended = now
	return true
}

// reads tells whether a synchronisation reads the row's registry.
func (t *task) reads(row *Image) bool {
	if row.ProjectID != "" && row.ProjectID != t.project {
		return false
	}
	return t.all || slices.Contains(t.registries, registryKey{row.RegistryID, row.RegistryType})
}
