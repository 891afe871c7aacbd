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
func (t *Tests) Write(w io.Writer, f Format) error {
	if f.Output == JUnit {
		text, err := asXML(t.junit())
		return write(w, text, err)
	}
	text, err := asData(f, t, t.text)
	return write(w, text, err)
}

func (t *Tests) junit() *junitSuites {
	all := newJUnit("hssgate policy test")
	for i := range t.Cases {
		one := &t.Cases[i]
		c := junitCase{Name: one.Name, ClassName: one.File}
		if one.Problem != "" {
			c.Failure = &junitFailure{Type: "unexpected", Message: one.Problem, Text: one.Problem}
		}
		all.add(one.File, c)
	}
	for _, p := range t.Problems {
		all.addProblem(p)
	}
	return all
}

func (t *Tests) text(f Format) string {
	table := &Table{Format: f, End: strings.Join(append([]string{t.String()}, notChecked(t.Problems, nil)...), "\n")}
	for i := range t.Cases {
		one := &t.Cases[i]
		row := Row{Title: one.Name, Verdict: one.verdicts(), Why: []string{"as expected"}}
		if f.Output == WideOutput {
			row.Title = one.File + ": " + one.Name
		}
		for j := range one.Results {
			row.Images = slices.Concat(row.Images, one.Results[j].Images)
		}
		if one.Problem != "" {
			row.Verdict, row.Why = "! "+row.Verdict, []string{one.Problem}
		}
		table.Rows = append(table.Rows, row)
	}
	return table.String()
}

// verdicts returns the different verdicts of the results, one a line.
func (c *TestCase) verdicts() string {
	var verdicts []string
	for i := range c.Results {
		if verdict := string(c.Results[i].Verdict); !slices.Contains(verdicts, verdict) {
			verdicts = append(verdicts, verdict)
		}
	}
	if len(verdicts) == 0 {
		return string(c.Expected)
	}
	return strings.Join(verdicts, "\n")
}

// String returns the counts in words.
func (t *Tests) String() string {
	text := plural(len(t.Cases), "case", "cases")
	if t.Failed > 0 {
		return fmt.Sprintf("%s, %d of them (marked !) not as expected.", text, t.Failed)
	}
	return text + ", all as expected."
}
