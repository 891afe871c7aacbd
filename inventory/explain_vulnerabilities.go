package inventory

import (
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

// ExplainVulnerabilities tells what HSS listed of the scans that facts count any
// of, in the answers that were evaluated. It needs Options.Explained, and asks
// nothing.
func (i *Inventory) ExplainVulnerabilities(ref image.Reference, f policy.Facts) []ExplainedList {
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
			i.heard.explainVulnerabilities(&w.key, &lists[n])
		}
	}
	return lists
}

func (h *heard) explainVulnerabilities(k *scanKey, l *ExplainedList) {
	request := k.request()
	l.Path, l.Parameters, l.Failed = "/image/"+request.ImageID+"/vulnerabilities", request.Query().Encode(), errNotAsked.Error()
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.vulnerabilities[*k]
	if a == nil {
		return
	}
	l.Failed, l.Rows = "", len(a.rows)
	if a.err != nil {
		l.Failed = whole(a.err)
		return
	}
	l.Read = newDetails(a.rows, k.counted).found
}
