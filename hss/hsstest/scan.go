package hsstest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// coming holds the changes to come, and the registries that synchronizations update.
type coming struct {
	mu         sync.Mutex
	changes    []change
	registries []Registry
}

// change is a part of a scan or of a synchronization, some time after the one before; negative: never.
type change struct {
	after time.Duration
	apply func(at time.Time)
	at    time.Time
}

// registryKey identifies a registry in a synchronization.
type registryKey struct {
	ID   string `json:"registry_id"`
	Type string `json:"registry_type"`
}

// scanTimes holds how long HSS takes; negative: forever.
type scanTimes struct{ waiting, scanning, syncing time.Duration }

// schedule applies changes from now on.
func (h *Handler) schedule(changes ...change) {
	at := h.options.now()
	h.coming.mu.Lock()
	for _, c := range changes {
		if c.after < 0 {
			break
		}
		at = at.Add(c.after)
		c.at = at
		h.coming.changes = append(h.coming.changes, c)
	}
	h.coming.mu.Unlock()
	h.advance()
}

// advance applies the changes that are due.
func (h *Handler) advance() {
	h.coming.mu.Lock()
	defer h.coming.mu.Unlock()
	now := h.options.now()
	h.coming.changes = slices.DeleteFunc(h.coming.changes, func(c change) bool {
		if c.at.After(now) {
			return false
		}
		c.apply(c.at)
		return true
	})
}

func applyOutcome(row *Image, at time.Time) {
	outcome := ScanOutcome{}
	if row.Outcome != nil {
		outcome = *row.Outcome
	}
	row.ScanStatus = cmp.Or(outcome.ScanStatus, "success")
	row.ScanFailedCode, row.ScanFailedDesc = outcome.ScanFailedCode, outcome.ScanFailedDesc
	row.LatestScanTime = at
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

// synchronized shows the rows of registries that a project sees. The caller holds the lock.
func (h *Handler) synchronized(project string, registries []registryKey, at time.Time) {
	h.Update(func(rows []Image) []Image {
		for n := range rows {
			row := &rows[n]
			if (row.ProjectID == "" || row.ProjectID == project) && slices.Contains(registries, registryKey{row.RegistryID, row.RegistryType}) {
				row.Hidden, row.LatestSyncTime = false, at
			}
		}
		return rows
	})
	for n := range h.coming.registries {
		if r := &h.coming.registries[n]; slices.Contains(registries, registryKey{r.ID, r.Type}) {
			r.LatestSyncTime = at
		}
	}
}

// decodePost checks the query and reads the body of a POST, in which unknown fields are errors.
func (c *call) decodePost(into any) (query, error) {
	q, err := parameters{
		fieldEnterpriseProject: {check: length(1, 256)}, "global_image_type": {check: oneOf("registry")},
	}.parse(c.URL.RawQuery)
	if err != nil {
		return q, err
	}
	if kind := c.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		return q, fmt.Errorf("the content type is %q, allowed: application/json", kind)
	}
	decoder := json.NewDecoder(bytes.NewReader(c.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return q, fmt.Errorf("cannot read the body: %w", err)
	}
	return q, nil
}

// matches reports whether a row has every field that is given of an image, which must be named.
func matches(given, row *Image) bool {
	wanted, is := reflect.ValueOf(*given), reflect.ValueOf(*row)
	for n := range wanted.NumField() {
		if field := wanted.Field(n); !field.IsZero() && !reflect.DeepEqual(field.Interface(), is.Field(n).Interface()) {
			return false
		}
	}
	return given.ID != 0 || given.ImageName != ""
}

func (h *Handler) scan(c *call) (any, error) {
	var body struct {
		ScanScope int64   `json:"scan_scope"`
		RateLimit int64   `json:"rate_limit"`
		IsAll     bool    `json:"is_all"`
		ImageInfo []Image `json:"image_info"`
	}
	q, err := c.decodePost(&body)
	if err != nil {
		return nil, err
	}
	if body.IsAll || len(body.ImageInfo) == 0 {
		return nil, errors.New("image_info names no image, or is_all is true, which this server does not do")
	}
	visible := h.visible(c.project(), q)
	var ids []int64
	for n := range body.ImageInfo {
		at := slices.IndexFunc(visible, func(row *Image) bool { return matches(&body.ImageInfo[n], row) })
		if at < 0 {
			return nil, notFound("there is no image that matches image_info row %d", n+1)
		}
		ids = append(ids, visible[at].ID)
	}
	h.counters.add(func(s *Stats) { s.Scans += len(ids) })
	ofRows := func(after time.Duration, apply func(row *Image, at time.Time)) change {
		return change{after: after, apply: func(at time.Time) {
			h.Update(func(rows []Image) []Image {
				for n := range rows {
					ofArchitecture := func(a Architecture) bool { return slices.Contains(ids, a.ID) }
					if slices.Contains(ids, rows[n].ID) || slices.ContainsFunc(rows[n].AssociationImages, ofArchitecture) {
						apply(&rows[n], at)
					}
				}
				return rows
			})
		}}
	}
	status := func(status string) func(*Image, time.Time) {
		return func(row *Image, _ time.Time) { row.ScanStatus = status }
	}
	times := h.options.scanTimes
	h.schedule(ofRows(0, status("waiting_for_scan")), ofRows(times.waiting, status("scanning")), ofRows(times.scanning, h.completeScan))
	return nil, nil
}

// completeScan counts a scan if it is successful, since only such scans are paid for.
func (h *Handler) completeScan(row *Image, at time.Time) {
	if applyOutcome(row, at); row.ScanStatus == "success" {
		h.scanned.Add(1)
	}
}

// countScans serves EndpointScanStatistics. It is not documented whether the number of free scans falls; here it does not.
func (h *Handler) countScans(c *call) (any, error) {
	const free = 10
	if _, err := (parameters{fieldEnterpriseProject: {check: length(1, 256)}}).parse(c.URL.RawQuery); err != nil {
		return nil, err
	}
	return map[string]any{
		"repository_scan_num": h.scanned.Load(), "cicd_scan_num": 0, "free_quota_num": free, "already_given": true, "image_free_quota": free,
	}, nil
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
	for _, r := range h.registriesOf(c.project()) {
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
	project := c.project()
	h.schedule(change{after: h.options.scanTimes.syncing, apply: func(at time.Time) { h.synchronized(project, body.RegistryInfo, at) }})
	return nil, nil
}
