package hss

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"time"
)

// MaxSyncRegistries bounds a SyncRequest. The API lists at most as many
// registries.
const MaxSyncRegistries = 100

// RegistryStatus is whether HSS reaches a registry. Unknown values are kept.
type RegistryStatus string

// The documented statuses.
const (
	RegistryStatusSuccess   RegistryStatus = "success"
	RegistryStatusFail      RegistryStatus = "fail"
	RegistryStatusAccessing RegistryStatus = "accessing"
)

// RegistryRequest holds the query of the registries that HSS knows. Zero
// values are not sent.
type RegistryRequest struct {
	// EnterpriseProjectID: 1–256 characters; AllGrantedEnterpriseProjects
	// for every one. Empty means the default enterprise project only.
	EnterpriseProjectID string
	// Name has 1–128 characters, ID 1–64, Address 1–256.
	Name    string
	ID      string
	Address string
	// Types asks for registries of any of these types; empty: of all.
	Types  []RegistryType
	Status RegistryStatus
	// Offset is 0–2,000,000 rows.
	Offset int
	// Limit is 10–200 rows a page; 0: 200.
	Limit int
}

// Registry is one registry that HSS knows: RegistryInfo of the API.
type Registry struct {
	ID   string
	Name string
	Type RegistryType
	// Address is the host, perhaps with a port, that its images are named by.
	Address string
	// Protocol is http or https.
	Protocol string
	Status   RegistryStatus
	// FailReason is such as REQUEST_API_ERROR.
	FailReason string
	// Images is how many HSS knows; nil: not sent.
	Images *int
	// LatestSyncTime is when HSS last read its list; zero: never, or not sent.
	LatestSyncTime time.Time
}

// Registries returns the registries that HSS knows, those of all pages from
// r.Offset on, each once. It ends as [Client.All] does: never early without an
// error.
func (c *Client) Registries(ctx context.Context, r RegistryRequest) iter.Seq2[Registry, error] {
	if err := r.Validate(); err != nil {
		return func(yield func(Registry, error) bool) { yield(Registry{}, err) }
	}
	return allPages(c, registryKey, nil, r.Offset, r.Limit, func(offset, limit int) (page[Registry], error) {
		r.Offset, r.Limit = offset, limit
		return send(ctx, c, call[page[Registry]]{path: "/image/registries", query: r.Query(), decode: decodeRegistries})
	})
}

// registryKey tells registries apart, also if they have no ID.
func registryKey(r Registry) Registry {
	return Registry{ID: r.ID, Name: r.Name, Type: r.Type, Address: r.Address}
}

// Query returns the request's parameters, without those that are not set.
func (r RegistryRequest) Query() url.Values {
	q := url.Values{}
	setText(q, paramEnterpriseProjectID, r.EnterpriseProjectID)
	setText(q, paramRegistryName, r.Name)
	setText(q, paramRegistryID, r.ID)
	setText(q, paramRegistryAddress, r.Address)
	setText(q, paramStatus, string(r.Status))
	types := make([]string, 0, len(r.Types))
	for _, t := range r.Types {
		types = append(types, string(t))
	}
	setText(q, paramRegistryType, strings.Join(types, ","))
	setPage(q, r.Offset, r.Limit)
	return q
}

// Validate checks the request against the bounds that the API documents and
// names every field that breaks one.
func (r RegistryRequest) Validate() error {
	var p problems
	p.lengths([]textField{
		{paramEnterpriseProjectID, r.EnterpriseProjectID, 256},
		{paramRegistryName, r.Name, 128},
		{paramRegistryID, r.ID, 64},
		{paramRegistryAddress, r.Address, 256},
	})
	for _, t := range r.Types {
		p.registryType(paramRegistryType, t)
	}
	oneOf(&p, paramStatus, r.Status, RegistryStatusSuccess, RegistryStatusFail, RegistryStatusAccessing)
	p.page(r.Offset, r.Limit)
	return p.err("registry")
}

// registryType checks that a type is one of those that the API takes.
func (p *problems) registryType(name string, t RegistryType) {
	if t == "" {
		p.addf("%s is missing", name)
	}
	oneOf(p, name, t, RegistryTypeSWRPrivate, RegistryTypeSWRShared, RegistryTypeSWREnterprise,
		RegistryTypeHarbor, RegistryTypeJFrog, RegistryTypeOther)
}

