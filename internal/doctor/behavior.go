package doctor

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"time"
)

// trait is one of the ways in which HSS may behave. hsstest.Behavior has a switch of the same name with the same values.
type trait struct {
	name string
	// of names it for people.
	of       string
	readings []reading
	// read returns the value that the tenant shows; empty: it shows none.
	read func(*evidence) string
	// lacks is what would show it.
	lacks string
}

// reading is a value of a trait, and what follows from it. Without a verdict it is OK.
type reading struct {
	value, found string
	verdict      Verdict
	remedy       string
}

// evidence is what HSS showed of a tenant.
type evidence struct {
	// rows are those of the list of images, each once, and first the first page.
	rows  []row
	first page
	// again are pages of limit rows: two from the start, and one from each of the next rows on.
	again []page
	// behind is a page behind the last row.
	behind page
	// filtered are the names of the rows that a filter by a part of a name, which is no name, selected.
	filtered   []string
	part       string
	isFiltered bool
	// otherEnterpriseProjects: some rows are not of the default enterprise project.
	otherEnterpriseProjects bool
	lists                   []listed
	now                     time.Time
}

// listed is an image with its vulnerabilities, and the highest CVSS score; 0: it is not known.
type listed struct {
	row             row
	vulnerabilities []row
	score           float64
	// scored reports whether every vulnerability has a score.
	scored bool
}

// uniform returns the value that all rows show; empty: none does, or they differ. Show returns an empty text for a row that shows nothing.
func uniform(rows []row, show func(row) string) (value string) {
	for _, r := range rows {
		switch shown := show(r); {
		case shown == "" || shown == value:
		case value != "":
			return ""
		default:
			value = shown
		}
	}
	return value
}

// filtered yields the rows of which something holds.
func filtered(rows []row, is func(row) bool) iter.Seq[row] {
	return func(yield func(row) bool) {
		for _, r := range rows {
			if is(r) && !yield(r) {
				return
			}
		}
	}
}

// first returns the first of some values that a row shows.
func first(rows []row, show func(row) string, values ...string) string {
	for _, value := range values {
		if slices.ContainsFunc(rows, func(r row) bool { return show(r) == value }) {
			return value
		}
	}
	return ""
}

// conditional is a value that holds on a condition.
type conditional struct {
	is    bool
	value string
}

func when(is bool, value string) conditional { return conditional{is, value} }

// choose returns the first value whose condition holds.
func choose(values ...conditional) string {
	for _, v := range values {
		if v.is {
			return v.value
		}
	}
	return ""
}

// withArchitectures returns the rows, and the architectures in them.
func (e *evidence) withArchitectures() (all []row) {
	for _, r := range e.rows {
		all = append(append(all, r), r.list("association_images")...)
	}
	return all
}

// families returns rows with the same names, of which there are several.
func (e *evidence) families() (all [][]row) {
	at := map[string]int{}
	for _, r := range e.rows {
		n, known := at[r.names()]
		if !known {
			n = len(all)
			at[r.names()], all = n, append(all, nil)
		}
		all[n] = append(all[n], r)
	}
	return all
}

// singles returns the rows that are no architecture and have none.
func (e *evidence) singles() (rows []row) {
	for _, family := range e.families() {
		if len(family) == 1 && !family[0].multi() {
			rows = append(rows, family[0])
		}
	}
	return rows
}

// parent is a row of an image with several architectures, and these.
type parent struct {
	row
	children []row
	// ordered: the first child is the first architecture.
	ordered bool
}

func (e *evidence) parents() (all []parent) {
	for _, family := range e.families() {
		at := slices.IndexFunc(family, row.multi)
		if at < 0 {
			continue
		}
		p := parent{family[at], family[at].list("association_images"), true}
		if len(p.children) == 0 {
			p.children, p.ordered = slices.Delete(slices.Clone(family), at, at+1), e.paging() == "stable"
		}
		all = append(all, p)
	}
	return all
}

