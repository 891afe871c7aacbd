package doctor

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// Verdict is the result of one check.
type Verdict string

// The verdicts. Unknown means that the tenant holds no evidence, or that HSS did not answer.
const (
	OK      Verdict = "OK"
	Warning Verdict = "Warning"
	Failed  Verdict = "Failed"
	Unknown Verdict = "Unknown"
)

// Finding is what a check found.
type Finding struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Found   string  `json:"found"`
	// Remedy is what to do; empty: nothing.
	Remedy string `json:"remedy,omitempty"`
}

// Report is the result of a run.
type Report struct {
	Version  string          `json:"version"`
	Time     time.Time       `json:"time"`
	Calls    int             `json:"calls"`
	Seconds  float64         `json:"seconds"`
	Projects []ProjectReport `json:"projects"`
}

// ProjectReport is what was found of one project of the configuration.
type ProjectReport struct {
	Project   string    `json:"project"`
	Region    string    `json:"region,omitempty"`
	ProjectID string    `json:"projectID,omitempty"`
	Findings  []Finding `json:"findings"`
	// Behavior is how HSS behaves, by the names of hss-simulator's switches. Those of which there is no evidence are not there.
	Behavior map[string]string `json:"behavior"`
	// Proposal is YAML to merge into the configuration, projects and registries by their names; empty: nothing is missing.
	Proposal string `json:"proposal,omitempty"`
}

// Count returns how many findings have a verdict.
func (r *Report) Count(v Verdict) (n int) {
	for _, p := range r.Projects {
		for _, f := range p.Findings {
			if f.Verdict == v {
				n++
			}
		}
	}
	return n
}

// Headline counts the verdicts.
func (r *Report) Headline() string {
	return fmt.Sprintf("%d failed, %d warnings, %d unknown, %d OK", r.Count(Failed), r.Count(Warning), r.Count(Unknown), r.Count(OK))
}

// Table returns the report for people: a line for each finding, and what to do below it.
func (r *Report) Table() string {
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
			fmt.Fprintf(&b, "\nMerge into the configuration by the names, after a look at it:\n\n%s", p.Proposal)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%s; %d calls in %.1f s\n", r.Headline(), r.Calls, r.Seconds)
	return b.String()
}
