package hsstest

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// The values of status of a vulnerability.
const (
	statusUnfixed = "vul_status_unfix"
	statusIgnored = "vul_status_ignored"
)

// listCVEs lists the CVEs of a vulnerability, which are the same for every project. An unknown one has none.
func (h *Handler) listCVEs(c *call) (any, error) {
	q, err := parameters{}.withPaging(10).parse(c.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	return page(h, q, inventoryfile.CVEsOf(*h.images.Load(), c.PathValue("vulnerability")), nil), nil
}

// imageVulnerability is a row of EndpointImageVulnerabilities.
type imageVulnerability struct {
	VulName       string      `json:"vul_name"`
	VulID         string      `json:"vul_id"`
	Type          string      `json:"type"`
	ImageType     string      `json:"image_type"`
	SeverityLevel string      `json:"severity_level"`
	ImageNum      int         `json:"image_num"`
	CVEList       []listedCVE `json:"cve_list,omitzero"`
	MaxCVSSScore  *float64    `json:"max_cvss_score,omitzero"`
	Description   string      `json:"description,omitzero"`
	Solution      string      `json:"solution_detail,omitzero"`
	URL           string      `json:"url,omitzero"`
}

type listedCVE struct {
	ID   string   `json:"cve_id"`
	CVSS *float64 `json:"cvss,omitzero"`
}

// affectedImage is a row of EndpointAffectedImages.
type affectedImage struct {
	ImageID         string `json:"image_id,omitzero"`
	ImageName       string `json:"image_name"`
	VulID           string `json:"vul_id"`
	RepairNecessity string `json:"repair_necessity"`
	ImageDigest     string `json:"image_digest,omitzero"`
	ImageVersion    string `json:"image_version"`
	Status          string `json:"status"`
	LatestScanTime  string `json:"latest_scan_time,omitzero"`
	ImageType       string `json:"image_type"`
	Organization    string `json:"organization"`
	RegistryType    string `json:"registry_type,omitzero"`
	RegistryName    string `json:"registry_name,omitzero"`
	IsMultiArch     string `json:"is_multi_arch"`
}

// eachAffected calls found for every visible image that was scanned, or architecture, with each of its vulnerabilities of a
// type and a status, once.
func (h *Handler) eachAffected(project string, q query, handled bool, found func(row *Image, of *Architecture, v *Vulnerability)) {
	if q.Get("image_type") != "registry" {
		return // other images are not in the inventory
	}
	for _, row := range h.visible(project, q) {
		if row.ScanStatus == "unscan" || row.ScanStatus != "success" && row.LatestScanTime.IsZero() {
			continue
		}
		for of := range row.Parts() {
			seen := map[string]bool{}
			for n := range of.Vulnerabilities {
				v := &of.Vulnerabilities[n]
				if cmp.Or(v.Type, "linux_vul") == q.Get("type") && (v.Status == statusIgnored) == handled && !seen[v.VulID] {
					seen[v.VulID] = true
					found(row, of, v)
				}
			}
		}
	}
}

func (h *Handler) listImageVulnerabilities(c *call) (any, error) {
	q, err := generalParameters(parameters{
		"handle_status": {check: oneOf("handled", "unhandled")}, "cve_id": {check: length(0, 256)},
	}).parse(c.URL.RawQuery, "type", "handle_status", "image_type")
	if err != nil {
		return nil, err
	}
	rows := map[string]*imageVulnerability{}
	h.eachAffected(c.project(), q, q.Get("handle_status") == "handled", func(_ *Image, _ *Architecture, v *Vulnerability) {
		isCVE := func(cve inventoryfile.CVE) bool { return h.options.equal(cve.ID, q.Get("cve_id")) }
		if q.Get("vul_id") != "" && !h.options.equal(v.VulID, q.Get("vul_id")) || q.Get("cve_id") != "" && !slices.ContainsFunc(v.AllCVEs(), isCVE) {
			return
		}
		row := rows[v.VulID]
		if row == nil {
			row = &imageVulnerability{VulName: v.VulID, VulID: v.VulID, Type: q.Get("type"), ImageType: "registry",
				Description: v.Description, Solution: v.Solution, URL: v.URL}
			for _, cve := range v.AllCVEs() {
				row.CVEList = append(row.CVEList, listedCVE{cve.ID, cve.CVSS})
			}
			row.SeverityLevel, row.MaxCVSSScore = severityOf(v)
			rows[v.VulID] = row
		}
		row.ImageNum++
	})
	list := []*imageVulnerability{}
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		list = append(list, rows[id])
	}
	return page(h, q, list, nil), nil
}

func (h *Handler) listAffectedImages(c *call) (any, error) {
	q, err := generalParameters(parameters{"is_handled": {check: oneOf("true", "false")}}).
		parse(c.URL.RawQuery, "is_handled", "vul_id", "type", "image_type")
	if err != nil {
		return nil, err
	}
	rows := []affectedImage{}
	h.eachAffected(c.project(), q, q.Get("is_handled") == "true", func(row *Image, of *Architecture, v *Vulnerability) {
		if v.VulID != q.Get("vul_id") {
			return
		}
		affected := affectedImage{ImageID: of.ImageID, ImageName: of.ImageName, VulID: v.VulID, ImageDigest: of.ImageDigest,
			ImageVersion: of.ImageVersion, Status: cmp.Or(v.Status, statusUnfixed), ImageType: "registry", Organization: of.Namespace,
			RegistryType: row.RegistryType, RegistryName: row.RegistryName, IsMultiArch: strconv.FormatBool(row.MultiArch)}
		affected.RepairNecessity, _ = severityOf(v)
		if !row.LatestScanTime.IsZero() {
			affected.LatestScanTime = strconv.FormatInt(row.LatestScanTime.UnixMilli(), 10)
		}
		rows = append(rows, affected)
	})
	return page(h, q, rows, nil), nil
}

// generalParameters adds those of both lists.
func generalParameters(known parameters) parameters {
	known["type"] = parameter{check: oneOf("linux_vul", "app_vul")}
	known["image_type"] = parameter{check: oneOf("local", "registry", "cicd", "cluster")}
	known["vul_id"] = parameter{check: length(0, 256)}
	return known.withPaging(10)
}

// severityOf returns the level and the highest score of a vulnerability. Without a score the level is that of its necessity.
func severityOf(v *Vulnerability) (level string, score *float64) {
	for _, cve := range v.AllCVEs() {
		if cve.CVSS != nil && (score == nil || *cve.CVSS > *score) {
			score = cve.CVSS
		}
	}
	if score == nil {
		return cmp.Or(map[string]string{"delay_repair": "Medium", "not_needed_repair": "Low"}[v.RepairNecessity], "High"), nil
	}
	for _, class := range []struct {
		from  float64
		level string
	}{{9, "Critical"}, {7, "High"}, {4, "Medium"}} {
		if *score >= class.from {
			return class.level, score
		}
	}
	return "Low", score
}