func (e *evidence) architectures() string {
	parents := e.parents()
	listed := slices.ContainsFunc(parents, func(p parent) bool { return len(p.list("association_images")) > 0 })
	beside := slices.ContainsFunc(parents, func(p parent) bool { return !listed && len(p.children) > 0 })
	several := slices.ContainsFunc(e.families(), func(family []row) bool { return len(family) > 1 })
	return choose(when(listed, "listed"), when(beside, "rows"), when(len(parents) == 0 && several, "only"))
}

func (e *evidence) parentDigest() string {
	for _, p := range e.parents() {
		digest := p.text("image_digest")
		if len(p.children) == 0 {
			continue
		}
		of := slices.ContainsFunc(p.children, func(c row) bool { return c.text("image_digest") == digest })
		return choose(when(digest == "", "empty"), when(of, "first"), when(true, "index"))
	}
	return ""
}

func (e *evidence) parentLevel() string {
	for _, p := range e.parents() {
		level := p.text("severity_level")
		if p.status() != "success" || level == "" || len(p.children) < 2 || !slices.ContainsFunc(p.children, row.found) {
			continue
		}
		switch clean := !p.children[0].found(); {
		case level == security:
			return "first"
		case clean && p.ordered:
			return "inventory"
		}
	}
	return ""
}

func (e *evidence) updateTime() string {
	times, digests := map[string][]time.Time{}, 0
	var all []time.Time
	for _, r := range e.singles() {
		at, digest := r.time("latest_update_time"), r.text("image_digest")
		if at.IsZero() || digest == "" {
			continue
		}
		if times[digest] == nil {
			digests++
			all = append(all, at)
		}
		times[digest] = append(times[digest], at)
	}
	// A synchronisation of last night has touched nearly all.
	slices.SortFunc(all, time.Time.Compare)
	const fewest = 5
	for n, at := range all {
		within := 0
		for _, other := range all[n:] {
			if other.Sub(at) < time.Hour {
				within++
			}
		}
		if digests >= fewest && within*4 >= digests*3 && e.now.Sub(at) < 26*time.Hour {
			return "touched"
		}
	}
	same, differ := 0, 0
	for _, of := range times {
		slices.SortFunc(of, time.Time.Compare)
		switch {
		case len(of) < 2:
		case of[len(of)-1].Sub(of[0]) > 2*time.Second:
			differ++
		default:
			same++
		}
	}
	return choose(when(differ > 0, "push"), when(same > 1, "build"))
}

// pushedAgain sees only one of its values: the others look like a row that was never scanned, or not pushed again.
func (e *evidence) pushedAgain() string {
	if e.updateTime() != "push" {
		return ""
	}
	return choose(when(slices.ContainsFunc(e.singles(), func(r row) bool {
		scanned := r.time("latest_scan_time")
		return r.status() == "success" && !scanned.IsZero() && r.time("latest_update_time").After(scanned)
	}), "result"))
}

func (e *evidence) scanTime() string {
	return uniform(e.rows, func(r row) string {
		at := r.time("latest_scan_time")
		return choose(when(r.status() != "scanning", ""), when(at.IsZero() || e.now.Sub(at) > 6*time.Hour, "end"), when(e.now.Sub(at) < time.Hour, "start"))
	})
}

func (e *evidence) unscannedLevel() string {
	show := func(is func(row) bool) string {
		return uniform(e.rows, func(r row) string {
			level := r.text("severity_level")
			return choose(when(!is(r) || !r.time("latest_scan_time").IsZero(), ""), when(level == "", "missing"), when(level == security, security))
		})
	}
	// A row whose first scan runs may have been reset.
	waiting, rescan := show(row.running), e.rescan()
	return cmp.Or(show(func(r row) bool { return r.status() == "unscan" }), choose(when(waiting == "missing" || rescan == "kept" || rescan == "dropped", waiting)))
}

// scannedAgain reports whether a row is being scanned, and was before. The time of a scan that has just begun may be that of its beginning.
func (e *evidence) scannedAgain(r row) bool {
	scanned := r.time("latest_scan_time")
	return r.running() && !scanned.IsZero() && e.now.Sub(scanned) > time.Hour
}

