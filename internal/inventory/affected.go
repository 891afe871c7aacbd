package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
)

// affectedFreshFor is how old an index of affected images becomes before its use refreshes it.
const affectedFreshFor = 5 * time.Minute

// KnownAffected returns indexes of the images that have vulnerabilities, of each that is in memory.
func (i *Inventory) KnownAffected(ref image.Reference, ids []string) (all []*policy.Affected) {
	k, reason := i.locate(&ref)
	if reason != "" {
		return nil
	}
	for _, id := range ids {
		if a := i.indexes.recent(indexKey{k.project(), id}, affectedFreshFor, i.cfg.MaxStaleness); a != nil {
			all = append(all, a.value)
		}
	}
	return all
}

// KnownAffected returns the same.
func (b Background) KnownAffected(ref image.Reference, ids []string) []*policy.Affected {
	return b.inventory.KnownAffected(ref, ids)
}

// Affected returns those that are known by the time that ctx ends. Known ones cost no call.
func (i *Inventory) Affected(ctx context.Context, ref image.Reference, ids []string) []*policy.Affected {
	return i.affected(ctx, ref, ids, admissionLane(ctx))
}

// Affected does the same within the background's share.
func (b Background) Affected(ctx context.Context, ref image.Reference, ids []string) []*policy.Affected {
	return b.inventory.affected(ctx, ref, ids, background)
}

func (i *Inventory) affected(ctx context.Context, ref image.Reference, ids []string, l lane) []*policy.Affected {
	if k, reason := i.locate(&ref); reason == "" && k.project().indexer != nil {
		var calls sync.WaitGroup
		for _, id := range ids {
			calls.Go(func() { _, _ = i.indexes.kept(ctx, indexKey{k.project(), id}, affectedFreshFor, i.cfg.MaxStaleness, l) })
		}
		calls.Wait()
	}
	return i.KnownAffected(ref, ids)
}

// listAffected reads which images have a vulnerability.
func (i *Inventory) listAffected(ctx context.Context, k indexKey, _ *policy.Affected) (*policy.Affected, error) {
	index := policy.NewAffected(k.id, i.clock.Now())
	for _, list := range k.of.catalogueKeys() {
		found, err := k.of.affecting(ctx, list, k.id)
		for n := range found {
			v := policy.Vulnerability{ID: short(found[n].Vulnerability.ID), CVEs: cvesOf(found[n].Vulnerability.CVEs)}
			images := make([]policy.AffectedImage, len(found[n].Images))
			for m, row := range found[n].Images {
				images[m] = policy.AffectedImage{ImageID: short(row.ImageID), Name: short(row.Name), Version: short(row.Version), Digest: short(row.Digest)}
			}
			err = cmp.Or(err, index.Add(v, images))
		}
		if err != nil {
			return nil, err
		}
	}
	return index, nil
}

// Affecting is a vulnerability of HSS with the images of a project that have it.
type Affecting struct {
	Project       string
	Vulnerability hss.ImageVulnerability
	Images        []AffectedImage
}

// AffectedImage is an image of a registry. Handled reports whether somebody handled the vulnerability for it in HSS, such as by
// ignoring it.
type AffectedImage struct {
	hss.AffectedImage

	Handled bool
}

// WhoHas returns which images have a vulnerability, by a CVE ID or by an ID of HSS, in which projects how many images have no
// completed scan, and why something is not known.
func (i *Inventory) WhoHas(ctx context.Context, id string) (all []Affecting, unscanned, unknown []string) {
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, p := range i.projects {
		for _, k := range p.catalogueKeys() {
			group.Go(func() {
				found, err := p.affecting(ctx, k, id)
				mu.Lock()
				defer mu.Unlock()
				if all = append(all, found...); err != nil {
					unknown = append(unknown, fmt.Sprintf("project %s: %s", p.Name, err))
				}
			})
		}
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

// affecting returns what one of HSS's lists has of a vulnerability, as far as it can be read: by the CVE and, unless HSS lists it
// by that, by HSS's own ID. The filters only make the answers shorter: they may match a part of an ID.
func (p *project) affecting(ctx context.Context, k catalogueKey, id string) (all []Affecting, err error) {
	r := hss.ImageVulnerabilityRequest{Type: k.kind, Handled: k.handled, EnterpriseProjectID: p.EnterpriseProjectID}
	byCVE, byID, known := r, r, map[string]bool{}
	byCVE.CVE, byID.VulnerabilityID = id, id
	for _, r := range []hss.ImageVulnerabilityRequest{byCVE, byID} {
		if known[id] || r.CVE != "" && !policy.IsCVE(id) {
			continue
		}
		for v, err := range p.indexer.ImageVulnerabilities(ctx, r) {
			if err != nil {
				return all, fmt.Errorf("vulnerabilities of all images: %w", err)
			}
			is := func(c hss.CVE) bool { return strings.EqualFold(c.ID, id) }
			if known[v.ID] || !strings.EqualFold(v.ID, id) && !slices.ContainsFunc(v.CVEs, is) {
				continue
			}
			known[v.ID] = true
			images, err := p.affectedBy(ctx, k, &v)
			if all = append(all, Affecting{p.Name, v, images}); err != nil {
				return all, fmt.Errorf("images that have %s: %w", v.ID, err)
			}
		}
	}
	return all, nil
}

// affectedBy returns the images that have a vulnerability. There must be as many as HSS counts, with those for which it was
// handled if need be: it is not documented which of them are counted.
func (p *project) affectedBy(ctx context.Context, k catalogueKey, v *hss.ImageVulnerability) (images []AffectedImage, err error) {
	for _, handled := range []bool{k.handled, !k.handled} {
		if handled != k.handled && v.Images != nil && len(images) >= *v.Images {
			break
		}
		r := hss.AffectedImageRequest{VulnerabilityID: v.ID, Type: k.kind, Handled: handled, EnterpriseProjectID: p.EnterpriseProjectID}
		for row, err := range p.indexer.AffectedImages(ctx, r) {
			if err == nil && len(images) == maxDetailed {
				err = failuref(badRows, "HSS lists more than %d", maxDetailed)
			}
			if err != nil {
				return images, err
			}
			row.ImageID, row.Digest = imageID(row.ImageID, row.Digest), digestOf(row.Digest)
			images = append(images, AffectedImage{row, handled})
		}
	}
	if v.Images != nil && len(images) < *v.Images {
		return images, failuref(badRows, "HSS counts %d, and lists %d", *v.Images, len(images))
	}
	return images, nil
}
