package report

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// page is the data of the HTML template.
type page struct {
	*Report

	Verdicts   []bar
	Severities []bar
	Worst      []*Image
	Namespaces []*namespaceViolations
	Rows       []*Result
}

type bar struct {
	Class string // of its colour
	Label string
	Count int
}

type namespaceViolations struct {
	Name    string
	Objects int
	Items   []*pageViolation
}

// pageViolation is what one policy finds in an image, with the objects that use it.
type pageViolation struct {
	*Violation

	Objects []string
}

func (r *Report) html() (string, error) {
	t, err := template.New("report.html.tmpl").Funcs(template.FuncMap{
		"capitalised": func(text string) string { return strings.ToUpper(text[:1]) + text[1:] },
		"hostAndPath": hostAndPath, "first": first, "more": more,
	}).ParseFS(templates, "templates/report.html.tmpl", "templates/style.css", "templates/script.js")
	if err != nil {
		return "", err
	}
	bad, good := r.sorted()
	results, images := slices.Concat(bad, good), r.images()
	var b strings.Builder
	err = t.Execute(&b, &page{
		Report: r, Verdicts: r.verdictBars(), Severities: severityBars(images), Worst: slices.DeleteFunc(slices.Clone(images), (*Image).harmless),
		Namespaces: byNamespace(results), Rows: results,
	})
	return Printable(b.String()), err
}

func (r *Report) verdictBars() []bar {
	s := r.Summary
	return []bar{
		{"Denied", "Denied", s.Denied}, {"Unknown", "Unknown", s.Unknown}, {"Warned", "Admitted with a warning", s.Warned},
		{"Audit", "Admitted, only audited", s.Audited}, {"Admitted", "Admitted", s.Admitted - s.Audited},
	}
}

// severityBars counts images by severity, and those without one by the reason.
func severityBars(images []*Image) []bar {
	bars := []bar{
		{"High", "High", 0}, {"Medium", "Medium", 0}, {"Low", "Low", 0}, {"Security", "Security", 0}, {"none", "No severity", 0},
		{"notfound", "Unknown to HSS", 0}, {"Unknown", "HSS is unreachable", 0}, {"none", "Not evaluated", 0}, {"Denied", "Invalid reference", 0},
	}
	places := map[State]int{NotFound: 5, Unavailable: 6, NotLookedUp: 7, Invalid: 8}
	for _, one := range images {
		place, hasNone := places[one.State]
		if !hasNone { // an unknown severity ranks above High, and is shown as High
			place = max(0, 4-severityRank(one.Severity))
		}
		bars[place].Count++
	}
	return slices.DeleteFunc(bars, func(b bar) bool { return b.Count == 0 })
}

// harmless reports whether HSS found nothing in the image, as far as it is known.
func (i *Image) harmless() bool {
	found := number(i.Vulnerabilities) + number(i.MaliciousFiles) + number(i.UnsafeSettings)
	return i.State != Found || found == 0 && severityRank(i.Severity) <= severityRank(v1alpha1.SeverityLow)
}

// hostAndPath returns the host of a reference with its slash, which the page keeps
// in one line if it can, and the rest.
func hostAndPath(reference string) []string {
	host, path, found := strings.Cut(reference, "/")
	if !found {
		return []string{"", reference}
	}
	return []string{host + "/", path}
}

// EffectText returns the effect in words.
func (v *Violation) EffectText() string {
	if v.deniesPods() {
		return fmt.Sprintf("%s; its pods: %s", v.Effect, v.PodEffect)
	}
	return string(v.Effect)
}

// byNamespace returns the violations of each namespace, in the order of the results.
func byNamespace(results []*Result) []*namespaceViolations {
	found, items := map[string]*namespaceViolations{}, map[string]*pageViolation{}
	for _, one := range results {
		if len(one.Violations) == 0 {
			continue
		}
		n := found[one.Namespace]
		if n == nil {
			n = &namespaceViolations{Name: cmp.Or(one.Namespace, "no namespace")}
			found[one.Namespace] = n
		}
		n.Objects += len(one.names())
		for j := range one.Violations {
			v := &one.Violations[j]
			key := strings.Join([]string{one.Namespace, v.Reference, v.Policy, v.EffectText(), v.messages()}, "\x00")
			item := items[key]
			if item == nil {
				item = &pageViolation{Violation: v}
				items[key] = item
				n.Items = append(n.Items, item)
			}
			for _, name := range one.names() {
				item.Objects = append(item.Objects, fmt.Sprintf("%s/%s (%s %s)", one.Kind, name, v.Place, v.Name))
			}
		}
	}
	namespaces := slices.Collect(maps.Values(found))
	slices.SortFunc(namespaces, func(a, b *namespaceViolations) int { return strings.Compare(a.Name, b.Name) })
	return namespaces
}
