// Package cve keeps what HSS knows of vulnerabilities whatever the image: their CVEs with scores and times, and which images
// have one. All images share it.
package cve

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/lookup"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	// CVEs are refreshed daily, and kept for days without an answer from HSS.
	freshFor, keptFor = 24 * time.Hour, 72 * time.Hour
	// cacheBytes bounds each of the caches.
	cacheBytes = 32 << 20
	// maxRows bounds the rows of one list of vulnerabilities, or of the images that have one.
	maxRows = 100_000
	// maxCVEs bounds the CVEs of one vulnerability; of one with more they are not known.
	maxCVEs = 1000
)

// lister and indexer are what HSS offers. *hss.Client implements both, the client of a file the first.
type lister interface {
	CVEs(ctx context.Context, r hss.CVERequest) iter.Seq2[hss.CVE, error]
}

type indexer interface {
	ImageVulnerabilities(ctx context.Context, r hss.ImageVulnerabilityRequest) iter.Seq2[hss.ImageVulnerability, error]
	AffectedImages(ctx context.Context, r hss.AffectedImageRequest) iter.Seq2[hss.AffectedImage, error]
}

// Store has what is known. It is safe for concurrent use.
type Store struct {
	// maxStaleness is how old an index of affected images may be.
	maxStaleness time.Duration
	catalogues   *lookup.Cache[catalogueKey, catalogue]
	cves         *lookup.Cache[cveKey, []policy.CVE]
	indexes      *lookup.Cache[indexKey, *policy.Affected]
}

// NewStore returns an empty store.
func NewStore(g *lookup.Group, maxStaleness time.Duration) *Store {
	return &Store{
		maxStaleness: maxStaleness,
		catalogues:   lookup.NewCache(g, lookup.Options[catalogueKey, catalogue]{MaxBytes: cacheBytes, Bytes: catalogue.bytes, Query: listCatalogue}),
		cves:         lookup.NewCache(g, lookup.Options[cveKey, []policy.CVE]{MaxBytes: cacheBytes, Bytes: bytesOf, Query: listCVEs}),
		indexes: lookup.NewCache(g, lookup.Options[indexKey, *policy.Affected]{MaxBytes: cacheBytes, Bytes: (*policy.Affected).Size,
			Query: func(ctx context.Context, k indexKey, _ *policy.Affected) (*policy.Affected, error) {
				return listAffected(ctx, k, g.Clock.Now())
			}}),
	}
}

// Changes returns a number that grows when more CVEs are known, or others.
func (s *Store) Changes() uint64 { return s.catalogues.Changes() + s.cves.Changes() }

// Project is a project as far as it knows of vulnerabilities.
type Project struct {
	*lookup.Project

	store               *Store
	enterpriseProjectID string
	endpoint            *lookup.Endpoint
	lister              lister  // nil if the client is none
	indexer             indexer // nil if the client is none
}

// Project returns what is known of a project, whose client may offer nothing of it.
func (s *Store) Project(p *lookup.Project, client any, enterpriseProjectID string) *Project {
	of := &Project{Project: p, store: s, enterpriseProjectID: enterpriseProjectID, endpoint: p.NewEndpoint("CVEs")}
	of.lister, _ = client.(lister)
	of.indexer, _ = client.(indexer)
	return of
}

// catalogueKey is one of the lists of all vulnerabilities that a project's images have.
type catalogueKey struct {
	of      *Project
	kind    hss.VulnerabilityType
	handled bool
}

// catalogue has the CVEs of vulnerabilities, with scores and without times.
type catalogue map[string][]policy.CVE

// cveKey is a vulnerability by HSS's identifier; indexKey is one by that or by a CVE ID.
type (
	cveKey struct {
		of *Project
		id string
	}
	indexKey cveKey
)

func (k catalogueKey) Endpoint() *lookup.Endpoint { return k.of.endpoint }
func (k cveKey) Endpoint() *lookup.Endpoint       { return k.of.endpoint }
func (k indexKey) Endpoint() *lookup.Endpoint     { return k.of.endpoint }

func (c catalogue) bytes() (n int) {
	const each = 80
	for _, cves := range c {
		n += each + bytesOf(cves)
	}
	return n
}

