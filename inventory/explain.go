package inventory

import (
	"errors"
	"fmt"
	"sync"

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

// heard keeps what HSS answered, for explanations. Nil keeps nothing.
type heard struct {
	mu              sync.Mutex
	images          map[spelling]*answered[hss.Image]
	vulnerabilities map[scanKey]*answered[hss.Vulnerability]
}

// spelling is a key by one spelling of its name.
type spelling struct {
	key  key
	name string
}

// answered is what HSS answered to one question.
type answered[T any] struct {
	// rows are the first that came, more counts the rest.
	rows []T
	more int
	err  error
}

func newHeard() *heard {
	return &heard{images: map[spelling]*answered[hss.Image]{}, vulnerabilities: map[scanKey]*answered[hss.Vulnerability]{}}
}

// begin returns where the rows of an answer go; nil: they aren't kept.
func (h *heard) begin() *answered[hss.Image] {
	if h == nil {
		return nil
	}
	return &answered[hss.Image]{}
}

// listed keeps the answer to the latest question for a spelling.
func (h *heard) listed(s spelling, a *answered[hss.Image], err error) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	a.err = err
	h.images[s] = a
}

// vulnerable keeps the answer to the latest question for vulnerabilities.
func (h *heard) vulnerable(k scanKey, a *answered[hss.Vulnerability]) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.vulnerabilities[k] = a
}

// add notes a row. Nil notes nothing.
func (a *answered[T]) add(row T) {
	switch {
	case a == nil:
	case len(a.rows) < maxExplained:
		a.rows = append(a.rows, row)
	default:
		a.more++
	}
}

// errNotAsked says that there is no answer to show.
var errNotAsked = errors.New("HSS was not asked")

// Explain tells of every row that HSS sent for the reference, in the answer that
// was evaluated, whether it counts and why not. It needs Options.Explained, and
// asks nothing.
func (i *Inventory) Explain(ref image.Reference) Explanation {
	k, reason := i.locate(&ref)
	if reason != "" {
		return Explanation{Unclaimed: reason}
	}
	e := Explanation{Registry: k.registry.Name, Project: k.registry.project.name, Image: k.String()}
	for _, name := range k.spellings() {
		e.Queries = append(e.Queries, i.heard.explain(k, name, ref.Digest))
	}
	return e
}

func (h *heard) explain(k key, name, digest string) ExplainedQuery {
	q := ExplainedQuery{Parameters: k.request(name).Query().Encode(), Failed: errNotAsked.Error()}
	if h == nil {
		return q
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.images[spelling{k, name}]
	if a == nil {
		return q
	}
	q.Failed, q.More = "", a.more
	if a.err != nil {
		q.Failed = whole(a.err)
	}
	for n := range a.rows {
		row := &a.rows[n]
		if row.Unreadable != "" && k.fits(row, name) {
			q.Failed = describe(&rowsError{unreadable(row)})
		}
		q.Rows = append(q.Rows, k.explainRow(row, name, digest))
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
