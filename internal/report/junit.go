package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// junitCase is a case of JUnit's XML (Jenkins' junit-4.xsd).
type junitCase struct {
	Suite, Class, Name string
	// Element is what the case holds: a failure, an error, skipped or system-out. The
	// first two have a type and a message.
	Element, Type, Message, Text string

	source string // the object's file; empty: none
}

type junitCases []*junitCase // all cases, or those of a suite

// Count returns the number of cases with an element.
func (c junitCases) Count(element string) (n int) {
	for _, one := range c {
		if one.Element == element {
			n++
		}
	}
	return n
}

// junit returns a suite for each file, or else for each namespace. What could not be read or was skipped is a case, too.
func (r *Report) junit() (string, error) {
	var all junitCases
	for i := range r.Results {
		all = append(all, r.Results[i].junit())
	}
	for _, p := range r.Problems {
		name := cmp.Or(p.Source, "input")
		all = append(all, &junitCase{Suite: name, Class: name, Name: "is read", Element: "error", Type: "unreadable", Message: p.Message, Text: p.String()})
	}
	for _, p := range r.Skipped {
		object, why, _ := strings.Cut(p.Message, ": ")
		all = append(all, &junitCase{Suite: p.Source, Class: p.Source, Name: object, Element: "skipped", Text: why})
	}
	all.nameApart()
	var suites []junitCases
	for _, c := range all {
		i := slices.IndexFunc(suites, func(s junitCases) bool { return s[0].Suite == c.Suite })
		if i < 0 {
			i = len(suites)
			suites = append(suites, nil)
		}
		suites[i] = append(suites[i], c)
	}
	text, err := render("report.junit.tmpl", map[string]any{"Report": r, "Cases": all, "Suites": suites})
	return Printable(text), err
}

// junit returns the case of an object: a denial is a failure, an unknown verdict an error; in a test the unexpected is.
func (r *Result) junit() *junitCase {
	why := r.Why()
	c := &junitCase{
		Suite: cmp.Or(r.Source, r.Namespace, "images"), Class: strings.TrimPrefix(r.Namespace+"."+r.Kind, "."), Name: r.Title(),
		Message: why[0], Text: strings.Join(why, "\n"), source: r.Source,
	}
	for _, remedy := range r.Remedies() {
		if r.Case == "" {
			c.Text += "\n" + remedyPrefix + remedy
		}
	}
	switch {
	case r.Problem != "":
		c.Element, c.Type = "failure", "unexpected"
	case r.Case == "" && r.Verdict.Denies():
		c.Element, c.Type, c.Text = "failure", string(r.Verdict), cmp.Or(r.Message, c.Text)
	case r.Case == "" && r.Verdict == Unknown:
		c.Element, c.Type = "error", string(r.Verdict)
	default:
		c.Element, c.Text = "system-out", string(r.Verdict)+": "+c.Text
	}
	return c
}

// nameApart gives every case a name of its own: readers such as GitLab's show only the first of a name.
func (c junitCases) nameApart() {
	taken := map[[2]string]bool{}
	for _, one := range c {
		id := [2]string{Printable(one.Class), Printable(one.Name)}
		if taken[id] && one.source != "" {
			id[1] += Printable(" in " + one.source)
		}
		first := id[1]
		for n := 2; taken[id]; n++ {
			id[1] = fmt.Sprintf("%s (%d)", first, n)
		}
		taken[id], one.Name = true, id[1]
	}
}
