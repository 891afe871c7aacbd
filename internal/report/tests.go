package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Tests are the results of tests of policies.
type Tests struct {
	Cases []TestCase `json:"cases"`
	// Failed counts the cases that are not as expected.
	Failed int `json:"failed"`
	// Problems are the parts of the input that could not be read.
	Problems []Problem `json:"problems,omitempty"`
}

// TestCase is one case of a test.
type TestCase struct {
	File     string  `json:"file"`
	Name     string  `json:"name"`
	Expected Verdict `json:"expected"`
	// Results are those of the case's objects.
	Results []Result `json:"results"`
	// Problem is the difference to what is expected; empty: none.
	Problem string `json:"problem,omitempty"`
}

// Add adds a case.
func (t *Tests) Add(c TestCase) {
	if c.Problem != "" {
		t.Failed++
	}
	t.Cases = append(t.Cases, c)
}

// Write writes the tests as one of TestOutputs.
func (t *Tests) Write(w io.Writer, o Output) (err error) {
	var text string
	if o == JUnit {
		text, err = t.junit()
	} else {
		text, err = asData(o, t, t.text)
	}
	return write(w, text, err)
}

func (t *Tests) junit() (string, error) {
	var cases []junitCase
	for i := range t.Cases {
		one := &t.Cases[i]
		c := junitCase{suite: one.File, Class: one.File, Name: one.Name}
		if one.Problem != "" {
			c.fail("failure", "unexpected", one.Problem, one.Problem)
		}
		cases = append(cases, c)
	}
	return junit("hssgate policy test", "", append(cases, unread(t.Problems)...))
}

func (t *Tests) text(o Output) string {
	table := &Table{Output: o, End: strings.Join(append([]string{t.String()}, notChecked(t.Problems, nil)...), "\n")}
	for i := range t.Cases {
		one := &t.Cases[i]
		row := Row{Title: one.Name, Verdict: string(one.Expected), Why: []string{"as expected"}}
		if o == WideOutput {
			row.Title = one.File + ": " + one.Name
		}
		for j := range one.Results {
			row.Images = slices.Concat(row.Images, one.Results[j].Images)
		}
		if one.Problem != "" {
			row.Verdict, row.Why = "! Failed", []string{one.Problem}
		}
		table.Rows = append(table.Rows, row)
	}
	return table.String()
}

// String returns the counts in words.
func (t *Tests) String() string {
	text := plural(len(t.Cases), "case", "cases")
	if t.Failed > 0 {
		return fmt.Sprintf("%s, %d of them (marked !) not as expected.", text, t.Failed)
	}
	return text + ", all as expected."
}
