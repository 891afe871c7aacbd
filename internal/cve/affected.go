package cve

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/lookup"
	"github.com/hssgate/hssgate/policy"
)

// indexFreshFor is how old an index of affected images becomes before its use refreshes it.
const indexFreshFor = 5 * time.Minute

// KnownAffected returns indexes of the images that have vulnerabilities, of each that is in memory.
func (p *Project) KnownAffected(ids []string) (all []*policy.Affected) {
	for _, id := range ids {
		if a := p.store.indexes.Recent(indexKey{p, id}, indexFreshFor, p.store.maxStaleness); a != nil {
			all = append(all, a.Value)
		}
	}
	return all
}

// Affected returns those that are known by the time that ctx ends. Known ones cost no call.
func (p *Project) Affected(ctx context.Context, ids []string, l lookup.Lane) []*policy.Affected {
	if p.indexer != nil {
		var calls sync.WaitGroup
		for _, id := range ids {
			calls.Go(func() { _, _ = p.store.indexes.Keep(ctx, indexKey{p, id}, indexFreshFor, p.store.maxStaleness, l) })
		}
		calls.Wait()
	}
	return p.KnownAffected(ids)
}

// listAffected reads which images have a vulnerability.
func listAffected(ctx context.Context, k indexKey, now time.Time) (*policy.Affected, error) {
	index := policy.NewAffected(k.id, now)
	for _, list := range k.of.catalogueKeys() {
		found, err := k.of.affecting(ctx, list, k.id)
		for n := range found {
			v := policy.Vulnerability{ID: lookup.Short(found[n].Vulnerability.ID), CVEs: cvesOf(found[n].Vulnerability.CVEs)}
			images := make([]policy.AffectedImage, len(found[n].Images))
			for m, row := range found[n].Images {
				images[m] = policy.AffectedImage{ImageID: lookup.Short(row.ImageID), Name: lookup.Short(row.Name), Version: lookup.Short(row.Version), Digest: lookup.Short(row.Digest)}
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

// WhoHas returns which images have a vulnerability, by a CVE ID or by an ID of HSS, and why something is not known.
func (p *Project) WhoHas(ctx context.Context, id string) (all []Affecting, unknown []error) {
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, k := range p.catalogueKeys() {
		group.Go(func() {
			found, err := p.affecting(ctx, k, id)
			mu.Lock()
			defer mu.Unlock()
			if all = append(all, found...); err != nil {
				unknown = append(unknown, err)
			}
		})
	}
	group.Wait()
	return all, unknown
}

// affecting returns what one of HSS's lists has of a vulnerability, as far as it can be read: by the CVE and, unless HSS lists it
// by that, by HSS's own ID. The filters only make the answers shorter: they may match a part of an ID.
func (p *Project) affecting(ctx context.Context, k catalogueKey, id string) (all []Affecting, err error) {
	r := hss.ImageVulnerabilityRequest{Type: k.kind, Handled: k.handled, EnterpriseProjectID: p.enterpriseProjectID}
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
func (p *Project) affectedBy(ctx context.Context, k catalogueKey, v *hss.ImageVulnerability) (images []AffectedImage, err error) {
	for _, handled := range []bool{k.handled, !k.handled} {
		if handled != k.handled && v.Images != nil && len(images) >= *v.Images {
			break
		}
		r := hss.AffectedImageRequest{VulnerabilityID: v.ID, Type: k.kind, Handled: handled, EnterpriseProjectID: p.enterpriseProjectID}
		for row, err := range p.indexer.AffectedImages(ctx, r) {
			if err == nil && len(images) == maxRows {
				err = lookup.BadRowsf("HSS lists more than %d", maxRows)
			}
			if err != nil {
				return images, err
			}
			row.Digest = image.CompleteDigest(row.Digest)
			images = append(images, AffectedImage{row, handled})
		}
	}
	if v.Images != nil && len(images) < *v.Images {
		return images, lookup.BadRowsf("HSS counts %d, and lists %d", *v.Images, len(images))
	}
	return images, nil
}
