package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/template"
)

// junitCase is a case of JUnit's XML (Jenkins' junit-4.xsd).
type junitCase struct {
	suite  string
	source string // the object's file; empty: none

	Class, Name string
	// Element is what the case holds: a failure, an error, skipped or system-out. The
	// first two have a type and a message.
	Element, Type, Message, Text string
}

func (c *junitCase) fail(element, what, message, text string) {
	c.Element, c.Type, c.Message, c.Text = element, what, message, text
}

// junitCases are some cases.
type junitCases []junitCase

// Count returns the number of cases with an element.
func (c junitCases) Count(element string) (n int) {
	for i := range c {
		if c[i].Element == element {
			n++
		}
	}
	return n
}

// junitSuite is a suite of cases.
type junitSuite struct {
	Name  string
	Cases junitCases
}

// junit returns a suite for each file, or else for each namespace, and a case for
// each object. A denial, of the object or of its pods, is a failure, and an unknown
// verdict is an error.
func (r *Report) junit() (string, error) {
	var cases []junitCase
	for i := range r.Results {
		cases = append(cases, r.Results[i].junit())
	}
	cases = append(cases, unread(r.Problems)...)
	for _, p := range r.Skipped {
		object, why, _ := strings.Cut(p.Message, ": ")
		cases = append(cases, junitCase{suite: p.Source, Class: p.Source, Name: object, Element: "skipped", Text: why})
	}
	timestamp := ""
	if !r.Time.IsZero() {
		timestamp = r.Time.UTC().Format("2006-01-02T15:04:05")
	}
	return junit("hssgate check", timestamp, cases)
}

func (r *Result) junit() junitCase {
	c := junitCase{
		suite: cmp.Or(r.Source, r.Namespace, "images"), source: r.Source,
		Class: strings.TrimPrefix(r.Namespace+"."+r.Kind, "."), Name: r.Title(),
	}
	why := r.Why()
	all := strings.Join(why, "\n")
	switch {
	case r.Verdict == Denied:
		c.fail("failure", string(r.Verdict), why[0], r.Message)
	case r.deniesPods():
		c.fail("failure", "PodsDenied", why[0], all)
	case r.Verdict == Unknown:
		c.fail("error", string(r.Verdict), why[0], all)
	default:
		c.Element, c.Text = "system-out", string(r.Verdict)+": "+all
	}
	return c
}

// unread returns an error for each problem.
func unread(problems []Problem) []junitCase {
	cases := make([]junitCase, len(problems))
	for i, p := range problems {
		name := cmp.Or(p.Source, "input")
		cases[i] = junitCase{suite: name, Class: name, Name: "is read"}
		cases[i].fail("error", "unreadable", p.Message, p.String())
	}
	return cases
}

// junit returns cases as XML. Of cases with the same name, all but the first get their
// source or a number too: readers such as GitLab's show only the first of a name.
func junit(name, timestamp string, cases junitCases) (string, error) {
	taken := map[[2]string]bool{}
	var suites []*junitSuite
	for _, c := range cases {
		id := [2]string{Printable(c.Class), Printable(c.Name)}
		if taken[id] && c.source != "" {
			id[1] += Printable(" in " + c.source)
		}
		first := id[1]
		for n := 2; taken[id]; n++ {
			id[1] = fmt.Sprintf("%s (%d)", first, n)
		}
		taken[id], c.Name = true, id[1]
		i := slices.IndexFunc(suites, func(s *junitSuite) bool { return s.Name == c.suite })
		if i < 0 {
			i = len(suites)
			suites = append(suites, &junitSuite{Name: c.suite})
		}
		suites[i].Cases = append(suites[i].Cases, c)
	}
	t, err := template.New("report.junit.tmpl").ParseFS(templates, "templates/report.junit.tmpl")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]any{"Name": name, "Timestamp": timestamp, "Cases": cases, "Suites": suites})
	return Printable(b.String()), err
}
