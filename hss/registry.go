package hss

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/url"
)

// MaxSyncRegistries bounds a SyncRequest. The API lists at most as many registries.
const MaxSyncRegistries = 100

// RegistryRequest selects the registries that HSS knows. Zero values are not sent.
type RegistryRequest struct {
	// EnterpriseProjectID is that of a ListRequest.
	EnterpriseProjectID string
	// Offset is 0–2,000,000 rows.
	Offset int
	// Limit is 10–200 rows a page; 0: 200.
	Limit int
}

// RegistryType is the type of a registry as HSS names it. Values that are not listed here are kept as sent.
type RegistryType string

// The documented registry types.
const (
	RegistryTypeSWRPrivate    RegistryType = "SwrPrivate"
	RegistryTypeSWRShared     RegistryType = "SwrShared"
	RegistryTypeSWREnterprise RegistryType = "SwrEnterprise"
	RegistryTypeHarbor        RegistryType = "Harbor"
	RegistryTypeJFrog         RegistryType = "Jfrog"
	RegistryTypeOther         RegistryType = "Other"
)

// Known reports whether t is one of the documented registry types.
func (t RegistryType) Known() bool {
	switch t {
	case RegistryTypeSWRPrivate, RegistryTypeSWRShared, RegistryTypeSWREnterprise,
		RegistryTypeHarbor, RegistryTypeJFrog, RegistryTypeOther:
		return true
	}
	return false
}

// Registry is one registry that HSS knows: RegistryInfo of the API.
type Registry struct {
	ID   string
	Name string
	Type RegistryType
	// Address is the host, perhaps with a port, that its images are named by.
	Address string
}

// Registries returns the registries that HSS knows, those of all pages from r.Offset on, each once. It ends as
// [Client.All] does: never early without an error.
func (c *Client) Registries(ctx context.Context, r RegistryRequest) iter.Seq2[Registry, error] {
	whole := func(r *Registry) Registry { return *r }
	return allPages(r.Validate(), whole, r.Offset, r.Limit, func(offset, limit int) (page[Registry], error) {
		r.Offset, r.Limit = offset, limit
		return listPage(ctx, c, &call{path: "/image/registries", query: r.parameters().query()}, fieldRows, readRegistry)
	})
}

func (r RegistryRequest) parameters() parameters {
	return parameters{
		{name: parameterEnterpriseProject, text: r.EnterpriseProjectID, longest: 256},
		{name: "offset", number: r.Offset, highest: MaxOffset},
		{name: "limit", number: r.Limit, lowest: minLimit, highest: MaxLimit},
	}
}

// Validate checks the request against the bounds that the API documents.
func (r RegistryRequest) Validate() error { return r.parameters().validate("registry") }

// readRegistry reads a row. One version of the reference spells registry_type "type".
func readRegistry(o *object) Registry {
	return Registry{
		ID: o.text("id"), Name: o.text("registry_name"), Address: o.text("registry_addr"),
		Type: RegistryType(cmp.Or(o.text("registry_type"), o.text("type"))),
	}
}

// SyncRequest requests that HSS reads the lists of registries anew.
type SyncRequest struct {
	// EnterpriseProjectID has 1–256 characters. Empty: the default one.
	EnterpriseProjectID string
	// Registries has 1–100 registries.
	Registries []SyncRegistry
}

// SyncRegistry names a registry of a [SyncRequest].
type SyncRegistry struct {
	// ID has 1–64 characters.
	ID   string       `json:"registry_id"`
	Type RegistryType `json:"registry_type"`
}

// SyncRegistries requests that HSS synchronises its list of images with registries. It returns once HSS has accepted
// the request, before the images are listed. It costs nothing, so it is retried as a list is.
func (c *Client) SyncRegistries(ctx context.Context, r SyncRequest) error {
	if err := r.Validate(); err != nil {
		return err
	}
	body := struct {
		All        bool           `json:"sync_all_registries"`
		Registries []SyncRegistry `json:"registry_info"`
	}{Registries: r.Registries}
	return c.post(ctx, &call{path: "/image/image-sync/tasks", query: url.Values{}}, r.EnterpriseProjectID, body)
}

// Validate checks the request, and names every field that is wrong.
func (r SyncRequest) Validate() error {
	var problems []string
	if n := len(r.Registries); n < 1 || n > MaxSyncRegistries {
		problems = append(problems, fmt.Sprintf("the number of registries is %d, allowed are 1 to %d", n, MaxSyncRegistries))
	}
	fields := parameters{{name: parameterEnterpriseProject, text: r.EnterpriseProjectID, longest: 256}}
	for n, registry := range r.Registries {
		where := fmt.Sprintf("registry_info[%d].", n)
		if registry.ID == "" {
			problems = append(problems, where+"registry_id is missing")
		}
		if registry.Type == "" {
			problems = append(problems, where+"registry_type is missing")
		}
		fields = append(fields, parameter{name: where + "registry_id", text: registry.ID, longest: 64},
			parameter{name: where + "registry_type", text: string(registry.Type), allowed: texts(RegistryTypeSWRPrivate, RegistryTypeSWRShared,
				RegistryTypeSWREnterprise, RegistryTypeHarbor, RegistryTypeJFrog, RegistryTypeOther)})
	}
	return fields.validate("synchronisation", problems...)
}
