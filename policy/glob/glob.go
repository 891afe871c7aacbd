// Package glob matches the repositories of images, "host/path" of a normalised
// reference, as policies and exceptions select them:
//
//	**    any characters, or none
//	*     any characters but '/', dots included, or none
//	/**/  one slash, or any number of segments between two: a/**/b matches a/b
//
// It matches in time linear in the length of the repository.
package glob

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Glob is a compiled pattern, which must match the whole repository.
type Glob struct {
	// literal is the pattern up to its first wildcard. Most patterns are only that
	// (whole), or that and a final ** (open), and need no regular expression.
	literal    string
	whole      bool
	open       bool
	expression *regexp.Regexp
}

// Compile normalises a pattern as references are normalised, and compiles it.
func Compile(pattern string) (Glob, error) {
	if err := validate(pattern); err != nil {
		return Glob{}, err
	}
	pattern = Normalize(pattern)
	literal, rest, wild := strings.Cut(pattern, "*")
	g := Glob{literal: literal, whole: !wild, open: rest == "*"}
	if g.whole || g.open {
		return g, nil
	}
	var err error
	if g.expression, err = regexp.Compile(expressionOf(pattern)); err != nil {
		return Glob{}, fmt.Errorf("cannot be compiled: %w", err)
	}
	return g, nil
}

// Match reports whether the glob matches a repository.
func (g *Glob) Match(repository string) bool {
	switch {
	case !strings.HasPrefix(repository, g.literal):
		return false
	case g.whole:
		return len(repository) == len(g.literal)
	case g.open:
		return true
	}
	return g.expression.MatchString(repository)
}

// Set is a list of globs, of which any may match.
type Set []Glob

// Match reports whether any of the globs matches a repository.
func (s Set) Match(repository string) bool {
	for i := range s {
		if s[i].Match(repository) {
			return true
		}
	}
	return false
}

// The schema of the custom resources has the rules of a pattern one by one, with a
// message for each.
const syntax = `^[]A-Za-z0-9.:_*[-]+(/[a-z0-9._*-]+)*$`

// validate returns why a pattern could match nothing, or not what it seems to.
func validate(pattern string) error {
	host, path, _ := strings.Cut(pattern, "/")
	if !regexp.MustCompile(syntax).MatchString(pattern) || path == "" && !strings.Contains(host, "**") ||
		host != "localhost" && !strings.ContainsAny(host, ".:*") {
		return errors.New("must be a glob over host/path without tag and digest, such as registry.example.com/team/**")
	}
	if strings.Contains(host, "*") {
		return nil
	}
	return validateHost(host)
}

// validateHost refuses a port or an address that no normalised reference has:
// the glob would match nothing, and its images would not be evaluated.
func validateHost(host string) error {
	name, port := host, ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		name, port = host[:i], host[i+1:]
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return fmt.Errorf("has port %q, allowed are 1 to 65535 without leading zeros", port)
		}
	}
	if !strings.ContainsAny(name, "[]") {
		return nil
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(name, "["), "]"))
	if err != nil {
		return fmt.Errorf("has host %q, which is no IPv6 address", name)
	}
	spelled := "[" + addr.String() + "]"
	if addr.Is4In6() {
		spelled = addr.Unmap().String()
	}
	if strings.ToLower(name) != spelled {
		return fmt.Errorf("has host %q: write %s, as references are normalised", name, spelled)
	}
	return nil
}

// Normalize does to a pattern what a container runtime does to a reference: a
// lower-case host, no default port, Docker Hub's library.
func Normalize(pattern string) string {
	host, path, found := strings.Cut(pattern, "/")
	host = strings.ToLower(host)
	if host == "localhost:443" || strings.ContainsAny(host, ".[*") {
		host = strings.TrimSuffix(host, ":443")
	}
	if !found {
		return host
	}
	if host == "index.docker.io" {
		host = "docker.io"
	}
	if host == "docker.io" && !strings.Contains(path, "/") && !strings.Contains(path, "**") {
		path = "library/" + path
	}
	return host + "/" + path
}

func expressionOf(pattern string) string {
	wildcards := strings.NewReplacer(`\*\*`, `.*`, `\*`, `[^/]*`)
	segments := strings.SplitAfter(pattern, "/")
	for i, segment := range segments {
		if segment == "**/" {
			segments[i] = `(?:.*/)?`
		} else {
			segments[i] = wildcards.Replace(regexp.QuoteMeta(segment))
		}
	}
	return `\A(?s:` + strings.Join(segments, "") + `)\z`
}

// Covers reports whether the pattern outer certainly matches all that inner matches.
func Covers(outer, inner string) bool {
	outer, inner = Normalize(outer), Normalize(inner)
	if outer == inner || slices.Contains([]string{"**", "*/**", "**/*", "**/**"}, outer) {
		return true
	}
	if !strings.Contains(inner, "*") {
		g, err := Compile(outer)
		return err == nil && g.Match(inner)
	}
	prefix, open := strings.CutSuffix(outer, "**")
	return open && !strings.Contains(prefix, "*") && strings.HasPrefix(inner, prefix)
}

// Host returns the host of a pattern, as references are normalised, and an empty
// string where the pattern may match several.
func Host(pattern string) string {
	host, _, _ := strings.Cut(Normalize(pattern), "/")
	if strings.Contains(host, "*") {
		return ""
	}
	return host
}
