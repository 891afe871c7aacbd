package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hssgate/hssgate/config"
	"github.com/hssgate/hssgate/hss"
)

// maxSyncAge is how old a registry's list may be: HSS reads it every night.
const maxSyncAge = 26 * time.Hour

// grantSWR lets HSS read SWR.
const grantSWR = "grant HSS SWROperatePolicy (on CCE CCEOperatePolicy, too) in its console"

// imageTypeOf returns the type of images in a registry of HSS; empty: hssgate does not know it.
func imageTypeOf(registryType string) string {
	for _, t := range []string{config.TypePrivate, config.TypeShared, config.TypeInstance, config.TypeHarbor, config.TypeJFrog} {
		if string(hss.ImageType(t).RegistryType()) == registryType {
			return t
		}
	}
	return ""
}

// readRegistries compares the registries that HSS knows with the configuration's.
func (s *session) readRegistries(ctx context.Context) error {
	p, err := firstPage(ctx, s, s.client.Registries(ctx, hss.RegistryRequest{EnterpriseProjectID: s.project.EnterpriseProjectID}))
	if err != nil {
		return err
	}
	s.add("permission: registries", OK, "granted", "")
	s.registries = p.rows
	for _, r := range p.rows {
		s.examineRegistry(r)
	}
	for n := range s.config.Registries {
		if r := &s.config.Registries[n]; r.Project == s.project.Name {
			s.examineConfigured(r)
		}
	}
	s.propose()
	return nil
}

// examineRegistry looks at one registry of HSS: whether HSS reaches it, and when it read its list.
func (s *session) examineRegistry(r row) {
	check, at := "registry "+nameOf(r), r.time("latest_sync_time")
	age := s.evidence.now.Sub(at).Round(time.Hour)
	switch {
	case r.text("status") == "fail":
		s.add(check, Failed, "HSS does not reach it: "+r.text("fail_reason"), "correct its address or its user in HSS's console")
	case at.IsZero():
		s.add(check, Unknown, "HSS does not say when it last synchronised it", "see the time in HSS's console")
	case age > maxSyncAge:
		s.add(check, Warning, fmt.Sprintf("HSS last synchronised it %s ago; later pushes are not found", strings.TrimSuffix(age.String(), "0m0s")),
			"have HSS synchronise it; if it does not do so every night, check SWROperatePolicy (on CCE CCEOperatePolicy, too) in its console")
	default:
		s.add(check, OK, fmt.Sprintf("synchronised %s ago", strings.TrimSuffix(age.String(), "0m0s")), "")
	}
}

// examineConfigured looks for images of a configured registry.
func (s *session) examineConfigured(r *config.Registry) {
	count := 0
	for _, row := range s.evidence.rows {
		if slices.Contains(r.ImageTypes, row.text("image_type")) && (r.RegistryName == "" || r.RegistryName == row.text("registry_name")) &&
			(r.RegistryID == "" || r.RegistryID == row.text("registry_id")) && (r.InstanceID == "" || r.InstanceID == row.text("instance_id")) {
			count++
		}
	}
	check := "configured registry " + r.Name
	switch {
	case count > 0:
		s.add(check, OK, fmt.Sprintf("images of it that HSS lists: %d", count), "")
	case !s.whole:
		s.add(check, Unknown, fmt.Sprintf("none of the first %d rows is an image of it", len(s.evidence.rows)), "look up one: hssgate check IMAGE --explain")
	case slices.Contains(r.ImageTypes, config.TypePrivate):
		s.add(check, Failed, "HSS lists no image of it", grantSWR+", and have it synchronise SWR")
	default:
		s.add(check, Failed, "HSS lists no image of it", "compare imageTypes, registryName, registryID and instanceID with HSS's console, and have HSS synchronise it")
	}
}

func nameOf(r row) string {
	return strings.Join(slices.DeleteFunc([]string{r.text("registry_type"), r.text("registry_name")}, func(s string) bool { return s == "" }), " ")
}

// hostOf returns the host by which images of a registry of HSS are named; empty: it is not known.
func (s *session) hostOf(r row) string {
	host := (&hss.Registry{Address: r.text("registry_addr")}).Host()
	if host == "" && strings.HasPrefix(r.text("registry_type"), "Swr") && s.project.Region != "" &&
		r.text("registry_type") != string(hss.RegistryTypeSWREnterprise) {
		host = "swr." + s.project.Region + ".myhuaweicloud.com"
	}
	return host
}

// propose writes the configuration of registries that HSS knows and the configuration lacks.
func (s *session) propose() {
	known := map[string]bool{}
	for _, r := range s.config.Registries {
		for _, host := range r.Hosts {
			known[host] = true
		}
	}
	var b strings.Builder
	for n, r := range s.registries {
		host, imageType := s.hostOf(r), imageTypeOf(r.text("registry_type"))
		if host == "" || imageType == "" || known[host] {
			continue
		}
		known[host] = true
		fmt.Fprintf(&b, "- name: %s\n  hosts: [%q]\n  project: %s\n", fmt.Sprintf("%s-%d", strings.ToLower(r.text("registry_type")), n+1), host, s.project.Name)
		switch imageType {
		case config.TypePrivate, config.TypeShared: // the default
		case config.TypeInstance:
			fmt.Fprintf(&b, "  imageTypes: [%s]\n  instanceID: %q\n", imageType, s.instanceOf(r))
		default:
			fmt.Fprintf(&b, "  imageTypes: [%s]\n  registryName: %q\n", imageType, r.text("registry_name"))
		}
		s.add("registry "+nameOf(r), Warning, fmt.Sprintf("no configured registry claims its host %s: its images are not found", host), "add what is below to registries of the configuration")
	}
	s.report.Proposal = b.String()
}

// instanceOf returns the instance of SWR Enterprise that a registry is.
func (s *session) instanceOf(r row) string {
	for _, image := range s.evidence.rows {
		if image.text("registry_id") == r.text("id") && image.text("instance_id") != "" {
			return image.text("instance_id")
		}
	}
	return "INSTANCE_ID"
}

// readScans looks at how many images were scanned, and what keeps others from it.
func (s *session) readScans(ctx context.Context) error {
	statuses, causes := map[string]int{}, map[string]int{}
	for _, r := range s.evidence.rows {
		statuses[r.status()]++
		if r.failed() {
			causes[r.text("scan_failed_code")]++
		}
	}
	found := fmt.Sprintf("images: %d, with a completed scan: %d, never scanned: %d", len(s.evidence.rows), statuses["success"], statuses["unscan"])
	switch rows := len(s.evidence.rows); {
	case rows == 0:
	case statuses["success"] == 0:
		s.add("scans", Failed, found, "switch pay-per-use image scan on in HSS's console (it costs money after the free scans), and scan the images")
	case statuses["unscan"] > rows/2:
		s.add("scans", Warning, found, "scan them, or set scanOnDemand; policies deny images without a scan (when.notScanned)")
	default:
		s.add("scans", OK, found, "")
	}
	for _, code := range []string{"authentication_failed", "access_swr_failed", "swr_authentication_error"} {
		if n := causes[code]; n > 0 {
			s.add("SWR authorisation", Failed, fmt.Sprintf("scans that failed with %[2]s: %[1]d", n, code), grantSWR+", and scan again")
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
	s.add("pay-per-use", OK, fmt.Sprintf("scans of images in registries so far: %d; %s", *statistics.RegistryScans, free), "")
	return nil
}
