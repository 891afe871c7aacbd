package hsstest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// jobs holds the scans and synchronizations in progress, and the registries that the latter update.
type jobs struct {
	mu         sync.Mutex
	active     []*job
	registries []Registry
}

// job is a scan of images, or a synchronization of registries.
type job struct {
	project    string
	began      time.Time
	images     []int64
	stage      string // that the images show
	registries []registryKey
}

// registryKey identifies a registry in a synchronization.
type registryKey struct {
	ID   string `json:"registry_id"`
	Type string `json:"registry_type"`
}

// scanTimes holds how long HSS takes; negative: forever.
type scanTimes struct{ waiting, scanning, syncing time.Duration }

func (h *Handler) begin(started *job) {
	started.began = h.options.now()
	h.jobs.mu.Lock()
	h.jobs.active = append(h.jobs.active, started)
	h.jobs.mu.Unlock()
	h.advance()
}

// advance brings the jobs to where they are by now.
func (h *Handler) advance() {
	h.jobs.mu.Lock()
	defer h.jobs.mu.Unlock()
	now, times := h.options.now(), h.options.scanTimes
	h.jobs.active = slices.DeleteFunc(h.jobs.active, func(j *job) bool {
		passed := func(d time.Duration) bool { return d >= 0 && now.Sub(j.began) >= d }
		stage := "waiting_for_scan"
		switch {
		case len(j.registries) > 0 && passed(times.syncing):
			h.synchronized(j, now)
			return true
		case len(j.registries) > 0:
			return false
		case passed(times.waiting) && times.scanning >= 0 && passed(times.waiting+times.scanning):
			stage = "success"
		case passed(times.waiting):
			stage = "scanning"
		}
		h.scanned(j, stage, now)
		return stage == "success"
	})
}

// scanned moves the rows of a scan.
func (h *Handler) scanned(j *job, stage string, now time.Time) {
	if stage == j.stage {
		return
	}
	j.stage = stage
	h.Update(func(rows []Image) []Image {
		for n := range rows {
			switch row := &rows[n]; {
			case !slices.Contains(j.images, row.ID):
			case stage == "success":
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
	row.ScanStatus = cmp.Or(outcome.ScanStatus, "success")
	row.ScanFailedCode, row.ScanFailedDesc = outcome.ScanFailedCode, outcome.ScanFailedDesc
	row.LatestScanTime = now
	succeeded := row.ScanStatus == "success"
	if succeeded {
		row.SeverityLevel = cmp.Or(outcome.SeverityLevel, "Security")
		row.VulNum, row.UnsafeSettingNum, row.MaliciousFileNum =
			orZero(outcome.VulNum), orZero(outcome.UnsafeSettingNum), orZero(outcome.MaliciousFileNum)
	}
	for n := range row.AssociationImages {
		a := &row.AssociationImages[n]
		a.ScanStatus = row.ScanStatus
		if succeeded {
			a.VulNum, a.UnsafeSettingNum, a.MaliciousFileNum = orZero(a.VulNum), orZero(a.UnsafeSettingNum), orZero(a.MaliciousFileNum)
		}
	}
}

func orZero(n *int) *int { return cmp.Or(n, new(0)) }

// synchronized shows the rows of a synchronization. The caller holds the lock.
func (h *Handler) synchronized(j *job, now time.Time) {
	h.Update(func(rows []Image) []Image {
		for n := range rows {
			row := &rows[n]
			if (row.ProjectID == "" || row.ProjectID == j.project) && slices.Contains(j.registries, registryKey{row.RegistryID, row.RegistryType}) {
				row.Hidden, row.LatestSyncTime = false, now
			}
		}
		return rows
	})
	for n := range h.jobs.registries {
		if r := &h.jobs.registries[n]; slices.Contains(j.registries, registryKey{r.ID, r.Type}) {
			r.LatestSyncTime = now
		}
	}
}

// decodePost checks the query and reads the body of a POST, in which unknown fields are errors.
func (c *call) decodePost(into any) (query, error) {
	q, err := parameters{
		fieldEnterpriseProject: {check: length(1, 256)}, "global_image_type": {check: oneOf("registry")},
	}.parse(c.query)
	if err != nil {
		return q, err
	}
	if kind := c.header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		return q, fmt.Errorf("the content type is %q, allowed: application/json", kind)
	}
	decoder := json.NewDecoder(bytes.NewReader(c.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return q, fmt.Errorf("cannot read the body: %w", err)
	}
	return q, nil
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

// scan serves EndpointScan.
func (h *Handler) scan(c *call) (any, error) {
	var body struct {
		ScanScope int64       `json:"scan_scope"`
		RateLimit int64       `json:"rate_limit"`
		IsAll     bool        `json:"is_all"`
		ImageInfo []scanImage `json:"image_info"`
	}
	q, err := c.decodePost(&body)
	if err != nil {
		return nil, err
	}
	if body.IsAll || len(body.ImageInfo) == 0 {
		return nil, errors.New("image_info names no image, or is_all is true, which this server does not do")
	}
	visible := h.visible(c.project, q)
	var ids []int64
	for n := range body.ImageInfo {
		at := slices.IndexFunc(visible, body.ImageInfo[n].matches)
		if at < 0 {
			return nil, notFound("there is no image that matches image_info row %d", n+1)
		}
		ids = append(ids, visible[at].ID)
	}
	h.counters.add(func(s *Stats) { s.Scans += len(ids) })
	h.begin(&job{project: c.project, images: ids})
	return nil, nil
}

// sync serves EndpointSync. HSS knows the registries of its rows, too.
func (h *Handler) sync(c *call) (any, error) {
	var body struct {
		SyncAllRegistries bool          `json:"sync_all_registries"`
		RegistryInfo      []registryKey `json:"registry_info"`
	}
	if _, err := c.decodePost(&body); err != nil {
		return nil, err
	}
	if body.SyncAllRegistries || len(body.RegistryInfo) == 0 {
		return nil, errors.New("registry_info names no registry, or sync_all_registries is true, which this server does not do")
	}
	known := map[registryKey]bool{}
	for _, r := range h.registriesOf(c.project) {
		known[registryKey{r.ID, r.Type}] = true
	}
	for _, row := range *h.images.Load() {
		known[registryKey{row.RegistryID, row.RegistryType}] = true
	}
	for _, r := range body.RegistryInfo {
		if !known[r] {
			return nil, notFound("there is no registry %q of type %q", r.ID, r.Type)
		}
	}
	h.counters.add(func(s *Stats) { s.Syncs++ })
	h.begin(&job{project: c.project, registries: body.RegistryInfo})
	return nil, nil
}