// SyncRequest asks HSS to read the lists of registries anew.
type SyncRequest struct {
	// EnterpriseProjectID: 1–256 characters. Empty: the default one.
	EnterpriseProjectID string
	// All asks for every registry; then Registries must be empty.
	All bool
	// Registries has up to 100 registries.
	Registries []SyncRegistry
}

// SyncRegistry names a registry of a [SyncRequest].
type SyncRegistry struct {
	// ID has 1–64 characters.
	ID   string
	Type RegistryType
}

// SyncRegistries asks HSS to synchronise its list of images with registries. It
// returns once HSS has taken the request, before the images are listed. It
// costs nothing, and may be asked for twice; so it is tried again as a list is.
func (c *Client) SyncRegistries(ctx context.Context, r SyncRequest) error {
	if err := r.Validate(); err != nil {
		return err
	}
	body, err := json.Marshal(r.wire())
	if err != nil {
		return fmt.Errorf("making the synchronisation request: %w", err)
	}
	query := url.Values{}
	setText(query, paramEnterpriseProjectID, r.EnterpriseProjectID)
	return post(ctx, c, call[struct{}]{path: "/image/image-sync/tasks", query: query, body: body})
}

// Validate checks the request and names every field that is wrong.
func (r SyncRequest) Validate() error {
	var p problems
	p.lengths([]textField{{paramEnterpriseProjectID, r.EnterpriseProjectID, 256}})
	switch {
	case r.All && len(r.Registries) > 0:
		p.addf("sync_all_registries is true, and %d registries are named", len(r.Registries))
	case !r.All:
		p.between("the number of registries", int64(len(r.Registries)), 1, MaxSyncRegistries)
	}
	for n, registry := range r.Registries {
		where := fmt.Sprintf("registry_info[%d].", n)
		if registry.ID == "" {
			p.addf("%s%s is missing", where, paramRegistryID)
		}
		p.lengths([]textField{{where + paramRegistryID, registry.ID, 64}})
		p.registryType(where+paramRegistryType, registry.Type)
	}
	return p.err("synchronisation")
}

// wireSyncRequest is CreateImageSynchronizeTaskRequestInfo of the API.
type wireSyncRequest struct {
	All        bool               `json:"sync_all_registries"`
	Registries []wireSyncRegistry `json:"registry_info,omitempty"`
}

// wireSyncRegistry is one registry of wireSyncRequest.
type wireSyncRegistry struct {
	ID   string       `json:"registry_id"`
	Type RegistryType `json:"registry_type"`
}

// wire converts the request.
func (r SyncRequest) wire() wireSyncRequest {
	wire := wireSyncRequest{All: r.All}
	for _, registry := range r.Registries {
		wire.Registries = append(wire.Registries, wireSyncRegistry(registry))
	}
	return wire
}

// UnmarshalJSON reads a row as tolerantly as that of an [Image] is read.
func (r *Registry) UnmarshalJSON(data []byte) error { return unmarshal(data, r) }

func (r *Registry) field(name string) value {
	switch name {
	case "id":
		return (*text)(&r.ID)
	case paramRegistryName:
		return (*text)(&r.Name)
	case paramRegistryType:
		return (*text)(&r.Type)
	case paramType: // one version of the reference spells it so
		return (*otherwise)(&r.Type)
	case paramRegistryAddress:
		return (*text)(&r.Address)
	case "protocol":
		return (*text)(&r.Protocol)
	case paramStatus:
		return (*text)(&r.Status)
	case "fail_reason":
		return (*prose)(&r.FailReason)
	case "images_num":
		return count{&r.Images}
	case "latest_sync_time":
		return (*millis)(&r.LatestSyncTime)
	}
	return nil
}

// otherwise is a text that is read unless another field has it.
type otherwise string

func (t *otherwise) read(d *decoder) error {
	var other text
	err := other.read(d)
	*t = cmp.Or(*t, otherwise(other))
	return err
}

// decodeRegistries reads a page.
func decodeRegistries(d *decoder) (page[Registry], error) {
	return decodeRows[Registry](d, "protocol", paramStatus, "fail_reason", "images_num", "latest_sync_time")
}
