package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Bounds of what texts and pages show. JSON and YAML have all.
const (
	// maxListedImages bounds the images, maxListedRows the vulnerabilities of one.
	maxListedImages = 20
	maxListedRows   = 20
	// maxPageVulnerabilities bounds those of one image on a page.
	maxPageVulnerabilities = 200
)

// ListedImage is an image with its vulnerabilities.
type ListedImage struct {
	Reference string `json:"reference"`
	// Counted is how many HSS counts.
	Counted int `json:"counted"`
	// Listed are those that HSS lists, the worst first.
	Listed []Vulnerability `json:"listed,omitempty"`
	// Unlisted says why they aren't known one by one.
	Unlisted string `json:"unlisted,omitempty"`
}

// Vulnerability is one that HSS found.
type Vulnerability struct {
	ID       string            `json:"id"`
	Severity v1alpha1.Severity `json:"severity"`
	Package  string            `json:"package,omitempty"`
	// Installed is the package's version.
	Installed string `json:"installed,omitempty"`
	// Fix is what mends it; empty: nothing does.
	Fix string `json:"fix,omitempty"`
}

// newListedImage gathers the vulnerabilities of all records and architectures,
// which may share them; nil if nobody asked.
func newListedImage(reference string, f *policy.Facts) *ListedImage {
	i := &ListedImage{Reference: reference, Unlisted: f.Unlisted()}
	var all []policy.Vulnerability
	asked := i.Unlisted != ""
	for n := range f.Records {
		r := &f.Records[n]
		scans := []*policy.Scan{&r.Scan}
		for k := range r.Architectures {
			scans = append(scans, &r.Architectures[k].Scan)
		}
		for _, s := range scans {
			asked = asked || s.Found != nil
			all = append(all, s.Found...)
			i.Counted = max(i.Counted, number(s.Vulnerabilities))
		}
	}
	if !asked || len(all) == 0 && i.Unlisted == "" {
		return nil
	}
	slices.SortFunc(all, policy.CompareVulnerabilities)
	for _, v := range slices.Compact(all) {
		i.Listed = append(i.Listed, Vulnerability(v))
	}
	return i
}

// listVulnerabilities gathers the images that have any to show.
func (r *Report) listVulnerabilities(images map[string]*Image) {
	some := make([]*Image, 0, len(images))
	for _, one := range images {
		if one.Listed != nil {
			some = append(some, one)
		}
	}
	slices.SortFunc(some, compareImages)
	r.Vulnerabilities = nil
	for _, one := range some {
		r.Vulnerabilities = append(r.Vulnerabilities, *one.Listed)
	}
}

// listed is how many images' vulnerabilities are known one by one.
func (r *Report) listed() int {
	n := 0
	for i := range r.Vulnerabilities {
		if len(r.Vulnerabilities[i].Listed) > 0 {
			n++
		}
	}
	return n
}

// String says how many there are.
func (i *ListedImage) String() string {
	text := plural(i.Counted, "vulnerability", "vulnerabilities")
	switch {
	case i.Unlisted != "":
		return text + ", not known one by one: " + i.Unlisted
	case len(i.Listed) != i.Counted:
		return fmt.Sprintf("%s, %d listed", text, len(i.Listed))
	}
	return text
}

