// Package doctor examines an HSS project with a few calls that only read: whether hssgate can use it, and how HSS behaves where its
// documentation leaves that open. It keeps nothing, and changes nothing.
package doctor

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/hss/replay"
	"github.com/hssgate/hssgate/internal/inventory"
)

// Verdict is the result of one check.
type Verdict string

// The verdicts. Unknown means that the tenant holds no evidence, or that HSS did not answer.
const (
	OK      Verdict = "OK"
	Warning Verdict = "Warning"
	Failed  Verdict = "Failed"
	Unknown Verdict = "Unknown"
)

// Finding is what a check found.
type Finding struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Found   string  `json:"found"`
	// Remedy is what to do; empty: nothing.
	Remedy string `json:"remedy,omitempty"`
}

// Report is the result of a run.
type Report struct {
	Version  string          `json:"version"`
	Time     time.Time       `json:"time"`
	Calls    int             `json:"calls"`
	Seconds  float64         `json:"seconds"`
	Projects []ProjectReport `json:"projects"`
}

// ProjectReport is what was found of one project of the configuration.
type ProjectReport struct {
	Project   string    `json:"project"`
	Region    string    `json:"region,omitempty"`
	ProjectID string    `json:"projectID,omitempty"`
	Findings  []Finding `json:"findings"`
	// Behavior is how HSS behaves, by the names of hss-simulator's switches. Those of which there is no evidence are not there.
	Behavior map[string]string `json:"behavior"`
	// Proposal is YAML to add to the configuration's registries; empty: none is missing.
	Proposal string `json:"proposal,omitempty"`
}

// Count returns how many findings have a verdict.
func (r *Report) Count(v Verdict) (n int) {
	for _, p := range r.Projects {
		for _, f := range p.Findings {
			if f.Verdict == v {
				n++
			}
		}
	}
	return n
}

// Options say how a run is made.
type Options struct {
	Config *config.Configuration
	// Version is that of hssgate.
	Version string
	// Progress is called before each request. It is optional.
	Progress func(made int, doing string)
	// Record keeps an anonymised record.
	Record bool
	// Wrap is put around the transport of each project. It is optional.
	Wrap inventory.Wrap
}

// Run examines the projects of a configuration. An error is one of the configuration: what HSS answers is in the report. The record is
// nil unless it was requested.
func Run(ctx context.Context, o Options) (*Report, *replay.Record, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, maxTime, fmt.Errorf("doctor ends after %s", maxTime))
	defer cancel()
	r := &Report{Version: o.Version, Time: time.Now().UTC()}
	doing := ""
	sent := func() {
		if r.Calls++; o.Progress != nil {
			o.Progress(r.Calls, doing)
		}
	}
	sessions, share := map[string]*session{}, maxCalls/len(o.Config.Projects)
	wrap := func(name string, base http.RoundTripper) http.RoundTripper {
		if o.Wrap != nil {
			base = o.Wrap(name, base)
		}
		sessions[name] = &session{config: o.Config, share: share, wire: &wire{base: base, sent: sent, most: share, keep: o.Record}}
		return sessions[name].wire
	}
	clients, err := inventory.NewClients(o.Config, "hssgate/"+o.Version, wrap)
	if err != nil {
		return nil, nil, err
	}
	var exchanges []replay.Exchange
	var made []derived
	for n := range o.Config.Projects {
		p := &o.Config.Projects[n]
		s := sessions[p.Name]
		s.project = p
		s.client, _ = clients[p.Name].(*hss.Client) // a test would notice
		s.doing = func(what string) { doing = what }
		r.Projects = append(r.Projects, s.run(ctx))
		exchanges, made = append(exchanges, s.wire.exchanges()...), append(made, s.derived...)
	}
	r.Seconds = time.Since(r.Time).Round(100 * time.Millisecond).Seconds()
	if !o.Record {
		return r, nil, nil
	}
	record := newRecord(exchanges, made, []byte(rand.Text()), r.Time)
	record.Hssgate = o.Version
	return r, record, nil
}

// few rows are on the pages that are compared.
const few = 5

// session is the examination of one project.
type session struct {
	config  *config.Configuration
	project *config.Project
	client  *hss.Client
	wire    *wire
	// share is how many of the calls the project may make.
	share   int
	doing   func(what string)
	derived []derived

	report   ProjectReport
	evidence evidence
	// whole reports whether the evidence has all rows.
	whole      bool
	registries []row
}

func (s *session) add(check string, v Verdict, found, remedy string) {
	s.report.Findings = append(s.report.Findings, Finding{check, v, found, remedy})
}

