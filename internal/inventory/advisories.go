package inventory

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	// What is the same for every image is refreshed daily, and kept for days without an answer from HSS.
	cvesFreshFor, cvesKeptFor = 24 * time.Hour, 72 * time.Hour
	// advisoryBytes bounds each of the caches of what HSS knows of vulnerabilities whatever the image.
	advisoryBytes = 32 << 20
	// maxDetailed bounds the rows of one list of vulnerabilities, or of the images that have one.
	maxDetailed = 100_000
	// maxCVEs bounds the CVEs of one vulnerability; of one with more they are not known.
	maxCVEs = 1000
)

// cveLister and indexer are what HSS offers on vulnerabilities whatever the image. *hss.Client implements both, the client
// of a file the first.
type cveLister interface {
	CVEs(ctx context.Context, r hss.CVERequest) iter.Seq2[hss.CVE, error]
}

type indexer interface {
	ImageVulnerabilities(ctx context.Context, r hss.ImageVulnerabilityRequest) iter.Seq2[hss.ImageVulnerability, error]
	AffectedImages(ctx context.Context, r hss.AffectedImageRequest) iter.Seq2[hss.AffectedImage, error]
}

// catalogueKey is one of the lists of all vulnerabilities that a project's images have.
type catalogueKey struct {
	of      *project
	kind    hss.VulnerabilityType
	handled bool
}

// catalogue has the CVEs of vulnerabilities, with scores and without times.
type catalogue map[string][]policy.CVE

// cveKey is a vulnerability by HSS's identifier; indexKey is one by that or by a CVE ID.
type (
	cveKey struct {
		of *project
		id string
	}
	indexKey cveKey
)

func (k catalogueKey) endpoint() *endpoint { return k.of.advisories }
func (k cveKey) endpoint() *endpoint       { return k.of.advisories }
func (k indexKey) endpoint() *endpoint     { return k.of.advisories }

func (c catalogue) bytes() (n int) {
	const each = 80
	for _, cves := range c {
		n += each + cvesBytes(cves)
	}
	return n
}

func cvesBytes(cves []policy.CVE) int { return 88 * len(cves) }

// cvesOf converts the CVEs of a vulnerability. If one cannot be read, or there are too many, they are not known.
func cvesOf(rows []hss.CVE) []policy.CVE {
	var cves []policy.CVE
	for _, row := range rows {
		cve := policy.CVE{ID: strings.Clone(strings.TrimSpace(row.ID)), PublishedAt: row.PublishedAt}
		if cve.ID == "" || len(cve.ID) > maxListedText || len(cves) == maxCVEs {
			return nil
		}
		if row.CVSS != nil {
			if score, ok := v1alpha1.NewScore(*row.CVSS); ok {
				cve.CVSS = &score
			}
		}
		cves = append(cves, cve)
	}
	policy.SortCVEs(cves)
	return cves
}

// recent returns an answer that is at most so old, or nil. It has it refreshed in the background unless it is fresh.
func (c *cache[K, V]) recent(k K, fresh, most time.Duration) *answer[V] {
	a, ok := c.full.GetIfPresent(k)
	if !ok {
		a, fresh = c.get(k), fresh/24 // it holds nothing, and HSS may learn of it
	}
	switch age := c.inventory.clock.Since(a.asOf); {
	case !a.isKnown() || age >= most:
		return nil
	case age >= fresh:
		c.refresh(k, a)
	}
	return a
}

// kept returns such an answer, or calls HSS.
func (c *cache[K, V]) kept(ctx context.Context, k K, fresh, most time.Duration, l lane) (*answer[V], error) {
	if a := c.recent(k, fresh, most); a != nil {
		return a, nil
	}
	return c.obtain(ctx, k, c.get(k), l, false)
}

// usable returns an answer that is known and not too old, or the zero value.
func (c *cache[K, V]) usable(k K, most time.Duration) (v V) {
	if a := c.get(k); a.isKnown() && c.inventory.clock.Since(a.asOf) < most {
		return a.value
	}
	return v
}

// catalogueKeys are those of all lists; none without an indexer.
func (p *project) catalogueKeys() (keys []catalogueKey) {
	if p.indexer == nil {
		return nil
	}
	for _, kind := range []hss.VulnerabilityType{hss.VulnerabilityTypeLinux, hss.VulnerabilityTypeApplication} {
		keys = append(keys, catalogueKey{p, kind, false}, catalogueKey{p, kind, true})
	}
	return keys
}

