package inventory

import (
	"slices"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// recordOf reduces a row to what verdicts need.
func recordOf(row *hss.Image) policy.Record {
	r := policy.Record{
		ID:           row.ID,
		ImageType:    string(row.Type),
		RegistryType: string(row.RegistryType),
		RegistryName: row.RegistryName,
		InstanceID:   row.InstanceID,
		InstanceName: row.InstanceName,
		Namespace:    row.Namespace,
		Name:         row.Name,
		Version:      row.Version,
		Digest:       row.Digest,
		Scan: policy.Scan{
			Status:            v1alpha1.ScanStatus(row.ScanStatus),
			FailedCode:        row.ScanFailedCode,
			FailedDescription: row.ScanFailedDescription,
			Vulnerabilities:   row.Vulnerabilities,
			UnsafeSettings:    row.UnsafeSettings,
			MaliciousFiles:    row.MaliciousFiles,
		},
		Severity:  v1alpha1.Severity(row.Severity),
		ScannedAt: row.LatestScanTime,
		UpdatedAt: row.LatestUpdateTime,
		MultiArch: row.MultiArch,
	}
	for i := range row.Architectures {
		r.Architectures = append(r.Architectures, architectureOf(&row.Architectures[i]))
	}
	return r
}

func architectureOf(a *hss.AssociatedImage) policy.Architecture {
	return policy.Architecture{
		ID:     a.ID,
		Digest: a.Digest,
		Scan: policy.Scan{
			Status:          v1alpha1.ScanStatus(a.ScanStatus),
			Vulnerabilities: a.Vulnerabilities,
			UnsafeSettings:  a.UnsafeSettings,
			MaliciousFiles:  a.MaliciousFiles,
		},
	}
}

// pin returns the records that hold a digest: whole records whose digest it
// is, and of a record with an architecture of that digest that architecture
// alone. Without a digest it returns all records. What it returns may be
// records itself.
func pin(records []policy.Record, digest string) []policy.Record {
	if digest == "" {
		return records
	}
	if !isDigest(digest) {
		return nil
	}
	other := func(r policy.Record) bool { return r.Digest != digest }
	if !slices.ContainsFunc(records, other) {
		return records
	}
	var pinned []policy.Record
	for i := range records {
		if p, ok := pinRecord(&records[i], digest); ok {
			pinned = append(pinned, p)
		}
	}
	return pinned
}

func pinRecord(r *policy.Record, digest string) (policy.Record, bool) {
	if r.Digest == digest {
		return *r, true
	}
	for _, a := range r.Architectures {
		if a.Digest != digest {
			continue
		}
		p := *r
		p.Architectures, p.PinnedArchitecture, p.LastCompleted = []policy.Architecture{a}, true, nil
		if r.LastCompleted != nil {
			if last, ok := pinRecord(r.LastCompleted, digest); ok {
				p.LastCompleted = &last
			}
		}
		return p, true
	}
	return policy.Record{}, false
}

// isPending tells whether a scan of a record is still to come or under way, so
// that HSS will soon say something else.
func isPending(r *policy.Record) bool {
	if hss.ScanStatus(r.Scan.Status).Pending() {
		return true
	}
	for i := range r.Architectures {
		if hss.ScanStatus(r.Architectures[i].Scan.Status).Pending() {
			return true
		}
	}
	return false
}

func anyPending(records []policy.Record) bool {
	for i := range records {
		if isPending(&records[i]) {
			return true
		}
	}
	return false
}

// isCompleted tells whether a record's scan, and that of every architecture,
// has a result.
func isCompleted(r *policy.Record) bool {
	if !hss.ScanStatus(r.Scan.Status).Completed() {
		return false
	}
	for i := range r.Architectures {
		if !hss.ScanStatus(r.Architectures[i].Scan.Status).Completed() {
			return false
		}
	}
	return true
}

// isRunning tells whether a record is being scanned or waits for it.
func isRunning(r *policy.Record) bool {
	if hss.ScanStatus(r.Scan.Status).Running() {
		return true
	}
	for i := range r.Architectures {
		if hss.ScanStatus(r.Architectures[i].Scan.Status).Running() {
			return true
		}
	}
	return false
}

// keepCompleted gives records that are being scanned again the last result
// that was seen of the same row with the same digest. Another digest is
// another image, and a digest that is none proves nothing.
func keepCompleted(records, previous []policy.Record) {
	for i := range records {
		r := &records[i]
		if !isRunning(r) || !isDigest(r.Digest) {
			continue
		}
		for j := range previous {
			if p := &previous[j]; p.ID == r.ID && p.Digest == r.Digest && p.ImageType == r.ImageType {
				r.LastCompleted = lastOf(p)
				break
			}
		}
	}
}

// lastOf returns a record's last completed result: itself, or what it kept.
func lastOf(p *policy.Record) *policy.Record {
	switch {
	case isCompleted(p):
		last := *p
		last.LastCompleted = nil
		return &last
	case isRunning(p):
		return p.LastCompleted
	default:
		return nil
	}
}
