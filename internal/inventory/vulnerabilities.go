package inventory

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"k8s.io/utils/ptr"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/internal/lookup"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	// maxScans bounds the scans of one image whose vulnerabilities are listed.
	maxScans = 64
	// maxListed bounds the rows of one list.
	maxListed = 5000
)

// scanKey is the scan of an image, or of one architecture of it. Another scan, and another number of vulnerabilities found by it, make another key.
type scanKey struct {
	of        *project
	request   hss.VulnerabilityRequest
	digest    string
	scannedAt int64
	counted   int
}

func (k scanKey) Endpoint() *lookup.Endpoint { return k.of.lists[policy.DetailVulnerabilities] }

// vulnerabilities are what HSS lists of a scan.
type vulnerabilities struct {
	found []policy.Vulnerability
	// unlisted is why found is nil though HSS answered.
	unlisted string
	resolved *atomic.Pointer[resolved]
}

// resolved are vulnerabilities with their CVEs, as far as they were known after so many changes.
type resolved struct {
	found   []policy.Vulnerability
	changes uint64
}

// withCVEs returns the vulnerabilities with their CVEs, which are shared and must not be changed.
func (l vulnerabilities) withCVEs(p *project) []policy.Vulnerability {
	if l.resolved == nil {
		return nil
	}
	known, changes := l.resolved.Load(), p.inventory.cves.Changes()
	if known == nil || known.changes != changes {
		known = &resolved{policy.WithCVEs(l.found, policy.CVENeeds{CVEs: true, Times: true}, p.cves.Known()), changes}
		l.resolved.Store(known)
	}
	return known.found
}

func (l vulnerabilities) bytes() int {
	const each = 2 * 104 // listed and resolved
	n := len(l.unlisted)
	for i := range l.found {
		v := &l.found[i]
		n += each + len(v.ID) + len(v.Severity) + len(v.Package) + len(v.Installed) + len(v.Fix)
	}
	return n
}

// newVulnerabilities converts the rows of a scan that counts so many vulnerabilities.
func newVulnerabilities(rows []hss.Vulnerability, counted int) vulnerabilities {
	found := make([]policy.Vulnerability, len(rows))
	for i := range rows {
		found[i] = vulnerabilityOf(&rows[i])
	}
	slices.SortFunc(found, policy.CompareVulnerabilities)
	list := vulnerabilities{found: found, resolved: &atomic.Pointer[resolved]{}}
	if len(found) <= counted {
		return list
	}
	// More than are counted: what differs only in where it lies is one. But if then fewer are left, HSS counts some of
	// them several times, and without these rows it would seem to count what it does not list.
	if once := policy.WithoutRepeats(slices.Clone(found)); len(once) >= counted {
		list.found = once
	}
	return list
}

// vulnerabilityOf converts a row. What is unknown counts as the worst: it has a fix unless HSS names none for a
// vulnerability of a package that it names.
func vulnerabilityOf(row *hss.Vulnerability) policy.Vulnerability {
	v := policy.Vulnerability{
		ID: lookup.Short(row.ID), Severity: v1alpha1.Severity(lookup.Short(string(row.Necessity.Severity()))),
		Package: lookup.Short(row.AppName), Installed: lookup.Short(row.Version), Fix: lookup.Short(row.Solution),
	}
	if v.Fix == "" && (v.ID == "" || v.Package == "") {
		v.Fix = "unknown"
	}
	return v
}

// wantedScan is a scan of which details are needed.
type wantedScan struct {
	scan *policy.Scan
	key  scanKey
	// ofAll reports whether the scan is of an image whose architectures have scans of their own.
	ofAll bool
	// underWay reports whether HSS is scanning the image again, and reset whether its row no longer shows the last result.
	underWay, reset bool
}

