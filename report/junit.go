package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The parts of JUnit's XML (Jenkins' junit-4.xsd) that are written here.
type (
	// junitSuites is a whole file.
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name      string      `xml:"name,attr"`
		Tests     int         `xml:"tests,attr"`
		Failures  int         `xml:"failures,attr"`
		Errors    int         `xml:"errors,attr"`
		Skipped   int         `xml:"skipped,attr,omitempty"`
		Timestamp string      `xml:"timestamp,attr,omitempty"`
		Cases     []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name      string        `xml:"name,attr"`
		ClassName string        `xml:"classname,attr"`
		Skipped   string        `xml:"skipped,omitempty"`
		Error     *junitFailure `xml:"error,omitempty"`
		Failure   *junitFailure `xml:"failure,omitempty"`
		Output    string        `xml:"system-out,omitempty"`
		// source is the file that it is of; empty: none, or the class name says it.
		source string
	}
	// junitName is what tells a case from others: GitLab shows the first of a name
	// only, so that a failure behind a success would be lost.
	junitName    struct{ class, name string }
	junitFailure struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// writeJUnit writes a suite for each namespace, or for each file, and a case
// for each object. A denial is a failure, of the object or of its pods; what
// can't be told is an error.
func (r *Report) writeJUnit(w io.Writer) error {
	all := junitSuites{Name: "hssgate check"}
	for i := range r.Results {
		one := &r.Results[i]
		all.suite(one.suiteName(), r).add(one.junit())
	}
	for _, p := range r.Problems {
		name := p.Source
		if name == "" {
			name = "input"
		}
		all.suite(name, r).add(junitCase{Name: "is read", ClassName: name, Error: &junitFailure{Type: "unreadable", Message: clean(p.Message), Text: clean(p.String())}})
	}
	for _, p := range r.Skipped {
		object, why, _ := strings.Cut(clean(p.Message), ": ")
		all.suite(p.Source, r).add(junitCase{Name: object, ClassName: clean(p.Source), Skipped: why})
	}
	all.distinguish()
	for i := range all.Suites {
		s := &all.Suites[i]
		all.Tests, all.Failures, all.Errors = all.Tests+s.Tests, all.Failures+s.Failures, all.Errors+s.Errors
	}
	return writeXML(w, all)
}

func writeXML(w io.Writer, v any) error {
	data, err := xml.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, xml.Header+clean(string(data))+"\n")
	return err
}

func (r *Result) suiteName() string {
	switch {
	case r.Source != "":
		return r.Source
	case r.Namespace != "":
		return r.Namespace
	default:
		return "images"
	}
}

func (a *junitSuites) suite(name string, r *Report) *junitSuite {
	for i := range a.Suites {
		if a.Suites[i].Name == name {
			return &a.Suites[i]
		}
	}
	s := junitSuite{Name: name}
	if !r.Time.IsZero() {
		s.Timestamp = r.Time.UTC().Format("2006-01-02T15:04:05")
	}
	a.Suites = append(a.Suites, s)
	return &a.Suites[len(a.Suites)-1]
}

func (s *junitSuite) add(c junitCase) {
	s.Tests++
	if c.Failure != nil {
		s.Failures++
	}
	if c.Error != nil {
		s.Errors++
	}
	if c.Skipped != "" {
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}

func (c *junitCase) id() junitName { return junitName{c.ClassName, c.Name} }

// cases are those of all suites.
func (a *junitSuites) cases() []*junitCase {
	var cases []*junitCase
	for i := range a.Suites {
		for j := range a.Suites[i].Cases {
			cases = append(cases, &a.Suites[i].Cases[j])
		}
	}
	return cases
}

// distinguish gives a name of its own to every case: with the file that it is of
// if another has the same, and with a number if that isn't enough.
func (a *junitSuites) distinguish() {
	uses := map[junitName]int{}
	for _, c := range a.cases() {
		uses[c.id()]++
	}
	taken := map[junitName]bool{}
	for _, c := range a.cases() {
		if uses[c.id()] > 1 && c.source != "" {
			c.Name += " in " + c.source
		}
		name := c.Name
		for n := 2; taken[c.id()]; n++ {
			c.Name = fmt.Sprintf("%s (%d)", name, n)
		}
		taken[c.id()] = true
	}
}

func (r *Result) junit() junitCase {
	c := junitCase{source: clean(r.Source), Name: clean(r.Title()), ClassName: clean(strings.TrimPrefix(r.Namespace+"."+r.Kind, "."))}
	why := strings.Join(r.Why(), "\n")
	switch {
	case r.Verdict == Denied:
		c.Failure = &junitFailure{Type: string(r.Verdict), Message: clean(r.Why()[0]), Text: clean(r.Message)}
	case r.deniesPods():
		c.Failure = &junitFailure{Type: "PodsDenied", Message: clean(r.Why()[0]), Text: clean(why)}
	case r.Verdict == Unknown:
		c.Error = &junitFailure{Type: string(r.Verdict), Message: clean(r.Why()[0]), Text: clean(why)}
	default:
		c.Output = clean(string(r.Verdict) + ": " + why)
	}
	return c
}

// clean leaves out what XML can't hold, and what steers a terminal.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || strconv.IsPrint(r) {
			return r
		}
		return -1
	}, text)
}
