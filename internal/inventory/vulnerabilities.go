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

	"golang.org/x/sync/errgroup"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

const (
	// maxScans bounds the scans of one image whose vulnerabilities are listed, maxScansAtOnce those at one time.
	maxScans       = 64
	maxScansAtOnce = 8
	// maxListed bounds the rows of one list, maxListedText each of their texts, in bytes.
	maxListed     = 5000
	maxListedText = 256
)

// scanKey is the scan of an image, or of one architecture of it. Another scan, and another number of vulnerabilities
// found by it, make another key.
type scanKey struct {
	of                                                               *project
	imageID, imageType, instanceID, namespace, name, version, digest string
	scannedAt                                                        int64
	counted                                                          int
}

func (k scanKey) endpoint() *endpoint { return k.of.lists }

func (k scanKey) request() hss.VulnerabilityRequest {
	return hss.VulnerabilityRequest{
		ImageID: k.imageID, ImageType: hss.ImageType(k.imageType), Namespace: k.namespace, ImageName: k.name, Tag: k.version,
		InstanceID: k.instanceID, EnterpriseProjectID: k.of.enterpriseProject, Limit: hss.MaxLimit,
	}
}

// vulnerabilities are what HSS lists of a scan.
type vulnerabilities struct {
	found []policy.Vulnerability
	// unlisted is why found is nil though HSS answered.
	unlisted string
}

func (l vulnerabilities) bytes() int {
	const each = 96
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
	if len(found) <= counted {
		return vulnerabilities{found: found}
	}
	// More than are counted: what differs only in where it lies is one. But if then fewer are left, HSS counts some of
	// them several times, and without these rows it would seem to count what it does not list.
	if once := policy.WithoutRepeats(slices.Clone(found)); len(once) >= counted {
		found = once
	}
	return vulnerabilities{found: found}
}

// vulnerabilityOf converts a row. What is unknown counts as the worst: it has a fix unless HSS names none for a
// vulnerability of a package that it names.
func vulnerabilityOf(row *hss.Vulnerability) policy.Vulnerability {
	v := policy.Vulnerability{
		ID: short(row.ID), Severity: v1alpha1.Severity(short(string(row.Necessity.Severity()))),
		Package: short(row.AppName), Installed: short(row.Version), Fix: short(row.Solution),
	}
	if v.Fix == "" && (v.ID == "" || v.Package == "") {
		v.Fix = "unknown"
	}
	return v
}

// short cuts a text, and copies it from the answer that it is part of.
func short(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > maxListedText {
		s = strings.ToValidUTF8(s[:maxListedText], "")
	}
	return strings.Clone(s)
}

// WithVulnerabilities returns the facts of a reference with the single vulnerabilities that their scans count. Those
// that are not available by the time that ctx ends stay unknown, and the scan says why; the look-up goes on. If they are
// not needed for a verdict, they are looked up in the background, and an older list will do.
func (i *Inventory) WithVulnerabilities(ctx context.Context, ref image.Reference, f policy.Facts, needed bool) policy.Facts {
	l := background
	if needed {
		l = admissionLane(ctx)
	}
	q := &listQuery{inventory: i, lane: l, needed: needed, listed: i.observer.Listed}
	return q.fill(ctx, &ref, f)
}

// wantedScan is a scan whose vulnerabilities are needed.
type wantedScan struct {
	scan *policy.Scan
	key  scanKey
}

// scansOf returns the scans of records that count vulnerabilities.
func (p *project) scansOf(records []policy.Record) (all []wantedScan) {
	add := func(r *policy.Record, s *policy.Scan, imageID, digest string) {
		if s.Vulnerabilities == nil || *s.Vulnerabilities <= 0 || hss.ScanStatus(s.Status).Failed() {
			return
		}
		k := scanKey{
			of: p, imageID: imageID, imageType: r.ImageType, instanceID: r.InstanceID,
			namespace: r.Namespace, name: r.Name, version: r.Version, digest: digest, counted: *s.Vulnerabilities,
		}
		if !r.ScannedAt.IsZero() {
			k.scannedAt = r.ScannedAt.UnixMilli()
		}
		all = append(all, wantedScan{s, k})
	}
	for n := range records {
		for r := &records[n]; r != nil; r = r.LastCompleted {
			if !r.PinnedArchitecture {
				add(r, &r.Scan, r.ImageID, r.Digest)
			}
			for i := range r.Architectures {
				a := &r.Architectures[i]
				add(r, &a.Scan, a.ImageID, cmp.Or(a.Digest, r.Digest))
			}
		}
	}
	return all
}

