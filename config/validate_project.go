package config

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
)

func (v *validator) projects(projects []Project) {
	if len(projects) == 0 {
		v.failf("projects", "must hold at least one project")
	}
	seen := map[string]string{}
	for i := range projects {
		field := fmt.Sprintf("projects[%d]", i)
		v.project(field, &projects[i])
		v.unique(seen, field+".name", projects[i].Name)
	}
}

// unique refuses a name that another field has already.
func (v *validator) unique(seen map[string]string, field, name string) {
	if first, twice := seen[name]; twice && name != "" {
		v.failf(field, "must differ from %s, which is %q too", first, shorten(name))
		return
	}
	seen[name] = field
}

func (v *validator) project(field string, p *Project) {
	v.name(field+".name", p.Name)
	v.place(field, p)
	if p.ProjectID != "" && !regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`).MatchString(p.ProjectID) {
		v.failf(field+".projectID", "must have up to 64 letters, digits, dashes and underscores, not %q", shorten(p.ProjectID))
	}
	if p.EnterpriseProjectID == "" {
		v.failf(field+".enterpriseProjectID", "must not be empty: all_granted_eps is every enterprise project, 0 the default one")
	}
	v.text(field+".enterpriseProjectID", p.EnterpriseProjectID, 256)
	v.credentials(field+".credentials", p.Credentials)
	if !(p.RequestsPerSecond > 0 && p.RequestsPerSecond <= 1000) || math.IsNaN(p.RequestsPerSecond) {
		v.failf(field+".requestsPerSecond", "must be above 0 and up to 1000, not %g", p.RequestsPerSecond)
	}
	v.count(field+".burst", p.Burst, 1000)
	v.count(field+".maxConcurrent", p.MaxConcurrent, 1000)
	v.count(field+".backgroundPercent", p.BackgroundPercent, 100)
	v.count(field+".maxWaiting", p.MaxWaiting, 100_000)
	v.duration(field+".requestTimeout", p.RequestTimeout, Duration(100*time.Millisecond), Duration(5*time.Minute))
	v.duration(field+".lookupTimeout", p.LookupTimeout, Duration(100*time.Millisecond), Duration(10*time.Minute))
	if p.LookupTimeout < p.RequestTimeout {
		v.failf(field+".lookupTimeout", "must be at least requestTimeout (%s), not %s", p.RequestTimeout, p.LookupTimeout)
	}
	v.sync(field+".sync", p)
	v.scanOnDemand(field+".scanOnDemand", p.ScanOnDemand)
}

// MaxScansPerDay bounds maxPerDay: all that was asked for is remembered for a
// day, by all replicas.
const MaxScansPerDay = 1000

// scanOnDemand checks the bounds of asking for scans, while it is off too.
func (v *validator) scanOnDemand(field string, s ScanOnDemand) {
	if s == (ScanOnDemand{}) {
		return // not from a file, and off
	}
	v.count(field+".maxPerDay", s.MaxPerDay, MaxScansPerDay)
	v.count(field+".maxPerHour", s.MaxPerHour, MaxScansPerDay)
	if s.MaxPerHour > s.MaxPerDay && s.MaxPerHour <= MaxScansPerDay {
		v.failf(field+".maxPerHour", "must be at most maxPerDay (%d), not %d", s.MaxPerDay, s.MaxPerHour)
	}
	v.duration(field+".repeatAfter", s.RepeatAfter, Duration(10*time.Minute), Duration(30*24*time.Hour))
	v.duration(field+".syncInterval", s.SyncInterval, Duration(time.Minute), Duration(24*time.Hour))
}

// sync checks the times of a synchronisation. They are checked while it is off
// too, or switching it on would be when mistakes show.
func (v *validator) sync(field string, p *Project) {
	const day = Duration(24 * time.Hour)
	s := p.Sync
	v.duration(field+".fullInterval", s.FullInterval, Duration(5*time.Minute), day)
	v.duration(field+".interval", s.Interval, Duration(5*time.Second), day)
	if s.Interval > s.FullInterval {
		v.failf(field+".interval", "must be at most fullInterval (%s), not %s", s.FullInterval, s.Interval)
	}
	v.duration(field+".overlap", s.Overlap, 0, day)
	if s.Overlap < p.LookupTimeout {
		v.failf(field+".overlap", "must be at least lookupTimeout (%s), not %s", p.LookupTimeout, s.Overlap)
	}
}

// place checks where a project's HSS is.
func (v *validator) place(field string, p *Project) {
	switch {
	case p.Region == "" && p.Endpoint == "":
		v.failf(field, "region or endpoint must be given")
	case p.Endpoint != "":
		v.endpoint(field+".endpoint", p.Endpoint, p.Insecure)
	}
	if p.Region != "" && (!regexp.MustCompile(`^[a-z]{2}-[a-z0-9]+(-[a-z0-9]+)*$`).MatchString(p.Region) || len(p.Region) > 63) {
		v.failf(field+".region", "must be a region's ID such as cn-north-4, not %q", shorten(p.Region))
	}
}

// credentialField is a field of Credentials, the source that it belongs to,
// and whether that source needs it.
type credentialField struct {
	name, value, source string
	needed              bool
}

func (v *validator) credentials(field string, c Credentials) {
	if !slices.Contains(sources(), c.Source) {
		v.failf(field+".source", "must be one of %s", strings.Join(sources(), ", "))
		return
	}
	for _, f := range []credentialField{
		{"accessKeyFile", c.AccessKeyFile, SourceFiles, true},
		{"secretKeyFile", c.SecretKeyFile, SourceFiles, true},
		{"securityTokenFile", c.SecurityTokenFile, SourceFiles, false},
		{"profileFile", c.ProfileFile, SourceProfile, false},
		{"tokenFile", c.TokenFile, SourceTokenFile, true},
		{"tokenVariable", c.TokenVariable, SourceTokenEnvironment, true},
	} {
		switch {
		case c.Source != f.source && f.value != "":
			v.failf(field+"."+f.name, "is only used by source %s, and source is %s", f.source, c.Source)
		case c.Source == f.source && f.needed && f.value == "":
			v.failf(field+"."+f.name, "must be given for source %s", c.Source)
		}
	}
	if c.TokenVariable != "" && !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(c.TokenVariable) {
		v.failf(field+".tokenVariable", "must be the name of an environment variable, not its value")
	}
}
