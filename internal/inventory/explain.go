package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/image"
	"github.com/hssgate/hssgate/internal/lookup"
	"github.com/hssgate/hssgate/policy"
)

// maxExplained bounds the rows of one request that are explained.
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

// Explain explains how a reference is looked up, in lines: each request to HSS and, below it, every row of the answer that was
// evaluated, with whether it counts and why not. It needs Options.Explained, and does not call HSS.
func (i *Inventory) Explain(ref image.Reference) []string {
	k, reason := i.locate(&ref)
	if reason != "" {
		return []string{"registry: none: " + reason}
	}
	lines := []string{fmt.Sprintf("registry: %q of HSS project %q, where the image is %s", k.registry.Name, k.project().Name, k)}
	for _, name := range k.spellings() {
		query, _ := k.request(name).Query()
		lines = append(lines, "HSS query: "+strings.ReplaceAll(query.Encode(), "&", " & "))
		lines = append(lines, i.explainResponse(k, name, ref.Digest)...)
	}
	return lines
}

// explainResponse explains the answer to one request.
func (i *Inventory) explainResponse(k key, name, digest string) (lines []string) {
	kept, _ := i.responses.Load(spelling{k, name})
	a, called := kept.(response)
	failed := ""
	switch {
	case !called:
		failed = "HSS was not called"
	case a.err != nil:
		failed = lookup.Reason(i.language, cmp.Or(i.records.Get(k).Failure(), a.err))
	}
	of := k
	of.digest = digest // rows of a tag are read whatever their digest
	for n := range a.rows {
		row, fit := &a.rows[n], "it fits"
		err := unreadable(row)
		if err != nil {
			fit = "it cannot be read: " + row.Unreadable
		} else if misfit := of.misfit(row, name); misfit != "" {
			fit = "it does not fit: " + misfit
		}
		if err != nil && k.fits(row, name) {
			failed = lookup.Describe(i.language, err)
		}
		if n < maxExplained {
			lines = append(lines, fmt.Sprintf("  row %d: %s/%s:%s, %s, registry %q, id %q, scan %s, digest %q: %s", n+1, row.Namespace, row.Name, row.Version,
				row.Type, row.RegistryName, row.ID, row.ScanStatus, row.Digest, fit))
		}
	}
	if more := len(a.rows) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("  and %d more rows", more))
	}
	if failed != "" {
		return slices.Insert(lines, 0, "  no complete answer: "+failed)
	}
	if len(lines) == 0 {
		lines = []string{"  no row came back"}
	}
	return lines
}

// ExplainVulnerabilities explains in lines what HSS listed of the scans that facts count any of. It does not call HSS.
func (i *Inventory) ExplainVulnerabilities(ref image.Reference, f policy.Facts) (lines []string) {
	k, reason := i.locate(&ref)
	if reason != "" {
		return nil
	}
	addf := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for n, w := range k.project().scansOf(f.Records, countsVulnerabilities) {
		counted, listed := w.key.counted, w.scan.Found
		if why := w.unlisted(i.language, n, false, w.key.request.Query); why != "" {
			addf("single vulnerabilities: the %d are not looked up: %s", counted, why)
			continue
		}
		query, _ := w.key.request.Query()
		addf("HSS query: /image/%s/vulnerabilities ? %s", w.key.request.ImageID, strings.ReplaceAll(query.Encode(), "&", " & "))
		if w.scan.Unlisted != "" {
			addf("  no complete answer: %s", w.scan.Unlisted)
			continue
		}
		missing := ""
		if n := counted - len(listed); n > 0 {
			missing = fmt.Sprintf(": the %d that it does not list count as well", n)
		}
		addf("  listed: %d; HSS counts %d%s", len(listed), counted, missing)
		for n := range listed {
			addf("  %s: %s", listed[n].Severity, listed[n].String())
		}
	}
	return lines
}
