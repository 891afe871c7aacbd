package doctor

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// evidence is what HSS lists of a tenant.
type evidence struct {
	// rows are those of the list of images, each once, and images the same by their names.
	rows   []row
	images []image
	// ordered: the list has one order.
	ordered bool
	lists   []listed
	now     time.Time
}

// listed is an image with its vulnerabilities, and the highest CVSS score; 0: it is not known.
type listed struct {
	row             row
	vulnerabilities []row
	score           float64
	// scored reports whether every vulnerability has a score.
	scored bool
}

// readers return the values of traits that are shown by rows; empty: they show none. What calls show, the session's probes read.
func readers() map[string]func(*evidence) string {
	each := func(show func(row) string) func(*evidence) string {
		return func(e *evidence) string { return shown(e.rows, show) }
	}
	kinds := func(field, number, text string) func(*evidence) string {
		return each(func(r row) string {
			return cmp.Or(when(r.kind(field) == '0', number), when(r.kind(field) == '"', text))
		})
	}
	return map[string]func(*evidence) string{
		"ids":   kinds("id", "number", "text"),
		"sizes": kinds("image_size", "number", "unit"),
		"times": each(func(r row) string {
			n, _ := r.number("latest_update_time")
			return when(n > 0, cmp.Or(when(n < secondsUpTo, "seconds"), when(r.kind("latest_update_time") == '"', "text"), "milliseconds"))
		}),
		"statuses": each(func(r row) string {
			status := r.text("scan_status")
			return when(status != "", cmp.Or(when(status == string(r.status()), "documented"), "capitalised"))
		}),
		"digests": each(func(r row) string {
			digest, text := r.text("image_digest"), strings.TrimPrefix(r.text("image_digest"), "sha256:")
			return when(digest != "", cmp.Or(when(digest == text, "bare"), when(text != strings.ToLower(text), "upper"), "prefixed"))
		}),
		"nested-names": func(e *evidence) string {
			return shown(e.rows, func(r row) string { return when(r.text("namespace") != "", nested(r)) }, "escaped", "dollar", "slash")
		},
		"third-party": each(func(r row) string {
			third := slices.Contains([]string{"harbor", "jfrog"}, r.text("image_type"))
			return when(third, cmp.Or(when(r.text("namespace") != "", "project"), when(nested(r) != "", "path")))
		}),
		"architectures": (*evidence).architectures,
		"parent-digest": (*evidence).parentDigest,
		"parent-level":  (*evidence).parentLevel,
		"single-architecture": func(e *evidence) string {
			return shown(e.singles(), func(r row) string {
				list := r.list("association_images")
				return cmp.Or(when(r.kind("association_images") == 0, "missing"), when(r.kind("association_images") == 'n', "null"), when(len(list) == 0, "empty"), when(len(list) == 1, "itself"))
			})
		},
		"update-time": (*evidence).updateTime,
		"scan-time": func(e *evidence) string {
			return shown(e.rows, func(r row) string {
				at := r.time("latest_scan_time")
				return when(r.status() == "scanning", cmp.Or(when(at.IsZero() || e.now.Sub(at) > 6*time.Hour, "end"), when(e.now.Sub(at) < time.Hour, "start")))
			})
		},
		"pushed-again":        (*evidence).pushedAgain,
		"severity-scale":      (*evidence).severityScale,
		"unscanned-level":     (*evidence).unscannedLevel,
		"rescan":              (*evidence).rescan,
		"unscanned-counts":    (*evidence).unscannedCounts,
		"vulnerability-count": (*evidence).vulnerabilityCount,
	}
}