// unlisted returns why the vulnerabilities of an image's n-th scan are not looked up.
func (w *wantedScan) unlisted(n int) string {
	switch {
	case w.key.imageID == "":
		return "HSS gives the image no ID to list them by"
	case n >= maxScans:
		return fmt.Sprintf("the image has more than %d scans", maxScans)
	}
	// HSS's list holds images with names that its other calls do not take.
	err := w.key.request().Validate()
	if invalid, ok := errors.AsType[*hss.InvalidRequestError](err); ok {
		return "HSS cannot list them: " + strings.Join(invalid.Problems, "; ")
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

// listQuery looks up the vulnerabilities of one image.
type listQuery struct {
	inventory *Inventory
	lane      lane
	// needed says that a verdict depends on them.
	needed bool
	listed func(project string, o Outcome)

	mu sync.Mutex
	// oldest is when the oldest list is from that had to be used without an answer from HSS, and why says why.
	oldest time.Time
	why    error
}

// fill returns the facts with the vulnerabilities of all scans.
func (q *listQuery) fill(ctx context.Context, ref *image.Reference, f policy.Facts) policy.Facts {
	k, reason := q.inventory.locate(ref)
	if reason != "" || f.State != policy.StateFound {
		return f
	}
	f.Records = ownRecords(f.Records)
	all := k.project().scansOf(f.Records)
	var group errgroup.Group
	group.SetLimit(maxScansAtOnce)
	for n := range all {
		w := &all[n]
		if w.key.imageID == "" {
			continue // there is nothing to list by, as if nothing had been wanted
		}
		if w.scan.Unlisted = w.unlisted(n); w.scan.Unlisted == "" {
			group.Go(func() error {
				q.fillScan(ctx, w)
				return nil
			})
		}
	}
	_ = group.Wait() // its functions return no error
	if !q.oldest.IsZero() && q.needed && (!f.Stale || f.AsOf.After(q.oldest)) {
		f.AsOf, f.Stale, f.StaleReason = q.oldest, true, describe(q.why)
	}
	return f
}

// fillScan fills in the vulnerabilities of one scan, or why they are not known.
func (q *listQuery) fillScan(ctx context.Context, w *wantedScan) {
	i := q.inventory
	use := func(l vulnerabilities, o Outcome) {
		q.listed(w.key.of.name, o)
		w.scan.Found, w.scan.Unlisted = l.found, l.unlisted
	}
	a := i.lists.get(w.key)
	if a.isKnown() && i.clock.Since(a.asOf) < time.Duration(i.cfg.FreshFor) {
		use(a.value, Hit)
		return
	}
	usable := a.isKnown() && i.clock.Since(a.asOf) <= time.Duration(i.cfg.MaxStaleness)
	if usable && !q.needed {
		i.lists.refresh(w.key, a)
		use(a.value, Stale)
		return
	}
	fresh, err := i.lists.obtain(ctx, w.key, a, q.lane, usable)
	switch {
	case err == nil:
		use(fresh.value, Miss)
	case usable:
		q.noteStale(a.asOf, err)
		use(a.value, Stale)
	default:
		use(vulnerabilities{unlisted: describe(err)}, Unavailable)
	}
}

// noteStale notes that an old list had to be used.
func (q *listQuery) noteStale(asOf time.Time, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.oldest.IsZero() || asOf.Before(q.oldest) {
		q.oldest, q.why = asOf, err
	}
}

// listVulnerabilities lists those of one scan. A failure keeps no image from being looked up.
func (i *Inventory) listVulnerabilities(ctx context.Context, k scanKey, _ *answer[vulnerabilities]) (l vulnerabilities, err error) {
	p := k.of
	err = p.call(ctx, p.lists, func(ctx context.Context) error {
		begun := i.clock.Now()
		rows, err := readVulnerabilities(ctx, p.client, k.request())
		err = p.whyEnded(ctx, err)
		if i.explained {
			i.responses.vulnerabilities.Store(k, answered[hss.Vulnerability]{rows, err})
		}
		if err == nil {
			l = newVulnerabilities(rows, k.counted)
		}
		i.observer.AskedVulnerabilities(ctx, p.name, i.clock.Since(begun), err)
		return err
	})
	if isFailure(err, badRows) {
		return vulnerabilities{unlisted: describe(err)}, nil
	}
	return l, err
}

func readVulnerabilities(ctx context.Context, from Lister, r hss.VulnerabilityRequest) (rows []hss.Vulnerability, err error) {
	for row, err := range from.Vulnerabilities(ctx, r) {
		if err != nil {
			return nil, err
		}
		if rows = append(rows, row); len(rows) > maxListed {
			return nil, failuref(badRows, "HSS lists more than %d", maxListed)
		}
	}
	// A list that ends without an error because its time was up is not whole.
	return rows, ctx.Err()
}
