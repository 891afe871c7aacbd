package policy

import (
	"context"
	"fmt"
	"time"

	"github.com/hssgate/hssgate/policy/v1alpha1"
)

// Evaluate judges an image by what is known of it at the time now, and returns
// every reason why it does not pass, in a fixed order; none if it passes. ctx
// bounds the evaluation of expressions: one that is cut short is a finding.
//
// Facts that are stale are judged like others.
func (p *Policy) Evaluate(ctx context.Context, f Facts, now time.Time) []Finding {
	e := p.newEvaluation()
	defer p.evaluations.Put(e)
	e.begin(f.Image, now)
	e.judge(ctx, ofReference, nil)
	switch {
	case f.State == StateNotFound:
		e.state(CheckNotFound, p.when.NotFound, orElse(f.Reason, "HSS has no such image"))
	case f.State != StateFound || len(f.Records) == 0:
		e.unavailable(&f)
	}
	for i := range f.Records {
		e.record = i
		e.judgeRecord(ctx, &f.Records[i])
	}
	return merge(e.notes, f.Records)
}

// noResult is the reason where none is given.
const noResult = "no scan result available from HSS"

// orElse cleans s, and replaces it if that leaves nothing.
func orElse(s, substitute string) string {
	if s = clean(s); s != "" {
		return s
	}
	return substitute
}

// evaluation gathers what is wrong with one image. Its subject is changed from
// judgement to judgement, so that one allocation serves them all.
type evaluation struct {
	policy  *Policy
	image   Image
	subject subject
	notes   []note
	// record is the place of the record that is being judged.
	record int
	// suffix is added to messages, to tell two results of one record apart.
	suffix string
}

// newEvaluation takes one that was used before, if there is one: most images
// are clean, and judging them should leave nothing to clear away.
func (p *Policy) newEvaluation() *evaluation {
	if e, ok := p.evaluations.Get().(*evaluation); ok {
		return e
	}
	return &evaluation{policy: p}
}

func (e *evaluation) begin(image Image, now time.Time) {
	e.image, e.notes, e.record, e.suffix = image, nil, noRecord, ""
	e.subject = subject{image: &e.image, now: now}
}

// state notes that there is no completed scan to judge. Such notes come first.
func (e *evaluation) state(c Check, action v1alpha1.Action, message string) {
	if action == v1alpha1.ActionAllow {
		return
	}
	e.notes = append(e.notes, note{
		Finding: Finding{Check: c, Message: message, Action: action},
		order:   -1,
		record:  e.record,
	})
}

// unavailable notes that no scan result is available. A policy does not fail open
// because hssgate is set up wrongly or is flooded.
func (e *evaluation) unavailable(f *Facts) {
	action, message := e.policy.when.Unavailable, orElse(f.Reason, noResult)
	switch f.Cause {
	case CauseOutage:
	case CauseConfiguration:
		action, message = v1alpha1.ActionDeny, "not evaluated because of hssgate's own configuration: "+message
	case CauseOverload, CauseSize:
		action, message = v1alpha1.ActionDeny, "not evaluated because of hssgate's own limits: "+message
	}
	e.state(CheckUnavailable, action, message)
	if action != v1alpha1.ActionAllow {
		e.notes[len(e.notes)-1].Cause = f.Cause
	}
}

func (e *evaluation) notScanned(message string) {
	e.state(CheckNotScanned, e.policy.when.NotScanned, message)
}

// violation notes that the requirement at place order isn't met.
func (e *evaluation) violation(order int, message string) {
	if e.suffix != "" && e.noted(order, message) {
		return
	}
	e.notes = append(e.notes, note{
		Finding: Finding{
			Check:   e.policy.requirements[order].id,
			Message: message + e.suffix,
			Action:  v1alpha1.ActionDeny,
		},
		order:  order,
		record: e.record,
	})
}

// noted tells whether the record already has this very finding.
func (e *evaluation) noted(order int, message string) bool {
	for _, n := range e.notes {
		if n.order == order && n.record == e.record && n.Message == message {
			return true
		}
	}
	return false
}

// judge applies the requirements of one scope to the subject, whose scan is
// that of architecture a unless that is nil.
func (e *evaluation) judge(ctx context.Context, sc scope, a *Architecture) {
	for _, i := range e.policy.ofScope[sc] {
		r := &e.policy.requirements[i]
		if r.needsResult && stageOf(e.subject.scan.Status) != stageDone {
			continue
		}
		if message := r.judge(ctx, &e.subject); message != "" {
			e.violation(i, architecturePrefix(a)+message)
		}
	}
}

// judgeRecord judges one record by the completed results that are known of it,
// or by how its scan failed.
func (e *evaluation) judgeRecord(ctx context.Context, r *Record) {
	if lacksArchitectures(r) {
		e.notScanned("HSS lists none of its architectures")
		return
	}
	if s := stageOf(decisiveScan(r).Status); s != stagePending && s != stageDone {
		if late := updatedAfter(r.UpdatedAt, r.ScannedAt); late != "" {
			e.notScanned(late)
		}
		e.judgeResult(ctx, r)
		return
	}
	results, why := completedResults(r)
	if why != "" {
		e.notScanned(why)
	}
	for i, result := range results {
		if i > 0 {
			e.suffix = " in its last completed scan"
		}
		e.judgeResult(ctx, result)
	}
	e.suffix = ""
}

// judgeResult applies the requirements to a record and its architectures.
func (e *evaluation) judgeResult(ctx context.Context, r *Record) {
	e.subject.record = r
	e.subject.scan = decisiveScan(r)
	e.subject.judgedApart = r.MultiArch && !r.PinnedArchitecture
	e.subject.variables = nil
	e.judge(ctx, ofRecord, nil)
	e.judge(ctx, ofScan, nil)
	if r.PinnedArchitecture {
		return
	}
	// Those of a row that does not call itself one of several are judged too.
	e.subject.judgedApart = false
	for i := range r.Architectures {
		e.judgeArchitecture(ctx, r, &r.Architectures[i])
	}
}

func (e *evaluation) judgeArchitecture(ctx context.Context, r *Record, a *Architecture) {
	scans := []*Scan{&a.Scan}
	if stageOf(a.Scan.Status) == stagePending {
		scans = lastScansOf(r, a)
	}
	if len(scans) == 0 {
		e.notScanned(architecturePrefix(a) + pendingText(a.Scan.Status))
	}
	for _, scan := range scans {
		e.subject.scan = scan
		e.judge(ctx, ofScan, a)
	}
}

// architecturePrefix names an architecture by the beginning of its digest; it
// is empty for nil.
func architecturePrefix(a *Architecture) string {
	const short = len("sha256:") + 12
	switch {
	case a == nil:
		return ""
	case a.Digest == "":
		return fmt.Sprintf("architecture %s: ", orElse(a.ID, "without digest"))
	case len(a.Digest) > short:
		return fmt.Sprintf("architecture %s…: ", clean(a.Digest[:short]))
	}
	return fmt.Sprintf("architecture %s: ", clean(a.Digest))
}
