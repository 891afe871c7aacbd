package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
)

// tryAgain is what people are told who wait for a scan. A workload's controller
// tries again by itself.
const tryAgain = "try again in about 1m"

// After how long an image is looked at again, if somebody wants it then.
const (
	againAfterAsking  = 10 * time.Second
	againAfterSync    = 5 * time.Second
	againAfterFailure = 15 * time.Second
	againAfterLimit   = time.Minute
)

// For how long a claim binds.
const (
	// askingHold is how long the replica that claims has to ask.
	askingHold = 5 * time.Minute
	// unconfirmedHold is how long HSS has to show what became of a request
	// that it may have taken. If its row shows no scan then, it is asked again.
	unconfirmedHold = 10 * time.Minute
	// refusedHold is how long HSS is not asked for what it refused.
	refusedHold = 30 * time.Minute
)

// clockTime is a time as people are told it.
func clockTime(t time.Time) string { return t.UTC().Format("15:04:05") + " UTC" }

// scan asks HSS to scan those of an image's rows that have no completed scan.
func (s *Scans) scan(name wishKey, rows []hss.Image) (result, error) {
	r := result{ScanNeedless, "HSS has scanned it meanwhile; try again", againAfterAsking}
	for n := range rows {
		var one result
		switch lack := s.lackOf(name, &rows[n]); lack {
		case lacksNothing:
			continue
		case lacksScan:
			var err error
			if one, err = s.claimAndScan(name, &rows[n]); err != nil {
				return result{}, err
			}
		default:
			one = s.explain(name, &rows[n], lack)
		}
		if r.outcome == ScanNeedless || (one.outcome != ScanHeld && one.outcome != ScanNeedless) {
			r = one
		}
	}
	return r, nil
}

// lack is what a row lacks.
type lack int

const (
	lacksNothing lack = iota
	// lacksScan: it was never scanned, or not since it was pushed.
	lacksScan
	// lacksResult: it is being scanned.
	lacksResult
	// lacksSuccess: its scan failed, and not long ago.
	lacksSuccess
	// lacksClarity: what it shows is no completed scan, and none of the above.
	lacksClarity
)

func lackOf(row *hss.Image, now time.Time, repeatAfter time.Duration) lack {
	statuses := []hss.ScanStatus{row.ScanStatus}
	for n := range row.Architectures {
		statuses = append(statuses, row.Architectures[n].ScanStatus)
	}
	failed := slices.ContainsFunc(statuses, hss.ScanStatus.Failed)
	switch {
	case slices.ContainsFunc(statuses, hss.ScanStatus.Running):
		return lacksResult
	case slices.Contains(statuses, hss.ScanStatusUnscan):
		return lacksScan
	case slices.Contains(statuses, hss.ScanStatusImageOversized):
		return lacksSuccess
	case failed && now.Sub(row.LatestScanTime) < repeatAfter:
		return lacksSuccess
	case failed, row.LatestScanTime.IsZero(), row.LatestUpdateTime.After(row.LatestScanTime):
		return lacksScan
	case row.MultiArch && len(row.Architectures) == 0, slices.ContainsFunc(statuses, incomplete):
		return lacksClarity
	}
	return lacksNothing
}

func incomplete(s hss.ScanStatus) bool { return !s.Completed() }

// explain says why HSS is not asked to scan a row that lacks something else.
func (s *Scans) explain(name wishKey, row *hss.Image, l lack) result {
	switch l {
	case lacksSuccess:
		return result{ScanNeedless, "its scan failed, and HSS is not asked again so soon", againAfterLimit}
	case lacksClarity:
		return result{ScanNeedless, "HSS shows no result that can be judged", againAfterLimit}
	case lacksNothing, lacksScan, lacksResult:
	}
	note := "it is being scanned; " + tryAgain
	if held := s.heldSince(name, row); held != nil {
		note = "it is being scanned since " + clockTime(held.at) + "; " + tryAgain
	}
	return result{ScanHeld, note, againAfterAsking}
}

// heldSince is the claim on a row, if there is one.
func (s *Scans) heldSince(name wishKey, row *hss.Image) (held *claim) {
	r := rowClaimOf(name, row)
	ctx, cancel := s.bookTime()
	defer cancel()
	err := s.book.Change(ctx, func(entries map[string]string) bool {
		held = r.holder(entries)
		return false
	})
	if err != nil {
		return nil
	}
	return held
}

// bookTime bounds what may be done with the book.
func (s *Scans) bookTime() (context.Context, context.CancelFunc) {
	const most = 10 * time.Second
	return context.WithTimeout(s.inventory.base, most)
}