// rescan takes Security for reset if vulnerabilities are listed: it may be the last result.
func (e *evidence) rescan() string {
	if slices.ContainsFunc(e.lists, func(l listed) bool { return l.row.running() && !l.row.found() && len(l.vulnerabilities) > 0 }) {
		return "reset"
	}
	return uniform(e.rows, func(r row) string {
		level := r.text("severity_level")
		return choose(when(!e.scannedAgain(r) || level == security, ""), when(level == "", "dropped"), when(true, "kept"))
	})
}

func (e *evidence) unscannedCounts() string {
	return first(e.rows, func(r row) string {
		n, _ := r.number("vul_num")
		earlier := r.text("severity_level") == security && !r.time("latest_scan_time").IsZero()
		return choose(when(r.status() != "unscan" && !r.failed(), ""), when(n > 0, "inventory"), when(r.kind("vul_num") == 0, "missing"), when(r.kind("vul_num") == 'n', "null"), when(earlier, "earlier"), when(true, "zero"))
	}, "inventory", "earlier", "null", "missing", "zero")
}

func (e *evidence) vulnerabilityCount() string {
	for _, l := range e.lists {
		ids := map[string]bool{}
		for _, v := range l.vulnerabilities {
			ids[v.text("vul_id")] = true
		}
		n, _ := l.row.number("vul_num")
		rows, once := len(l.vulnerabilities), len(ids)
		value := choose(when(l.row.running(), ""), when(int(n) < rows && int(n) != once, "unhandled"), when(once < rows && int(n) == once, "ids"), when(once < rows && int(n) == rows, "inventory"))
		if value != "" {
			return value
		}
	}
	return ""
}

// severityScale compares the levels of images with the scores of their vulnerabilities.
func (e *evidence) severityScale() string {
	const high, critical = 7, 9
	nine, seven := false, false
	for _, l := range e.lists {
		level, clean := l.row.text("severity_level"), true
		for _, other := range []string{"malicious_file_num", "unsafe_setting_num"} {
			n, ok := l.row.number(other)
			clean = clean && ok && n == 0
		}
		nine = nine || level == "Medium" && l.score >= high
		seven = seven || level == "High" && l.scored && clean && l.score < critical && l.score > 0
	}
	return choose(when(first(e.rows, func(r row) string { return r.text("severity_level") }, "Critical") != "", "critical"), when(nine && !seven, "nine"), when(seven && !nine, "seven"))
}

func (e *evidence) paging() string {
	const fewest = 5
	if len(e.again) < 3 || len(e.rows) < fewest {
		return ""
	}
	a, b := e.again[0].rows, e.again[1].rows
	in := func(rows []row) func(row) bool {
		return func(r row) bool { return slices.ContainsFunc(rows, r.is) }
	}
	common, again := slices.Collect(filtered(a, in(b))), slices.Collect(filtered(b, in(a)))
	// A push between the two moves one row in.
	if len(common) < len(a)-1 || !slices.EqualFunc(common, again, row.is) {
		return "shuffled"
	}
	repeated := true
	for n, p := range e.again[2:] {
		repeated = repeated && len(p.rows) > 0 && p.rows[0].is(b[len(b)-1-n])
	}
	return choose(when(repeated, "repeated"), when(true, "stable"))
}

func (e *evidence) total() string {
	if len(e.again) == 0 {
		return ""
	}
	p := e.again[0]
	n, ok := p.number("total_num")
	all := len(e.rows) > len(p.rows)
	return choose(when(!ok, "missing"), when(n == 0 && len(p.rows) > 0, "zero"), when(all && int(n) == len(p.rows), "page"), when(all && int(n) > len(p.rows), "all"))
}

func (e *evidence) pageSize() string {
	const ten = 10
	return choose(when(len(e.first.rows) > ten, "limit"), when(len(e.first.rows) == ten && len(e.rows) > ten, "ten"))
}

