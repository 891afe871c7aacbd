package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

func (v *validator) registries(c *Configuration) {
	if len(c.Registries) == 0 {
		v.failf("registries", "must hold at least one registry")
	}
	var projects []string
	for i := range c.Projects {
		projects = append(projects, c.Projects[i].Name)
	}
	slices.Sort(projects)
	projects = slices.Compact(projects)
	seen := map[string]string{}
	for i := range c.Registries {
		field := fmt.Sprintf("registries[%d]", i)
		v.registry(field, &c.Registries[i], projects)
		v.unique(seen, field+".name", c.Registries[i].Name)
	}
	v.claims(c.Registries)
}

func (v *validator) registry(field string, r *Registry, projects []string) {
	v.name(field+".name", r.Name)
	v.hosts(field+".hosts", r.Hosts)
	switch {
	case r.Project == "" && len(projects) > 1:
		v.failf(field+".project", "must be given if there are several projects: one of %s", strings.Join(projects, ", "))
	case r.Project != "" && !slices.Contains(projects, r.Project):
		v.failf(field+".project", "must be the name of a project (%s), not %q", strings.Join(projects, ", "), shorten(r.Project))
	}
	v.types(field, r)
	v.path(field, r)
	v.list(field+".nestedNames", r.NestedNames, NestedSlash, NestedDollar)
	for i, n := range r.Namespaces {
		v.namespace(fmt.Sprintf("%s.namespaces[%d]", field, i), n)
	}
	v.text(field+".registryName", r.RegistryName, 128)
	v.text(field+".registryID", r.RegistryID, 128)
	v.text(field+".instanceID", r.InstanceID, 128)
	v.text(field+".instanceName", r.InstanceName, 128)
}

func (v *validator) hosts(field string, hosts []string) {
	if len(hosts) == 0 {
		v.failf(field, "must hold at least one host, such as swr.cn-north-4.myhuaweicloud.com")
	}
	seen := map[string]string{}
	for i, host := range hosts {
		item := fmt.Sprintf("%s[%d]", field, i)
		v.host(item, host)
		v.unique(seen, item, host)
	}
}

// list checks a list of enumerated values: some, known, and none twice.
func (v *validator) list(field string, values []string, allowed ...string) {
	if len(values) == 0 {
		v.failf(field, "must hold at least one of %s", strings.Join(allowed, ", "))
	}
	seen := map[string]string{}
	for i, value := range values {
		item := fmt.Sprintf("%s[%d]", field, i)
		v.oneOf(item, value, allowed...)
		v.unique(seen, item, value)
	}
}

// types checks what tells the registry's rows from those of others. Without
// it the record of one Harbor could speak for an image of another.
func (v *validator) types(field string, r *Registry) {
	v.list(field+".imageTypes", r.ImageTypes, imageTypes()...)
	if r.RegistryType != "" {
		v.oneOf(field+".registryType", r.RegistryType, registryTypes()...)
	}
	for _, t := range []string{TypeInstance, TypeHarbor, TypeJFrog} {
		if !slices.Contains(r.ImageTypes, t) {
			continue
		}
		if len(r.ImageTypes) > 1 {
			v.failf(field+".imageTypes", "%s must stand alone, not among %s: make it a registry of its own", t, strings.Join(r.ImageTypes, ", "))
		}
		if t == TypeInstance && r.InstanceID == "" && r.InstanceName == "" {
			v.failf(field, "instanceID or instanceName must be given for image type %s: two instances may hold the same names", t)
		}
		if t != TypeInstance && r.RegistryID == "" && r.RegistryName == "" {
			v.failf(field, "registryName or registryID must be given for image type %s: two registries may hold the same names", t)
		}
	}
}

func (v *validator) namespace(field, value string) {
	if value == "" || strings.ContainsAny(value, "/ {}*") {
		v.failf(field, "must be one whole namespace, without slashes and wildcards, not %q", shorten(value))
	}
	v.text(field, value, 128)
}

// path checks the template that maps paths to namespaces and names.
func (v *validator) path(field string, r *Registry) {
	segments := strings.Split(r.Path, "/")
	spaces := 0
	for i, s := range segments {
		switch {
		case s == "{namespace}":
			spaces++
		case s == "{name}" && i == len(segments)-1, s == "*":
		case !regexp.MustCompile(`^[a-z0-9]+([._-]+[a-z0-9]+)*$`).MatchString(s):
			v.failf(field+".path", "must consist of {namespace}, *, fixed segments and, as the last, {name}; %q is none of these", shorten(s))
			return
		}
	}
	switch {
	case segments[len(segments)-1] != "{name}":
		v.failf(field+".path", "must end with {name}, not with %q", shorten(segments[len(segments)-1]))
	case spaces > 1:
		v.failf(field+".path", "must hold {namespace} once, not %d times", spaces)
	case spaces == 0 && len(r.Namespaces) != 1:
		v.failf(field+".namespaces", "must hold just one namespace, since path has no {namespace}, not %d", len(r.Namespaces))
	}
}

// claims refuses two registries that could both answer for one image.
func (v *validator) claims(registries []Registry) {
	for i := range registries {
		for j := range i {
			if !Disjoint(&registries[i], &registries[j]) {
				v.claim(i, &registries[i], &registries[j])
			}
		}
	}
}

// claim refuses the hosts of a registry, the i-th, that an earlier one has.
func (v *validator) claim(i int, r, earlier *Registry) {
	for h, host := range r.Hosts {
		if slices.Contains(earlier.Hosts, host) {
			v.failf(fmt.Sprintf("registries[%d].hosts[%d]", i, h), "%s is claimed by registry %q already: give both registries different namespaces, or paths that differ in a fixed segment", shorten(host), shorten(earlier.Name))
		}
	}
}

// Disjoint tells whether no path can belong to both registries: either their
// paths differ in a fixed segment, or they have the same path and no namespace
// in common.
func Disjoint(a, b *Registry) bool {
	x, y := strings.Split(a.Path, "/"), strings.Split(b.Path, "/")
	for i := range min(len(x), len(y)) {
		if isFixed(x[i]) && isFixed(y[i]) && x[i] != y[i] {
			return true
		}
	}
	if a.Path != b.Path || !strings.Contains(a.Path, "{namespace}") || len(a.Namespaces) == 0 || len(b.Namespaces) == 0 {
		return false
	}
	return !slices.ContainsFunc(a.Namespaces, func(n string) bool { return slices.Contains(b.Namespaces, n) })
}

func isFixed(segment string) bool {
	return segment != "*" && !strings.HasPrefix(segment, "{")
}
