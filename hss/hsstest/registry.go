package hsstest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// WithRegistries adds registries that the server knows.
func WithRegistries(registries ...Registry) Option {
	return func(o *options) { o.registries = append(o.registries, registries...) }
}

// Registries is a copy of the registries that the server knows.
func (h *Handler) Registries() []Registry {
	h.tasks.mu.Lock()
	defer h.tasks.mu.Unlock()
	return slices.Clone(h.tasks.known)
}

// registryKey names a registry in a synchronisation.
type registryKey struct{ id, kind string }

// wireRegistry is RegistryInfo as the API sends it.
type wireRegistry struct {
	ID             string `json:"id"`
	RegistryName   string `json:"registry_name,omitempty"`
	RegistryType   string `json:"registry_type"`
	Protocol       string `json:"protocol,omitempty"`
	RegistryAddr   string `json:"registry_addr,omitempty"`
	Status         string `json:"status"`
	FailReason     string `json:"fail_reason,omitempty"`
	ImagesNum      int    `json:"images_num"`
	LatestSyncTime int64  `json:"latest_sync_time,omitempty"`
}

// registryQuery is a checked request for the registries.
type registryQuery struct {
	offset, limit int
	filters       []func(*Registry) bool
}

// registryParameters are the 8 of the request.
func registryParameters() map[string]parameter[registryQuery] {
	type asked = registryQuery
	filter := func(get func(*Registry) string) func(*asked, string) {
		return func(q *asked, want string) {
			q.filters = append(q.filters, func(r *Registry) bool { return get(r) == want })
		}
	}
	return map[string]parameter[asked]{
		fieldEnterpriseProject: length(1, 256, func(*asked, string) {}), // a registry is of no enterprise project
		"offset":               number(0, 2_000_000, func(q *asked, n int64) { q.offset = int(n) }),
		"limit":                number(10, 200, func(q *asked, n int64) { q.limit = int(n) }),
		"registry_name":        length(1, 128, filter(func(r *Registry) string { return r.Name })),
		"registry_id":          length(1, 64, filter(func(r *Registry) string { return r.ID })),
		"registry_addr":        length(1, 256, filter(func(r *Registry) string { return r.Address })),
		"status":               oneOf(filter(statusOf), inventoryfile.RegistryStatuses()...),
		"registry_type":        ofTypes,
	}
}

// ofTypes reads types with commas between.
func ofTypes(q *registryQuery, value string) error {
	types := strings.Split(value, ",")
	for _, t := range types {
		if !slices.Contains(inventoryfile.RegistryTypes(), t) {
			return errors.New(strings.Join(inventoryfile.RegistryTypes(), ", ") + ", several with commas between")
		}
	}
	q.filters = append(q.filters, func(r *Registry) bool { return slices.Contains(types, r.Type) })
	return nil
}

func statusOf(r *Registry) string { return cmp.Or(r.Status, statusSuccess) }

// registries answers EndpointRegistries.
func (h *Handler) registries(asked call) (answerBody, *refusal) {
	q := &registryQuery{limit: defaultLimit}
	if err := readQuery(asked.query, registryParameters(), h.options, q); err != nil {
		return nil, invalidParameter(err)
	}
	body := &listBody[wireRegistry]{DataList: []wireRegistry{}}
	for _, registry := range h.Registries() {
		if registry.ProjectID != "" && registry.ProjectID != asked.project || !q.matches(&registry) {
			continue
		}
		if body.TotalNum >= q.offset && len(body.DataList) < q.limit {
			body.DataList = append(body.DataList, h.wireRegistry(registry))
		}
		body.TotalNum++
	}
	return body, nil
}

func (q *registryQuery) matches(r *Registry) bool {
	return !slices.ContainsFunc(q.filters, func(filter func(*Registry) bool) bool { return !filter(r) })
}

// wireRegistry is the registry as it is sent.
func (h *Handler) wireRegistry(r Registry) wireRegistry {
	wire := wireRegistry{
		ID: r.ID, RegistryName: r.Name, RegistryType: r.Type, Protocol: r.Protocol, RegistryAddr: r.Address,
		Status: statusOf(&r), FailReason: r.FailReason, LatestSyncTime: inventoryfile.Milliseconds(r.LatestSyncTime),
	}
	for _, row := range h.store.rows.Load().images {
		if row.RegistryID == r.ID && row.RegistryType == r.Type && !row.Hidden {
			wire.ImagesNum++
		}
	}
	return wire
}

// syncRequest is the body of EndpointSync.
type syncRequest struct {
	SyncAllRegistries *bool `json:"sync_all_registries"`
	RegistryInfo      []struct {
		RegistryID   string `json:"registry_id"`
		RegistryType string `json:"registry_type"`
	} `json:"registry_info"`
}

// sync answers EndpointSync.
func (h *Handler) sync(asked call) (answerBody, *refusal) {
	var body syncRequest
	if _, refused := h.decodePost(asked, &body, map[string]parameter[postQuery]{}); refused != nil {
		return nil, refused
	}
	if body.SyncAllRegistries == nil {
		return nil, invalidParameter(errors.New(`field "sync_all_registries" is missing, allowed: true, false`))
	}
	begun := &task{sync: true, project: asked.project, begun: h.options.now(), all: *body.SyncAllRegistries}
	for n, r := range body.RegistryInfo {
		if !slices.Contains(inventoryfile.RegistryTypes(), r.RegistryType) || r.RegistryID == "" || len(r.RegistryID) > 64 {
			return nil, invalidParameter(fmt.Errorf("registry_info row %d is %q of type %q, allowed: a registry_id of 1 to 64 characters and %s",
				n+1, r.RegistryID, r.RegistryType, strings.Join(inventoryfile.RegistryTypes(), ", ")))
		}
		begun.registries = append(begun.registries, registryKey{r.RegistryID, r.RegistryType})
	}
	if !begun.all && len(begun.registries) == 0 {
		return nil, invalidParameter(errors.New("neither sync_all_registries nor registry_info names a registry"))
	}
	if unknown, ok := h.unknownRegistry(begun); ok {
		return nil, fromService(codeNotFound, "Not found.", fmt.Sprintf("there is no registry %q of type %q", unknown.id, unknown.kind))
	}
	h.counters.started(func(s *Stats) { s.Syncs++ })
	h.tasks.begin(begun)
	return emptyBody{}, nil
}

// unknownRegistry finds a registry that the server does not know: neither as
// such nor as that of a row.
func (h *Handler) unknownRegistry(begun *task) (registryKey, bool) {
	known := map[registryKey]bool{}
	for _, r := range h.Registries() {
		if r.ProjectID == "" || r.ProjectID == begun.project {
			known[registryKey{r.ID, r.Type}] = true
		}
	}
	for _, row := range h.store.rows.Load().images {
		known[registryKey{row.RegistryID, row.RegistryType}] = true
	}
	at := slices.IndexFunc(begun.registries, func(k registryKey) bool { return !known[k] })
	if at < 0 {
		return registryKey{}, false
	}
	return begun.registries[at], true
}
