package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/image"
)

// Tests are what came of testing policies.
type Tests struct {
	Cases []TestCase `json:"cases"`
	// Failed counts the cases that are not as expected.
	Failed int `json:"failed"`
	// Problems are what could not be read, and so was not tested.
	Problems []Problem `json:"problems,omitempty"`
}

// TestCase is one case of a test.
type TestCase struct {
	// File is the one that it stands in.
	File string `json:"file"`
	Name string `json:"name"`
	// Expected is the verdict that the case expects.
	Expected Verdict `json:"expected"`
	// Results are what came of its objects.
	Results []Result `json:"results"`
	// Problem says what is not as expected; empty: nothing.
	Problem string `json:"problem,omitempty"`
}

// Add adds a case.
func (t *Tests) Add(c TestCase) {
	if c.Problem != "" {
		t.Failed++
	}
	t.Cases = append(t.Cases, c)
}

// TestOutputs are the outputs of tests.
func TestOutputs() []Output { return append(ChangeOutputs(), JUnit) }

// Write writes the tests as one of TestOutputs.
func (t *Tests) Write(w io.Writer, f Format) error {
	err := error(nil)
	if f.Output == JUnit {
		err = writeXML(w, t.junit())
	} else {
		err = writeAs(w, f, t, t.table(f))
	}
	if err != nil {
		return fmt.Errorf("write the tests: %w", err)
	}
	return nil
}

func (t *Tests) junit() junitSuites {
	all := junitSuites{Name: "hssgate policy test", Tests: len(t.Cases), Failures: t.Failed}
	for i := range t.Cases {
		one := &t.Cases[i]
		c := junitCase{Name: clean(one.Name), ClassName: clean(one.File)}
		if one.Problem != "" {
			c.Failure = &junitFailure{Type: "unexpected", Message: clean(one.Problem), Text: clean(one.Problem)}
		}
		all.suite(one.File, &Report{}).add(c)
	}
	for _, p := range t.Problems {
		failure := &junitFailure{Type: "unreadable", Message: clean(p.Message), Text: clean(p.String())}
		all.suite(p.Source, &Report{}).add(junitCase{Name: "is read", ClassName: clean(p.Source), Error: failure})
	}
	all.Tests, all.Errors = len(t.Cases)+len(t.Problems), len(t.Problems)
	all.distinguish()
	return all
}

func (t *Tests) table(f Format) *Table {
	table := &Table{Wide: f.Output == WideOutput, Width: f.Width, Colour: f.Colour, End: t.String()}
	for _, p := range t.Problems {
		table.End += "\n! " + clean(p.String())
	}
	for i := range t.Cases {
		one := &t.Cases[i]
		row := Row{Title: one.Name, LongTitle: one.File + ": " + one.Name, Verdict: one.verdicts(), Tone: Good, Why: []string{"as expected"}}
		for j := range one.Results {
			row.Images = slices.Concat(row.Images, one.Results[j].Images)
		}
		if len(row.Images) == 0 {
			row.Images = []Image{{Place: image.PlaceContainer}}
		}
		if one.Problem != "" {
			row.Verdict, row.Tone, row.Why = "! "+row.Verdict, Alarming, []string{one.Problem}
		}
		row.LongWhy = row.Why
		table.Rows = append(table.Rows, row)
	}
	return table
}

// verdicts are those that came, one a line, each once.
func (c *TestCase) verdicts() string {
	var came []string
	for i := range c.Results {
		if verdict := string(c.Results[i].Verdict); !slices.Contains(came, verdict) {
			came = append(came, verdict)
		}
	}
	if len(came) == 0 {
		return string(c.Expected)
	}
	return strings.Join(came, "\n")
}

// String is the counts in words.
func (t *Tests) String() string {
	text := plural(len(t.Cases), "case", "cases")
	if t.Failed > 0 {
		return fmt.Sprintf("%s, %d of them (marked !) not as expected.", text, t.Failed)
	}
	return text + ", all as expected."
}
