package report

import (
	"fmt"
	"io"
	"strings"
)

// maxMarkdownRows bounds the table: code hosts cut long comments.
const maxMarkdownRows = 200

// writeMarkdown writes what fits a comment on a pull request: first what is
// bad, then the rest, folded.
func (r *Report) writeMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## hssgate: %s\n\n%s\n", r.headline(), inline(r.Summary.String()))
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "\n> **Not checked:** %s\n", inline(p.String()))
	}
	for _, p := range r.Skipped {
		fmt.Fprintf(&b, "\n> **Skipped:** %s\n", inline(p.String()))
	}
	if r.Audit != nil {
		r.Audit.markdown(&b)
	}
	bad, good := r.split()
	if len(bad) > 0 {
		b.WriteString("\n")
		r.markdownTable(&b, bad)
	}
	r.markdownVulnerabilities(&b)
	if len(good) > 0 {
		fmt.Fprintf(&b, "\n<details><summary>%s without a violation</summary>\n\n", plural(len(good), "result", "results"))
		r.markdownTable(&b, good)
		b.WriteString("\n</details>\n")
	}
	if len(r.Policies) > 0 {
		fmt.Fprintf(&b, "\nPolicies: %s.\n", inline(strings.Join(r.Policies, ", ")))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) headline() string {
	if r.Audit != nil {
		return r.Audit.Headline()
	}
	switch o := r.Outcome(); {
	case o == Denied:
		return "would be denied ❌"
	case r.Summary.PodsDenied > 0:
		return "pods would be denied ❌"
	case o == Unknown:
		return "can't be told ❔"
	case o == Warned:
		return "admitted, with warnings ⚠️"
	case len(r.Skipped) > 0:
		return fmt.Sprintf("%d admitted, %d skipped ⚠️", r.Summary.Objects, len(r.Skipped))
	default:
		return "admitted ✅"
	}
}

// split parts the results that have something to say from those that don't.
func (r *Report) split() (bad, good []*Result) {
	for i := range r.Results {
		if one := &r.Results[i]; one.Verdict == Admitted && len(one.Violations) == 0 {
			good = append(good, one)
		} else {
			bad = append(bad, one)
		}
	}
	return bad, good
}

func (r *Report) markdownTable(b *strings.Builder, results []*Result) {
	b.WriteString("| Object | Image | What HSS knows | Verdict | Why |\n| --- | --- | --- | --- | --- |\n")
	for i, one := range results {
		if i == maxMarkdownRows {
			fmt.Fprintf(b, "| and %d more | | | | |\n", len(results)-i)
			return
		}
		var images, known []string
		for j := range one.Images {
			images = append(images, "`"+strings.NewReplacer("`", "'", "|", "\\|", "\\", "\\\\").Replace(oneLine(one.Images[j].Reference))+"`")
			known = append(known, inline(one.Images[j].Known))
		}
		why := make([]string, 0, len(one.Violations))
		for _, reason := range one.Why() {
			why = append(why, inline(reason))
		}
		title := one.Title()
		if one.Namespace != "" {
			title = one.Namespace + ": " + title
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", inline(title), strings.Join(images, "<br>"), strings.Join(known, "<br>"), one.Verdict, strings.Join(why, "<br>"))
	}
}

// inline makes a text one that Markdown shows as it is, in one line.
func inline(text string) string {
	escape := strings.NewReplacer(
		"\\", "\\\\", "|", "\\|", "<", "&lt;", ">", "&gt;", "&", "&amp;", "*", "\\*", "_", "\\_", "`", "\\`", "[", "\\[", "]", "\\]", "~", "\\~", "$", "\\$", "@", "@\u200b",
	)
	return escape.Replace(oneLine(text))
}
