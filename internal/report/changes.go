package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Changes is the difference between the verdicts by two sets of policies.
type Changes struct {
	// Subject describes what was compared.
	Subject string `json:"subject"`
	// Objects is the number of objects, Unknown that of those for which a verdict is
	// unknown, since HSS is unreachable.
	Objects int `json:"objects"`
	Unknown int `json:"unknown"`
	// NewlyDenied and NewlyAdmitted count objects that change, or whose pods do. A
	// warning counts as admitted.
	NewlyDenied   int `json:"newlyDenied"`
	NewlyAdmitted int `json:"newlyAdmitted"`
	// Changes are those of verdicts, in the order of the objects.
	Changes []Change `json:"changes"`
	// Problems are the parts of the input that could not be read.
	Problems []Problem `json:"problems,omitempty"`
	// Skipped are objects that may create pods but name no images.
	Skipped []Problem `json:"skipped,omitempty"`
}

// Change is the change of one object.
type Change struct {
	Before Verdict `json:"before"`
	After  Result  `json:"after"`
	// Was holds the reasons of the verdict before.
	Was []string `json:"was"`
}

// Add compares two results of one object.
func (c *Changes) Add(before, after *Result) {
	c.Objects++
	if after.Verdict == Unknown || before.Verdict == Unknown {
		c.Unknown++
	}
	was, is := before.Verdict == Denied || before.deniesPods(), after.Verdict == Denied || after.deniesPods()
	if before.Verdict == after.Verdict && was == is {
		return
	}
	switch {
	case is && !was:
		c.NewlyDenied++
	case was && !is && after.Verdict != Unknown:
		c.NewlyAdmitted++
	}
	c.Changes = append(c.Changes, Change{Before: before.Verdict, After: *after, Was: before.Why()})
}

// Write writes the changes as one of ChangeOutputs.
func (c *Changes) Write(w io.Writer, o Output) error {
	text, err := asData(o, c, c.text)
	return write(w, text, err)
}

func (c *Changes) text(o Output) string {
	t := &Table{Output: o, End: strings.Join(append([]string{c.String()}, notChecked(c.Problems, c.Skipped)...), "\n")}
	for i := range c.Changes {
		one := &c.Changes[i]
		row := one.After.row(o)
		row.Verdict += "\nwas " + string(one.Before)
		if o == WideOutput {
			for _, why := range one.Was {
				row.Why = append(slices.Clip(row.Why), "before: "+why)
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t.String()
}

// String returns the counts in words.
func (c *Changes) String() string {
	text := fmt.Sprintf("%s: %d newly denied, %d newly admitted", plural(c.Objects, "object", "objects"), c.NewlyDenied, c.NewlyAdmitted)
	if other := len(c.Changes) - c.NewlyDenied - c.NewlyAdmitted; other > 0 {
		text += fmt.Sprintf(", %d changed otherwise", other)
	}
	if c.Unknown > 0 {
		text += fmt.Sprintf(", %d unknown", c.Unknown)
	}
	return text + "."
}
