package hsstest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// The statuses that a scan passes through.
const (
	statusWaiting  = "waiting_for_scan"
	statusScanning = "scanning"
	statusSuccess  = "success"
)

// jobs holds the scans and synchronizations in progress, and the registries that the latter update.
type jobs struct {
	mu         sync.Mutex
	active     []*job
	registries []Registry
}

// job is a scan of images or a synchronization of registries.
type job struct {
	sync       bool
	project    string
	began      time.Time
	images     []int64
	stage      string // that the images show
	all        bool
	registries []registryKey
}

// scanTimes holds how long HSS takes; negative: until [Handler.FinishScans].
type scanTimes struct{ waiting, scanning, syncing time.Duration }

// FinishScans ends all scans and synchronizations in progress.
func (h *Handler) FinishScans() { h.advance(true) }

func (h *Handler) begin(started *job) {
	started.began = h.options.now()
	h.jobs.mu.Lock()
	h.jobs.active = append(h.jobs.active, started)
	h.jobs.mu.Unlock()
	h.advance(false)
}

// advance brings the jobs to where they are by now, or to their end.
func (h *Handler) advance(finish bool) {
	h.jobs.mu.Lock()
	defer h.jobs.mu.Unlock()
	now := h.options.now()
	h.jobs.active = slices.DeleteFunc(h.jobs.active, func(j *job) bool {
		ended := h.options.scanTimes.stage(j, now) == statusSuccess || finish
		switch {
		case j.sync && ended:
			h.synchronized(j, now)
		case !j.sync:
			h.scanned(j, now, ended)
		}
		return ended
	})
}

// stage returns the status of a job at a time.
func (t scanTimes) stage(j *job, now time.Time) string {
	since := now.Sub(j.began)
	switch {
	case j.sync && (t.syncing < 0 || since < t.syncing):
		return statusWaiting
	case j.sync:
		return statusSuccess
	case t.waiting < 0 || since < t.waiting:
		return statusWaiting
	case t.scanning < 0 || since < t.waiting+t.scanning:
		return statusScanning
	}
	return statusSuccess
}

// scanned moves the rows of a scan.
func (h *Handler) scanned(j *job, now time.Time, ended bool) {
	stage := h.options.scanTimes.stage(j, now)
	if !ended && stage == j.stage {
		return
	}
	j.stage = stage
	h.Update(func(rows []Image) []Image {
		for i := range rows {
			switch row := &rows[i]; {
			case !slices.Contains(j.images, row.ID):
			case ended:
				applyOutcome(row, now)
			default:
				row.ScanStatus = stage
			}
		}
		return rows
	})
}

// applyOutcome writes the result of a scan to its row.
func applyOutcome(row *Image, now time.Time) {
	outcome := ScanOutcome{}
	if row.Outcome != nil {
		outcome = *row.Outcome
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
		orZero(outcome.VulNum), orZero(outcome.UnsafeSettingNum), orZero(outcome.MaliciousFileNum)
	for i := range row.AssociationImages {
		a := &row.AssociationImages[i]
		a.VulNum, a.UnsafeSettingNum, a.MaliciousFileNum = orZero(a.VulNum), orZero(a.UnsafeSettingNum), orZero(a.MaliciousFileNum)
	}
}

func orZero(n *int) *int {
	if n == nil {
		return new(0)
	}
	return new(*n)
}

// synchronized shows the rows of a synchronization. The caller holds the lock.
func (h *Handler) synchronized(j *job, now time.Time) {
	includes := func(id, kind string) bool { return j.all || slices.Contains(j.registries, registryKey{id, kind}) }
	h.Update(func(rows []Image) []Image {
		for i := range rows {
			row := &rows[i]
			if (row.ProjectID == "" || row.ProjectID == j.project) && includes(row.RegistryID, row.RegistryType) {
				row.Hidden, row.LatestSyncTime = false, now
			}
		}
		return rows
	})
	for i := range h.jobs.registries {
		if r := &h.jobs.registries[i]; includes(r.ID, r.Type) {
			r.LatestSyncTime = now
		}
	}
}

// scanRequest is the body of EndpointScan.
type scanRequest struct {
	ScanScope int64       `json:"scan_scope"`
	RateLimit int64       `json:"rate_limit"`
	IsAll     bool        `json:"is_all"`
	ImageInfo []scanImage `json:"image_info"`
}

// scanImage identifies an image to scan.
type scanImage struct {
	ID           int64  `json:"id"`
	ImageID      string `json:"image_id"`
	ImageDigest  string `json:"image_digest"`
	RegistryID   string `json:"registry_id"`
	RegistryName string `json:"registry_name"`
	ImageName    string `json:"image_name"`
	ImageVersion string `json:"image_version"`
	Namespace    string `json:"namespace"`
	InstanceID   string `json:"instance_id"`
	InstanceURL  string `json:"instance_url"`
	RegistryType string `json:"registry_type"`
}

// matches reports whether every given field is that of the row.
func (s *scanImage) matches(row *Image) bool {
	if s.ID != 0 && s.ID != row.ID || s.ID == 0 && s.ImageName == "" {
		return false
	}
	for _, field := range [][2]string{
		{s.ImageID, row.ImageID}, {s.ImageDigest, row.ImageDigest}, {s.RegistryID, row.RegistryID},
		{s.RegistryName, row.RegistryName}, {s.ImageName, row.ImageName}, {s.ImageVersion, row.ImageVersion},
		{s.Namespace, row.Namespace}, {s.InstanceID, row.InstanceID}, {s.InstanceURL, row.InstanceURL},
		{s.RegistryType, row.RegistryType},
	} {
		if field[0] != "" && field[0] != field[1] {
			return false
		}
	}
	return true
}

func (s *scanRequest) check() error {
	const everything, fastest = 0x7fffffff, 1000
	switch {
	case s.ScanScope < 0 || s.ScanScope > everything:
		return fmt.Errorf("scan_scope is %d, allowed: a mask up to 0x7fffffff", s.ScanScope)
	case s.RateLimit < 0 || s.RateLimit > fastest:
		return fmt.Errorf("rate_limit is %d, allowed: 0 to 1000", s.RateLimit)
	case !s.IsAll && len(s.ImageInfo) == 0:
		return errors.New("neither is_all nor image_info names an image")
	}
	return nil
}

// scan serves EndpointScan.
func (h *Handler) scan(c *call) (response, error) {
	var body scanRequest
	q, err := c.decodePost(&body, parameters[Image]{"global_image_type": {check: oneOf("local", "registry")}})
	if err == nil {
		err = body.check()
	}
	if err != nil {
		return response{}, err
	}
	var visible []*Image
	for _, row := range h.store.rows.Load().served {
		if row.VisibleTo(c.project, q.enterpriseProject()) {
			visible = append(visible, row)
		}
	}
	var ids []int64
	if body.IsAll {
		for _, row := range visible {
			ids = append(ids, row.ID)
		}
	}
	for n := range body.ImageInfo {
		at := slices.IndexFunc(visible, body.ImageInfo[n].matches)
		if at < 0 {
			return response{}, notFound("there is no image that matches image_info row %d", n+1)
		}
		ids = append(ids, visible[at].ID)
	}
	h.counters.add(func(s *Stats) { s.Scans += len(ids) })
	h.begin(&job{project: c.project, images: ids})
	return response{}, nil
}
