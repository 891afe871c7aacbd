package report

import (
	"strings"

	"github.com/hssgate/hssgate/policy"
)

// maxMarkdownRows bounds a table: code hosts cut long comments.
const maxMarkdownRows = 200

// listed is an image with the worst of its vulnerabilities.
type listed struct {
	*ListedImage

	Rows part[policy.Vulnerability]
}

// listedImages returns the worst images with the worst of their vulnerabilities.
func (r *Report) listedImages(maxRows int) part[listed] {
	images := firstOf(r.Vulnerabilities, maxListedImages)
	all := part[listed]{More: images.More}
	for i := range images.Shown {
		all.Shown = append(all.Shown, listed{&images.Shown[i], firstOf(images.Shown[i].Listed, maxRows)})
	}
	return all
}

// markdown returns a comment for a pull request: first the violations, then the
// rest, folded.
func (r *Report) markdown() (string, error) {
	bad, good := r.sorted()
	symbol := map[Verdict]string{Denied: "❌", Unknown: "❔", Warned: "⚠️", Admitted: "✅"}[r.Outcome()]
	if len(r.Skipped) > 0 && symbol == "✅" {
		symbol = "⚠️"
	}
	return render("report.md.tmpl", map[string]any{
		"Report": r, "Symbol": symbol, "Listed": r.listedImages(maxListedRows),
		"Bad": firstOf(bad, maxMarkdownRows), "Good": firstOf(good, maxMarkdownRows), "GoodCount": plural(len(good), "result", "results"),
		"Policies": strings.Join(r.Policies, ", "),
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
