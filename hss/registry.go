package hss

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strings"
)

// MaxSyncRegistries is how many registries a [SyncRequest] may have. The API lists at most as many.
const MaxSyncRegistries = 100

// RegistryRequest selects the registries that HSS knows.
type RegistryRequest struct {
	// EnterpriseProjectID is that of a ListRequest.
	EnterpriseProjectID string `query:"enterprise_project_id" chars:"-256"`
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

// RegistryType returns the type of the registries that have images of the type; empty: it is not documented.
func (t ImageType) RegistryType() RegistryType {
	switch t {
	case ImageTypePrivate:
		return RegistryTypeSWRPrivate
	case ImageTypeShared:
		return RegistryTypeSWRShared
	case ImageTypeInstance:
		return RegistryTypeSWREnterprise
	case ImageTypeHarbor:
		return RegistryTypeHarbor
	case ImageTypeJFrog:
		return RegistryTypeJFrog
	}
	return ""
}

// Registry is one registry that HSS knows: RegistryInfo of the API.
type Registry struct {
	ID   string
	Name string
	Type RegistryType
	// Address is the host, perhaps with a port, that its images are named by.
	Address string
}

// Host returns the host of the registry's address, as references name it.
func (r *Registry) Host() string {
	address := r.Address
	if _, rest, found := strings.Cut(address, "://"); found {
		address = rest
	}
	address, _, _ = strings.Cut(address, "/")
	return strings.TrimSuffix(strings.ToLower(address), ":443")
}

// Registries returns the registries that HSS knows, each once. It ends as [Client.All] does: never early without an error.
func (c *Client) Registries(ctx context.Context, r RegistryRequest) iter.Seq2[Registry, error] {
	query, err := parameters("registry", r)
	return allPages(ctx, c, "/image/registries", query, err, whole, readRegistry)
}

// readRegistry reads a row. One version of the reference spells registry_type "type".
func readRegistry(o *object) Registry {
	return Registry{
		ID: o.text("id"), Name: o.text("registry_name"), Address: o.text("registry_addr"),
		Type: RegistryType(cmp.Or(o.text("registry_type"), o.text("type"))),
	}
}

// SyncRequest requests that HSS reads the lists of registries anew.
type SyncRequest struct {
	// EnterpriseProjectID is that of a ListRequest.
	EnterpriseProjectID string `query:"enterprise_project_id" chars:"-256"`
	// Registries has 1 to MaxSyncRegistries registries.
	Registries []SyncRegistry
}

// SyncRegistry names a registry of a [SyncRequest].
type SyncRegistry struct {
	ID   string       `json:"registry_id"`
	Type RegistryType `json:"registry_type"`
}

// SyncRegistries requests that HSS synchronises its list of images with registries. It returns once HSS has accepted
// the request, before the images are listed. It costs nothing, so it is retried as a list is.
func (c *Client) SyncRegistries(ctx context.Context, r SyncRequest) error {
	var problems []string
	if n := len(r.Registries); n < 1 || n > MaxSyncRegistries {
		problems = append(problems, fmt.Sprintf("the number of registries is %d, allowed are 1 to %d", n, MaxSyncRegistries))
	}
	query, err := parameters("synchronisation", r, problems...)
	if err != nil {
		return err
	}
	return c.post(ctx, &call{path: "/image/image-sync/tasks", query: query}, map[string]any{"sync_all_registries": false, "registry_info": r.Registries})
}
