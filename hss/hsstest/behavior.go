package hsstest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Choice is a value of one field of [Behavior], in the words of its comment. The first one is the default, also if empty.
type Choice string

// null is the value of several switches that send JSON's null.
const null Choice = "null"

// Behavior is how a server behaves where HSS's documentation leaves it open. Each field is one ambiguity, and has one of
// the values in its tag. The zero value is what the documentation suggests, row by row as the inventory has it.
type Behavior struct {
	// Filters: a text filter selects equal texts, or those that contain its text.
	Filters Choice `switch:"filters" values:"exact substring"`
	// IDs and Sizes: id is a number or a text, and image_size a number or a text with a unit.
	IDs   Choice `switch:"ids" values:"number text"`
	Sizes Choice `switch:"sizes" values:"number unit"`
	// Times are milliseconds, the same as a text, or seconds.
	Times Choice `switch:"times" values:"milliseconds text seconds"`
	// Statuses: scan_status is as documented, or "Success".
	Statuses Choice `switch:"statuses" values:"documented capitalised"`
	// Digests are sha256:…, without the algorithm, or in upper case.
	Digests Choice `switch:"digests" values:"prefixed bare upper"`
	// NestedNames: the repository a/b is listed as a/b, a$b or a%2Fb.
	NestedNames Choice `switch:"nested-names" values:"slash dollar escaped"`
	// ThirdParty: rows of Harbor and JFrog have the project as their namespace, or none and the whole path as their name.
	ThirdParty Choice `switch:"third-party" values:"project path"`
	// EnterpriseProjects: all_granted_eps shows every enterprise project, or the default one.
	EnterpriseProjects Choice `switch:"enterprise-projects" values:"all default"`

	// Architectures are in association_images of one row, in rows of their own beside that row, or in such rows only.
	Architectures Choice `switch:"architectures" values:"listed rows only"`
	// ParentDigest is the digest of that one row: of the index, of the first architecture, or empty.
	ParentDigest Choice `switch:"parent-digest" values:"index first empty"`
	// ParentLevel is its severity_level: that of the inventory, or Security if the first architecture has no findings.
	ParentLevel Choice `switch:"parent-level" values:"inventory first"`
	// SingleArchitecture is association_images of an image with one architecture: missing, null, [] or the row itself.
	SingleArchitecture Choice `switch:"single-architecture" values:"missing null empty itself"`

	// UpdateTime is what latest_update_time means: the push, the build, or that HSS touched the row, which it does at 01:00.
	UpdateTime Choice `switch:"update-time" values:"push build touched"`
	// ScanTime is latest_scan_time while an image is scanned: when the last scan ended, or when this one began.
	ScanTime Choice `switch:"scan-time" values:"end start"`
	// PushedAgain: a row that was updated after its scan keeps the result beside the new digest, is unscan, or shows the
	// old digest and time until a synchronization after the update.
	PushedAgain Choice `switch:"pushed-again" values:"result unscan unnoticed"`
	// SeverityScale: High begins at CVSS 9, at 7 (rows that are Medium become High), or there is also Critical (High becomes it).
	SeverityScale Choice `switch:"severity-scale" values:"nine seven critical"`
	// UnscannedLevel is severity_level of a row that was never scanned: missing, or Security.
	UnscannedLevel Choice `switch:"unscanned-level" values:"missing Security"`
	// Rescan is what a row shows while it waits for a further scan or is scanned: the last result, that without
	// severity_level, or Security with counts of 0.
	Rescan Choice `switch:"rescan" values:"kept dropped reset"`
	// UnscannedCounts are the counts of a row that is unscan or failed: those of the inventory, 0, missing, null, or with
	// level and time those of an earlier scan that found nothing.
	UnscannedCounts Choice `switch:"unscanned-counts" values:"inventory zero missing null earlier"`
	// VulnerabilityCount: vul_num counts as the inventory does, each vul_id of the listed vulnerabilities once, or those
	// that are not ignored in the console.
	VulnerabilityCount Choice `switch:"vulnerability-count" values:"inventory ids unhandled"`

	// Paging is stable, repeats the last row of the page before, or orders the rows anew for each request.
	Paging Choice `switch:"paging" values:"stable repeated shuffled"`
	// PageSize: a page has as many rows as the limit allows, or ten.
	PageSize Choice `switch:"page-size" values:"limit ten"`
	// Total: total_num counts all rows, those of the page, is 0, or missing.
	Total Choice `switch:"total" values:"all page zero missing"`
	// PastEnd: a page without rows has an empty data_list, null, or the last ten rows again.
	PastEnd Choice `switch:"past-end" values:"empty null last"`
}

// Switch is one field of [Behavior].
type Switch struct {
	Name string
	// Values are the allowed ones, the default first.
	Values []string

	field int
}

// Switches returns every field of [Behavior], in its order.
func Switches() (all []Switch) {
	for field := range reflect.TypeFor[Behavior]().Fields() {
		all = append(all, Switch{field.Tag.Get("switch"), strings.Fields(field.Tag.Get("values")), field.Index[0]})
	}
	return all
}

// With returns the behavior with one switch set.
func (b Behavior) With(name, value string) (Behavior, error) {
	all := Switches()
	at := slices.IndexFunc(all, func(s Switch) bool { return s.Name == name })
	if at < 0 {
		var names []string
		for _, s := range all {
			names = append(names, s.Name)
		}
		return b, fmt.Errorf("unknown switch %.80q, allowed: %s", name, strings.Join(names, ", "))
	}
	s := all[at]
	if !slices.Contains(s.Values, value) {
		return b, fmt.Errorf("%s is %.80q, allowed: %s", name, value, strings.Join(s.Values, ", "))
	}
	if value == s.Values[0] {
		value = ""
	}
	reflect.ValueOf(&b).Elem().Field(s.field).SetString(value)
	return b, nil
}

// String returns the switches that are not at their default as name=value,…, which [ParseBehavior] reads.
func (b Behavior) String() string {
	var set []string
	for _, s := range Switches() {
		if value := reflect.ValueOf(b).Field(s.field).String(); value != "" && value != s.Values[0] {
			set = append(set, s.Name+"="+value)
		}
	}
	return strings.Join(set, ",")
}

// ParseBehavior reads name=value,…; switches that are not named have their default.
func ParseBehavior(text string) (b Behavior, err error) {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return Behavior{}, fmt.Errorf("%.80q is no switch, allowed: name=value,…", part)
		}
		if b, err = b.With(strings.TrimSpace(name), strings.TrimSpace(value)); err != nil {
			return Behavior{}, err
		}
	}
	return b, nil
}

// WithBehavior sets how the server behaves where HSS's documentation leaves it open. It panics if a field has a value that
// is not documented.
func WithBehavior(b Behavior) Option {
	b, err := ParseBehavior(b.String())
	if err != nil {
		panic(fmt.Errorf("hsstest: behavior: %w", err))
	}
	return func(o *options) { o.behavior = b }
}