// claimAndScan asks HSS to scan a row, if it may.
func (s *Scans) claimAndScan(name wishKey, row *hss.Image) (result, error) {
	p, r := name.registry.project, rowClaimOf(name, row)
	g, err := s.claimRow(name, row, &r)
	switch {
	case err != nil:
		return result{}, err
	case g.held != nil && g.held.isOfAnother(r.row):
		return heldByAnother(g.held), nil
	case g.held != nil:
		return heldScan(g.held), nil
	case g.taken == "":
		note := fmt.Sprintf("no scan is asked for before %s, since %s", clockTime(g.until), g.full)
		return result{ScanExhausted, note, min(againAfterLimit, max(time.Second, g.until.Sub(s.inventory.clock.Now())))}, nil
	}
	err = s.ask(p, func(ctx context.Context, c ScanClient) error {
		return c.StartScan(ctx, hss.ScanRequest{EnterpriseProjectID: p.enterpriseProject, Images: []hss.ScanImage{row.ToScan()}})
	})
	done := ticket{name: g.taken, hold: time.Duration(p.scanOnDemand.RepeatAfter)}
	if g.taken == r.shared {
		done.row = r.row
	}
	return s.settle(done, err, scanWords)
}

// heldScan says what somebody asked for already.
func heldScan(held *claim) result {
	switch held.state {
	case claimRefused:
		return result{ScanHeld, scanWords.refused(held.at, "") + scanWords.pause(held.until), againAfterLimit}
	case claimUnconfirmed:
		return result{ScanHeld, "a scan was asked for at " + clockTime(held.at) + ", and HSS did not confirm it; " + tryAgain, againAfterAsking}
	case claimAsking, claimAsked:
	}
	return result{ScanHeld, "a scan was asked for at " + clockTime(held.at) + "; " + tryAgain, againAfterAsking}
}

// words say what was asked for.
type words struct {
	asked  string
	what   string
	result ScanOutcome
	again  time.Duration
}

var (
	scanWords = words{"a scan was asked for at", "to scan it", ScanAsked, againAfterAsking}
	syncWords = words{"HSS does not know it yet and was asked to synchronise its registry at", "to synchronise its registry", ScanSynchronised, againAfterSync}
)

func (w words) refused(at time.Time, why string) string {
	if why != "" {
		why = " (" + why + ")"
	}
	return "HSS refused " + w.what + " at " + clockTime(at) + why
}

func (w words) pause(until time.Time) string {
	return "; it is not asked again before " + clockTime(until)
}

// claim takes the right to ask for something, as take does.
func (s *Scans) claim(take func(entries map[string]string, now time.Time) grant) (g grant, err error) {
	ctx, cancel := s.bookTime()
	defer cancel()
	err = s.book.Change(ctx, func(entries map[string]string) bool {
		g = take(entries, s.inventory.clock.Now())
		return g.taken != ""
	})
	if err != nil {
		return grant{}, &bookError{err}
	}
	return g, nil
}

// bookError says that nothing could be claimed: then nothing is asked for.
type bookError struct{ err error }

func (e *bookError) Error() string { return "claiming a scan: " + e.err.Error() }
func (e *bookError) Unwrap() error { return e.err }

// ask lets f ask a project's HSS within the background's share of its budget.
func (s *Scans) ask(p *project, f func(context.Context, ScanClient) error) error {
	c, ok := p.lister.(ScanClient)
	if !ok {
		return errNoScanClient
	}
	q := question{project: p, urgency: newUrgency(forBackground), calls: 1, aside: true}
	return s.inventory.call(s.inventory.base, q, func(ctx context.Context, _ int) error { return f(ctx, c) })
}

// ticket is a claim that was taken, what for, and for how long it binds once HSS
// was asked.
type ticket struct {
	name string
	row  rowName
	hold time.Duration
}

// settle notes what came of asking for what was claimed, and says it.
func (s *Scans) settle(t ticket, err error, w words) (result, error) {
	now := s.inventory.clock.Now()
	var unconfirmed *hss.UnconfirmedError
	switch {
	case err == nil:
		s.note(t.name, claim{claimAsked, now, now.Add(t.hold), t.row})
		return result{w.result, w.asked + " " + clockTime(now) + "; " + tryAgain, w.again}, nil
	case errors.As(err, &unconfirmed):
		s.note(t.name, claim{claimUnconfirmed, now, now.Add(unconfirmedHold), t.row})
		note := w.asked + " " + clockTime(now) + ", and HSS did not confirm it (" + describe(err) + "); " + tryAgain
		return result{ScanUnconfirmed, note, againAfterAsking}, nil
	case isRefusal(err):
		until := now.Add(refusedHold)
		s.note(t.name, claim{state: claimRefused, at: now, until: until})
		return result{ScanRefused, w.refused(now, describe(err)) + w.pause(until), refusedHold}, nil
	}
	s.note(t.name, claim{}) // nothing reached HSS
	return result{}, err
}

// isRefusal tells whether HSS said no to the request itself. What it says to
// whoever it doesn't know, or to who asks too often, is no answer to it.
func isRefusal(err error) bool {
	var refused *hss.RefusedError
	var answer *hss.Error
	return !errors.As(err, &refused) && errors.As(err, &answer) && !answer.Unauthenticated() && !answer.Retryable
}

