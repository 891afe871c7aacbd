package inventory

import (
	"strings"

	"github.com/hssgate/hssgate/policy"
)

// unpack writes the record into p, and its counts into n.
func (r *record) unpack(p *policy.Record, n *[3]int) {
	a := r.attributes.Value()
	*p = policy.Record{
		ID: r.field(textID), ImageType: a.imageType, RegistryType: a.registryType, RegistryName: a.registryName,
		InstanceID: a.instanceID, InstanceName: a.instanceName,
		Namespace: r.field(textNamespace), Name: r.field(textName), Version: r.field(textVersion), Digest: r.digest(),
		Scan: policy.Scan{
			Status: a.status, FailedCode: r.field(textFailedCode), FailedDescription: r.field(textFailedDescription),
		},
		Severity: a.severity, ScannedAt: timeOf(r.scannedAt), UpdatedAt: timeOf(r.updatedAt), MultiArch: a.multiArch,
	}
	switch a.identity {
	case idNone:
	case idIsDigest:
		p.ImageID = hexOf(p.Digest)
	case idInText:
		p.ImageID, p.Scan.FailedCode = p.Scan.FailedCode, ""
	}
	r.counts.unpack(&p.Scan, n)
	if r.extra != nil {
		r.extra.unpack(p)
	}
}

func (e *extra) unpack(p *policy.Record) {
	if len(e.architectures) > 0 {
		p.Architectures = make([]policy.Architecture, len(e.architectures))
	}
	for i := range e.architectures {
		a, to := &e.architectures[i], &p.Architectures[i]
		*to = policy.Architecture{ID: a.text[:a.id], ImageID: a.text[a.id:a.imageID], Digest: a.digest(), Scan: policy.Scan{Status: a.status.Value()}}
		if a.identity == idIsDigest {
			to.ImageID = hexOf(to.Digest)
		}
		a.counts.unpack(&to.Scan, new([3]int))
	}
	if e.last != nil {
		p.LastCompleted = &policy.Record{}
		e.last.unpack(p.LastCompleted, new([3]int))
	}
}

func hexOf(digest string) string { return strings.TrimPrefix(digest, "sha256:") }

// unpack writes the counts into n, and has s point there.
func (c counts) unpack(s *policy.Scan, n *[3]int) {
	for i, to := range [...]**int{&s.Vulnerabilities, &s.UnsafeSettings, &s.MaliciousFiles} {
		if c[i] == unknown {
			continue
		}
		n[i] = int(c[i])
		*to = &n[i]
	}
}
