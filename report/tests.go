package report

import (
	"fmt"
	"io"
	"slices"

	"github.com/hssgate/hssgate/image"
)

// Tests are what came of testing policies.
type Tests struct {
	Cases []TestCase `json:"cases"`
	// Failed counts the cases that are not as expected.
	Failed int `json:"failed"`
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
	return all
}

func (t *Tests) table(f Format) *Table {
	table := &Table{Wide: f.Output == WideOutput, Width: f.Width, Colour: f.Colour, End: t.String()}
	for i := range t.Cases {
		one := &t.Cases[i]
		row := Row{Title: one.Name, LongTitle: one.File + ": " + one.Name, Verdict: string(one.Expected), Tone: Good, Why: []string{"as expected"}}
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

// String is the counts in words.
func (t *Tests) String() string {
	if t.Failed == 0 {
		return plural(len(t.Cases), "case", "cases") + ", all as expected."
	}
	return fmt.Sprintf("%s, %d of them (marked !) not as expected.", plural(len(t.Cases), "case", "cases"), t.Failed)
}