// shown returns the first of some values that a row shows, or else the value of all rows; empty: none does, or they differ. Show returns an
// empty text for a row that shows nothing.
func shown(rows []row, show func(row) string, decisive ...string) string {
	var values []string
	for _, r := range rows {
		if value := show(r); value != "" && !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	for _, value := range decisive {
		if slices.Contains(values, value) {
			return value
		}
	}
	if len(values) != 1 {
		return ""
	}
	return values[0]
}

// when returns a value if a condition holds, and else an empty one.
func when(is bool, value string) string {
	if is {
		return value
	}
	return ""
}

// nested returns how the name of a repository a/b is spelled; empty: it is not such a name.
func nested(r row) string {
	name := r.text("image_name")
	return cmp.Or(when(strings.Contains(name, "$"), "dollar"), when(strings.Contains(name, "%2F"), "escaped"), when(strings.Contains(name, "/"), "slash"))
}

// image is an image of the list with its architectures, if there are several.
type image struct {
	row           // nil: only the architectures are rows
	architectures []row
	// listed: the row has the architectures.
	listed bool
}

// parent reports whether the image has a row of its own, and several architectures.
func (i image) parent() bool { return i.row != nil && len(i.architectures) > 0 }

// imagesOf returns the images of rows: those with the same names are of one.
func imagesOf(rows []row) (all []image) {
	families := map[string][]row{}
	for _, r := range rows {
		families[r.names()] = append(families[r.names()], r)
	}
	for _, r := range rows {
		family, more := families[r.names()]
		if !more {
			continue
		}
		delete(families, r.names())
		i, at := image{architectures: family}, slices.IndexFunc(family, row.multi)
		if at < 0 && len(family) == 1 {
			at = 0
		}
		if at >= 0 {
			i.row = family[at]
			i.architectures = slices.Delete(family, at, at+1)
		}
		if list := i.list("association_images"); i.multi() && len(list) > 0 {
			i.architectures, i.listed = list, true
		}
		all = append(all, i)
	}
	return all
}

// singles returns the rows that are no architecture and have none.
func (e *evidence) singles() (rows []row) {
	for _, i := range e.images {
		if len(i.architectures) == 0 && !i.multi() {
			rows = append(rows, i.row)
		}
	}
	return rows
}

func (e *evidence) architectures() string {
	listed := slices.ContainsFunc(e.images, func(i image) bool { return i.listed })
	several := slices.ContainsFunc(e.images, func(i image) bool { return len(i.architectures) > 0 })
	return cmp.Or(when(listed, "listed"), when(slices.ContainsFunc(e.images, image.parent), "rows"), when(several, "only"))
}

func (e *evidence) parentDigest() string {
	at := slices.IndexFunc(e.images, image.parent)
	if at < 0 {
		return ""
	}
	i := e.images[at]
	digest := i.text("image_digest")
	of := slices.ContainsFunc(i.architectures, func(a row) bool { return a.text("image_digest") == digest })
	return cmp.Or(when(digest == "", "empty"), when(of, "first"), "index")
}

// parentLevel needs the first architecture: of rows, if they have an order.
func (e *evidence) parentLevel() string {
	for _, i := range e.images {
		level := i.text("severity_level")
		if !i.parent() || !i.status().Completed() || level == "" || len(i.architectures) < 2 || !slices.ContainsFunc(i.architectures, row.found) {
			continue
		}
		if level == security {
			return "first"
		}
		if !i.architectures[0].found() && (i.listed || e.ordered) {
			return "inventory"
		}
	}
	return ""
}

func (e *evidence) updateTime() string {
	byDigest := map[string][]time.Time{}
	var all []time.Time // one of each digest
	for _, r := range e.singles() {
		at, digest := r.time("latest_update_time"), r.text("image_digest")
		if at.IsZero() || digest == "" {
			continue
		}
		if byDigest[digest] == nil {
			all = append(all, at)
		}
		byDigest[digest] = append(byDigest[digest], at)
	}
	// A synchronisation of last night has touched nearly all.
	slices.SortFunc(all, time.Time.Compare)
	const fewest = 5
	for n, most := 0, (len(all)*3+3)/4; len(all) >= fewest && n+most <= len(all); n++ {
		if all[n+most-1].Sub(all[n]) < time.Hour && e.now.Sub(all[n]) < 26*time.Hour {
			return "touched"
		}
	}
	same := 0
	for _, of := range byDigest {
		if slices.MaxFunc(of, time.Time.Compare).Sub(slices.MinFunc(of, time.Time.Compare)) > 2*time.Second {
			return "push"
		}
		if len(of) > 1 {
			same++
		}
	}
	return when(same > 1, "build")
}

// pushedAgain sees only one of its values: the others look like a row that was never scanned, or not pushed again.
func (e *evidence) pushedAgain() string {
	if e.updateTime() != "push" {
		return ""
	}
	return shown(e.singles(), func(r row) string {
		scanned := r.time("latest_scan_time")
		return when(r.status().Completed() && !scanned.IsZero() && r.time("latest_update_time").After(scanned), "result")
	}, "result")
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
	beyond := slices.ContainsFunc(e.rows, func(r row) bool { return r.text("severity_level") == "Critical" })
	return cmp.Or(when(beyond, "critical"), when(nine && !seven, "nine"), when(seven && !nine, "seven"))
}

func (e *evidence) unscannedLevel() string {
	show := func(is func(row) bool) string {
		return shown(e.rows, func(r row) string {
			level := r.text("severity_level")
			return when(is(r) && r.time("latest_scan_time").IsZero(), cmp.Or(when(level == "", "missing"), when(level == security, security)))
		})
	}
	// A row whose first scan runs may have been reset.
	waiting, rescan := show(func(r row) bool { return r.status().Running() }), e.rescan()
	return cmp.Or(show(func(r row) bool { return r.status() == "unscan" }), when(waiting == "missing" || rescan == "kept" || rescan == "dropped", waiting))
}

// scannedAgain reports whether a row is being scanned, and was before. The time of a scan that has just begun may be that of its beginning.
func (e *evidence) scannedAgain(r row) bool {
	scanned := r.time("latest_scan_time")
	return r.status().Running() && !scanned.IsZero() && e.now.Sub(scanned) > time.Hour
}

// rescan takes Security for reset if vulnerabilities are listed: it may be the last result.
func (e *evidence) rescan() string {
	if slices.ContainsFunc(e.lists, func(l listed) bool { return l.row.status().Running() && !l.row.found() && len(l.vulnerabilities) > 0 }) {
		return "reset"
	}
	return shown(e.rows, func(r row) string {
		level := r.text("severity_level")
		return when(e.scannedAgain(r) && level != security, cmp.Or(when(level == "", "dropped"), "kept"))
	})
}

func (e *evidence) unscannedCounts() string {
	return shown(e.rows, func(r row) string {
		n, _ := r.number("vul_num")
		earlier := r.text("severity_level") == security && !r.time("latest_scan_time").IsZero()
		return when(r.status() == "unscan" || r.status().Failed(), cmp.Or(when(n > 0, "inventory"), when(r.kind("vul_num") == 0, "missing"), when(r.kind("vul_num") == 'n', "null"), when(earlier, "earlier"), "zero"))
	}, "inventory", "earlier", "null", "missing", "zero")
}

func (e *evidence) vulnerabilityCount() string {
	for _, l := range e.lists {
		ids := map[string]bool{}
		for _, v := range l.vulnerabilities {
			ids[v.text("vul_id")] = true
		}
		n, _ := l.row.number("vul_num")
		count, rows, once := int(n), len(l.vulnerabilities), len(ids)
		value := when(!l.row.status().Running(), cmp.Or(when(count < rows && count != once, "unhandled"), when(once < rows && count == once, "ids"), when(once < rows && count == rows, "inventory")))
		if value != "" {
			return value
		}
	}
	return ""
}
