package policy

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/hssgate/hssgate/internal/language"
	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Finding is one reason why an image does not pass.
type Finding struct {
	Check Check `json:"check"`
	// Message is one line of printable text: what was found, what is allowed.
	Message string `json:"message"`
	// Action is Deny for a requirement, and if hssgate itself is the cause that
	// no scan result is available. For any other image without a completed scan
	// it is the policy's when, and never Allow.
	Action v1alpha1.Action `json:"-"`
	// Cause is that of CheckUnavailable.
	Cause Cause `json:"-"`
	// Unsure reports that the image is not known to violate the requirement: it may.
	Unsure bool `json:"-"`
}

// Evaluate returns every reason why an image does not pass at the time now, in a
// fixed order; none if it passes. ctx bounds the evaluation of expressions: one
// that is interrupted is a finding. Stale facts are evaluated like others.
func (p *Policy) Evaluate(ctx context.Context, f *Facts, now time.Time) []Finding {
	scanned := f
	if ids := p.ignoredAt(now); len(ids) > 0 {
		f = f.without(ids, p.forbidden...)
	}
	e := evaluation{policy: p, record: noPlace, subject: subject{Language: p.language, image: &f.Image, state: f.State, now: now, needsResult: p.needsResult, indexes: f.Affected, readsFindings: p.reads.findings}}
	e.apply(ctx, ofReference, nil)
	switch {
	case f.State == StateNotFound:
		e.noResult(Finding{Check: CheckNotFound, Action: p.when.NotFound, Message: orElse(f.Reason, p.language.Text("HSS has no such image"))})
	case f.State != StateFound || len(f.Records) == 0:
		e.noResult(p.unavailable(f))
	}
	for i := range f.Records {
		e.record = i
		e.evaluateRecord(ctx, &f.Records[i])
	}
	return p.noteEnded(merge(p.language, e.findings, f.Records), scanned, now)
}

// noScanResult is the reason where none is given.
const noScanResult = "no scan result available from HSS"

// unavailable returns the finding that no scan result is available. A policy does
// not fail open because hssgate is misconfigured or overloaded.
func (p *Policy) unavailable(f *Facts) Finding {
	one := Finding{Check: CheckUnavailable, Action: v1alpha1.ActionDeny, Cause: f.Cause, Message: orElse(f.Reason, p.language.Text(noScanResult))}
	switch f.Cause {
	case CauseOutage:
		one.Action = p.when.Unavailable
	case CauseConfiguration:
		one.Message = p.language.Sprintf("not evaluated because of hssgate's own configuration: %s", one.Message)
	case CauseOverload, CauseSize:
		one.Message = p.language.Sprintf("not evaluated because of hssgate's own limits: %s", one.Message)
	}
	return one
}

// evaluation collects the findings of one policy about one image.
type evaluation struct {
	policy   *Policy
	subject  subject
	findings []placed
	// record is the place of the record under evaluation; completed reports whether its scan is.
	record    int
	completed bool
	// suffix distinguishes the messages of two results of one record.
	suffix string
}

// placed is a finding with the places of its rule and of its record.
type placed struct {
	Finding

	rule, record int
}

// noPlace is the place of a finding about no rule, or about no record.
const noPlace = -1

// noResult adds a finding about a missing result, which comes before those of
// rules.
func (e *evaluation) noResult(f Finding) {
	if f.Action != v1alpha1.ActionAllow {
		e.findings = append(e.findings, placed{f, noPlace, e.record})
	}
}

// evaluateRecord applies the rules to the results that decide for a record.
func (e *evaluation) evaluateRecord(ctx context.Context, r *Record) {
	s := &e.subject
	eachResult(s.Language, r, func(one result) {
		if one.scan == nil {
			e.noResult(Finding{Check: CheckNotScanned, Action: e.policy.when.NotScanned, Message: one.architecture.prefix(s.Language) + one.missing})
			return
		}
		ofRow := one.architecture == nil
		s.record, s.scan, s.perArchitecture = one.record, one.scan, ofRow && one.record.MultiArch && !one.record.PinnedArchitecture
		if s.architecture = one.architecture; one.record.PinnedArchitecture {
			s.architecture = &one.record.Architectures[0]
		}
		e.suffix, e.completed = one.suffix, stageOf(one.scan.Status) == stageDone
		if ofRow && e.policy.hasExpressions {
			s.variables = map[string]any{"image": imageValue(s), "now": s.now}
		}
		if ofRow {
			e.apply(ctx, ofRecord, nil)
		}
		e.apply(ctx, ofScan, one.architecture)
	})
}

// apply adds a finding for each rule of a scope that the subject violates, unless an
// earlier result of the same record has it already. It names the architecture.
func (e *evaluation) apply(ctx context.Context, sc scope, a *Architecture) {
	for _, r := range e.policy.byScope[sc] {
		if r.needsResult && !e.completed {
			continue
		}
		message := r.violation(ctx, e.subject)
		if message == "" {
			continue
		}
		message = a.prefix(e.subject.Language) + message
		f := placed{Finding{Check: r.id, Action: v1alpha1.ActionDeny, Message: message, Unsure: r.unsure}, r.place, e.record}
		if e.suffix == "" || !slices.Contains(e.findings, f) {
			f.Message += e.suffix
			e.findings = append(e.findings, f)
		}
	}
}

// merge sorts findings, whatever the order of HSS's rows, and joins those that
// several records share. One that not all records share names its records.
func merge(l language.Language, all []placed, records []Record) []Finding {
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.rule, b.rule), cmp.Compare(a.Message, b.Message), cmp.Compare(a.record, b.record))
	})
	var merged []Finding
	for len(all) > 0 {
		first, n := all[0], 1
		for n < len(all) && all[n].rule == first.rule && all[n].Message == first.Message {
			n++
		}
		first.Message += owners(l, all[:n], records)
		merged = append(merged, first.Finding)
		all = all[n:]
	}
	return merged
}

// owners names the records of the same findings, unless that is all of them.
func owners(l language.Language, same []placed, records []Record) string {
	var labels []string
	last := noPlace
	for _, f := range same {
		if f.record != last {
			last = f.record
			labels = append(labels, recordLabel(l, &records[last], records))
		}
	}
	if len(labels) == len(records) || len(labels) == 0 {
		return ""
	}
	slices.Sort(labels)
	return l.Sprintf(" (%s)", strings.Join(labels, l.Text("; ")))
}

// recordLabel names a record by its type and, if several are of that type, by what
// distinguishes it.
func recordLabel(l language.Language, r *Record, all []Record) string {
	label := l.Sprintf("%s record", clean(r.ImageType))
	several := slices.ContainsFunc(all, func(o Record) bool { return o.ImageType == r.ImageType && o.ID != r.ID })
	if !several {
		return label
	}
	if registry := clean(cmp.Or(r.RegistryName, r.InstanceName)); registry != "" {
		label += l.Sprintf(" of %s", registry)
	}
	return label + l.Sprintf(", id %s", clean(r.ID))
}
