package report

import (
	"fmt"
	"io"
	"slices"
)

// Changes tell what other policies would change.
type Changes struct {
	// Subject says in a few words what was compared.
	Subject string `json:"subject"`
	// Objects is how many were judged, and Unknown how many of them can't be
	// told about, since HSS can't be asked.
	Objects int `json:"objects"`
	Unknown int `json:"unknown"`
	// NewlyDenied and NewlyAdmitted count the objects that would be, or whose pods
	// would be; a warning counts as admitted.
	NewlyDenied   int `json:"newlyDenied"`
	NewlyAdmitted int `json:"newlyAdmitted"`
	// Changes are those of the verdict, in the order of the objects.
	Changes []Change `json:"changes"`
	// Problems are what could not be read, and so was not judged.
	Problems []Problem `json:"problems,omitempty"`
	// Skipped are objects that may make pods without naming their images.
	Skipped []Problem `json:"skipped,omitempty"`
}

// Change is what would change about one object.
type Change struct {
	Before Verdict `json:"before"`
	// After is what would come of the object.
	After Result `json:"after"`
	// Was tells in a few words why it was judged as before.
	Was []string `json:"was"`
}

// Add compares two results about one object.
func (c *Changes) Add(before, after *Result) {
	c.Objects++
	if after.Verdict == Unknown || before.Verdict == Unknown {
		c.Unknown++
	}
	was, is := before.denies(), after.denies()
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

// ChangeOutputs are the outputs of changes and of tests of policies.
func ChangeOutputs() []Output { return []Output{TableOutput, WideOutput, JSON, YAML} }

// Write writes the changes as one of ChangeOutputs.
func (c *Changes) Write(w io.Writer, f Format) error {
	if err := writeAs(w, f, c, c.table(f)); err != nil {
		return fmt.Errorf("write the changes: %w", err)
	}
	return nil
}

// writeAs writes v as JSON or YAML, or else the table.
func writeAs(w io.Writer, f Format, v any, t *Table) error {
	switch f.Output {
	case JSON:
		return writeJSON(w, v)
	case YAML:
		return writeYAML(w, v)
	default:
		_, err := io.WriteString(w, t.String())
		return err
	}
}

func (c *Changes) table(f Format) *Table {
	t := &Table{Wide: f.Output == WideOutput, Width: f.Width, Colour: f.Colour, End: c.String()}
	for _, p := range c.Problems {
		t.End += "\n! " + p.String()
	}
	for _, p := range c.Skipped {
		t.End += "\nSkipped: " + p.String()
	}
	for i := range c.Changes {
		one := &c.Changes[i]
		title := one.After.Title()
		if one.After.Namespace != "" {
			title = one.After.Namespace + ": " + title
		}
		t.Rows = append(t.Rows, Row{
			Title: title, LongTitle: title, Images: one.After.Images, Tone: one.After.tone(),
			Verdict: fmt.Sprintf("%s\nwas %s", one.After.Verdict, one.Before), Why: one.After.Why(),
			LongWhy: slices.Concat(one.After.longWhy(), []string{"before:"}, one.Was),
		})
	}
	return t
}

// String is the counts in words.
func (c *Changes) String() string {
	text := fmt.Sprintf("%s: %d newly denied, %d newly admitted", plural(c.Objects, "object", "objects"), c.NewlyDenied, c.NewlyAdmitted)
	if other := len(c.Changes) - c.NewlyDenied - c.NewlyAdmitted; other > 0 {
		text += fmt.Sprintf(", %d changed otherwise", other)
	}
	if c.Unknown > 0 {
		text += fmt.Sprintf(", %d cannot be told", c.Unknown)
	}
	return text + "."
}
