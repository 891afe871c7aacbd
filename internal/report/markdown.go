package report

import "strings"

// markdown returns a comment for a pull request: first the violations, then the
// rest, folded.
func (r *Report) markdown() (string, error) {
	bad, good := r.sorted()
	symbol := map[Verdict]string{Denied: "❌", Unknown: "❔", Warned: "⚠️", Admitted: "✅"}[r.Outcome()]
	if len(r.Skipped) > 0 && symbol == "✅" {
		symbol = "⚠️"
	}
	return render("report.md.tmpl", map[string]any{
		"Report": r, "Symbol": symbol, "Bad": bad, "Good": good,
	})
}

// inline returns a text that Markdown shows as it is, in one line.
func inline(v any) string {
	escape := strings.NewReplacer(
		"\\", "\\\\", "|", "\\|", "<", "&lt;", ">", "&gt;", "&", "&amp;", "*", "\\*", "_", "\\_", "`", "\\`", "[", "\\[", "]", "\\]", "~", "\\~", "$", "\\$", "@", "@\u200b",
	)
	return escape.Replace(oneLine(v))
}

// code returns a text as code in a table of Markdown.
func code(text string) string {
	return "`" + strings.NewReplacer("`", "'", "|", "\\|", "\\", "\\\\").Replace(oneLine(text)) + "`"
}
