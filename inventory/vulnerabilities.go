package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/policy"
	"github.com/hssgate/hssgate/tracing"
)

const (
	// maxScans bounds the scans of one image whose vulnerabilities are asked for.
	maxScans = 64
	// maxScansAtOnce bounds those that one caller asks for at once.
	maxScansAtOnce = 8
	// forbiddenFor is how long HSS isn't asked for vulnerabilities after it said
	// that this account may not ask.
	forbiddenFor = 10 * time.Minute
)

// WithVulnerabilities returns the facts of a reference with the vulnerabilities
// that their scans count, one by one. Those that can't be had by the time that
// ctx ends stay unknown, and the scan says why; HSS goes on being asked, so that
// they are known soon.
//
// If they aren't needed for a verdict, HSS is asked for them in the background,
// and what was known lately is good enough.
func (i *Inventory) WithVulnerabilities(ctx context.Context, ref image.Reference, f policy.Facts, needed bool) policy.Facts {
	l := forBackground
	if needed {
		l = forAdmission
	}
	return i.withVulnerabilities(ctx, &ref, f, &detailQuestion{inventory: i, level: l, needed: needed, listed: i.observer.Listed})
}

// WithVulnerabilities does as the inventory's own does, within the background's
// share of the budget.
func (b Background) WithVulnerabilities(ctx context.Context, ref image.Reference, f policy.Facts, needed bool) policy.Facts {
	nobody := func(string, Outcome) {}
	return b.inventory.withVulnerabilities(ctx, &ref, f, &detailQuestion{inventory: b.inventory, level: forBackground, needed: needed, listed: nobody})
}

func (i *Inventory) withVulnerabilities(ctx context.Context, ref *image.Reference, f policy.Facts, q *detailQuestion) policy.Facts {
	k, reason := i.locate(ref)
	if reason != "" || f.State != policy.StateFound {
		return f
	}
	f.Records = ownRecords(f.Records)
	p := k.registry.project
	all := p.scansOf(f.Records)
	var group sync.WaitGroup
	slots := make(chan struct{}, maxScansAtOnce)
	for n := range all {
		w := &all[n]
		if w.key.imageID == "" {
			continue // there is nothing to ask by, as if nobody had wanted to
		}
		if w.scan.Unlisted = p.whyUnlisted(w, n); w.scan.Unlisted != "" {
			continue
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			q.fill(ctx, w)
		})
	}
	group.Wait()
	q.mark(&f)
	return f
}

// whyUnlisted says why HSS isn't asked for the vulnerabilities of an image's
// n-th scan.
func (p *project) whyUnlisted(w *wanted, n int) string {
	switch {
	case p.vulnerabilities == nil:
		return p.unlisted
	case w.key.imageID == "":
		return "HSS gives the image no ID to ask by"
	case n >= maxScans:
		return fmt.Sprintf("the image has more than %d scans", maxScans)
	}
	return w.key.unaskable()
}

// unaskable says why HSS takes no question for the vulnerabilities of a scan:
// its list holds images with names that its other questions don't take.
func (k *scanKey) unaskable() string {
	err := k.request().Validate()
	if invalid, ok := errors.AsType[*hss.InvalidRequestError](err); ok {
		return "HSS can't be asked for them: " + strings.Join(invalid.Problems, "; ")
	}
	return ""
}

// ownRecords copies what is to be filled in.
func ownRecords(records []policy.Record) []policy.Record {
	records = slices.Clone(records)
	for i := range records {
		r := &records[i]
		r.Architectures = slices.Clone(r.Architectures)
		if r.LastCompleted != nil {
			r.LastCompleted = &ownRecords([]policy.Record{*r.LastCompleted})[0]
		}
	}
	return records
}

// detailQuestion is how the vulnerabilities of one image are asked for.
type detailQuestion struct {
	inventory *Inventory
	level     level
	// needed says that a verdict depends on the answer.
	needed bool
	listed func(project string, o Outcome)

	mu sync.Mutex
	// oldest is when the oldest details are from that had to be used since HSS
	// could not be asked, and why says why.
	oldest int64
	why    error
}

