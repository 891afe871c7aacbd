package hsstest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// SetImages replaces the inventory. Requests in progress still see the old one.
func (h *Handler) SetImages(images ...Image) {
	h.Update(func([]Image) []Image { return images })
}

// Update replaces the inventory by the result of change, which gets a copy, excludes other changes and must not call
// the handler.
func (h *Handler) Update(change func([]Image) []Image) {
	h.writing.Lock()
	defer h.writing.Unlock()
	images := cloneImages(change(cloneImages(*h.images.Load())))
	inventoryfile.AssignIDs(images)
	h.images.Store(&images)
}

// Images returns a copy of the inventory, with assigned IDs, as scans and synchronizations have changed it by now.
func (h *Handler) Images() []Image {
	h.advance()
	return cloneImages(*h.images.Load())
}

func cloneImages(images []Image) []Image {
	images = slices.Clone(images)
	for n := range images {
		images[n].AssociationImages = slices.Clone(images[n].AssociationImages)
	}
	return images
}

// visible returns the rows that a request of a project sees.
func (h *Handler) visible(project string, q query) []*Image {
	var rows []*Image
	images := *h.images.Load()
	behavior, now := &h.options.behavior, h.options.now()
	enterpriseProject := q.Get(fieldEnterpriseProject)
	if behavior.EnterpriseProjects == "default" && enterpriseProject == hss.AllGrantedEnterpriseProjects {
		enterpriseProject = ""
	}
	for n := range images {
		if !images[n].VisibleTo(project, enterpriseProject) {
			continue
		}
		for _, row := range behavior.rows(&images[n], now) {
			if q.selects(row) {
				rows = append(rows, row)
			}
		}
	}
	return rows
}

// imageParameters are those of the list that hssgate sends: 14 of the API's 27.
func (o *options) imageParameters() parameters {
	text := func(longest int, get func(*Image) string) parameter {
		return parameter{length(1, longest), func(row *Image, want string) bool {
			return o.equal(get(row), want)
		}}
	}
	return parameters{
		fieldNamespace:  text(128, func(i *Image) string { return i.Namespace }),
		fieldImageName:  text(128, func(i *Image) string { return i.ImageName }),
		"image_version": text(64, func(i *Image) string { return i.ImageVersion }),
		"registry_name": text(128, func(i *Image) string { return i.RegistryName }),
		"image_type":    {oneOf(imageTypes()...), func(row *Image, want string) bool { return row.ImageType == want }},
		"scan_status": {oneOf("unscan", "success", "scanning", "failed", "waiting_for_scan"),
			func(row *Image, want string) bool { return row.ScanStatus == want }},
		"sort_key":                 {check: oneOf("latest_scan_time")},
		"sort_dir":                 {check: oneOf("asc", "desc")},
		"start_latest_update_time": since(func(i *Image) time.Time { return i.LatestUpdateTime }),
		"start_latest_scan_time":   since(func(i *Image) time.Time { return i.LatestScanTime }),
		"start_latest_sync_time":   since(func(i *Image) time.Time { return i.LatestSyncTime }),
	}.withPaging(1)
}

// equal reports whether a filter matches a text.
func (o *options) equal(text, want string) bool {
	return text == want || o.behavior.Filters == "substring" && strings.Contains(text, want)
}

func imageTypes() []string {
	return []string{"private_image", "shared_image", "instance_image", "harbor", "jfrog"}
}

func (h *Handler) listImages(c *call) (any, error) {
	q, err := h.options.imageParameters().parse(c.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	rows := h.visible(c.project(), q)
	if q.Has("sort_key") {
		slices.SortStableFunc(rows, func(a, b *Image) int { return a.LatestScanTime.Compare(b.LatestScanTime) })
		if q.Get("sort_dir") == "desc" {
			slices.Reverse(rows)
		}
	}
	return page(h, q, rows, func(row *Image) any { return h.options.behavior.wire(row.Listed()) }), nil
}

func (h *Handler) listVulnerabilities(c *call) (any, error) {
	q, of, err := h.partOf(c, "tag_name", 64, "jfrog", "cicd")
	if err != nil {
		return nil, err
	}
	return page(h, q, of.Vulnerabilities, func(v Vulnerability) any { return v.Listed() }), nil
}

func (h *Handler) listSecrets(c *call) (any, error) {
	q, of, err := h.partOf(c, "image_version", 65535, "cicd")
	if err != nil {
		return nil, err
	}
	return page(h, q, of.Secrets, nil), nil
}

func (h *Handler) listMaliciousFiles(c *call) (any, error) {
	q, of, err := h.partOf(c, "tag_name", 65535, "cicd")
	if err != nil {
		return nil, err
	}
	return page(h, q, of.MaliciousFiles, nil), nil
}

// partOf checks the query of a list of one image, or of one architecture, and returns the image that it names. All names are
// required, with the parameter version for the image's.
func (h *Handler) partOf(c *call, version string, longest int, types ...string) (query, *Architecture, error) {
	known := parameters{
		"image_type":   {check: oneOf(append(imageTypes()[:4], types...)...)},
		fieldNamespace: {check: length(0, longest)},
		fieldImageName: {check: length(0, max(longest, 128))},
		version:        {check: length(0, longest)},
	}.withPaging(10)
	if c.endpoint == EndpointVulnerabilities {
		known["instance_id"] = parameter{check: length(0, 128)}
	}
	q, err := known.parse(c.URL.RawQuery, "image_type", fieldNamespace, fieldImageName, version)
	if err != nil {
		return q, nil, err
	}
	instance := q.Get("instance_id")
	for _, row := range h.visible(c.project(), q) {
		if row.ImageType != q.Get("image_type") || instance != "" && row.InstanceID != instance {
			continue
		}
		if of := row.Part(c.PathValue("image"), q.Get(fieldNamespace), q.Get(fieldImageName), q.Get(version)); of != nil {
			return q, of, nil
		}
	}
	return q, nil, notFound("there is no such image")
}

// Registries returns a copy of the registries.
func (h *Handler) Registries() []Registry {
	h.coming.mu.Lock()
	defer h.coming.mu.Unlock()
	return slices.Clone(h.coming.registries)
}

// registriesOf returns the registries that a project sees.
func (h *Handler) registriesOf(project string) []Registry {
	return slices.DeleteFunc(h.Registries(), func(r Registry) bool { return r.ProjectID != "" && r.ProjectID != project })
}

func (h *Handler) listRegistries(c *call) (any, error) {
	q, err := parameters{}.withPaging(10).parse(c.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	return page(h, q, h.registriesOf(c.project()), nil), nil
}

func (h *Handler) listProjects(c *call) (any, error) {
	q, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil || len(q) != 1 || len(q["name"]) != 1 {
		return nil, gatewayError(http.StatusBadRequest, "IAM.0001", "the query must be name={region}")
	}
	region := q.Get("name")
	projects := slices.Clone(h.options.iamProjects)
	if projects == nil {
		projects = []IAMProject{{ID: DefaultProjectID, Name: region}}
	}
	return map[string]any{
		"projects": slices.DeleteFunc(projects, func(p IAMProject) bool { return p.Name != region }),
	}, nil
}
