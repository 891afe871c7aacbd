package report

import (
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/gate"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

//go:embed html/report.html.tmpl html/style.css html/script.js
var htmlFiles embed.FS

// Bounds of a page, so that a large cluster's still opens. What goes beyond
// them is counted, and stands in the other formats.
const (
	maxWorstImages = 20
	maxPageRows    = 2000
	maxPageObjects = 200
)

// page is what the template shows.
type page struct {
	*Report
	Style      template.CSS
	Script     template.JS
	Title      string
	Outcome    Verdict
	Verdicts   []bar
	Severities []bar
	Worst      []worstImage
	// Listed are images with their vulnerabilities.
	Listed     []pageListed
	Namespaces []namespaceViolations
	Rows       []pageRow
	// MoreRows is how many results are left out.
	MoreRows int
}

// bar is one bar of a chart.
type bar struct {
	// Class names its colour.
	Class, Label string
	Count        int
	// Start and Share are parts of the whole in percent.
	Start, Share float64
}

// worstImage is an image with what uses it.
type worstImage struct {
	*Image
	Uses int
}

// namespaceViolations are those of the objects of a namespace.
type namespaceViolations struct {
	Name    string
	Objects int
	Items   []pageViolation
}

// pageViolation is what one policy finds against an image, in whatever uses it.
type pageViolation struct {
	Reference, Policy string
	Effect            string
	Class             string
	Findings          []string
	Objects           []string
	// More is how many objects are left out.
	More int
}

// pageRow is a result.
type pageRow struct {
	*Result
	Class string
	Title string
	Where string
	Why   []string
}

func (r *Report) writeHTML(w io.Writer) error {
	const file = "html/report.html.tmpl"
	t, err := template.New(path.Base(file)).Funcs(template.FuncMap{"hostOf": hostOf, "pathOf": pathOf}).ParseFS(htmlFiles, file)
	if err != nil {
		return err
	}
	p, err := r.page()
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := t.Execute(&b, p); err != nil {
		return err
	}
	_, err = io.WriteString(w, clean(b.String()))
	return err
}

func (r *Report) page() (*page, error) {
	style, err := htmlFiles.ReadFile("html/style.css")
	if err != nil {
		return nil, err
	}
	script, err := htmlFiles.ReadFile("html/script.js")
	if err != nil {
		return nil, err
	}
	p := &page{
		Report: r, Title: "hssgate: " + clean(r.Subject), Outcome: r.Outcome(),
		Style: template.CSS(style), Script: template.JS(script), //nolint:gosec // hssgate's own files
		Verdicts: r.verdictBars(), Severities: r.severityBars(), Worst: r.worstImages(), Listed: r.pageVulnerabilities(), Namespaces: r.byNamespace(),
	}
	p.addRows()
	return p, nil
}

func (r *Report) verdictBars() []bar {
	s := r.Summary
	return share([]bar{
		{Class: "denied", Label: "Denied", Count: s.Denied},
		{Class: "unknown", Label: "Cannot be told", Count: s.Unknown},
		{Class: "warned", Label: "Admitted with a warning", Count: s.Warned},
		{Class: "audited", Label: "Admitted, only audited", Count: s.Audited},
		{Class: "admitted", Label: "Admitted", Count: s.Admitted - s.Audited},
	})
}

// severityBars counts images by severity, and those that have none by why.
func (r *Report) severityBars() []bar {
	bars := []bar{
		{Class: "high", Label: "High"}, {Class: "medium", Label: "Medium"}, {Class: "low", Label: "Low"},
		{Class: "security", Label: "Security"}, {Class: "none", Label: "No severity"},
		{Class: "notfound", Label: "Unknown to HSS"}, {Class: "unknown", Label: "HSS cannot be asked"},
		{Class: "none", Label: "Not judged"}, {Class: "denied", Label: "Not an image's name"},
	}
	for _, one := range r.images() {
		bars[one.severityBar()].Count++
	}
	return share(slices.DeleteFunc(bars, func(b bar) bool { return b.Count == 0 }))
}

// severityBar is the place of an image's bar.
func (i *Image) severityBar() int {
	switch i.State {
	case Found:
		// An unknown severity ranks above High, and is shown as such.
		return max(0, 4-severityRank(i.Severity))
	case NotFound:
		return 5
	case Unavailable:
		return 6
	case NotAsked:
		return 7
	default:
		return 8
	}
}

// share computes the bars' parts of the whole.
func share(bars []bar) []bar {
	sum := 0
	for _, b := range bars {
		sum += b.Count
	}
	start := 0.0
	for i := range bars {
		bars[i].Start = start
		bars[i].Share = float64(bars[i].Count) / float64(max(sum, 1)) * 100
		start += bars[i].Share
	}
	return bars
}

// worstImages are those in which HSS found the most.
func (r *Report) worstImages() []worstImage {
	images := r.images()
	uses := map[string]int{}
	for i := range r.Results {
		one := &r.Results[i]
		for _, reference := range slices.Compact(slices.Sorted(references(one.Images))) {
			uses[reference] += len(one.objects())
		}
	}
	worst := make([]*Image, 0, len(images))
	for _, one := range images {
		if one.State == Found && (severityRank(one.Severity) > 2 || number(one.Vulnerabilities)+number(one.MaliciousFiles)+number(one.UnsafeSettings) > 0) {
			worst = append(worst, one)
		}
	}
	slices.SortFunc(worst, compareImages)
	worst = worst[:min(len(worst), maxWorstImages)]
	rows := make([]worstImage, len(worst))
	for i, one := range worst {
		rows[i] = worstImage{Image: one, Uses: uses[one.Reference]}
	}
	return rows
}

// hostOf is the host of a reference with its slash, which the page breaks only
// if it must; pathOf is the rest.
func hostOf(reference string) string {
	host, _, found := strings.Cut(reference, "/")
	if !found {
		return ""
	}
	return host + "/"
}

func pathOf(reference string) string { return strings.TrimPrefix(reference, hostOf(reference)) }

func references(images []Image) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := range images {
			if !yield(images[i].Reference) {
				return
			}
		}
	}
}

