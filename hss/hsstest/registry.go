package hsstest

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// Registries returns a copy of the registries.
func (h *Handler) Registries() []Registry {
	h.jobs.mu.Lock()
	defer h.jobs.mu.Unlock()
	return slices.Clone(h.jobs.registries)
}

// registriesOf returns the registries that a project sees.
func (h *Handler) registriesOf(project string) []Registry {
	return slices.DeleteFunc(h.Registries(), func(r Registry) bool { return r.ProjectID != "" && r.ProjectID != project })
}

// registryParameters are the 8 of the request.
func registryParameters() parameters[Registry] {
	return parameters[Registry]{
		"registry_name": {check: length(1, 128), get: func(r *Registry) string { return r.Name }},
		"registry_id":   {check: length(1, 64), get: func(r *Registry) string { return r.ID }},
		"registry_addr": {check: length(1, 256), get: func(r *Registry) string { return r.Address }},
		"status":        {check: oneOf(inventoryfile.RegistryStatuses()...), get: statusOf},
		"registry_type": {
			check: func(value string) error {
				for kind := range strings.SplitSeq(value, ",") {
					if err := oneOf(inventoryfile.RegistryTypes()...)(kind); err != nil {
						return fmt.Errorf("%w, several with commas between", err)
					}
				}
				return nil
			},
			get:     func(r *Registry) string { return r.Type },
			matches: func(has, want string) bool { return slices.Contains(strings.Split(want, ","), has) },
		},
	}.paging()
}

func statusOf(r *Registry) string { return cmp.Or(r.Status, statusSuccess) }

// listRegistries serves EndpointRegistries.
func (h *Handler) listRegistries(c *call) (response, error) {
	q, err := registryParameters().parse(c.query)
	if err != nil {
		return response{}, err
	}
	return page(q, q.filter(h.registriesOf(c.project)), h.wireRegistry, 0), nil
}

// wireRegistry is RegistryInfo as the API sends it.
type wireRegistry struct {
	Registry

	ImagesNum      int   `json:"images_num"`
	LatestSyncTime int64 `json:"latest_sync_time,omitempty"`
}

func (h *Handler) wireRegistry(r *Registry) wireRegistry {
	wire := wireRegistry{Registry: *r, LatestSyncTime: inventoryfile.Milliseconds(r.LatestSyncTime)}
	wire.ProjectID, wire.Status = "", statusOf(r)
	for _, row := range h.store.rows.Load().served {
		if row.RegistryID == r.ID && row.RegistryType == r.Type && !row.Hidden {
			wire.ImagesNum++
		}
	}
	return wire
}

// registryKey identifies a registry in a synchronization.
type registryKey struct {
	ID   string `json:"registry_id"`
	Type string `json:"registry_type"`
}

// sync serves EndpointSync.
func (h *Handler) sync(c *call) (response, error) {
	var body struct {
		SyncAllRegistries *bool         `json:"sync_all_registries"`
		RegistryInfo      []registryKey `json:"registry_info"`
	}
	if _, err := c.decodePost(&body, parameters[Image]{}); err != nil {
		return response{}, err
	}
	switch {
	case body.SyncAllRegistries == nil:
		return response{}, errors.New(`field "sync_all_registries" is missing, allowed: true, false`)
	case !*body.SyncAllRegistries && len(body.RegistryInfo) == 0:
		return response{}, errors.New("neither sync_all_registries nor registry_info names a registry")
	}
	known := h.knownRegistries(c.project)
	for n, r := range body.RegistryInfo {
		if length(1, 64)(r.ID) != nil || !slices.Contains(inventoryfile.RegistryTypes(), r.Type) {
			return response{}, fmt.Errorf("registry_info row %d is %q of type %q, allowed: a registry_id of 1 to 64 characters and %s",
				n+1, r.ID, r.Type, strings.Join(inventoryfile.RegistryTypes(), ", "))
		}
		if !known[r] {
			return response{}, notFound("there is no registry %q of type %q", r.ID, r.Type)
		}
	}
	h.counters.add(func(s *Stats) { s.Syncs++ })
	h.begin(&job{sync: true, project: c.project, all: *body.SyncAllRegistries, registries: body.RegistryInfo})
	return response{}, nil
}

// knownRegistries returns the registries of a project and those of rows.
func (h *Handler) knownRegistries(project string) map[registryKey]bool {
	known := map[registryKey]bool{}
	for _, r := range h.registriesOf(project) {
		known[registryKey{r.ID, r.Type}] = true
	}
	for _, row := range h.store.rows.Load().served {
		known[registryKey{row.RegistryID, row.RegistryType}] = true
	}
	return known
}

// projects serves EndpointProjects.
func (h *Handler) projects(c *call) (response, error) {
	query, err := url.ParseQuery(c.query)
	if err != nil || len(query) != 1 || len(query["name"]) != 1 {
		return response{}, gatewayError(http.StatusBadRequest, "IAM.0001", "the query must be name={region}")
	}
	body := struct {
		Projects []IAMProject `json:"projects"`
	}{[]IAMProject{}}
	region, o := query.Get("name"), h.options
	for _, project := range o.IAMProjects {
		if project.Name == region {
			body.Projects = append(body.Projects, project)
		}
	}
	if o.IAMProjects == nil {
		for _, id := range o.Projects {
			body.Projects = append(body.Projects, IAMProject{ID: id, Name: region})
		}
		if len(o.Projects) == 0 {
			body.Projects = append(body.Projects, IAMProject{ID: DefaultProjectID, Name: region})
		}
	}
	return response{body, len(body.Projects)}, nil
}