func (e *evidence) pastEnd() string {
	return choose(when(len(e.behind.rows) > 0, "last"), when(e.behind.kind("data_list") == 'n', "null"), when(e.behind.kind("data_list") == '[', "empty"))
}

func (e *evidence) filters() string {
	if !e.isFiltered {
		return ""
	}
	contain := !slices.ContainsFunc(e.filtered, func(name string) bool { return !strings.Contains(name, e.part) })
	return choose(when(len(e.filtered) == 0, "exact"), when(contain, "substring"), when(true, "ignored"))
}

func nested(r row) string {
	name := r.text("image_name")
	return choose(when(strings.Contains(name, "$"), "dollar"), when(strings.Contains(name, "%2F"), "escaped"), when(strings.Contains(name, "/"), "slash"))
}

// traits returns all traits, in the order of hsstest.Behavior.
func traits() []trait { //nolint:funlen // a table
	const (
		report   = "report it with a record (--record FILE): no hssgate release handles it"
		digest   = `pin images by digest: "spec.pin" of a policy, or references with @sha256:…`
		compare  = "hssgate compares every row itself"
		byDigest = "references by the digest of the whole image are not found: use tags, or the digest of an architecture"
	)
	kinds := func(field string, by map[byte]string) func(*evidence) string {
		return func(e *evidence) string { return uniform(e.rows, func(r row) string { return by[r.kind(field)] }) }
	}
	return []trait{
		{"filters", "text filters", []reading{
			{value: "exact", found: "match whole texts"},
			{value: "substring", found: "match parts of a text; " + compare},
			{value: "ignored", found: "are ignored: every look-up reads the whole list", verdict: Warning, remedy: "set syncInterval of the project, and " + report},
		}, (*evidence).filters, "an image whose name without its last letter is no image's name"},
		{"ids", "id of a row", []reading{{value: "number", found: "is a number"}, {value: "text", found: "is a text"}}, kinds("id", map[byte]string{'0': "number", '"': "text"}), "an image"},
		{"sizes", "image_size", []reading{{value: "number", found: "is a number"}, {value: "unit", found: "is a text with a unit; hssgate does not read it"}},
			kinds("image_size", map[byte]string{'0': "number", '"': "unit"}), "an image with a size"},
		{"times", "times", []reading{
			{value: "milliseconds", found: "are milliseconds"}, {value: "text", found: "are milliseconds as a text"},
			{value: "seconds", found: "are seconds: scanAge denies, as scans seem to be of 1970", verdict: Warning, remedy: report},
		}, func(e *evidence) string {
			return uniform(e.rows, func(r row) string {
				n, _ := r.number("latest_update_time")
				return choose(when(n <= 0, ""), when(n < secondsUpTo, "seconds"), when(r.kind("latest_update_time") == '"', "text"), when(true, "milliseconds"))
			})
		}, "an image with latest_update_time"},
		{"statuses", "scan_status", []reading{
			{value: "documented", found: "is as documented"},
			{value: "capitalised", found: "is capitalised, which is unknown: images are denied", verdict: Failed, remedy: report},
		}, func(e *evidence) string {
			return uniform(e.rows, func(r row) string {
				status := r.text("scan_status")
				return choose(when(status == "", ""), when(status == r.status(), "documented"), when(true, "capitalised"))
			})
		}, "an image with a status"},
		{"digests", "digests", []reading{
			{value: "prefixed", found: "are sha256:…"},
			{value: "bare", found: "have no algorithm; hssgate reads both"},
			{value: "upper", found: "are in upper case; hssgate reads both"},
		}, func(e *evidence) string {
			return uniform(e.withArchitectures(), func(r row) string {
				d, text := r.text("image_digest"), strings.TrimPrefix(r.text("image_digest"), "sha256:")
				return choose(when(d == "", ""), when(d == text, "bare"), when(text != strings.ToLower(text), "upper"), when(true, "prefixed"))
			})
		}, "an image with a digest"},
		{"nested-names", "a repository a/b", []reading{
			{value: "slash", found: "is listed as a/b; hssgate looks it up as a/b and a$b (nestedNames)"},
			{value: "dollar", found: "is listed as a$b; hssgate looks it up as a/b and a$b (nestedNames)"},
			{value: "escaped", found: "is listed as a%2Fb, which nestedNames does not have: its images are not found", verdict: Failed, remedy: report},
		}, func(e *evidence) string {
			inNamespace := slices.DeleteFunc(slices.Clone(e.rows), func(r row) bool { return r.text("namespace") == "" })
			return first(inNamespace, nested, "escaped", "dollar", "slash")
		}, "an image in a repository such as namespace/a/b"},
		{"third-party", "images of Harbor and JFrog", []reading{
			{value: "project", found: "have their project as the namespace"},
			{value: "path", found: "have no namespace, and the whole path as their name", verdict: Failed, remedy: "report it with a record (--record FILE): the path of a registry cannot describe it"},
		}, func(e *evidence) string {
			return uniform(e.rows, func(r row) string {
				return choose(when(!r.thirdParty(), ""), when(r.text("namespace") != "", "project"), when(nested(r) != "", "path"))
			})
		}, "an image of Harbor or JFrog"},
		{"enterprise-projects", "all_granted_eps", []reading{
			{value: "all", found: "shows images of other enterprise projects, too"},
		}, func(e *evidence) string { return choose(when(e.otherEnterpriseProjects, "all")) }, "an image outside of the default enterprise project; if there is one, HSS does not show it: list its ID as enterpriseProjectID of a second project"},
		{"architectures", "images of several architectures", []reading{
			{value: "listed", found: "are one row, with their architectures in association_images"},
			{value: "rows", found: "are one row, and a row for each architecture: they are denied by tag", verdict: Warning, remedy: "use the digest of an architecture; " + report},
			{value: "only", found: "are a row for each architecture; all of them decide", verdict: Warning, remedy: byDigest},
		}, (*evidence).architectures, "an image of several architectures"},
		{"parent-digest", "the digest of such a row", []reading{
			{value: "index", found: "is that of the whole image"},
			{value: "first", found: "is that of an architecture", verdict: Warning, remedy: byDigest},
			{value: "empty", found: "is missing", verdict: Warning, remedy: byDigest},
		}, (*evidence).parentDigest, "an image of several architectures with a row of its own"},
		{"parent-level", "severity_level of such a row", []reading{
			{value: "inventory", found: "counts all architectures"},
			{value: "first", found: "is that of the first architecture; severityLevel denies Security if another has findings", verdict: Warning, remedy: "use require.vulnerabilities, too, which counts those of each architecture"},
		}, (*evidence).parentLevel, "an image of several architectures of which only the first has no findings"},
		{"single-architecture", "association_images of other images", []reading{
			{value: "missing", found: "is missing"}, {value: "null", found: "is null"}, {value: "empty", found: "is empty"}, {value: "itself", found: "holds the image itself"},
		}, func(e *evidence) string {
			return uniform(e.singles(), func(r row) string {
				list := r.list("association_images")
				return choose(when(r.kind("association_images") == 0, "missing"), when(r.kind("association_images") == 'n', "null"), when(len(list) == 0, "empty"), when(len(list) == 1, "itself"))
			})
		}, "an image of one architecture"},
		{"update-time", "latest_update_time", []reading{
			{value: "push", found: "is the time of the push"},
			{value: "build", found: "is the time of the build: a tag that moves to another image does not show by it", verdict: Warning, remedy: digest},
			{value: "touched", found: "is when HSS last touched the row: images are denied as updated after their scan, unless hssgate saw the result before", verdict: Warning, remedy: digest + ", and set syncInterval"},
		}, (*evidence).updateTime, "two images, each with two tags"},
		{"scan-time", "latest_scan_time of a running scan", []reading{
			{value: "end", found: "is the end of the scan before"}, {value: "start", found: "is the start of this scan"},
		}, (*evidence).scanTime, "an image that is being scanned: run doctor again meanwhile"},
		{"pushed-again", "a tag that was pushed again", []reading{
			{value: "result", found: "shows the old result; hssgate takes it as not scanned"},
		}, (*evidence).pushedAgain, "an image that was pushed again after its scan; until one shows, " + digest},
		{"severity-scale", "severity_level High", []reading{
			{value: "nine", found: "begins at CVSS 9: Medium includes 7 to 8.9, which most call High", verdict: Warning, remedy: "severityLevel: {max: Low} denies CVSS 4 and more; or count by single vulnerabilities"},
			{value: "seven", found: "begins at CVSS 7; severityLevel {max: Medium} denies these"},
			{value: "critical", found: "is below Critical, which is unknown: severityLevel denies it"},
		}, (*evidence).severityScale, "an image of severity Medium with CVSS 7 and more, or of High without CVSS 9 and more"},
		{"unscanned-level", "severity_level before the first scan", []reading{
			{value: "missing", found: "is missing"}, {value: "Security", found: "is Security; hssgate reads it of completed scans only"},
		}, (*evidence).unscannedLevel, "an image that was never scanned"},
		{"rescan", "the result during another scan", []reading{
			{value: "kept", found: "is the last one"}, {value: "dropped", found: "lacks severity_level; hssgate uses the last result that it saw, or denies"},
			{value: "reset", found: "shows no findings; hssgate uses the last result that it saw, or denies"},
		}, (*evidence).rescan, "an image that is scanned again: run doctor again meanwhile"},
		{"unscanned-counts", "counts without a completed scan", []reading{
			{value: "inventory", found: "are there; hssgate does not read them"}, {value: "zero", found: "are 0; hssgate does not read them"},
			{value: "missing", found: "are missing"}, {value: "null", found: "are null"},
			{value: "earlier", found: "are those of an earlier scan; hssgate does not read them"},
		}, (*evidence).unscannedCounts, "an image that was never scanned, or whose scan failed"},
		{"vulnerability-count", "vul_num", []reading{
			{value: "inventory", found: "counts a vulnerability once for each package"}, {value: "ids", found: "counts each vulnerability once"},
			{value: "unhandled", found: "does not count all that are listed: those that were ignored in HSS's console"},
		}, (*evidence).vulnerabilityCount, "an image with few vulnerabilities, one of them in two packages, and one ignored"},
		{"paging", "pages", []reading{
			{value: "stable", found: "are in one order"},
			{value: "repeated", found: "repeat rows of the page before; hssgate counts different rows"},
			{value: "shuffled", found: "are in another order each time: lists of more than one page may stay incomplete", verdict: Warning, remedy: "images with more than 200 rows, and syncInterval, may be unavailable; report it with a record (--record FILE)"},
		}, (*evidence).paging, "three images"},
		{"page-size", "a page", []reading{
			{value: "limit", found: "has as many rows as requested"}, {value: "ten", found: "has at most 10 rows; look-ups take more calls", verdict: Warning, remedy: "raise requestsPerSecond, and do not set syncInterval"},
		}, (*evidence).pageSize, "eleven images"},
		{"total", "total_num", []reading{
			{value: "all", found: "counts all rows"}, {value: "page", found: "counts those of the page; hssgate reads on until a page is empty"},
			{value: "zero", found: "is 0; hssgate reads on until a page is empty"}, {value: "missing", found: "is missing; hssgate reads on until a page is empty"},
		}, (*evidence).total, "three images"},
		{"past-end", "a page behind the last row", []reading{
			{value: "empty", found: "is empty"},
			{value: "null", found: "has null as its list; hssgate takes it as empty if there is a total_num"},
			{value: "last", found: "has the last rows again: images with more rows than a page are unavailable", verdict: Warning, remedy: report},
		}, (*evidence).pastEnd, "an image"},
	}
}

// Readings returns what doctor can find out, as name=value.
func Readings() (all []string) {
	for _, t := range traits() {
		for _, r := range t.readings {
			all = append(all, t.name+"="+r.value)
		}
	}
	return all
}
