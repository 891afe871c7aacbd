package inventory

import (
	"context"
	"fmt"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
)

// Explanation tells how a reference is looked up, for a person.
type Explanation struct {
	// Unclaimed says why HSS isn't asked at all; empty if it is. The rest is
	// then empty.
	Unclaimed string
	// Registry and Project are those of the configuration.
	Registry, Project string
	// Image is what HSS calls the image: namespace/name:version.
	Image string
	// Queries are what HSS was asked, one for each spelling of the name.
	Queries []ExplainedQuery
}

// ExplainedQuery is one question to HSS, and what it answered.
type ExplainedQuery struct {
	// Parameters are those of the list request, in the form of a URL's query.
	Parameters string
	// Rows are those that came back, at most 100 of them; More counts the rest.
	Rows []ExplainedRow
	More int
	// Failed says why there is no answer, or no whole one; empty: there is one.
	Failed string
}

// ExplainedRow is a row that HSS sent.
type ExplainedRow struct {
	// ID, Image, Type, Registry, Digest and ScanStatus tell which one it is.
	ID, Image, Type, Registry, Digest, ScanStatus string
	// Misfit says why it isn't the image that is looked for, or can't be read;
	// empty: it is.
	Misfit string
}

// maxExplained bounds the rows that are told of.
const maxExplained = 100

// Explain asks HSS afresh, whatever is known, and tells of every row that comes
// back whether it counts and why not. It is for people: nothing of it is kept.
func (i *Inventory) Explain(ctx context.Context, ref image.Reference) Explanation {
	k, reason := i.locate(&ref)
	if reason != "" {
		return Explanation{Unclaimed: reason}
	}
	e := Explanation{Registry: k.registry.Name, Project: k.registry.project.name, Image: k.String()}
	for _, name := range k.spellings() {
		e.Queries = append(e.Queries, k.explain(ctx, name, ref.Digest))
	}
	return e
}

func (k key) explain(ctx context.Context, name, digest string) ExplainedQuery {
	ctx, cancel := context.WithTimeout(ctx, k.registry.project.lookupTimeout)
	defer cancel()
	request := k.request(name)
	q := ExplainedQuery{Parameters: request.Query().Encode()}
	for row, err := range k.registry.project.lister.All(ctx, request) {
		if err != nil {
			q.Failed = whole(err)
			break
		}
		if row.Unreadable != "" && k.fits(&row, name) {
			q.Failed = describe(&rowsError{unreadable(&row)})
		}
		if len(q.Rows) == maxExplained {
			q.More++
			continue
		}
		q.Rows = append(q.Rows, k.explainRow(&row, name, digest))
	}
	return q
}

func (k key) explainRow(row *hss.Image, name, digest string) ExplainedRow {
	m := k.misfit(row, name)
	if m == (misfit{}) && digest != "" && !hasDigest(row, digest) {
		m = misfit{partDigest, row.Digest, digest} // rows of a tag are read whatever their digest
	}
	why := m.String()
	if row.Unreadable != "" {
		why = "it can't be read: " + row.Unreadable
	}
	return ExplainedRow{
		ID: row.ID, Image: row.Namespace + "/" + row.Name + ":" + row.Version, Type: string(row.Type),
		Registry: row.RegistryName, Digest: row.Digest, ScanStatus: string(row.ScanStatus), Misfit: why,
	}
}

// String says it in words; empty for a row that fits.
func (m misfit) String() string {
	if m == (misfit{}) {
		return ""
	}
	return fmt.Sprintf("its %s is %q, not %q", m.part, m.sent, m.wanted)
}