// run makes the checks, in the order in which each needs those before it.
func (s *session) run(ctx context.Context) ProjectReport {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s.wire.stop = stop
	s.report = ProjectReport{Project: s.project.Name, Region: s.project.Region, Behavior: map[string]string{}}
	s.evidence.now = time.Now()
	for _, probe := range []struct {
		doing string
		run   func(context.Context) error
	}{
		{"credentials", s.reach},
		{"list of images", s.sample},
		{"registries", s.readRegistries},
		{"scans", s.readScans},
		{"paging", s.page},
		{"filters", s.filter},
		{"enterprise projects", s.compareEnterpriseProjects},
		{"vulnerabilities", s.readVulnerabilities},
	} {
		s.doing(s.project.Name + ": " + probe.doing)
		if err := probe.run(ctx); err != nil {
			if stopped := context.Cause(ctx); stopped != nil && probe.doing != "credentials" {
				s.add("end", Unknown, "the checks ended early: "+stopped.Error(), "run doctor again; with many projects, with a configuration of one")
				break
			}
			if probe.doing == "credentials" {
				s.add(s.explain("list of images", err))
				return s.report
			}
			s.add(s.explain(probe.doing, err))
		}
	}
	s.conclude()
	return s.report
}

// explain returns the finding of a call that failed.
func (s *session) explain(doing string, err error) (check string, v Verdict, found, remedy string) {
	found, remedy = inventory.Explain(err, s.report.ProjectID)
	answer, answered := errors.AsType[*hss.Error](err)
	_, refused := errors.AsType[*hss.RefusedError](err)
	_, atIAM := errors.AsType[*hss.ProjectError](err)
	switch {
	case refused || answered && answer.Unauthenticated() || !answered && s.wire.most == s.share: // nothing was sent
		return "credentials", Failed, found, remedy
	case atIAM:
		return "project ID", Failed, found, remedy
	case answered && answer.Forbidden():
		return "permission: " + doing, Failed, found, remedy
	case !answered:
		return "connection: " + doing, Failed, found, remedy
	}
	return "call: " + doing, Unknown, found, cmp.Or(remedy, "run doctor again; if it stays, report it with a record (--record FILE)")
}

// reach makes the first call, which needs credentials, the project ID and the permission to read.
func (s *session) reach(ctx context.Context) (err error) {
	defer s.compareClocks()
	if s.report.ProjectID, err = s.client.ProjectID(ctx); err != nil {
		return err
	}
	p, err := s.list(ctx, s.all(0, few))
	if err != nil {
		return err
	}
	s.evidence.again = []page{p}
	s.add("credentials", OK, "HSS accepts them", "")
	s.add("project ID", OK, cmp.Or(s.project.ProjectID, "found: "+s.report.ProjectID), "")
	s.add("permission: list of images", OK, "granted", "")
	return nil
}

// compareClocks compares the clock of the last answer with this machine's.
func (s *session) compareClocks() {
	const most, much = 15 * time.Minute, time.Minute
	a := s.wire.latest()
	skew := a.skew.Round(time.Second)
	found := fmt.Sprintf("this machine's is %s behind the server's", skew)
	if skew < 0 {
		found = fmt.Sprintf("this machine's is %s ahead of the server's", -skew)
	}
	switch remedy := "set the clock of the node (NTP): signatures are valid for 15 minutes"; {
	case !a.dated:
		s.add("clock", Unknown, "there is no answer with a date to compare with", "")
	case skew.Abs() >= most:
		s.add("clock", Failed, found, remedy)
	case skew.Abs() > much:
		s.add("clock", Warning, found, remedy)
	default:
		s.add("clock", OK, "this machine's is within a minute of the server's", "")
	}
}

// sample reads the list of images, or of a large one the beginning, and the rows that were scanned first and last.
func (s *session) sample(ctx context.Context) (err error) {
	e := &s.evidence
	pages := min(samplePages, s.share*4/10)
	e.rows, e.first, s.whole, err = s.collect(ctx, s.all(0, hss.MaxLimit), pages)
	for _, direction := range []string{"asc", hss.SortDescending} {
		if err != nil || s.whole {
			break
		}
		r := s.all(0, hss.MaxLimit)
		r.SortKey, r.SortDir = hss.SortByLatestScanTime, direction
		var p page
		p, err = s.list(ctx, r)
		e.rows = append(e.rows, slices.DeleteFunc(p.rows, func(r row) bool {
			return slices.ContainsFunc(e.rows, func(known row) bool { return known.key() == r.key() })
		})...)
	}
	if len(e.rows) == 0 && err == nil {
		s.add("images", Warning, "HSS lists none", grantSWR+", and have it synchronise the registries; "+
			"or correct projectID")
	}
	return err
}

// page reads the same pages again, and one behind the last row.
func (s *session) page(ctx context.Context) error {
	e := &s.evidence
	for _, offset := range []int{0, len(e.again[0].rows), len(e.again[0].rows) - 1} {
		if offset >= len(e.rows) || offset < 0 {
			break
		}
		p, err := s.list(ctx, s.all(offset, few))
		if err != nil {
			return err
		}
		e.again = append(e.again, p)
	}
	total, _ := e.first.number("total_num")
	const beyond = 1000
	p, err := s.list(ctx, s.all(min(max(int(total), len(e.rows))+beyond, hss.MaxOffset), hss.MaxLimit))
	e.behind = p
	return err
}

