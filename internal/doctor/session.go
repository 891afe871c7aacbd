package doctor

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
	"github.com/hssgate/hssgate/internal/inventory"
)

// few rows are on the pages that are compared.
const few = 5

// session is the examination of one project.
type session struct {
	config  *config.Configuration
	project *config.Project
	client  *hss.Client
	wire    wire
	doing   string

	report   ProjectReport
	entries  []entry
	evidence evidence
	// whole reports whether the evidence has all rows.
	whole bool
	// first is the first page of the list.
	first page
	// shortened are the names of which doctor sent a part.
	shortened []string
	// registries are entries that are proposed for the configuration.
	registries []string
}

// behaves notes the value of a trait; empty: there is no evidence.
func (s *session) behaves(trait, value string) {
	if value != "" {
		s.report.Behavior[trait] = value
	}
}

// run makes the checks, in the order in which each needs those before it.
func (s *session) run(ctx context.Context) ProjectReport {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s.wire.stop = stop
	s.report = ProjectReport{Project: s.project.Name, Region: s.project.Region, Behavior: map[string]string{}}
	s.evidence.now, s.entries = time.Now(), entries()
	for _, probe := range []struct {
		doing string
		run   func(context.Context) error
	}{
		{"list of images", s.sample},
		{"registries", s.readRegistries},
		{"scans", s.readScans},
		{"paging", s.page},
		{"filters", s.filter},
		{"enterprise projects", s.compareEnterpriseProjects},
		{"vulnerabilities", s.readVulnerabilities},
	} {
		s.doing = probe.doing
		err := probe.run(ctx)
		if err == nil {
			continue
		}
		if stopped := context.Cause(ctx); stopped != nil && s.first.row != nil {
			s.add("end", Unknown, "the checks ended early: "+stopped.Error(), "run doctor again; with many projects, with a configuration of one")
			break
		}
		s.add(s.explain(probe.doing, err))
		if s.first.row == nil { // nothing works without the list
			return s.report
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
	refused = refused || answered && answer.Unauthenticated() || !answered && s.wire.calls.Load() == 0
	forbidden := answered && answer.Forbidden()
	check = cmp.Or(when(refused, "credentials"), when(atIAM, "project ID"), when(forbidden, "permission: "+doing), when(!answered, "connection: "+doing))
	if check == "" {
		return "call: " + doing, Unknown, found, cmp.Or(remedy, "run doctor again; if it stays, report it with a record (--record FILE)")
	}
	return check, Failed, found, remedy
}

// compareClocks compares the server's clock with this machine's.
func (s *session) compareClocks() {
	if s.wire.skew == nil {
		s.find("clock", "", "unseen", "")
		return
	}
	skew := s.wire.skew.Round(time.Second)
	value := cmp.Or(when(skew.Abs() >= 15*time.Minute, "wrong"), when(skew.Abs() > time.Minute, "differs"), "right")
	s.find("clock", "", value, skew.Abs().String()+cmp.Or(when(skew < 0, " ahead of"), " behind"))
}

// sample reads the list of images, or of a large one the beginning, and the rows that were scanned first and last. The first call needs
// credentials, the project ID and the permission to read.
func (s *session) sample(ctx context.Context) (err error) {
	e := &s.evidence
	if s.report.ProjectID, err = s.client.ProjectID(ctx); err == nil {
		e.rows, s.first, s.whole, err = s.collect(ctx, s.all(0, hss.MaxLimit), s.wire.most*4/10)
	}
	if s.first.row != nil {
		s.find("credentials", "", "accepted", "")
		s.find("project ID", "", "known", cmp.Or(s.project.ProjectID, "found: "+s.report.ProjectID))
		s.find("permission:", "list of images", "granted", "")
	}
	s.compareClocks()
	for _, direction := range []string{"asc", hss.SortDescending} {
		if err != nil || s.whole {
			break
		}
		r := s.all(0, hss.MaxLimit)
		r.SortKey, r.SortDir = hss.SortByLatestScanTime, direction
		var p page
		p, err = s.list(ctx, r)
		e.rows = append(e.rows, others(p.rows, e.rows)...)
	}
	e.images = imagesOf(e.rows)
	if len(e.rows) == 0 && err == nil {
		s.find("images", "", "none", "")
	}
	const ten = 10
	s.behaves("page-size", cmp.Or(when(len(s.first.rows) > ten, "limit"), when(len(s.first.rows) == ten && len(e.rows) > ten, "ten")))
	return err
}

// page reads a short first page twice, then from its last row on, and a page behind the last row of the list.
func (s *session) page(ctx context.Context) (err error) {
	const beyond = 1000
	all := len(s.evidence.rows)
	var pages [4]page
	for n, offset := range []int{0, 0, few - 1, min(max(int(s.first.number("total_num")), all)+beyond, hss.MaxOffset)} {
		if pages[n], err = s.list(ctx, s.all(offset, few)); err != nil {
			return err
		}
	}
	a, b, next, behind := keys(pages[0].rows), keys(pages[1].rows), keys(pages[2].rows), pages[3]
	count, more := int(pages[0].number("total_num")), all > len(a)
	s.behaves("total", cmp.Or(when(count < 0, "missing"), when(count == 0 && len(a) > 0, "zero"), when(more && count == len(a), "page"), when(more && count > len(a), "all")))
	s.behaves("past-end", cmp.Or(when(len(behind.rows) > 0, "last"), when(behind.kind("data_list") == 'n', "null"), when(behind.kind("data_list") == '[', "empty")))
	if len(a) < few || len(b) < few || len(next) == 0 {
		return nil
	}
	common := slices.DeleteFunc(slices.Clone(a), func(key string) bool { return !slices.Contains(b, key) })
	again := slices.DeleteFunc(slices.Clone(b), func(key string) bool { return !slices.Contains(a, key) })
	// A push between the two moves one row in.
	shuffled := len(common) < few-1 || !slices.Equal(common, again)
	s.behaves("paging", cmp.Or(when(shuffled, "shuffled"), when(next[0] == b[few-2], "repeated"), "stable"))
	return nil
}

// filter looks up a name that is a part of another, and no image's.
func (s *session) filter(ctx context.Context) error {
	for _, r := range s.evidence.rows {
		name := r.text("image_name")
		if len(name) < 3 || len(name) > 128 || name[len(name)-1] >= 0x80 {
			continue
		}
		s.shortened = append(s.shortened, name)
		request := s.all(0, hss.MaxLimit)
		request.ImageName = shorten(name)
		named := func(r row) bool { return r.text("image_name") == request.ImageName }
		if slices.ContainsFunc(s.evidence.rows, named) {
			continue
		}
		p, err := s.list(ctx, request)
		if err != nil {
			return err
		}
		found := len(p.rows) > 0
		other := slices.ContainsFunc(p.rows, func(r row) bool { return !strings.Contains(r.text("image_name"), request.ImageName) })
		longer := len(slices.DeleteFunc(p.rows, named)) > 0
		s.behaves("filters", cmp.Or(when(!found, "exact"), when(other, "ignored"), when(longer, "substring")))
		if !found || longer { // else an image of that name is not in the sample, and shows nothing
			break
		}
	}
	return nil
}

// compareEnterpriseProjects looks for a row that is not in the default enterprise project.
func (s *session) compareEnterpriseProjects(ctx context.Context) error {
	if s.project.EnterpriseProjectID != hss.AllGrantedEnterpriseProjects || len(s.evidence.rows) == 0 {
		return nil
	}
	const pages, tries = 15, 8
	rows, _, _, err := s.collect(ctx, hss.ListRequest{Limit: hss.MaxLimit}, pages)
	missing := others(s.evidence.rows, rows)
	for _, r := range missing[:min(tries, len(missing))] {
		if err != nil {
			return err
		}
		// A list without order may have missed it.
		var p page
		if p, err = s.list(ctx, hss.ListRequest{ImageName: r.text("image_name"), Limit: hss.MaxLimit}); err == nil && !slices.Contains(keys(p.rows), r.key()) {
			s.behaves("enterprise-projects", "all")
			break
		}
	}
	return err
}

// readVulnerabilities lists those of a few images that have few, and the scores of some.
func (s *session) readVulnerabilities(ctx context.Context) error {
	const each, mostScores = 3, 14
	largest := 150.0
	if s.report.Behavior["page-size"] != "limit" {
		largest = 9
	}
	var images []*image
	for n := range s.evidence.images {
		if i := &s.evidence.images[n]; s.evidence.showsMore(i) && i.number("vul_num") <= largest {
			images = append(images, i)
		}
	}
	slices.SortStableFunc(images, func(a, b *image) int { return cmp.Compare(a.number("vul_num"), b.number("vul_num")) })
	chosen, scores := map[string]int{}, map[string]float64{}
	for n, i := range images {
		level := i.text("severity_level")
		if chosen[level]++; chosen[level] > each {
			continue
		}
		p, err := firstPage(ctx, s, s.client.Vulnerabilities(ctx, hss.VulnerabilityRequest{
			ImageID: i.text("image_id"), ImageType: hss.ImageType(i.text("image_type")), Namespace: i.text("namespace"), ImageName: i.text("image_name"),
			Tag: i.text("image_version"), InstanceID: i.text("instance_id"), EnterpriseProjectID: s.project.EnterpriseProjectID, Limit: hss.MaxLimit,
		}))
		if err != nil {
			return err
		}
		s.find("permission:", "vulnerabilities", when(n == 0, "granted"), "")
		scored := true
		for _, v := range p.rows {
			id := v.text("vul_id")
			if _, known := scores[id]; !known && len(scores) < mostScores {
				if scores[id], err = s.score(ctx, id); err != nil {
					return err
				}
			}
			i.score, scored = max(i.score, scores[id]), scored && scores[id] > 0
		}
		i.vulnerabilities, i.scored = p.rows, scored
	}
	return nil
}

// score returns the highest CVSS score of a vulnerability's CVEs; 0: not all have one.
func (s *session) score(ctx context.Context, id string) (highest float64, err error) {
	p, err := firstPage(ctx, s, s.client.CVEs(ctx, hss.CVERequest{VulnerabilityID: id, EnterpriseProjectID: s.project.EnterpriseProjectID}))
	for _, cve := range p.rows {
		n := cve.number("cvss_score")
		if !(n > 0 && n <= 10) {
			return 0, err
		}
		highest = max(highest, n)
	}
	return highest, err
}
