package inventory_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/image"
	"github.com/hssgate/hssgate/inventory"
	"github.com/hssgate/hssgate/policy"
)

// oracle changes a world at random and remembers all it ever was, so that it
// can tell what an answer should be by looking, without any cache.
type oracle struct {
	w      *world
	random *rand.Rand
	past   []moment
	lastID int
	// unwell is when HSS was last seen to be so.
	unwell time.Time
	// deletes says that rows are deleted, too.
	deletes bool
}

// moment is what the world was from a time on.
type moment struct {
	from time.Time
	rows []hss.Image
}

const (
	oracleNames    = 6
	oracleVersions = 3
)

func newOracle(seed uint64) *oracle {
	o := &oracle{w: &world{}, random: rand.New(rand.NewPCG(seed, 7))}
	for range 12 {
		o.push()
	}
	return o
}

// commit makes rows what the world is from now on.
func (o *oracle) commit(rows []hss.Image) {
	o.w.set(rows...)
	o.past = append(o.past, moment{time.Now(), rows})
}

func (o *oracle) rows() []hss.Image {
	if len(o.past) == 0 {
		return nil
	}
	return slices.Clone(o.past[len(o.past)-1].rows)
}

func (o *oracle) digest() string { return fmt.Sprintf("sha256:%064x", o.random.IntN(9)+1) }

// push adds an image, or a second row of one that is there.
func (o *oracle) push() {
	o.lastID++
	now := time.Now().Truncate(time.Millisecond)
	r := row(func(r *hss.Image) {
		r.ID, r.Digest = fmt.Sprint(o.lastID), o.digest()
		r.Name, r.Version = o.name(), o.version()
		r.ScanStatus, r.Severity, r.Vulnerabilities = hss.ScanStatusUnscan, "", nil
		r.LatestScanTime, r.LatestUpdateTime, r.LatestSyncTime = time.Time{}, now, now
	})
	if o.random.IntN(4) == 0 {
		r.Type = hss.ImageTypeShared
	}
	o.commit(append(o.rows(), r))
}

func (o *oracle) name() string    { return fmt.Sprintf("app-%d", o.random.IntN(oracleNames)) }
func (o *oracle) version() string { return fmt.Sprint(o.random.IntN(oracleVersions)) }

// step changes something, as HSS would: all but a deletion and the begin of a
// scan shows in one of the times.
func (o *oracle) step() {
	rows := o.rows()
	if len(rows) == 0 {
		o.push()
		return
	}
	r, now := &rows[o.random.IntN(len(rows))], time.Now().Truncate(time.Millisecond)
	switch what := o.random.IntN(8); {
	case what == 0:
		o.push()
		return
	case what == 1 && o.deletes:
		rows = slices.Delete(rows, 0, 1)
	case what <= 2: // the tag goes to another image, which HSS learns of when it syncs
		r.Digest, r.ScanStatus, r.Severity, r.Vulnerabilities = o.digest(), hss.ScanStatusUnscan, "", nil
		r.LatestUpdateTime, r.LatestSyncTime = now.Add(-time.Duration(o.random.IntN(100))*time.Hour), now
	case what == 3:
		r.ScanStatus, r.LatestScanTime = hss.ScanStatusFailed, now
	default:
		r.ScanStatus, r.LatestScanTime = hss.ScanStatusSuccess, now
		r.Severity = []hss.Severity{hss.SeveritySecurity, hss.SeverityLow, hss.SeverityMedium, hss.SeverityHigh}[o.random.IntN(4)]
		r.Vulnerabilities = new(o.random.IntN(50))
	}
	o.commit(rows)
}

// question is a random reference: by tag, by digest, or both.
func (o *oracle) question() image.Reference {
	r := image.Reference{Host: "swr.example.com", Path: "prod/" + o.name(), Tag: o.version()}
	switch o.random.IntN(4) {
	case 0:
		r.Digest = o.digest()
	case 1:
		r.Tag, r.Digest = "", o.digest()
	}
	return r
}

// answer is what a look into rows says: each record's parts that matter.
func answerIn(rows []hss.Image, ref image.Reference) []string {
	var records []string
	for i := range rows {
		r := &rows[i]
		if "prod/"+r.Name != ref.Path || (ref.Tag != "" && r.Version != ref.Tag) || (ref.Digest != "" && r.Digest != ref.Digest) {
			continue
		}
		found := -1
		if r.Vulnerabilities != nil {
			found = *r.Vulnerabilities
		}
		records = append(records, fmt.Sprint(r.ID, " ", r.Digest, " ", r.ScanStatus, r.Severity, found, r.LatestScanTime.UnixMilli()))
	}
	slices.Sort(records)
	return records
}

func answerOf(f policy.Facts) []string {
	var records []string
	for _, r := range f.Records {
		found := -1
		if r.Scan.Vulnerabilities != nil {
			found = *r.Scan.Vulnerabilities
		}
		records = append(records, fmt.Sprint(r.ID, " ", r.Digest, " ", r.Scan.Status, r.Severity, found, r.ScannedAt.UnixMilli()))
	}
	slices.Sort(records)
	return records
}

// was tells whether the world gave an answer at any time between two.
func (o *oracle) was(ref image.Reference, want []string, from, to time.Time) bool {
	for i, m := range o.past {
		ended := i+1 < len(o.past) && !o.past[i+1].from.After(from)
		if !ended && !m.from.After(to) && slices.Equal(answerIn(m.rows, ref), want) {
			return true
		}
	}
	return false
}