// scansOf returns the scans of records that did not fail and of which details are wanted.
func (p *project) scansOf(records []policy.Record, wanted func(*policy.Scan) bool) (all []wantedScan) {
	for n := range records {
		row := &records[n]
		first := wantedScan{underWay: anyStatus(row, func(s hss.ScanStatus) bool { return s == hss.ScanStatusScanning })}
		first.reset = first.underWay && (row.Severity == "" || !hss.ScanStatus(row.Scan.Status).Running())
		add := func(w wantedScan, r *policy.Record, imageID, digest string) {
			if hss.ScanStatus(w.scan.Status).Failed() || !wanted(w.scan) {
				return
			}
			w.key = scanKey{of: p, digest: digest, counted: ptr.Deref(w.scan.Vulnerabilities, 0), request: hss.VulnerabilityRequest{
				ImageID: imageID, ImageType: hss.ImageType(r.ImageType), Namespace: r.Namespace, ImageName: r.Name, Tag: r.Version,
				InstanceID: r.InstanceID, EnterpriseProjectID: p.EnterpriseProjectID, Limit: hss.MaxLimit,
			}}
			if !r.ScannedAt.IsZero() {
				w.key.scannedAt = r.ScannedAt.UnixMilli()
			}
			all = append(all, w)
		}
		for r := row; r != nil; r = r.LastCompleted {
			w := first
			if !r.PinnedArchitecture {
				w.scan, w.ofAll = &r.Scan, r.MultiArch
				add(w, r, r.ImageID, r.Digest)
			}
			for i := range r.Architectures {
				a := &r.Architectures[i]
				w.scan, w.ofAll = &a.Scan, false
				add(w, r, a.ImageID, cmp.Or(a.Digest, r.Digest))
			}
		}
	}
	return all
}

func countsVulnerabilities(s *policy.Scan) bool { return ptr.Deref(s.Vulnerabilities, 0) > 0 }

// unlisted returns why details of an image's n-th scan are not looked up by a query. Known ones can be.
func (w *wantedScan) unlisted(l language.Language, n int, known bool, query func() (url.Values, error)) string {
	switch {
	case w.key.request.ImageID == "":
		return l.Text("HSS gives the image no ID to list them by")
	case n >= maxScans:
		return l.Sprintf("the image has more than %d scans", maxScans)
	case known:
		return ""
	}
	// HSS's list holds images with names that its other calls do not take.
	_, err := query()
	if invalid, ok := errors.AsType[*hss.InvalidRequestError](err); ok {
		return l.Sprintf("HSS cannot list them: %s", strings.Join(invalid.Problems, "; "))
	}
	return ""
}

// ownRecords copies what is to be filled in.
func ownRecords(records []policy.Record) []policy.Record {
	records = slices.Clone(records)
	for i := range records {
		r := &records[i]
		r.Architectures = slices.Clone(r.Architectures)
		if r.LastCompleted != nil {
			r.LastCompleted = &ownRecords([]policy.Record{*r.LastCompleted})[0]
		}
	}
	return records
}

// addVulnerabilities adds those of all scans that count any.
func (d *detailed) addVulnerabilities(ctx context.Context) {
	all := d.project.scansOf(d.facts.Records, countsVulnerabilities)
	for n := range all {
		w := &all[n]
		if w.key.request.ImageID == "" {
			continue // there is nothing to list by, as if nothing had been wanted
		}
		known := d.lists.Get(w.key)
		if d.wanted[policy.DetailVulnerabilities].Wait < 0 {
			if known.IsKnown() && d.clock.Since(known.AsOf) < d.cfg.MaxStaleness {
				w.scan.Found = known.Value.withCVEs(d.project)
			}
			continue
		}
		if w.scan.Unlisted = w.unlisted(d.language, n, known.IsKnown(), w.key.request.Query); w.scan.Unlisted != "" {
			continue
		}
		d.lookUps = append(d.lookUps, func() {
			list, why := detailOf(ctx, d, d.lists, w.key, policy.DetailVulnerabilities)
			w.scan.Found, w.scan.Unlisted = list.withCVEs(d.project), cmp.Or(why, list.unlisted)
		})
	}
}

// listVulnerabilities lists those of one scan. A failure keeps no image from being looked up.
func (i *Inventory) listVulnerabilities(ctx context.Context, k scanKey, _ vulnerabilities) (vulnerabilities, error) {
	var rows []hss.Vulnerability
	for row, err := range k.of.client.Vulnerabilities(ctx, k.request) {
		if err != nil {
			return vulnerabilities{}, err
		}
		if rows = append(rows, row); len(rows) > maxListed {
			return vulnerabilities{unlisted: i.language.Sprintf("HSS lists more than %d", maxListed)}, nil
		}
	}
	return newVulnerabilities(rows, k.counted), nil
}
