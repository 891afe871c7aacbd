package report

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
)

// The parts of JUnit's XML (Jenkins' junit-4.xsd) that are written here.
type (
	junitSuites struct {
		XMLName xml.Name `xml:"testsuites"`
		Name    string   `xml:"name,attr"`
		junitCounts
		Suites []*junitSuite `xml:"testsuite"`

		timestamp string             // of all suites
		taken     map[[2]string]bool // by cases, by class and name
	}
	junitSuite struct {
		Name string `xml:"name,attr"`
		junitCounts
		Skipped   int         `xml:"skipped,attr,omitempty"`
		Timestamp string      `xml:"timestamp,attr,omitempty"`
		Cases     []junitCase `xml:"testcase"`
	}
	junitCounts struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
	}
	junitCase struct {
		Name      string        `xml:"name,attr"`
		ClassName string        `xml:"classname,attr"`
		Skipped   string        `xml:"skipped,omitempty"`
		Error     *junitFailure `xml:"error,omitempty"`
		Failure   *junitFailure `xml:"failure,omitempty"`
		Output    string        `xml:"system-out,omitempty"`

		source string // the object's file; empty: none
	}
	junitFailure struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// junit returns a suite for each file, or else for each namespace, and a case for
// each object. A denial, of the object or of its pods, is a failure, and an unknown
// verdict is an error.
func (r *Report) junit() *junitSuites {
	all := newJUnit("hssgate check")
	if !r.Time.IsZero() {
		all.timestamp = r.Time.UTC().Format("2006-01-02T15:04:05")
	}
	for i := range r.Results {
		one := &r.Results[i]
		all.add(cmp.Or(one.Source, one.Namespace, "images"), one.junit())
	}
	for _, p := range r.Problems {
		all.addProblem(p)
	}
	for _, p := range r.Skipped {
		object, why, _ := strings.Cut(p.Message, ": ")
		all.add(p.Source, junitCase{Name: object, ClassName: p.Source, Skipped: why})
	}
	return all
}

func (r *Result) junit() junitCase {
	c := junitCase{source: r.Source, Name: r.Title(), ClassName: strings.TrimPrefix(r.Namespace+"."+r.Kind, ".")}
	why := r.Why()
	failure := &junitFailure{Type: string(r.Verdict), Message: why[0], Text: strings.Join(why, "\n")}
	switch {
	case r.Verdict == Denied:
		failure.Text, c.Failure = r.Message, failure
	case r.deniesPods():
		failure.Type, c.Failure = "PodsDenied", failure
	case r.Verdict == Unknown:
		c.Error = failure
	default:
		c.Output = string(r.Verdict) + ": " + failure.Text
	}
	return c
}

func (a *junitSuites) addProblem(p Problem) {
	name := cmp.Or(p.Source, "input")
	a.add(name, junitCase{Name: "is read", ClassName: name, Error: &junitFailure{Type: "unreadable", Message: p.Message, Text: p.String()}})
}

func newJUnit(name string) *junitSuites { return &junitSuites{Name: name, taken: map[[2]string]bool{}} }

// add adds a case to a suite. If another has the same name, the case's gets its
// source or a number too: readers such as GitLab's show only the first of a name.
func (a *junitSuites) add(suite string, c junitCase) {
	id := [2]string{Printable(c.ClassName), Printable(c.Name)}
	if a.taken[id] && c.source != "" {
		id[1] += Printable(" in " + c.source)
	}
	name := id[1]
	for n := 2; a.taken[id]; n++ {
		id[1] = fmt.Sprintf("%s (%d)", name, n)
	}
	a.taken[id], c.Name = true, id[1]
	i := slices.IndexFunc(a.Suites, func(s *junitSuite) bool { return s.Name == suite })
	if i < 0 {
		i = len(a.Suites)
		a.Suites = append(a.Suites, &junitSuite{Name: suite, Timestamp: a.timestamp})
	}
	s := a.Suites[i]
	s.Cases = append(s.Cases, c)
	if c.Skipped != "" {
		s.Skipped++
	}
	for _, counts := range []*junitCounts{&a.junitCounts, &s.junitCounts} {
		counts.Tests++
		if c.Failure != nil {
			counts.Failures++
		}
		if c.Error != nil {
			counts.Errors++
		}
	}
}
