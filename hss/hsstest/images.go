package hsstest

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// store holds the inventory. Readers never wait for writers.
type store struct {
	shuffle *uint64
	mu      sync.Mutex // held by writers
	rows    atomic.Pointer[snapshot]
}

// snapshot is the inventory at one moment. It never changes.
type snapshot struct {
	given  []Image  // by the writer, with IDs
	served []*Image // in the order of the list
}

func (s *store) update(change func([]Image) []Image) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var before []Image
	if rows := s.rows.Load(); rows != nil {
		before = cloneImages(rows.given)
	}
	s.rows.Store(newSnapshot(change(before), s.shuffle))
}

func newSnapshot(images []Image, shuffle *uint64) *snapshot {
	given := cloneImages(images)
	inventoryfile.AssignIDs(given)
	served := make([]*Image, len(given))
	for i := range given {
		served[i] = &given[i]
	}
	if shuffle != nil {
		random := rand.New(rand.NewPCG(*shuffle, *shuffle)) //nolint:gosec // an order, not a secret
		random.Shuffle(len(served), func(i, j int) { served[i], served[j] = served[j], served[i] })
	}
	return &snapshot{given, served}
}

func cloneImages(images []Image) []Image {
	out := slices.Clone(images)
	for i := range out {
		out[i].AssociationImages = slices.Clone(out[i].AssociationImages)
		out[i].Vulnerabilities = slices.Clone(out[i].Vulnerabilities)
		for j := range out[i].AssociationImages {
			a := &out[i].AssociationImages[j]
			a.Vulnerabilities = slices.Clone(a.Vulnerabilities)
		}
	}
	return out
}

// imageParameters are the 27 of the list request.
func imageParameters(substring bool) parameters[Image] {
	type p = parameter[Image]
	text := func(low, high int, get func(*Image) string) p {
		if substring {
			return p{length(low, high), get, strings.Contains}
		}
		return p{length(low, high), get, nil}
	}
	all := parameters[Image]{
		fieldEnterpriseProject: {check: length(1, 256)},
		"offset":               {check: number(0, 2_000_000)},
		"limit":                {check: number(1, 200)},
		"sort_key":             {check: oneOf("latest_scan_time")},
		"sort_dir":             {check: oneOf("asc", "desc")},
		fieldNamespace:         text(1, 128, func(i *Image) string { return i.Namespace }),
		fieldImageName:         text(1, 128, func(i *Image) string { return i.ImageName }),
		"image_version":        text(1, 64, func(i *Image) string { return i.ImageVersion }),
		"registry_name":        text(1, 128, func(i *Image) string { return i.RegistryName }),
		"instance_id":          text(0, 128, func(i *Image) string { return i.InstanceID }),
		"instance_name":        text(0, 128, func(i *Image) string { return i.InstanceName }),
		"image_type":           {check: oneOf(inventoryfile.ImageTypes()...), get: func(i *Image) string { return i.ImageType }},
		"severity_level": {check: oneOf(inventoryfile.SeverityLevels()...),
			get: func(i *Image) string { return i.SeverityLevel }},
		// Fewer than a row can have: download_failed and image_oversized are not filters.
		"scan_status": {check: oneOf("unscan", "success", "scanning", "failed", "waiting_for_scan"),
			get: func(i *Image) string { return i.ScanStatus }},
		"image_size": {check: number(0, 2_147_483_547),
			get: func(i *Image) string { return strconv.FormatInt(i.ImageSize, 10) }},
		"has_vul":            flag(func(i *Image) bool { return findings(i).vul }),
		"has_unsafe_setting": flag(func(i *Image) bool { return findings(i).unsafe }),
		"has_malicious_file": flag(func(i *Image) bool { return findings(i).malicious }),
		"risky":              flag(func(i *Image) bool { return findings(i) != found{} }),
		"is_multarch":        flag(func(i *Image) bool { return i.MultiArch }),
		"latest_version": {check: oneOf("true", "false"),
			get:     func(i *Image) string { return strconv.FormatBool(i.LatestVersion != nil && *i.LatestVersion) },
			matches: func(has, want string) bool { return want == "false" || has == want }},
	}
	all.addTimes("latest_update_time", func(i *Image) time.Time { return i.LatestUpdateTime })
	all.addTimes("latest_scan_time", func(i *Image) time.Time { return i.LatestScanTime })
	all.addTimes("latest_sync_time", func(i *Image) time.Time { return i.LatestSyncTime })
	return all
}

func flag(get func(*Image) bool) parameter[Image] {
	return parameter[Image]{check: oneOf("true", "false"), get: func(i *Image) string { return strconv.FormatBool(get(i)) }}
}