// knownCVEs returns a function that returns the CVEs of a vulnerability from memory; nil: none are known. Those that are not
// fresh are refreshed in the background.
func (p *project) knownCVEs() func(id string) []policy.CVE {
	i := p.inventory
	var known []catalogue
	for _, k := range p.catalogueKeys() {
		if a := i.catalogues.recent(k, cvesFreshFor, cvesKeptFor); a != nil {
			known = append(known, a.value)
		}
	}
	if len(known) == 0 && i.cves.full.EstimatedSize() == 0 {
		return nil
	}
	return func(id string) []policy.CVE {
		var cves []policy.CVE
		if a := i.cves.recent(cveKey{p, id}, cvesFreshFor, cvesKeptFor); a != nil {
			cves = a.value
		}
		for _, c := range known {
			if len(cves) == 0 {
				cves = c[id]
			}
			for _, cve := range c[id] {
				if !slices.ContainsFunc(cves, func(o policy.CVE) bool { return o.ID == cve.ID }) {
					cves = append(slices.Clip(cves), cve)
				}
			}
		}
		return cves
	}
}

// WithCVEs returns facts with the CVEs of the vulnerabilities that are listed, as far as they are known by the time that
// ctx ends. Known ones cost no call.
func (i *Inventory) WithCVEs(ctx context.Context, ref image.Reference, f policy.Facts, d policy.CVENeeds) policy.Facts {
	return i.withCVEs(ctx, &ref, f, d, admissionLane(ctx))
}

// WithCVEs does the same within the background's share.
func (b Background) WithCVEs(ctx context.Context, ref image.Reference, f policy.Facts, d policy.CVENeeds) policy.Facts {
	return b.inventory.withCVEs(ctx, &ref, f, d, background)
}

func (i *Inventory) withCVEs(ctx context.Context, ref *image.Reference, f policy.Facts, d policy.CVENeeds, l lane) policy.Facts {
	k, reason := i.locate(ref)
	if reason != "" || f.State != policy.StateFound || k.project().cves == nil {
		return f
	}
	p := k.project()
	for _, k := range p.catalogueKeys() {
		_, _ = i.catalogues.kept(ctx, k, cvesFreshFor, cvesKeptFor, l) // without it the stricter reading decides
	}
	f.Records = ownRecords(f.Records)
	f.AddCVEs(d, p.knownCVEs())
	isKnown := func(id string) bool {
		return i.cves.recent(cveKey{p, id}, cvesFreshFor, cvesKeptFor) != nil
	}
	if missing := slices.DeleteFunc(f.Lacking(d), isKnown); len(missing) > 0 {
		var calls errgroup.Group
		calls.SetLimit(p.width(background))
		for _, id := range missing {
			calls.Go(func() error {
				_, _ = i.cves.kept(ctx, cveKey{p, strings.Clone(id)}, cvesFreshFor, cvesKeptFor, background)
				return nil
			})
		}
		_ = calls.Wait() // it has no errors
		f.AddCVEs(d, p.knownCVEs())
	}
	return f
}

// listCatalogue reads one list of all vulnerabilities.
func (i *Inventory) listCatalogue(ctx context.Context, k catalogueKey, _ catalogue) (catalogue, error) {
	all := catalogue{}
	r := hss.ImageVulnerabilityRequest{Type: k.kind, Handled: k.handled, EnterpriseProjectID: k.of.EnterpriseProjectID}
	for row, err := range k.of.indexer.ImageVulnerabilities(ctx, r) {
		switch {
		case err != nil:
			return nil, err
		case len(all) == maxDetailed:
			return nil, failuref(badRows, "HSS lists more than %d vulnerabilities", maxDetailed)
		}
		all[short(row.ID)] = cvesOf(row.CVEs)
	}
	delete(all, "")
	return all, nil
}

// listCVEs reads the CVEs of one vulnerability.
func (i *Inventory) listCVEs(ctx context.Context, k cveKey, _ []policy.CVE) ([]policy.CVE, error) {
	var rows []hss.CVE
	for row, err := range k.of.cves.CVEs(ctx, hss.CVERequest{VulnerabilityID: k.id, EnterpriseProjectID: k.of.EnterpriseProjectID}) {
		if err != nil {
			return nil, err
		}
		if rows = append(rows, row); len(rows) > maxCVEs {
			break
		}
	}
	return cvesOf(rows), nil
}
