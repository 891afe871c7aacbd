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
	now     time.Time
}

// image is an image of the list with its architectures, if there are several.
type image struct {
	row           // nil: only the architectures are rows
	architectures []row
	// listed: the row has the architectures.
	listed bool
	// vulnerabilities are those of some images, and score is the highest known of CVSS; scored: all are known.
	vulnerabilities []row
	score           float64
	scored          bool
}

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

// single reports whether the image has one architecture, and parent whether it has several, and a row of its own.
func (i image) single() bool { return len(i.architectures) == 0 && !i.multi() }
func (i image) parent() bool { return len(i.architectures) > 0 && i.row != nil }

// shown returns the first of some values that an image shows, or else the value of all; empty: none does, or they differ. Show returns an
// empty text for an image that shows nothing.
func (e *evidence) shown(show func(image) string, decisive ...string) string {
	var values []string
	for _, i := range e.images {
		if value := show(i); value != "" && !slices.Contains(values, value) {
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

// values returns the values of traits that images show. What calls show, the session's probes notice.
func (e *evidence) values() map[string]string {
	updated, kind := e.updateTime(), func(field, text string) string {
		return e.shown(func(i image) string {
			return cmp.Or(when(i.kind(field) == '0', "number"), when(i.kind(field) == '"', text))
		})
	}
	return map[string]string{
		"ids":                 kind("id", "text"),
		"sizes":               kind("image_size", "unit"),
		"times":               e.shown(times),
		"statuses":            e.shown(statuses),
		"digests":             e.shown(digests),
		"nested-names":        e.shown(func(i image) string { return when(i.text("namespace") != "", i.nested()) }, "escaped", "dollar", "slash"),
		"third-party":         e.shown(thirdParty),
		"architectures":       e.shown(architectures, "listed", "rows", "only"),
		"parent-digest":       e.shown(parentDigest),
		"parent-level":        e.shown(e.parentLevel, "first"),
		"single-architecture": e.shown(singleArchitecture),
		"update-time":         updated,
		"scan-time":           e.shown(e.scanTime),
		// The other values look like a row that was never scanned, or not pushed again.
		"pushed-again":        when(updated == "push", e.shown(pushedAgain)),
		"severity-scale":      e.shown(severityScale, "critical"),
		"unscanned-level":     e.unscannedLevel(),
		"rescan":              e.shown(e.rescan, "reset"),
		"unscanned-counts":    e.shown(unscannedCounts, "inventory", "earlier", "null", "missing", "zero"),
		"vulnerability-count": e.shown(vulnerabilityCount, "unhandled", "ids", "inventory"),
	}
}

func times(i image) string {
	n := i.number("latest_update_time")
	return when(n > 0, cmp.Or(when(n < secondsUpTo, "seconds"), when(i.kind("latest_update_time") == '"', "text"), "milliseconds"))
}

func statuses(i image) string {
	status := i.text("scan_status")
	return when(status != "", cmp.Or(when(status == string(i.status()), "documented"), "capitalised"))
}

func digests(i image) string {
	digest, text := i.text("image_digest"), strings.TrimPrefix(i.text("image_digest"), "sha256:")
	return when(digest != "", cmp.Or(when(digest == text, "bare"), when(text != strings.ToLower(text), "upper"), "prefixed"))
}

func thirdParty(i image) string {
	third := slices.Contains([]string{"harbor", "jfrog"}, i.text("image_type"))
	return when(third, cmp.Or(when(i.text("namespace") != "", "project"), when(i.nested() != "", "path")))
}

func architectures(i image) string {
	return cmp.Or(when(i.listed, "listed"), when(i.parent(), "rows"), when(!i.single(), "only"))
}

func parentDigest(i image) string {
	digest := i.text("image_digest")
	of := slices.ContainsFunc(i.architectures, func(a row) bool { return a.text("image_digest") == digest })
	return when(i.parent(), cmp.Or(when(digest == "", "empty"), when(of, "first"), "index"))
}

// parentLevel needs the first architecture: of rows, if they have an order.
func (e *evidence) parentLevel(i image) string {
	level := i.text("severity_level")
	if !i.parent() || !i.status().Completed() || level == "" || len(i.architectures) < 2 || !slices.ContainsFunc(i.architectures, row.found) {
		return ""
	}
	return cmp.Or(when(level == security, "first"), when(!i.architectures[0].found() && (i.listed || e.ordered), "inventory"))
}

func singleArchitecture(i image) string {
	list := i.list("association_images")
	return when(i.single(), cmp.Or(when(i.kind("association_images") == 0, "missing"), when(i.kind("association_images") == 'n', "null"), when(len(list) == 0, "empty"), "itself"))
}

func (e *evidence) updateTime() string {
	byDigest := map[string][]time.Time{}
	var all []time.Time // one of each digest
	for _, i := range e.images {
		at, digest := i.time("latest_update_time"), i.text("image_digest")
		if at.IsZero() || digest == "" || !i.single() {
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

func (e *evidence) scanTime(i image) string {
	at := i.time("latest_scan_time")
	return when(i.status() == "scanning", cmp.Or(when(at.IsZero() || e.now.Sub(at) > 6*time.Hour, "end"), when(e.now.Sub(at) < time.Hour, "start")))
}

func pushedAgain(i image) string {
	scanned := i.time("latest_scan_time")
	return when(i.single() && i.status().Completed() && !scanned.IsZero() && i.time("latest_update_time").After(scanned), "result")
}

// severityScale compares the level of an image with the scores of its vulnerabilities.
func severityScale(i image) string {
	const high, critical = 7, 9
	level := i.text("severity_level")
	clean := i.number("malicious_file_num") == 0 && i.number("unsafe_setting_num") == 0
	return cmp.Or(when(level == "Critical", "critical"), when(level == "Medium" && i.score >= high, "nine"), when(level == "High" && i.scored && clean && i.score < critical && i.score > 0, "seven"))
}

func (e *evidence) unscannedLevel() string {
	show := func(is func(image) bool) string {
		return e.shown(func(i image) string {
			level := i.text("severity_level")
			return when(is(i) && i.time("latest_scan_time").IsZero(), cmp.Or(when(level == "", "missing"), when(level == security, security)))
		})
	}
	// A row whose first scan runs may have been reset.
	waiting, rescan := show(func(i image) bool { return i.status().Running() }), e.shown(e.rescan, "reset")
	return cmp.Or(show(func(i image) bool { return i.status() == "unscan" }), when(waiting == "missing" || rescan == "kept" || rescan == "dropped", waiting))
}

// scannedAgain reports whether an image is being scanned, and was before. The time of a scan that has just begun may be that of its beginning.
func (e *evidence) scannedAgain(i image) bool {
	scanned := i.time("latest_scan_time")
	return i.status().Running() && !scanned.IsZero() && e.now.Sub(scanned) > time.Hour
}

// showsMore reports whether the vulnerabilities of an image show more than its row.
func (e *evidence) showsMore(i *image) bool {
	level := i.text("severity_level")
	scored := i.status().Completed() && i.number("vul_num") > 0 && slices.Contains([]string{"Medium", "High", "Critical"}, level)
	return i.single() && i.text("image_id") != "" && (scored || e.scannedAgain(*i) && level == security)
}

// rescan takes Security for reset if vulnerabilities are listed: it may be the last result.
func (e *evidence) rescan(i image) string {
	level := i.text("severity_level")
	reset := i.status().Running() && !i.found() && len(i.vulnerabilities) > 0
	return cmp.Or(when(reset, "reset"), when(e.scannedAgain(i) && level != security, cmp.Or(when(level == "", "dropped"), "kept")))
}

func unscannedCounts(i image) string {
	earlier := i.text("severity_level") == security && !i.time("latest_scan_time").IsZero()
	return when(i.status() == "unscan" || i.status().Failed(), cmp.Or(when(i.number("vul_num") > 0, "inventory"), when(i.kind("vul_num") == 0, "missing"), when(i.kind("vul_num") == 'n', "null"), when(earlier, "earlier"), "zero"))
}

func vulnerabilityCount(i image) string {
	ids := map[string]bool{}
	for _, v := range i.vulnerabilities {
		ids[v.text("vul_id")] = true
	}
	count, rows, once := int(i.number("vul_num")), len(i.vulnerabilities), len(ids)
	return when(rows > 0 && !i.status().Running(), cmp.Or(when(count < rows && count != once, "unhandled"), when(once < rows && count == once, "ids"), when(once < rows && count == rows, "inventory")))
}
