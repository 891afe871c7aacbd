package inventory

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/cve"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/lookup"
	"github.com/hssgate/hssgate/policy"
)

// WithCVEs returns facts with the CVEs of the vulnerabilities that are listed, as far as they are known by the time that
// ctx ends. Known ones cost no call.
func (i *Inventory) WithCVEs(ctx context.Context, ref image.Reference, f policy.Facts, d policy.CVENeeds) policy.Facts {
	return i.withCVEs(ctx, &ref, f, d, lookup.AdmissionLane(ctx))
}

// WithCVEs does the same within the background's share.
func (b Background) WithCVEs(ctx context.Context, ref image.Reference, f policy.Facts, d policy.CVENeeds) policy.Facts {
	return b.inventory.withCVEs(ctx, &ref, f, d, lookup.Background)
}

func (i *Inventory) withCVEs(ctx context.Context, ref *image.Reference, f policy.Facts, d policy.CVENeeds, l lookup.Lane) policy.Facts {
	k, reason := i.locate(ref)
	if reason != "" || f.State != policy.StateFound {
		return f
	}
	f.Records = ownRecords(f.Records)
	k.project().cves.Add(ctx, &f, d, l)
	return f
}

// KnownAffected returns indexes of the images that have vulnerabilities, of each that is in memory.
func (i *Inventory) KnownAffected(ref image.Reference, ids []string) []*policy.Affected {
	k, reason := i.locate(&ref)
	if reason != "" {
		return nil
	}
	return k.project().cves.KnownAffected(ids)
}

// KnownAffected returns the same.
func (b Background) KnownAffected(ref image.Reference, ids []string) []*policy.Affected {
	return b.inventory.KnownAffected(ref, ids)
}

// Affected returns those that are known by the time that ctx ends. Known ones cost no call.
func (i *Inventory) Affected(ctx context.Context, ref image.Reference, ids []string) []*policy.Affected {
	return i.affected(ctx, ref, ids, lookup.AdmissionLane(ctx))
}

// Affected does the same within the background's share.
func (b Background) Affected(ctx context.Context, ref image.Reference, ids []string) []*policy.Affected {
	return b.inventory.affected(ctx, ref, ids, lookup.Background)
}

func (i *Inventory) affected(ctx context.Context, ref image.Reference, ids []string, l lookup.Lane) []*policy.Affected {
	k, reason := i.locate(&ref)
	if reason != "" {
		return nil
	}
	return k.project().cves.Affected(ctx, ids, l)
}

// WhoHas returns which images have a vulnerability, by a CVE ID or by an ID of HSS, in which projects how many images have no
// completed scan, and why something is not known.
func (i *Inventory) WhoHas(ctx context.Context, id string) (all []cve.Affecting, unscanned, unknown []string) {
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, p := range i.projects {
		group.Go(func() {
			found, failed := p.cves.WhoHas(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, found...)
			for _, err := range failed {
				unknown = append(unknown, fmt.Sprintf("project %s: %s", p.Name, err))
			}
		})
		group.Go(func() {
			scanned, listed, err := p.countScanned(ctx)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				unknown = append(unknown, fmt.Sprintf("project %s: number of images: %s", p.Name, err))
			case listed > scanned:
				unscanned = append(unscanned, fmt.Sprintf("project %s: %d of %d images have no completed scan", p.Name, listed-scanned, listed))
			}
		})
	}
	group.Wait()
	return all, unscanned, unknown
}

// countScanned returns how many images HSS lists with the result of a scan, and how many in all.
func (p *project) countScanned(ctx context.Context) (scanned, all int, err error) {
	for status, n := range map[hss.ScanStatus]*int{hss.ScanStatusSuccess: &scanned, "": &all} {
		page, err := p.hss.List(ctx, hss.ListRequest{EnterpriseProjectID: p.EnterpriseProjectID, ScanStatus: status, Limit: 1})
		if err != nil {
			return 0, 0, err
		}
		if *n = page.Total; *n < len(page.Images) || len(page.Images) > 0 && status != "" && page.Images[0].ScanStatus != status {
			return 0, 0, errors.New("HSS does not count its images by the status of their scans")
		}
	}
	return scanned, all, nil
}
