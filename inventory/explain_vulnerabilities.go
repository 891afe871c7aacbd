package inventory

import (
	"context"

	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
)

// ExplainedList is one question to HSS for the vulnerabilities of a scan, and
// what it answered.
type ExplainedList struct {
	// Path and Parameters are those of the request, below /v5/{project_id} and in
	// the form of a URL's query. They are empty if HSS isn't asked.
	Path, Parameters string
	// Counted is how many HSS counts, Rows how many it listed.
	Counted, Rows int
	// Read are the rows as they are judged, the worst first.
	Read []policy.Vulnerability
	// Failed says why there is no whole answer; empty: there is one.
	Failed string
}

// ExplainVulnerabilities asks HSS afresh for the vulnerabilities of the scans
// that facts count any of. It is for people: nothing of it is kept.
func (i *Inventory) ExplainVulnerabilities(ctx context.Context, ref image.Reference, f policy.Facts) []ExplainedList {
	k, reason := i.locate(&ref)
	if reason != "" {
		return nil
	}
	p := k.registry.project
	all := p.scansOf(f.Records)
	lists := make([]ExplainedList, len(all))
	for n := range all {
		w := &all[n]
		lists[n] = ExplainedList{Counted: w.key.counted, Failed: p.whyUnlisted(w, n)}
		if lists[n].Failed == "" {
			w.key.explain(ctx, &lists[n])
		}
	}
	return lists
}

func (k *scanKey) explain(ctx context.Context, l *ExplainedList) {
	ctx, cancel := context.WithTimeout(ctx, k.project.lookupTimeout)
	defer cancel()
	request := k.request()
	l.Path, l.Parameters = "/image/"+request.ImageID+"/vulnerabilities", request.Query().Encode()
	rows, err := readVulnerabilities(ctx, k.project.vulnerabilities, request)
	l.Rows = len(rows)
	if err != nil {
		l.Failed = whole(err)
		return
	}
	l.Read = newDetails(rows, k.counted).found
}
