package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
)

// readRegistries compares the registries that HSS knows with the configuration's.
func (s *session) readRegistries(ctx context.Context) error {
	p, err := firstPage(ctx, s, s.client.Registries(ctx, hss.RegistryRequest{EnterpriseProjectID: s.project.EnterpriseProjectID}))
	if err != nil {
		return err
	}
	s.find("permission:", "registries", "granted", "")
	for _, r := range p.rows {
		s.examineRegistry(r)
	}
	for n := range s.config.Registries {
		if r := &s.config.Registries[n]; r.Project == s.project.Name {
			s.examineConfigured(r)
		}
	}
	s.propose(p.rows)
	return nil
}

// nameOf names a registry of HSS.
func nameOf(r row) string {
	return strings.TrimSpace(r.text("registry_type") + " " + r.text("registry_name"))
}

// examineRegistry looks at one registry of HSS: whether HSS reaches it, and when it read its list, which it does every night.
func (s *session) examineRegistry(r row) {
	at, fails := r.time("latest_sync_time"), r.text("status") == "fail"
	age := s.evidence.now.Sub(at).Round(time.Hour)
	value := cmp.Or(when(fails, "unreachable"), when(at.IsZero(), "undated"), when(age > 26*time.Hour, "old"), "synchronised")
	s.find("registry", nameOf(r), value, cmp.Or(when(fails, cmp.Or(r.text("fail_reason"), "it does not say why")), strings.TrimSuffix(age.String(), "0m0s")))
}

// images returns the rows of a configured registry.
func (s *session) images(r *config.Registry) (rows []row) {
	for _, row := range s.evidence.rows {
		if slices.Contains(r.ImageTypes, row.text("image_type")) && (r.RegistryName == "" || r.RegistryName == row.text("registry_name")) &&
			(r.RegistryID == "" || r.RegistryID == row.text("registry_id")) && (r.InstanceID == "" || r.InstanceID == row.text("instance_id")) {
			rows = append(rows, row)
		}
	}
	return rows
}

// examineConfigured looks for images of a configured registry, and for those whose names it does not spell as HSS does.
func (s *session) examineConfigured(r *config.Registry) {
	images, missing := s.images(r), ""
	for _, image := range images {
		if spelling := image.nested(); spelling != "" && spelling != "escaped" && !slices.Contains(r.NestedNames, spelling) {
			missing = spelling
		}
	}
	if missing != "" {
		s.registries = append(s.registries, fmt.Sprintf("- name: %s\n  nestedNames: [%s, %s]\n", r.Name, strings.Join(r.NestedNames, ", "), missing))
	}
	swr := slices.Contains(r.ImageTypes, config.TypePrivate)
	value := cmp.Or(when(missing != "", "misspelled"), when(len(images) > 0, "listed"), when(!s.whole, "unseen"), when(swr, "unlisted-swr"), "unlisted")
	s.find("configured registry", r.Name, value, cmp.Or(missing, strconv.Itoa(cmp.Or(len(images), len(s.evidence.rows)))))
}

// propose writes the entries of registries that HSS knows and the configuration lacks, or by whose fields it finds none of the images.
func (s *session) propose(registries []row) {
	proposed := map[string]bool{}
	for n, r := range registries {
		host, fields := s.describe(r)
		if host == "" || fields == "" || proposed[host] {
			continue
		}
		name := fmt.Sprintf("%s-%d", strings.ToLower(r.text("registry_type")), n+1)
		claiming := slices.DeleteFunc(slices.Clone(s.config.Registries), func(c config.Registry) bool { return !slices.Contains(c.Hosts, host) })
		works := func(c config.Registry) bool { return c.Project != s.project.Name || len(s.images(&c)) > 0 }
		switch {
		case len(claiming) == 0:
			fields = fmt.Sprintf("  hosts: [%q]\n  project: %s\n", host, s.project.Name) + fields
			s.find("registry", nameOf(r), "unclaimed", host)
		case len(s.imagesIn(r)) > 0 && !slices.ContainsFunc(claiming, works):
			name = claiming[0].Name
			s.find("registry", nameOf(r), "unselected", name)
		default:
			continue
		}
		proposed[host] = true
		s.registries = append(s.registries, "- name: "+name+"\n"+fields)
	}
}

// imagesIn returns the rows of a registry of HSS.
func (s *session) imagesIn(r row) []row {
	id := r.text("id")
	return slices.DeleteFunc(slices.Clone(s.evidence.rows), func(image row) bool { return id == "" || image.text("registry_id") != id })
}

// describe returns the host by which images of a registry of HSS are named, and the fields that select them; empty: not known.
func (s *session) describe(r row) (host, fields string) {
	host = (&hss.Registry{Address: r.text("registry_addr")}).Host()
	switch kind := r.text("registry_type"); hss.RegistryType(kind) {
	case hss.RegistryTypeSWRPrivate, hss.RegistryTypeSWRShared:
		fields = "  imageTypes: [private_image, shared_image]\n"
		host = cmp.Or(host, when(s.project.Region != "", "swr."+s.project.Region+".myhuaweicloud.com"))
	case hss.RegistryTypeHarbor, hss.RegistryTypeJFrog:
		fields = fmt.Sprintf("  imageTypes: [%s]\n  registryName: %q\n", strings.ToLower(kind), r.text("registry_name"))
	case hss.RegistryTypeSWREnterprise:
		instance := "INSTANCE_ID"
		for _, image := range s.imagesIn(r) {
			instance = cmp.Or(image.text("instance_id"), instance)
		}
		fields = fmt.Sprintf("  imageTypes: [instance_image]\n  instanceID: %q\n", instance)
	}
	return host, fields
}

// readScans looks at how many images were scanned, and what keeps others from it.
func (s *session) readScans(ctx context.Context) error {
	statuses, causes := map[hss.ScanStatus]int{}, map[string]int{}
	for _, r := range s.evidence.rows {
		statuses[r.status()]++
		if r.status().Failed() {
			causes[r.text("scan_failed_code")]++
		}
	}
	rows, completed, never := len(s.evidence.rows), statuses[hss.ScanStatusSuccess], statuses[hss.ScanStatusUnscan]
	s.find("scans", "", when(rows > 0, cmp.Or(when(completed == 0, "none"), when(never > rows/2, "few"), "many")),
		fmt.Sprintf("images: %d, with a completed scan: %d, never scanned: %d", rows, completed, never))
	for _, code := range []string{"authentication_failed", "access_swr_failed", "swr_authentication_error"} {
		if n := causes[code]; n > 0 {
			s.find("SWR authorisation", "", "lacking", fmt.Sprintf("%s: %d", code, n))
		}
	}
	statistics, err := s.client.ScanStatistics(ctx, hss.ScanStatisticsRequest{EnterpriseProjectID: s.project.EnterpriseProjectID})
	if err != nil {
		return err
	}
	free := "HSS does not say how many are free"
	if statistics.FreeScans != nil {
		free = fmt.Sprintf("free scans: %d", *statistics.FreeScans)
	}
	s.find("pay-per-use", "", "counted", fmt.Sprintf("%d; %s", *statistics.RegistryScans, free))
	return nil
}
