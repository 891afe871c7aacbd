package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/report"
)

// verdict is what became of a sample.
type verdict string

const (
	admitted verdict = "Admitted"
	warned   verdict = "Warned"
	denied   verdict = "Denied"
	// failed is refused by something else than hssgate. No sample expects it.
	failed verdict = "Failed"
)

type result struct {
	*sample
	answer

	images   []report.Image
	policies []string // that matched
	// problem says what is not as the sample expects; empty: nothing.
	problem string
}

func newResult(s *sample, a answer, images []report.Image) result {
	r := result{sample: s, answer: a, images: images, policies: split(a.annotations["policies"], ",")}
	why := strings.Join(r.why(), "; ")
	said := strings.Join(slices.Concat([]string{a.message}, a.warnings, r.violations()), "\n")
	switch {
	case a.verdict != s.expected:
		r.problem = fmt.Sprintf("%s, expected %s: %s", a.verdict, s.expected, why)
	case !strings.Contains(said, s.says):
		r.problem = fmt.Sprintf("%s as expected, but without saying %q: %s", a.verdict, s.says, why)
	}
	return r
}

func split(text, separator string) []string {
	return slices.DeleteFunc(strings.Split(text, separator), func(part string) bool { return part == "" })
}

// violations returns all of them with their effect, from the audit annotations.
func (r *result) violations() []string { return split(r.annotations["violations"], "\n") }

// why returns the reasons of the verdict in a few words.
func (r *result) why() []string {
	var reasons []string
	switch r.verdict {
	case denied:
		for line := range strings.Lines(r.message) {
			if reason, found := strings.CutPrefix(strings.TrimSpace(line), "- "); found {
				reasons = append(reasons, r.shorten(reason))
			}
		}
	case warned:
		for _, warning := range r.warnings {
			reasons = append(reasons, r.shorten(warning))
		}
	default:
		for _, violation := range r.violations() {
			reasons = append(reasons, r.shorten(violation))
		}
	}
	switch {
	case len(reasons) > 0:
		return reasons
	case r.message != "":
		return []string{r.message}
	case len(r.policies) > 0:
		return []string{"passes " + strings.Join(r.policies, ", ")}
	case !r.newImage:
		return []string{"brings no new image"}
	}
	return []string{"no policy judges it"}
}

// shorten leaves out of a reason what other columns show: the image, its place
// if there is one image only, and the policy if there is one only.
func (r *result) shorten(reason string) string {
	subject, finding, found := strings.Cut(reason, " — ")
	if !found {
		return reason
	}
	if i := strings.LastIndex(finding, " [policy "); i > 0 && len(r.policies) == 1 {
		finding = finding[:i]
	}
	for _, prefix := range []string{"its pods will be denied: ", "Audit: "} {
		if strings.HasPrefix(subject, prefix) {
			finding = prefix + finding
		}
	}
	if place, _, named := strings.Cut(subject, `": `); named && len(r.images) > 1 {
		finding = place + `": ` + finding
	}
	return finding
}

func table(results []result) string {
	t := &report.Table{}
	bad := 0
	for i := range results {
		r := &results[i]
		row := report.Row{Title: r.title(), Images: r.images, Verdict: string(r.verdict), Why: r.why()}
		if r.problem != "" {
			bad++
			row.Verdict = "! " + row.Verdict
		}
		t.Rows = append(t.Rows, row)
	}
	t.End = fmt.Sprintf("%d verdicts, all as the samples expect.", len(results))
	if bad > 0 {
		t.End = fmt.Sprintf("%d verdicts, %d of them (marked !) not as the samples expect.", len(results), bad)
	}
	return t.String()
}

// unexpected returns an error that names every sample whose verdict is not as it
// expects.
func unexpected(results []result) error {
	var problems strings.Builder
	bad := 0
	for i := range results {
		if r := &results[i]; r.problem != "" {
			bad++
			fmt.Fprintf(&problems, "\n- %s: %s: %s", r.file, r.title(), r.problem)
		}
	}
	if bad == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d verdicts are not as the samples expect:%s", bad, len(results), problems.String())
}