// fill fills in the vulnerabilities of one scan, or why they aren't known.
func (q *detailQuestion) fill(ctx context.Context, w *wanted) {
	defer func() {
		if r := recover(); r != nil {
			w.scan.Unlisted = describe(&panicError{value: r})
		}
	}()
	i, name := q.inventory, w.key.project.name
	known, ok := i.details.cache.GetIfPresent(w.key)
	if ok && i.areFresh(known) {
		q.listed(name, Hit)
		w.fill(known)
		return
	}
	loaded, err := q.ask(ctx, w.key, known)
	switch {
	case err == nil:
		q.listed(name, Miss)
		w.fill(loaded)
	case ok && i.areUsable(known):
		q.listed(name, Stale)
		q.use(known, err)
		w.fill(known)
	default:
		q.listed(name, Unavailable)
		w.scan.Unlisted = describe(err)
	}
}

func (w *wanted) fill(l *details) { w.scan.Found, w.scan.Unlisted = l.found, l.unlisted }

// use notes that old details had to do.
func (q *detailQuestion) use(known *details, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.oldest == 0 || known.asOf < q.oldest {
		q.oldest, q.why = known.asOf, err
	}
}

// mark says of the facts that they are old if details are that a verdict may
// come from.
func (q *detailQuestion) mark(f *policy.Facts) {
	if q.oldest == 0 || !q.needed || f.Stale && f.AsOf.UnixNano() <= q.oldest {
		return
	}
	f.AsOf, f.Stale, f.StaleReason = time.Unix(0, q.oldest), true, describe(q.why)
}

func (i *Inventory) detailsAge(l *details) time.Duration {
	return i.since(l.asOf)
}

func (i *Inventory) areFresh(l *details) bool {
	return i.detailsAge(l) < time.Duration(i.cfg.FreshFor)
}

func (i *Inventory) areUsable(l *details) bool {
	return i.detailsAge(l) <= time.Duration(i.cfg.MaxStaleness)
}

// ask returns what HSS lists now. However many callers ask for a scan at one
// time, HSS is asked once, and goes on being asked if they leave.
func (q *detailQuestion) ask(ctx context.Context, k scanKey, known *details) (*details, error) {
	i := q.inventory
	if err := i.recentDetailFailure(k); err != nil {
		return nil, err
	}
	if q.needed && ctx.Err() != nil {
		return nil, &busyError{"HSS was not asked, since the time was up"}
	}
	begun := i.clock.Now()
	k = k.clone()
	under, isNew := i.details.flights.join(ctx, i.base, k, q.level)
	defer i.details.flights.leave(k, under)
	if isNew {
		go i.flyDetails(k, under)
	} else {
		tracing.Link(ctx, under.span)
	}
	impatient, stop := q.patience(known)
	defer stop()
	if under.await(ctx, impatient) {
		return under.answer, under.err
	}
	return nil, under.urgency.late(i.clock.Since(begun))
}

// patience bounds the wait if older details are at hand. They will do if no
// verdict depends on them.
func (q *detailQuestion) patience(known *details) (expired <-chan time.Time, stop func()) {
	i := q.inventory
	switch {
	case known == nil || !i.areUsable(known):
		return nil, func() {}
	case !q.needed:
		now := make(chan time.Time)
		close(now)
		return now, func() {}
	case q.level != forAdmission:
		return nil, func() {}
	}
	t := i.clock.NewTimer(time.Duration(i.cfg.WaitWhenStale))
	return t.C(), func() { t.Stop() }
}

// recentDetailFailure returns why HSS may not be asked for a scan now.
func (i *Inventory) recentDetailFailure(k scanKey) error {
	now := i.clock.Now()
	if err := k.project.pause(now); err != nil {
		return err
	}
	if f := k.project.untold.Load(); f != nil && now.Before(f.until) {
		return f.err
	}
	if f, ok := i.details.failures.GetIfPresent(k); ok && now.Before(f.until) {
		return f.err
	}
	return nil
}