// wasLess tells whether an answer holds every row of a time since it claims to
// be of, and nothing but what was true of a row then or later, or up to lag
// before. So it may be while HSS can't be asked, after some changes were seen
// and others not, and after deletions.
func (o *oracle) wasLess(ref image.Reference, records []string, asOf time.Time, lag time.Duration, now time.Time) bool {
	id := func(record string) string { return strings.Fields(record)[0] }
	less, seen := false, map[string]bool{}
	for i, m := range o.past {
		ended := now
		if i+1 < len(o.past) {
			ended = o.past[i+1].from
		}
		if ended.Before(asOf.Add(-lag)) || m.from.After(now) {
			continue
		}
		is := answerIn(m.rows, ref)
		for _, r := range is {
			seen[r] = true
		}
		whole := !slices.ContainsFunc(is, func(r string) bool {
			return !slices.ContainsFunc(records, func(o string) bool { return id(o) == id(r) })
		})
		less = less || (whole && !ended.Before(asOf))
	}
	return less && !slices.ContainsFunc(records, func(r string) bool { return !seen[r] })
}

// check asks and judges the answer: it must be what the world said at the time
// that it claims to be of, and be as fresh as it should.
func (o *oracle) check(t *testing.T, i *inventory.Inventory, lag time.Duration) {
	ref := o.question()
	got, _ := within(t, i, 5*time.Second, ref.String())
	now := time.Now()
	if got.State == policy.StateUnavailable {
		// Up to a minute is a pause that began while HSS was not well.
		if !o.well() {
			o.unwell = now
		}
		if now.Sub(o.unwell) > 90*time.Second {
			t.Errorf("%s: unavailable, though HSS is well: %s", ref, got.Reason)
		}
		return
	}
	if (got.State == policy.StateFound) != (len(got.Records) > 0) {
		t.Errorf("%s: %+v", ref, got)
	}
	age := now.Sub(got.AsOf)
	if most := map[bool]time.Duration{true: 2 * time.Hour, false: 5*time.Minute + 5*time.Second}[got.Stale]; age > most {
		t.Errorf("%s: it is %s old (stale: %v)", ref, age, got.Stale)
	}
	records := answerOf(got)
	if !o.was(ref, records, got.AsOf, now) && ((lag == 0 && !got.Stale) || !o.wasLess(ref, records, got.AsOf, lag, now)) {
		t.Errorf("%s: at %s got, as of %s, what HSS never said then (stale: %v):\n%q\nit says\n%q",
			ref, now, got.AsOf, got.Stale, answerOf(got), answerIn(o.rows(), ref))
	}
}

func (o *oracle) well() bool {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	return o.w.trouble == nil
}

// weather changes how well HSS is.
func (o *oracle) weather() {
	o.w.mu.Lock()
	defer o.w.mu.Unlock()
	o.w.latency = time.Duration(o.random.IntN(3)) * 300 * time.Millisecond
	if o.w.trouble != nil {
		o.unwell = time.Now()
	}
	err := []error{&hss.Error{StatusCode: 503}, &hss.Error{StatusCode: 429, RetryAfter: 20 * time.Second}, fmt.Errorf("reset")}[o.random.IntN(3)]
	o.w.trouble = nil
	if sick := cmp.Compare(o.random.IntN(4), 2); sick > 0 {
		o.w.trouble = func(hss.ListRequest) error { return err }
	}
}

func TestNoAnswerIsEverWrong(t *testing.T) {
	t.Parallel()
	type changes []func(*config.Configuration)
	small := func(c *config.Configuration) { c.Cache.MaxImages = 8 }
	single := func(c *config.Configuration) { c.Projects[0].MaxConcurrent = 1 }
	for name, test := range map[string]struct {
		change changes
		// lag is how much older than it says an answer may be: a
		// synchronisation learns of deletions only from whole lists.
		lag     time.Duration
		deletes bool
	}{
		"asked singly":                     {nil, 0, true},
		"asked singly, in a small cache":   {changes{small}, 0, true},
		"synchronised":                     {changes{synchronised}, 0, false},
		"synchronised, in a small cache":   {changes{synchronised, small}, 0, false},
		"synchronised, one call at a time": {changes{synchronised, single}, 0, false},
		"synchronised, with deletions":     {changes{synchronised}, 41 * time.Minute, true},
	} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%s/%d", name, seed), func(t *testing.T) {
				t.Parallel()
				change := append(slices.Clone(test.change), shortStaleness(2*time.Hour), func(c *config.Configuration) {
					c.Projects[0].Sync.FullInterval = config.Duration(20 * time.Minute)
				})
				o := &oracle{}
				synctest.Test(t, func(t *testing.T) { *o = *newOracle(seed) })
				o.deletes = test.deletes
				live(t, o.w, func(t *testing.T, i *inventory.Inventory) {
					o.live(t, i, test.lag)
				}, change...)
			})
		}
	}
}

// live lets some hours pass.
func (o *oracle) live(t *testing.T, i *inventory.Inventory, lag time.Duration) {
	o.commit(o.rows())
	for range 3000 {
		time.Sleep(time.Duration(o.random.IntN(10_000)) * time.Millisecond)
		switch at := o.random.IntN(100); {
		case at < 3:
			o.step()
		case at < 4:
			o.weather()
		default:
			o.check(t, i, lag)
		}
	}
}