// ids are the identifiers of those that are listed, each once, the worst first.
func (i *ListedImage) ids() []string {
	var ids []string
	seen := map[string]bool{}
	for k := range i.Listed {
		if id := clean(i.Listed[k].ID); !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

// FixText is what mends it, in words.
func (v Vulnerability) FixText() string {
	if v.Fix == "" {
		return "no fix"
	}
	return v.Fix
}

// Class names the colour of its severity. One that isn't known is the worst.
func (v Vulnerability) Class() string {
	switch v.Severity {
	case v1alpha1.SeverityMedium:
		return "medium"
	case v1alpha1.SeverityLow:
		return "low"
	default:
		return "high"
	}
}

// clean is the vulnerability without what steers a terminal or a page.
func (v Vulnerability) clean() Vulnerability {
	return Vulnerability{
		ID: clean(v.ID), Severity: v1alpha1.Severity(clean(string(v.Severity))),
		Package: clean(v.Package), Installed: clean(v.Installed), Fix: clean(v.Fix),
	}
}

// listedText tells of the worst, in columns, below a table.
func (r *Report) listedText() string {
	var b strings.Builder
	for n := range r.Vulnerabilities {
		if n == maxListedImages {
			fmt.Fprintf(&b, "\n%d more images have vulnerabilities that are listed; -o json has them all.\n", len(r.Vulnerabilities)-n)
			break
		}
		one := &r.Vulnerabilities[n]
		fmt.Fprintf(&b, "\n%s: %s\n", oneLine(one.Reference), oneLine(one.String()))
		writeColumns(&b, one.Listed)
	}
	return b.String()
}

// writeColumns writes the first rows.
func writeColumns(b *strings.Builder, all []Vulnerability) {
	some := all[:min(len(all), maxListedRows)]
	rows := make([][]string, len(some))
	var widths [4]int
	for i := range some {
		v := &some[i]
		rows[i] = []string{oneLine(v.ID), oneLine(string(v.Severity)), oneLine(v.Package), oneLine(v.Installed), oneLine(v.FixText())}
		for k := range widths {
			widths[k] = max(widths[k], columns(rows[i][k]))
		}
	}
	for _, row := range rows {
		b.WriteString(" ")
		for k, text := range row {
			b.WriteString(" " + text)
			if k < len(widths) {
				b.WriteString(strings.Repeat(" ", widths[k]-columns(text)+1))
			}
		}
		b.WriteString("\n")
	}
	if more := len(all) - len(some); more > 0 {
		fmt.Fprintf(b, "  and %d more\n", more)
	}
}

// oneLine is a text without anything that would steer a terminal.
func oneLine(text string) string { return strings.Join(words(text), " ") }

// markdownVulnerabilities tells of the worst, one folded table an image.
func (r *Report) markdownVulnerabilities(b *strings.Builder) {
	for n := range r.Vulnerabilities {
		if n == maxListedImages {
			fmt.Fprintf(b, "\n%d more images have vulnerabilities that are listed.\n", len(r.Vulnerabilities)-n)
			return
		}
		one := &r.Vulnerabilities[n]
		if len(one.Listed) == 0 {
			fmt.Fprintf(b, "\n%s: %s\n", inline(one.Reference), inline(one.String()))
			continue
		}
		fmt.Fprintf(b, "\n<details><summary>%s: %s</summary>\n\n", inline(one.Reference), inline(one.String()))
		b.WriteString("| Vulnerability | Severity | Package | Installed | Fix |\n| --- | --- | --- | --- | --- |\n")
		for i := range one.Listed {
			if i == maxListedRows {
				fmt.Fprintf(b, "| and %d more | | | | |\n", len(one.Listed)-i)
				break
			}
			v := &one.Listed[i]
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", inline(v.ID), inline(string(v.Severity)), inline(v.Package), inline(v.Installed), inline(v.FixText()))
		}
		b.WriteString("\n</details>\n")
	}
}

// pageListed is an image with its vulnerabilities on a page.
type pageListed struct {
	Reference, Text string
	Rows            []Vulnerability
	// More is how many are left out.
	More int
}

// MoreListed is how many images are left out.
func (p *page) MoreListed() int { return len(p.Vulnerabilities) - len(p.Listed) }

// pageVulnerabilities are the images with the worst of their vulnerabilities.
func (r *Report) pageVulnerabilities() []pageListed {
	var all []pageListed
	for n := range r.Vulnerabilities[:min(len(r.Vulnerabilities), maxListedImages)] {
		one := &r.Vulnerabilities[n]
		p := pageListed{Reference: clean(one.Reference), Text: clean(one.String())}
		for i := range one.Listed[:min(len(one.Listed), maxPageVulnerabilities)] {
			p.Rows = append(p.Rows, one.Listed[i].clean())
		}
		p.More = len(one.Listed) - len(p.Rows)
		all = append(all, p)
	}
	return all
}