func bytesOf(cves []policy.CVE) int { return 88 * len(cves) }

// cvesOf converts the CVEs of a vulnerability. If one cannot be read, or there are too many, they are not known.
func cvesOf(rows []hss.CVE) []policy.CVE {
	var cves []policy.CVE
	for _, row := range rows {
		cve := policy.CVE{ID: strings.Clone(strings.TrimSpace(row.ID)), PublishedAt: row.PublishedAt}
		if cve.ID == "" || len(cve.ID) > lookup.MaxText || len(cves) == maxCVEs {
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

// catalogueKeys are those of all lists; none without an indexer.
func (p *Project) catalogueKeys() (keys []catalogueKey) {
	if p.indexer == nil {
		return nil
	}
	for _, kind := range []hss.VulnerabilityType{hss.VulnerabilityTypeLinux, hss.VulnerabilityTypeApplication} {
		keys = append(keys, catalogueKey{p, kind, false}, catalogueKey{p, kind, true})
	}
	return keys
}

// Known returns a function that returns the CVEs of a vulnerability from memory; nil: none are known. Those that are not fresh
// are refreshed in the background.
func (p *Project) Known() func(id string) []policy.CVE {
	var known []catalogue
	for _, k := range p.catalogueKeys() {
		if a := p.store.catalogues.Recent(k, freshFor, keptFor); a != nil {
			known = append(known, a.Value)
		}
	}
	if full, _, _ := p.store.cves.Sizes(); len(known) == 0 && full == 0 {
		return nil
	}
	return func(id string) []policy.CVE {
		var cves []policy.CVE
		if a := p.store.cves.Recent(cveKey{p, id}, freshFor, keptFor); a != nil {
			cves = a.Value
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

// Add adds the CVEs of the vulnerabilities that facts list, as far as they are known by the time that ctx ends. Known ones
// cost no call.
func (p *Project) Add(ctx context.Context, f *policy.Facts, d policy.CVENeeds, l lookup.Lane) {
	if p.lister == nil {
		return
	}
	for _, k := range p.catalogueKeys() {
		_, _ = p.store.catalogues.Keep(ctx, k, freshFor, keptFor, l) // without it the stricter reading decides
	}
	f.AddCVEs(d, p.Known())
	isKnown := func(id string) bool { return p.store.cves.Recent(cveKey{p, id}, freshFor, keptFor) != nil }
	missing := slices.DeleteFunc(f.Lacking(d), isKnown)
	if len(missing) == 0 {
		return
	}
	var calls errgroup.Group
	calls.SetLimit(p.Width(lookup.Background))
	for _, id := range missing {
		calls.Go(func() error {
			_, _ = p.store.cves.Keep(ctx, cveKey{p, strings.Clone(id)}, freshFor, keptFor, lookup.Background)
			return nil
		})
	}
	_ = calls.Wait() // it has no errors
	f.AddCVEs(d, p.Known())
}

// listCatalogue reads one list of all vulnerabilities.
func listCatalogue(ctx context.Context, k catalogueKey, _ catalogue) (catalogue, error) {
	all := catalogue{}
	r := hss.ImageVulnerabilityRequest{Type: k.kind, Handled: k.handled, EnterpriseProjectID: k.of.enterpriseProjectID}
	for row, err := range k.of.indexer.ImageVulnerabilities(ctx, r) {
		switch {
		case err != nil:
			return nil, err
		case len(all) == maxRows:
			return nil, lookup.BadRowsf("HSS lists more than %d vulnerabilities", maxRows)
		}
		all[lookup.Short(row.ID)] = cvesOf(row.CVEs)
	}
	delete(all, "")
	return all, nil
}

// listCVEs reads the CVEs of one vulnerability.
func listCVEs(ctx context.Context, k cveKey, _ []policy.CVE) ([]policy.CVE, error) {
	var rows []hss.CVE
	for row, err := range k.of.lister.CVEs(ctx, hss.CVERequest{VulnerabilityID: k.id, EnterpriseProjectID: k.of.enterpriseProjectID}) {
		if err != nil {
			return nil, err
		}
		if rows = append(rows, row); len(rows) > maxCVEs {
			break
		}
	}
	return cvesOf(rows), nil
}
