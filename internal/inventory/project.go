package inventory

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/cve"
	"github.com/hssgate/hssgate/internal/lookup"
	"github.com/hssgate/hssgate/policy"
)

// lookupTimeout bounds one look-up, with all pages and attempts, unless requestTimeout is longer.
const lookupTimeout = 30 * time.Second

// hssClient is what HSS offers and a file does not; *hss.Client implements it.
type hssClient interface {
	List(ctx context.Context, r hss.ListRequest) (*hss.ListResponse, error)
	ProjectID(ctx context.Context) (string, error)
	StartScan(ctx context.Context, r hss.ScanRequest) error
	SyncRegistries(ctx context.Context, r hss.SyncRequest) error
	Registries(ctx context.Context, r hss.RegistryRequest) iter.Seq2[hss.Registry, error]
	ScanStatistics(ctx context.Context, r hss.ScanStatisticsRequest) (hss.ScanStatistics, error)
}

// project is an HSS project: its configuration, its client, and the limits that its calls keep.
type project struct {
	config.Project

	inventory  *Inventory
	client     Lister
	hss        hssClient // nil if client is none
	calls      *lookup.Project
	cves       *cve.Project
	registries []*registry
	// lists are the parts of HSS's API that list details of an image.
	lists map[policy.Detail]*lookup.Endpoint
	// syncer is nil unless the project is synchronised.
	syncer   *syncer
	coverage atomic.Pointer[coverage]
	counts   scanCounter
}

func (i *Inventory) newProject(c *config.Project, client Lister, o *Options) (*project, error) {
	calls := i.lookups.NewProject(c.Name, cmp.Or(o.MaxConcurrent, lookup.MaxConcurrent), cmp.Or(o.LookupTimeout, max(lookupTimeout, c.RequestTimeout)))
	p := &project{Project: *c, inventory: i, client: client, calls: calls, cves: i.cves.Project(calls, client, c.EnterpriseProjectID)}
	p.lists = map[policy.Detail]*lookup.Endpoint{
		policy.DetailVulnerabilities: calls.NewEndpoint("vulnerabilities"), policy.DetailSecrets: calls.NewEndpoint("secrets"),
		policy.DetailMaliciousFiles: calls.NewEndpoint("malicious files"),
	}
	p.hss, _ = client.(hssClient)
	switch {
	case client == nil:
		return nil, fmt.Errorf("project %q has no client", p.Name)
	case p.hss == nil && (p.SyncInterval > 0 || p.ScanOnDemand.Enabled):
		return nil, fmt.Errorf("project %q is to be synchronised or scanned on demand, and its client %T offers neither", p.Name, client)
	case p.SyncInterval > 0:
		p.syncer = &syncer{project: p}
	}
	return p, nil
}