// addTimes adds the range of a time, in milliseconds.
func (known parameters[R]) addTimes(name string, get func(*R) time.Time) {
	text := func(row *R) string {
		if at := get(row); !at.IsZero() {
			return strconv.FormatInt(at.UnixMilli(), 10)
		}
		return ""
	}
	after := func(has, want string) bool { return has != "" && milliseconds(has) >= milliseconds(want) }
	before := func(has, want string) bool { return has != "" && milliseconds(has) <= milliseconds(want) }
	known["start_"+name] = parameter[R]{number(0, math.MaxInt64), text, after}
	known["end_"+name] = parameter[R]{number(0, math.MaxInt64), text, before}
}

// milliseconds reads a number that was checked.
func milliseconds(value string) int64 {
	n, _ := strconv.ParseInt(value, 10, 64)
	return n
}

// found is what a row, or any of its architectures, has.
type found struct{ vul, unsafe, malicious bool }

func findings(i *Image) found {
	positive := func(n *int) bool { return n != nil && *n > 0 }
	all := found{positive(i.VulNum), positive(i.UnsafeSettingNum), positive(i.MaliciousFileNum)}
	for _, a := range i.AssociationImages {
		all.vul = all.vul || positive(a.VulNum)
		all.unsafe = all.unsafe || positive(a.UnsafeSettingNum)
		all.malicious = all.malicious || positive(a.MaliciousFileNum)
	}
	return all
}

// list serves EndpointImages.
func (h *Handler) list(c *call) (response, error) {
	q, err := h.parameters.parse(c.query)
	if err != nil {
		return response{}, err
	}
	for _, name := range []string{"latest_update_time", "latest_scan_time", "latest_sync_time"} {
		start, end := q.Get("start_"+name), q.Get("end_"+name)
		if start != "" && end != "" && milliseconds(start) > milliseconds(end) {
			return response{}, invalidParameter("parameter %q is %s, allowed: at most %q, which is %s",
				"start_"+name, start, "end_"+name, end)
		}
	}
	early := 0
	if h.options.repeatRows {
		early = 1
	}
	return page(q, h.store.rows.Load().find(q, c.project), (*Image).Wire, early), nil
}

// find returns the rows that a request of a project sees.
func (s *snapshot) find(q *request[Image], project string) []*Image {
	enterpriseProject := q.enterpriseProject()
	var found []*Image
	for _, row := range s.served {
		if row.VisibleTo(project, enterpriseProject) && q.match(row) {
			found = append(found, row)
		}
	}
	if q.Has("sort_key") {
		slices.SortStableFunc(found, func(a, b *Image) int { return a.LatestScanTime.Compare(b.LatestScanTime) })
		if q.Get("sort_dir") == "desc" {
			slices.Reverse(found)
		}
	}
	return found
}

// vulnerabilityParameters are the 13 of the request.
func vulnerabilityParameters() parameters[Vulnerability] {
	return parameters[Vulnerability]{
		"image_type":   {check: oneOf(append(inventoryfile.ImageTypes(), "cicd")...)},
		"instance_id":  {check: length(0, 128)},
		fieldNamespace: {check: length(0, 64)},
		fieldImageName: {check: length(0, 128)},
		"tag_name":     {check: length(0, 64)},
		"repair_necessity": {check: oneOf(inventoryfile.RepairNecessities()...),
			get: func(v *Vulnerability) string { return v.RepairNecessity }},
		// The one filter that is documented as fuzzy.
		"vul_id":   {length(0, 128), func(v *Vulnerability) string { return v.VulID }, strings.Contains},
		"app_name": {check: length(0, 64), get: func(v *Vulnerability) string { return v.AppName }},
		"type": {check: oneOf(inventoryfile.VulnerabilityTypes()...), get: func(v *Vulnerability) string {
			if v.Type == "" && v.AppPath != "" {
				return "app_vul"
			}
			return cmp.Or(v.Type, "linux_vul")
		}},
		"handle_status": {check: oneOf("unhandled", "handled"), get: func(v *Vulnerability) string {
			if v.Handled {
				return "handled"
			}
			return "unhandled"
		}},
	}.paging()
}

// vulnerabilities serves EndpointVulnerabilities.
func (h *Handler) vulnerabilities(c *call) (response, error) {
	q, err := vulnerabilityParameters().parse(c.query, "image_type", fieldNamespace, fieldImageName, "tag_name")
	if err != nil {
		return response{}, err
	}
	instance := q.Get("instance_id")
	for _, row := range h.store.rows.Load().served {
		if !row.VisibleTo(c.project, q.enterpriseProject()) || row.ImageType != q.Get("image_type") ||
			instance != "" && row.InstanceID != instance {
			continue
		}
		if all, ok := row.VulnerabilitiesOf(c.imageID, q.Get(fieldNamespace), q.Get(fieldImageName), q.Get("tag_name")); ok {
			return page(q, q.filter(all), (*Vulnerability).Wire, 0), nil
		}
	}
	return response{}, notFound("there is no such image")
}
