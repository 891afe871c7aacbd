package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Validate reports every problem of a configuration made in a program, as an
// [*Error] without lines. Parse has called it already.
func (c *Configuration) Validate() error {
	d := &decoder{}
	if problems := d.validate(c); len(problems) > 0 {
		return &Error{Problems: problems}
	}
	return nil
}

// validate returns the problems of c with the lines that decoding noted.
func (d *decoder) validate(c *Configuration) []Problem {
	v := &validator{lines: d.lines, failed: map[string]bool{}}
	for _, p := range d.problems {
		v.failed[p.Field] = true
	}
	v.oneOf("apiVersion", c.APIVersion, APIVersion)
	v.oneOf("kind", c.Kind, Kind)
	v.projects(c.Projects)
	v.registries(c)
	v.cache(c.Cache)
	v.webhook(c.Webhook)
	v.duration("exceptions.maxLifetime", c.Exceptions.MaxLifetime, Duration(time.Minute), Duration(87600*time.Hour))
	v.duration("audit.interval", c.Audit.Interval, Duration(5*time.Second), Duration(24*time.Hour))
	v.oneOf("audit.reports", c.Audit.Reports, "Auto", "OpenReports", "PolicyReports", "None")
	v.namespaces(c.ExemptNamespaces)
	v.address("healthBindAddress", c.HealthBindAddress, true)
	v.address("metricsBindAddress", c.MetricsBindAddress, true)
	v.duration("shutdownDelay", c.ShutdownDelay, 0, Duration(5*time.Minute))
	v.oneOf("logging.level", c.Logging.Level, "debug", "info", "warn", "error")
	v.oneOf("logging.format", c.Logging.Format, "json", "text")
	v.tracing(c.Tracing)
	if name := c.ScanClaimsConfigMap; name != "" && (len(name) > 253 || !secretPattern.MatchString(name)) {
		v.failf("scanClaimsConfigMap", "must be the name of a ConfigMap, not %q", shorten(name))
	}
	return v.problems
}

// validator collects problems.
type validator struct {
	lines    map[string]int
	failed   map[string]bool
	problems []Problem
}

// failf notes a problem, unless the field could not even be decoded.
func (v *validator) failf(field, format string, args ...any) {
	if v.failed[field] {
		return
	}
	v.problems = append(v.problems, Problem{Line: v.line(field), Field: field, Message: fmt.Sprintf(format, args...)})
}

// line finds the line of a field or, if it was left out, of what would hold it.
func (v *validator) line(field string) int {
	for field != "" {
		if line, ok := v.lines[field]; ok {
			return line
		}
		field = field[:max(0, strings.LastIndexAny(field, ".["))]
	}
	return v.lines[""]
}

func (v *validator) oneOf(field, value string, allowed ...string) {
	if slices.Contains(allowed, value) {
		return
	}
	if len(allowed) == 1 {
		v.failf(field, "must be %s, not %q", allowed[0], shorten(value))
		return
	}
	v.failf(field, "must be one of %s, not %q", strings.Join(allowed, ", "), shorten(value))
}

func (v *validator) duration(field string, value, least, most Duration) {
	if value < least || value > most {
		v.failf(field, "must be from %s to %s, not %s", least, most, value)
	}
}

func (v *validator) count(field string, value, most int) {
	if value < 1 || value > most {
		v.failf(field, "must be from 1 to %d, not %d", most, value)
	}
}

func (v *validator) name(field, value string) {
	if !regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`).MatchString(value) {
		v.failf(field, "must have 1 to 63 lower-case letters, digits and dashes, and begin and end with a letter or digit, not %q", shorten(value))
	}
}

// text bounds a free text that HSS compares or that goes into a query.
func (v *validator) text(field, value string, most int) {
	if n := len([]rune(value)); n > most {
		v.failf(field, "must have at most %d characters, not %d", most, n)
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		v.failf(field, "must hold no control characters")
	}
}

func (v *validator) cache(c Cache) {
	const second, day = Duration(time.Second), Duration(24 * time.Hour)
	v.count("cache.maxImages", c.MaxImages, 10_000_000)
	if c.MaxBytes < 1<<20 || c.MaxBytes > 4<<30 {
		v.failf("cache.maxBytes", "must be from 1Mi to 4Gi, not %s", c.MaxBytes)
	}
	if c.MaxVulnerabilityBytes < 1<<20 || c.MaxVulnerabilityBytes > 1<<30 {
		v.failf("cache.maxVulnerabilityBytes", "must be from 1Mi to 1Gi, not %s", c.MaxVulnerabilityBytes)
	}
	v.duration("cache.freshFor", c.FreshFor, second, day)
	v.duration("cache.notFoundFor", c.NotFoundFor, second, day)
	v.duration("cache.pendingFor", c.PendingFor, second, day)
	v.duration("cache.errorFor", c.ErrorFor, second/10, Duration(5*time.Minute))
	v.duration("cache.waitWhenStale", c.WaitWhenStale, 0, Duration(30*time.Second))
	v.duration("cache.maxStaleness", c.MaxStaleness, second, 365*day)
	v.duration("cache.warmUpTimeout", c.WarmUpTimeout, 0, Duration(5*time.Minute))
	if longest := max(c.FreshFor, c.NotFoundFor, c.PendingFor); c.MaxStaleness < longest {
		v.failf("cache.maxStaleness", "must be at least as long as freshFor, notFoundFor and pendingFor (%s), not %s", longest, c.MaxStaleness)
	}
}

var namespacePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (v *validator) namespaces(names []string) {
	for i, name := range names {
		if !namespacePattern.MatchString(name) {
			v.failf(fmt.Sprintf("exemptNamespaces[%d]", i), "must be the name of a namespace, not %q", shorten(name))
		}
	}
}
