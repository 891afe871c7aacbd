package report

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"regexp"
	"slices"
	"strings"

	"k8s.io/utils/ptr"
)

type page struct {
	*Report

	Style  template.CSS
	Script template.JS
	// Security is the Content-Security-Policy: nothing is loaded, and only the page's own style and script have an effect.
	Security string

	Verdicts   []bar
	Severities []bar
	Bad, Good  []*Result
	// Namespaces are what results can be filtered by, besides verdicts and policies.
	Namespaces []string
	// Images are the different ones, the worst first.
	Images []*Image
}

// bar is a bar of a chart, which begins after Before and is explained by Text.
type bar struct {
	Class         string // of its colour
	Label, Text   string
	Count, Before int
}

func (r *Report) html() (string, error) {
	style, errStyle := templates.ReadFile("templates/style.css")
	script, errScript := templates.ReadFile("templates/script.js")
	t, err := template.New("report.html.tmpl").Funcs(template.FuncMap{
		"capitalised": func(text string) string { return strings.ToUpper(text[:1]) + text[1:] },
		"hostAndPath": hostAndPath, "rank": severityRank, "first": first, "more": more, "linked": linked, "zero": func(n *int) bool { return ptr.Deref(n, 0) == 0 },
	}).ParseFS(templates, "templates/report.html.tmpl")
	if err := errors.Join(errStyle, errScript, err); err != nil {
		return "", err
	}
	p := &page{
		Report: r, Style: template.CSS(style), Script: template.JS(script), //nolint:gosec // both are constant
		Security: fmt.Sprintf("default-src 'none'; style-src %s; script-src %s; img-src data:; base-uri 'none'; form-action 'none'", hash(style), hash(script)),
		Verdicts: r.verdictBars(), Severities: severityBars(r.images), Images: r.images,
	}
	p.Bad, p.Good = r.sorted()
	for _, one := range slices.Concat(p.Bad, p.Good) {
		if one.Namespace != "" && !slices.Contains(p.Namespaces, one.Namespace) {
			p.Namespaces = append(p.Namespaces, one.Namespace)
		}
	}
	slices.Sort(p.Namespaces)
	var b strings.Builder
	err = t.Execute(&b, p)
	return Printable(b.String()), err
}

// hash returns a source of a Content-Security-Policy: a text that is in the page.
func hash(text []byte) string {
	sum := sha256.Sum256(text)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func (r *Report) verdictBars() []bar {
	s := r.Summary
	bars := []bar{
		{Class: "Denied", Label: string(Denied), Text: "would be rejected", Count: s.Denied - s.PodsDenied},
		{Class: "PodsDenied", Label: string(PodsDenied), Text: "would be created, and its pods rejected", Count: s.PodsDenied},
		{Class: "Unknown", Label: string(Unknown), Text: "could not be evaluated: HSS is unreachable", Count: s.Unknown},
		{Class: "Warned", Label: string(Warned), Text: "admitted with a warning", Count: s.Warned},
		{Class: "Audit", Label: audited, Text: "violates a policy that only audits", Count: s.Audited},
		{Class: "Admitted", Label: string(Admitted), Text: "nothing was found that a policy forbids", Count: s.Admitted - s.Audited},
	}
	before := 0
	for i := range bars {
		bars[i].Before, before = before, before+bars[i].Count
	}
	return bars
}

const audited = "Admitted (audited)" // shown for objects that are admitted and violate a policy that only audits

// Label returns the verdict as the page shows it.
func (r *Result) Label() string {
	if r.Verdict == Admitted && len(r.Violations) > 0 {
		return audited
	}
	return string(r.Verdict)
}

// Class returns the class of the verdict's colour.
func (r *Result) Class() string {
	label := r.Label()
	return cmp.Or(map[string]string{string(PodsDenied): "PodsDenied", audited: "Audit"}[label], label)
}

// severityBars counts images with malicious files, and all by severity, or by the reason why they have none.
func severityBars(images []*Image) []bar {
	bars := []bar{
		{Class: "malware", Label: "Malicious files"},
		{Class: "High", Label: "High"}, {Class: "Medium", Label: "Medium"}, {Class: "Low", Label: "Low"}, {Class: "Security", Label: "Security"},
		{Class: "none", Label: "No severity"}, {Class: "notfound", Label: "Unknown to HSS"}, {Class: "Unknown", Label: "HSS is unreachable"},
		{Class: "none", Label: "Not evaluated"}, {Class: "Denied", Label: "Invalid reference"},
	}
	places := map[State]int{NotFound: 6, Unavailable: 7, NotLookedUp: 8, Invalid: 9}
	for _, one := range images {
		place, hasNone := places[one.State]
		if !hasNone { // an unknown severity ranks above High, and is shown as High
			place = max(1, 5-severityRank(one.Severity))
		}
		bars[place].Count++
		bars[0].Count += min(1, ptr.Deref(one.MaliciousFiles, 0))
	}
	return slices.DeleteFunc(bars, func(b bar) bool { return b.Count == 0 })
}

// hostAndPath returns the host of a reference with its slash, which the page keeps in one line if it can, and the rest.
func hostAndPath(reference string) []string {
	host, path, found := strings.Cut(reference, "/")
	if !found {
		return []string{"", reference}
	}
	return []string{host + "/", path}
}

var cve = regexp.MustCompile(`\bCVE-\d{4}-\d{4,19}\b`)

// linked returns a text in which the identifiers of CVEs are links.
func linked(text string) template.HTML {
	escaped := template.HTMLEscapeString(text)
	return template.HTML(cve.ReplaceAllString(escaped, `<a href="https://nvd.nist.gov/vuln/detail/$0" rel="noreferrer">$0</a>`)) //nolint:gosec // it is escaped
}

// Of returns the violations of one of the object's images, the policies of equal ones together.
func (r *Result) Of(i *Image) []Violation {
	return slices.DeleteFunc(r.Grouped(), func(v Violation) bool { return !v.isOf(i) })
}