// flyDetails asks HSS, and lands whatever happens.
func (i *Inventory) flyDetails(k scanKey, under *flight[*details]) {
	var l *details
	err := errors.New("internal error: vulnerabilities were asked for without an answer")
	defer func() { i.details.flights.land(k, under, l, err) }()
	defer recovered(&err)
	l, err = i.loadDetails(under.ctx, k, under.urgency)
}

// loadDetails asks HSS on behalf of every caller and stores what it lists, or
// how long not to ask again.
func (i *Inventory) loadDetails(ctx context.Context, k scanKey, u *urgency) (*details, error) {
	if !i.begin() {
		return nil, errClosed
	}
	defer i.underWay.Done()
	// Between a caller's look and here, another flight may have landed.
	if l, ok := i.details.cache.GetIfPresent(k); ok && i.areFresh(l) {
		return l, nil
	}
	if err := i.recentDetailFailure(k); err != nil {
		return nil, err
	}
	asOf := i.clock.Now()
	rows, err := i.listVulnerabilities(ctx, k, u)
	var tooMany *rowsError
	var l *details
	switch {
	case err == nil:
		l = newDetails(rows, k.counted)
	case errors.As(err, &tooMany):
		l = &details{unlisted: describe(err)}
	case ctx.Err() != nil:
		return nil, err
	default:
		i.rememberDetails(k, err)
		return nil, err
	}
	l.asOf = asOf.UnixNano()
	i.details.cache.Set(k, l)
	i.details.failures.Invalidate(k)
	return l, nil
}

// listVulnerabilities reads all rows of a scan. That it fails says nothing of
// how HSS is: it must not keep images from being looked up.
func (i *Inventory) listVulnerabilities(ctx context.Context, k scanKey, u *urgency) (rows []hss.Vulnerability, err error) {
	p := k.project
	era, err := p.tells.allow(i.clock.Now(), false)
	if err != nil {
		return nil, err
	}
	verdict := error(&unsentError{errClosed}) // unless HSS was asked
	defer func() { p.tells.report(era, i.clock.Now(), verdict) }()
	err = i.call(ctx, question{project: p, urgency: u, calls: 1, aside: true}, func(ctx context.Context, _ int) error {
		begun := i.clock.Now()
		rows, err = readVulnerabilities(ctx, p.vulnerabilities, k.request())
		err = whyEnded(ctx, err)
		p.heard.vulnerable(k, &answered[hss.Vulnerability]{rows: rows, err: err})
		i.observer.AskedVulnerabilities(ctx, p.name, i.clock.Since(begun), err)
		verdict = err
		return err
	})
	return rows, err
}

func readVulnerabilities(ctx context.Context, from VulnerabilityLister, r hss.VulnerabilityRequest) (rows []hss.Vulnerability, err error) {
	defer recovered(&err)
	for row, err := range from.Vulnerabilities(ctx, r) {
		if err != nil {
			return nil, err
		}
		if rows = append(rows, row); len(rows) > maxListed {
			return nil, &rowsError{fmt.Errorf("HSS lists more than %d", maxListed)}
		}
	}
	// A list that ends without an error because its time was up isn't whole.
	return rows, ctx.Err()
}

// rememberDetails keeps a failure for a while, unless HSS was not even asked.
func (i *Inventory) rememberDetails(k scanKey, err error) {
	var busy *busyError
	var open *openError
	if i.base.Err() != nil || errors.As(err, &busy) || errors.As(err, &open) {
		return
	}
	now := i.clock.Now()
	var answered *hss.Error
	switch {
	case !errors.As(err, &answered) || answered.Unauthenticated():
	case answered.Forbidden():
		k.project.untold.Store(&failure{err: err, until: now.Add(forbiddenFor)})
	case answered.RetryAfter > 0:
		k.project.untold.Store(&failure{err: err, until: now.Add(min(answered.RetryAfter, maxPause))})
	}
	i.details.failures.Set(k, &failure{err: err, until: now.Add(time.Duration(i.cfg.ErrorFor))})
}
