package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Finding is one reason why an image does not pass.
type Finding struct {
	Check Check
	// Message is one line of printable text: what was found, what was allowed.
	Message string
	// Action is Deny for a requirement, and if hssgate itself is the cause that
	// no scan result is available; for any other image without a completed scan
	// it is what the policy's when says, and never Allow.
	Action v1alpha1.Action
	// Cause is the one of CheckUnavailable.
	Cause Cause
}

// note is a finding before those of several records are merged.
type note struct {
	Finding
	// order is the place of the finding's requirement in the policy.
	order int
	// record is the place of the record that it is about; noRecord if none.
	record int
}

const noRecord = -1

// merge turns notes into findings in a fixed order, whatever the order of
// HSS's rows. A finding that not all records share says whose it is.
func merge(notes []note, records []Record) []Finding {
	if len(notes) == 0 {
		return nil
	}
	slices.SortStableFunc(notes, func(a, b note) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.Message, b.Message), cmp.Compare(a.record, b.record))
	})
	findings := make([]Finding, 0, len(notes))
	for len(notes) > 0 {
		n := countSame(notes)
		finding := notes[0].Finding
		finding.Message += owners(notes[:n], records)
		findings = append(findings, finding)
		notes = notes[n:]
	}
	return findings
}

// countSame is how many of the sorted notes say what the first one says.
func countSame(notes []note) int {
	for i := range notes {
		if notes[i].order != notes[0].order || notes[i].Message != notes[0].Message {
			return i
		}
	}
	return len(notes)
}

// owners names the records that the same notes are about, unless it is all.
func owners(same []note, records []Record) string {
	var labels []string
	last := noRecord
	for _, n := range same {
		if n.record == last {
			continue
		}
		last = n.record
		labels = append(labels, recordLabel(last, records))
	}
	if len(labels) == len(records) || len(labels) == 0 {
		return ""
	}
	slices.Sort(labels)
	return " (" + strings.Join(labels, ", ") + ")"
}

// recordLabel tells a record from the others in as few words as it takes.
func recordLabel(i int, records []Record) string {
	words := []string{clean(records[i].ImageType) + " record"}
	alike := func(other *Record) bool { return other.ImageType == records[i].ImageType }
	for _, trait := range traits() {
		value, before := trait.of(&records[i]), alike
		both := func(other *Record) bool { return before(other) && trait.of(other) == value }
		if count(records, both) == count(records, before) {
			continue
		}
		alike = both
		if value != "" {
			words = append(words, trait.word+" "+clean(value))
		}
	}
	return strings.Join(words, " of ")
}

// trait is what records of the same type can differ in.
type trait struct {
	word string
	of   func(*Record) string
}

func traits() []trait {
	return []trait{
		{"registry", func(r *Record) string { return r.RegistryName }},
		{"instance", func(r *Record) string { return r.InstanceName }},
		{"id", func(r *Record) string { return r.ID }},
	}
}

func count[T any](all []T, fits func(*T) bool) int {
	n := 0
	for i := range all {
		if fits(&all[i]) {
			n++
		}
	}
	return n
}