// note writes what became of a claim; the zero claim gives it back. If that
// fails, the claim ends by itself, and HSS's own list tells what it was asked.
func (s *Scans) note(claimed string, c claim) {
	ctx, cancel := s.bookTime()
	defer cancel()
	_ = s.book.Change(ctx, func(entries map[string]string) bool {
		if c == (claim{}) {
			delete(entries, claimed)
			return true
		}
		entries[claimed] = c.String()
		return true
	})
}

// knownRegistries are the registries that a project's HSS knows.
type knownRegistries struct {
	all   []hss.Registry
	until time.Time
}

// registriesFor is how long the list of registries is used.
const registriesFor = 10 * time.Minute

// synchronise asks HSS to learn of a registry's images.
func (s *Scans) synchronise(name wishKey) (result, error) {
	p := name.registry.project
	all, err := s.knownRegistries(p)
	if err != nil {
		return result{}, err
	}
	registries := name.registry.among(all)
	if len(registries) == 0 {
		note := fmt.Sprintf("HSS does not know it, and lists no registry that is %q of hssgate's configuration", name.registry.Name)
		return result{ScanNeedless, note, againAfterLimit}, nil
	}
	if len(registries) > hss.MaxSyncRegistries {
		registries = registries[:hss.MaxSyncRegistries]
	}
	claimed := claimName(claimSync, p.name, name.registry.Name)
	g, err := s.claim(func(entries map[string]string, now time.Time) grant {
		return take(entries, claimed, now, askingHold, limits{})
	})
	switch {
	case err != nil:
		return result{}, err
	case g.held != nil && g.held.state == claimRefused:
		return result{ScanHeld, syncWords.refused(g.held.at, "") + syncWords.pause(g.held.until), againAfterLimit}, nil
	case g.held != nil:
		return result{ScanHeld, syncWords.asked + " " + clockTime(g.held.at) + "; " + tryAgain, againAfterSync}, nil
	case g.taken == "":
		return result{ScanExhausted, "no synchronisation is asked for before " + clockTime(g.until) + ", since " + g.full, againAfterLimit}, nil
	}
	err = s.ask(p, func(ctx context.Context, c ScanClient) error {
		return c.SyncRegistries(ctx, hss.SyncRequest{EnterpriseProjectID: p.enterpriseProject, Registries: registries})
	})
	return s.settle(ticket{name: claimed, hold: time.Duration(p.scanOnDemand.SyncInterval)}, err, syncWords)
}

// knownRegistries asks HSS which registries it knows, now and then.
func (s *Scans) knownRegistries(p *project) ([]hss.Registry, error) {
	s.mu.Lock()
	known := s.registries[p]
	s.mu.Unlock()
	now := s.inventory.clock.Now()
	if known != nil && now.Before(known.until) {
		return known.all, nil
	}
	var all []hss.Registry
	err := s.ask(p, func(ctx context.Context, c ScanClient) error {
		for registry, err := range c.Registries(ctx, hss.RegistryRequest{EnterpriseProjectID: p.enterpriseProject}) {
			if err != nil {
				return err
			}
			all = append(all, registry)
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.registries[p] = &knownRegistries{all, now.Add(registriesFor)}
	s.mu.Unlock()
	return all, nil
}

// among finds those of HSS's registries that the configured one may be: of its
// type, name and ID, and of one of its hosts. SWR's shared edition is one
// registry whatever HSS takes for its address.
func (r *registry) among(all []hss.Registry) []hss.SyncRegistry {
	var fit []hss.SyncRegistry
	for _, known := range all {
		isSWR := known.Type == hss.RegistryTypeSWRPrivate || known.Type == hss.RegistryTypeSWRShared
		if known.ID == "" || !r.mayBe(&known) || (!isSWR && r.RegistryID == "" && !slices.Contains(r.Hosts, hostOf(known.Address))) {
			continue
		}
		fit = append(fit, hss.SyncRegistry{ID: known.ID, Type: known.Type})
	}
	return fit
}

// mayBe compares what the configuration says of a registry.
func (r *registry) mayBe(known *hss.Registry) bool {
	types := map[string]hss.RegistryType{
		config.TypePrivate: hss.RegistryTypeSWRPrivate, config.TypeShared: hss.RegistryTypeSWRShared,
		config.TypeInstance: hss.RegistryTypeSWREnterprise, config.TypeHarbor: hss.RegistryTypeHarbor, config.TypeJFrog: hss.RegistryTypeJFrog,
	}
	ofType := slices.ContainsFunc(r.ImageTypes, func(t string) bool { return types[t] == known.Type })
	return known.Type.Known() && ofType && same(r.RegistryType, string(known.Type)) && same(r.RegistryName, known.Name) && same(r.RegistryID, known.ID)
}

// hostOf is the host of a registry's address, as references name it.
func hostOf(address string) string {
	if _, rest, found := strings.Cut(address, "://"); found {
		address = rest
	}
	address, _, _ = strings.Cut(address, "/")
	return strings.TrimSuffix(strings.ToLower(address), ":443")
}
