package inventory

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/maypok86/otter/v2"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// scanKey names the scan of an image, or of one architecture of it, whose
// vulnerabilities are asked for. Another scan, and another number found by it,
// make it another.
type scanKey struct {
	project                                                          *project
	imageID, imageType, instanceID, namespace, name, version, digest string
	scannedAt                                                        int64
	counted                                                          int
}

func (k *scanKey) request() hss.VulnerabilityRequest {
	return hss.VulnerabilityRequest{
		ImageID: k.imageID, ImageType: hss.ImageType(k.imageType), Namespace: k.namespace, ImageName: k.name, Tag: k.version,
		InstanceID: k.instanceID, EnterpriseProjectID: k.project.enterpriseProject, Limit: hss.MaxLimit,
	}
}

// clone copies the texts, which may be a part of a whole row.
func (k scanKey) clone() scanKey {
	for _, text := range []*string{&k.imageID, &k.imageType, &k.instanceID, &k.namespace, &k.name, &k.version, &k.digest} {
		*text = strings.Clone(*text)
	}
	return k
}

func (k *scanKey) bytes() int {
	const own = 160
	return own + len(k.imageID) + len(k.imageType) + len(k.instanceID) + len(k.namespace) + len(k.name) + len(k.version) + len(k.digest)
}

// details are what HSS lists of a scan. It never changes.
type details struct {
	found []policy.Vulnerability
	// unlisted says why found is nil though HSS answered.
	unlisted string
	// asOf is when HSS was asked, in nanoseconds since the epoch.
	asOf int64
}

// The bounds of details: how many rows are read, and how much of each text, in
// bytes.
const (
	maxListed     = 5000
	maxListedText = 256
)

// newDetails reads the rows of a scan for which HSS counts so many
// vulnerabilities.
func newDetails(rows []hss.Vulnerability, counted int) *details {
	found := make([]policy.Vulnerability, len(rows))
	for i := range rows {
		found[i] = vulnerabilityOf(&rows[i])
	}
	slices.SortFunc(found, policy.CompareVulnerabilities)
	if len(found) <= counted {
		return &details{found: found}
	}
	// More than are counted: what differs only in where it lies is one. But if
	// then fewer are left, HSS counts some of them several times, and without
	// these rows it would seem to count what it doesn't list.
	if once := policy.WithoutRepeats(slices.Clone(found)); len(once) >= counted {
		found = once
	}
	return &details{found: found}
}

// vulnerabilityOf reads a row. What isn't known of it is for the worst: it has a
// fix unless HSS names none for a vulnerability of a package that it names.
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

// short cuts a text, and copies it from the answer that it is a part of.
func short(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > maxListedText {
		s = strings.ToValidUTF8(s[:maxListedText], "")
	}
	return strings.Clone(s)
}

func (l *details) bytes() int {
	const own, each = 96, 96
	n := own + len(l.unlisted)
	for i := range l.found {
		v := &l.found[i]
		n += each + len(v.ID) + len(v.Severity) + len(v.Package) + len(v.Installed) + len(v.Fix)
	}
	return n
}

// detailStore holds those that are known, and those that could not be had.
type detailStore struct {
	cache    *otter.Cache[scanKey, *details]
	failures *otter.Cache[scanKey, *failure]
	flights  flights[scanKey, *details]
}

func newDetailStore(c config.Cache) (*detailStore, error) {
	limit := max(1, uint64(c.MaxVulnerabilityBytes)) //nolint:gosec // Validate refuses negative ones
	known, err := otter.New(&otter.Options[scanKey, *details]{
		MaximumWeight: limit,
		Weigher: func(k scanKey, l *details) uint32 {
			return uint32(min(k.bytes()+l.bytes(), math.MaxUint32)) //nolint:gosec // bounded just here
		},
	})
	if err != nil {
		return nil, fmt.Errorf("making the store of vulnerabilities: %w", err)
	}
	failures, err := otter.New(&otter.Options[scanKey, *failure]{MaximumSize: maxFailures})
	if err != nil {
		return nil, fmt.Errorf("making the store of failures: %w", err)
	}
	return &detailStore{cache: known, failures: failures}, nil
}

// scansOf are the scans whose vulnerabilities count, each with its key. The
// records are the caller's own.
func (p *project) scansOf(records []policy.Record) []wanted {
	var all []wanted
	for i := range records {
		all = p.appendScans(all, &records[i])
	}
	return all
}

// wanted is a scan whose vulnerabilities are wanted one by one.
type wanted struct {
	scan *policy.Scan
	key  scanKey
}

func (p *project) appendScans(all []wanted, r *policy.Record) []wanted {
	add := func(s *policy.Scan, imageID, digest string) {
		if s.Vulnerabilities == nil || *s.Vulnerabilities <= 0 || hss.ScanStatus(s.Status).Failed() {
			return
		}
		k := scanKey{
			project: p, imageID: imageID, imageType: r.ImageType, instanceID: r.InstanceID,
			namespace: r.Namespace, name: r.Name, version: r.Version, digest: digest,
			counted: *s.Vulnerabilities,
		}
		if !r.ScannedAt.IsZero() {
			k.scannedAt = r.ScannedAt.UnixMilli()
		}
		all = append(all, wanted{s, k})
	}
	if !r.PinnedArchitecture {
		add(&r.Scan, r.ImageID, r.Digest)
	}
	for i := range r.Architectures {
		a := &r.Architectures[i]
		add(&a.Scan, a.ImageID, cmp.Or(a.Digest, r.Digest))
	}
	if r.LastCompleted != nil {
		all = p.appendScans(all, r.LastCompleted)
	}
	return all
}