// Class names the colour of an image's severity.
func (w worstImage) Class() string {
	return strings.ToLower(string(cmp.Or(w.Severity, "none")))
}

func capitalised(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// Headline says in a few words what came of it.
func (p *page) Headline() string {
	if p.Audit != nil {
		return capitalised(p.Audit.Headline())
	}
	if denials := p.Summary.Denials(); denials != "" {
		return capitalised(denials)
	}
	switch {
	case p.Outcome == Unknown:
		return "Not everything can be told"
	case len(p.Skipped) > 0:
		return fmt.Sprintf("%d admitted, %d skipped", p.Summary.Objects, len(p.Skipped))
	case p.Outcome == Warned:
		return fmt.Sprintf("All admitted, %d with a warning", p.Summary.Warned)
	default:
		return fmt.Sprintf("All %d admitted", p.Summary.Objects)
	}
}

// Amount shows a count, or a dash if HSS sent none.
func (page) Amount(n *int) string {
	if n == nil {
		return "–"
	}
	return fmt.Sprint(*n)
}

// byNamespace gathers the violations of each namespace, the worst first.
func (r *Report) byNamespace() []namespaceViolations {
	found := map[string]*namespaceViolations{}
	places := map[string]int{}
	for i := range r.Results {
		one := &r.Results[i]
		if len(one.Violations) == 0 {
			continue
		}
		n, known := found[one.Namespace]
		if !known {
			n = &namespaceViolations{Name: cmp.Or(one.Namespace, "no namespace")}
			found[one.Namespace] = n
		}
		n.Objects += len(one.objects())
		for j := range one.Violations {
			n.add(one, &one.Violations[j], places)
		}
	}
	namespaces := make([]namespaceViolations, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		n := found[name]
		slices.SortStableFunc(n.Items, func(a, b pageViolation) int { return cmp.Compare(effectRank(a.Effect), effectRank(b.Effect)) })
		namespaces = append(namespaces, *n)
	}
	return namespaces
}

func (n *namespaceViolations) add(r *Result, v *Violation, places map[string]int) {
	key := strings.Join([]string{n.Name, v.Reference, v.Policy, string(v.Effect), string(v.PodEffect), v.messages()}, "\x00")
	place, known := places[key]
	if !known {
		place = len(n.Items)
		places[key] = place
		item := pageViolation{Reference: clean(v.Reference), Policy: v.Policy, Effect: effectInWords(v), Class: effectClass(v)}
		for _, f := range v.Findings {
			item.Findings = append(item.Findings, clean(f.Message))
		}
		n.Items = append(n.Items, item)
	}
	item := &n.Items[place]
	for _, name := range r.objects() {
		if len(item.Objects) == maxPageObjects {
			item.More++
			continue
		}
		item.Objects = append(item.Objects, clean(fmt.Sprintf("%s/%s (%s %s)", r.Kind, name, v.Place, v.Name)))
	}
}

func effectInWords(v *Violation) string {
	if v.Effect != v.PodEffect && v.PodEffect == v1alpha1.EnforcementDeny {
		return "Warn; its pods: Deny"
	}
	return string(v.Effect)
}

func effectClass(v *Violation) string {
	switch v.Effect {
	case v1alpha1.EnforcementDeny:
		return "denied"
	case v1alpha1.EnforcementWarn:
		return "warned"
	default:
		return "audited"
	}
}

func effectRank(effect string) int {
	return slices.Index([]string{string(v1alpha1.EnforcementDeny), "Warn; its pods: Deny", string(v1alpha1.EnforcementWarn), string(v1alpha1.EnforcementAudit), string(gate.EffectExcepted)}, effect)
}

// addRows adds the results, those with a violation first.
func (p *page) addRows() {
	bad, good := p.split()
	slices.SortStableFunc(bad, func(a, b *Result) int {
		return cmp.Compare(slices.Index(Verdicts(), a.Verdict), slices.Index(Verdicts(), b.Verdict))
	})
	all := slices.Concat(bad, good)
	if len(all) > maxPageRows {
		p.MoreRows = len(all) - maxPageRows
		all = all[:maxPageRows]
	}
	for _, one := range all {
		row := pageRow{Result: one, Title: clean(one.Title()), Class: strings.ToLower(string(one.Verdict)), Where: one.Source}
		if one.Line > 0 {
			row.Where = fmt.Sprintf("%s:%d", one.Source, one.Line)
		}
		for _, reason := range one.Why() {
			row.Why = append(row.Why, clean(reason))
		}
		if one.Verdict == Admitted && len(one.Violations) > 0 {
			row.Class = "audited"
		}
		p.Rows = append(p.Rows, row)
	}
}
