package doctor

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Table writes the report for people: a line for each finding, and what to do below it.
func (r *Report) Table(w io.Writer) error {
	var b strings.Builder
	for _, p := range r.Projects {
		fmt.Fprintf(&b, "Project %s (region %s, project ID %s)\n\n", p.Project, cmp.Or(p.Region, "not given"), cmp.Or(p.ProjectID, "not known"))
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "VERDICT\tCHECK\tFOUND")
		for _, f := range p.Findings {
			fmt.Fprintf(t, "%s\t%s\t%s\n", f.Verdict, f.Check, f.Found)
			if f.Remedy != "" {
				fmt.Fprintf(t, "\t\tto do: %s\n", f.Remedy)
			}
		}
		_ = t.Flush() // a Builder returns no error
		if p.Proposal != "" {
			fmt.Fprintf(&b, "\nAdd to the configuration, after a look at it:\n\nregistries:\n%s", p.Proposal)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%s; %d calls in %.1f s\n", r.Headline(), r.Calls, r.Seconds)
	_, err := io.WriteString(w, b.String())
	return err
}

// Headline counts the verdicts.
func (r *Report) Headline() string {
	return fmt.Sprintf("%d failed, %d warnings, %d unknown, %d OK", r.Count(Failed), r.Count(Warning), r.Count(Unknown), r.Count(OK))
}
