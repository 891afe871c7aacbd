package inventory

import (
	"cmp"
	"time"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/policy"
)

// Explanation explains how a reference is looked up, for a person.
type Explanation struct {
	// Unclaimed says why HSS is not called, in which case the rest is empty.
	Unclaimed string
	// Registry and Project are those of the configuration.
	Registry, Project string
	// Image is what HSS calls the image: namespace/name:version.
	Image string
	// Queries are the requests to HSS, one for each spelling of the name.
	Queries []ExplainedQuery
}

// ExplainedQuery is one request to HSS, and what it answered.
type ExplainedQuery struct {
	// Parameters are those of the list request, in the form of a URL's query.
	Parameters string
	// Rows are those that came back, at most 100 of them; More counts the rest.
	Rows []ExplainedRow
	More int
	// Failed says why there is no whole answer; empty if there is one.
	Failed string
}

// ExplainedRow is a row that HSS sent.
type ExplainedRow struct {
	hss.Image

	// Misfit says why it is not the wanted image, or that it cannot be read; empty if it fits.
	Misfit string
}

// maxExplained bounds the rows of one query.
const maxExplained = 100

// spelling is a key by one spelling of its name.
type spelling struct {
	key  key
	name string
}

// response is what HSS sent last for a spelling.
type response struct {
	rows []hss.Image
	err  error
}

// Explain explains for every row that HSS sent for the reference, in the answer that was evaluated, whether it counts and
// why not. It needs Options.Explained, and does not call HSS.
func (i *Inventory) Explain(ref image.Reference) Explanation {
	k, reason := i.locate(&ref)
	if reason != "" {
		return Explanation{Unclaimed: reason}
	}
	e := Explanation{Registry: k.registry.Name, Project: k.project().Name, Image: k.String()}
	for _, name := range k.spellings() {
		e.Queries = append(e.Queries, i.explainQuery(k, name, ref.Digest))
	}
	return e
}

func (i *Inventory) explainQuery(k key, name, digest string) ExplainedQuery {
	q := ExplainedQuery{Parameters: k.request(name).Query().Encode()}
	kept, _ := i.responses.Load(spelling{k, name})
	a, ok := kept.(response)
	switch {
	case !ok:
		q.Failed = "HSS was not called"
	case a.err != nil:
		q.Failed = whole(cmp.Or(i.records.get(k).failed.reason(time.Time{}), a.err))
	}
	for n := range a.rows {
		row := &a.rows[n]
		misfit := "it cannot be read: " + row.Unreadable
		if err := unreadable(row); err == nil {
			of := k
			of.digest = digest // rows of a tag are read whatever their digest
			misfit = of.misfit(row, name)
		} else if k.fits(row, name) {
			q.Failed = describe(err)
		}
		if n < maxExplained {
			q.Rows = append(q.Rows, ExplainedRow{*row, misfit})
		}
	}
	q.More = len(a.rows) - len(q.Rows)
	return q
}

// ExplainedList is one request to HSS for the vulnerabilities of a scan, and what it answered.
type ExplainedList struct {
	// Path and Parameters are those of the request, below /v5/{project_id} and in the form of a URL's query. They are empty if HSS was not called.
	Path, Parameters string
	// Counted is how many HSS counts.
	Counted int
	// Read are those that it lists, as they are evaluated, the worst first.
	Read []policy.Vulnerability
	// Failed says why there is no whole answer; empty: there is one.
	Failed string
}

// ExplainVulnerabilities returns what HSS listed of the scans that facts count any of. It does not call HSS.
func (i *Inventory) ExplainVulnerabilities(ref image.Reference, f policy.Facts) []ExplainedList {
	k, reason := i.locate(&ref)
	if reason != "" {
		return nil
	}
	all := k.project().scansOf(f.Records)
	lists := make([]ExplainedList, len(all))
	for n := range all {
		w, l := &all[n], &lists[n]
		if l.Counted, l.Failed = w.key.counted, w.unlisted(n); l.Failed == "" {
			l.Path, l.Parameters = "/image/"+w.key.request.ImageID+"/vulnerabilities", w.key.request.Query().Encode()
			l.Read, l.Failed = w.scan.Found, w.scan.Unlisted
		}
	}
	return lists
}