// filter looks up a name that is a part of another, and no image's.
func (s *session) filter(ctx context.Context) error {
	names := map[string]bool{}
	for _, r := range s.evidence.rows {
		names[r.text("image_name")] = true
	}
	shorten := func(name string) string { return name[:len(name)-1] }
	for _, r := range s.evidence.rows {
		name := r.text("image_name")
		if len(name) < 3 || len(name) > 128 || name[len(name)-1] >= 0x80 {
			continue
		}
		s.derived = append(s.derived, derived{name, shorten})
		if names[shorten(name)] {
			continue
		}
		e := &s.evidence
		e.part = shorten(name)
		request := s.all(0, hss.MaxLimit)
		request.ImageName = e.part
		p, err := s.list(ctx, request)
		if err != nil {
			return err
		}
		e.filtered = nil
		for _, r := range p.rows {
			e.filtered = append(e.filtered, r.text("image_name"))
		}
		// An image of that name, which is not in the sample, shows nothing.
		if e.isFiltered = len(e.filtered) == 0 || slices.ContainsFunc(e.filtered, func(name string) bool { return name != e.part }); e.isFiltered {
			break
		}
	}
	return nil
}

// compareEnterpriseProjects looks for a row that is not in the default enterprise project.
func (s *session) compareEnterpriseProjects(ctx context.Context) error {
	e := &s.evidence
	if s.project.EnterpriseProjectID != hss.AllGrantedEnterpriseProjects || len(e.rows) == 0 {
		return nil
	}
	const pages = 10
	rows, _, _, err := s.collect(ctx, hss.ListRequest{Limit: hss.MaxLimit}, pages)
	tries := 5
	for _, r := range e.rows {
		if slices.ContainsFunc(rows, r.is) || tries == 0 || err != nil || e.otherEnterpriseProjects {
			continue
		}
		// A list without order may have missed it.
		tries--
		var same []row
		same, _, _, err = s.collect(ctx, hss.ListRequest{ImageName: r.text("image_name"), Limit: hss.MaxLimit}, 1)
		e.otherEnterpriseProjects = err == nil && !slices.ContainsFunc(same, r.is)
	}
	return err
}

// readVulnerabilities lists those of a few images that have few, and the scores of some.
func (s *session) readVulnerabilities(ctx context.Context) error {
	const each, mostScores = 3, 14
	largest := int64(150)
	if s.evidence.pageSize() != "limit" {
		largest = 9
	}
	images := slices.DeleteFunc(s.evidence.singles(), func(r row) bool {
		n, _ := r.number("vul_num")
		level := r.text("severity_level")
		listed := r.status() == "success" && n > 0 && n <= largest && slices.Contains([]string{"Medium", "High", "Critical"}, level)
		again := s.evidence.scannedAgain(r) && level == security
		return r.text("image_id") == "" || !listed && !again
	})
	slices.SortStableFunc(images, func(a, b row) int {
		n, _ := a.number("vul_num")
		m, _ := b.number("vul_num")
		return cmp.Compare(n, m)
	})
	chosen, scores := map[string]int{}, map[string]float64{}
	for _, r := range images {
		level := r.text("severity_level")
		if chosen[level]++; chosen[level] > each {
			continue
		}
		p, err := firstPage(ctx, s, s.client.Vulnerabilities(ctx, hss.VulnerabilityRequest{
			ImageID: r.text("image_id"), ImageType: hss.ImageType(r.text("image_type")), Namespace: r.text("namespace"), ImageName: r.text("image_name"),
			Tag: r.text("image_version"), InstanceID: r.text("instance_id"), EnterpriseProjectID: s.project.EnterpriseProjectID, Limit: hss.MaxLimit,
		}))
		if err != nil {
			return err
		}
		if len(s.evidence.lists) == 0 {
			s.add("permission: vulnerabilities", OK, "granted", "")
		}
		l := listed{row: r, vulnerabilities: p.rows, scored: true}
		for _, v := range p.rows {
			id := v.text("vul_id")
			if _, known := scores[id]; !known && len(scores) < mostScores {
				if scores[id], err = s.score(ctx, id); err != nil {
					return err
				}
			}
			l.score, l.scored = max(l.score, scores[id]), l.scored && scores[id] > 0
		}
		s.evidence.lists = append(s.evidence.lists, l)
	}
	return nil
}

// score returns the highest CVSS score of a vulnerability's CVEs; 0: not all have one.
func (s *session) score(ctx context.Context, id string) (highest float64, err error) {
	p, err := firstPage(ctx, s, s.client.CVEs(ctx, hss.CVERequest{VulnerabilityID: id, EnterpriseProjectID: s.project.EnterpriseProjectID}))
	for _, cve := range p.rows {
		n := cve.score("cvss_score")
		if n == 0 {
			return 0, err
		}
		highest = max(highest, n)
	}
	return highest, err
}

// conclude adds what the evidence shows.
func (s *session) conclude() {
	for _, t := range traits() {
		value := t.read(&s.evidence)
		if value == "" {
			s.add(t.name, Unknown, t.of+": no evidence", "it takes "+t.lacks)
			continue
		}
		s.report.Behavior[t.name] = value
		r := t.readings[slices.IndexFunc(t.readings, func(r reading) bool { return r.value == value })]
		s.add(t.name, cmp.Or(r.verdict, OK), t.of+" "+r.found, r.remedy)
	}
}
