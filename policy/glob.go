package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// maxGlobLength is that of the schema.
const maxGlobLength = 512

// glob matches "host/path" of a normalised reference, the whole of it:
//
//   - any characters but '/', dots included, or none
//     **    any characters, or none
//     /**/  one slash, or any number of segments between two: a/**/b matches a/b
//
// It matches in time linear in its subject.
type glob struct {
	// literal is what every match begins with: the pattern up to its first
	// wildcard. Most patterns are that and no more, or that and a final **,
	// and need no regular expression.
	literal    string
	whole      bool
	open       bool
	expression *regexp.Regexp
}

// compileGlob normalises pattern as references are normalised and compiles it.
func compileGlob(pattern string) (glob, error) {
	if err := validateGlob(pattern); err != nil {
		return glob{}, err
	}
	pattern = normalizeGlob(pattern)
	literal, rest, wild := strings.Cut(pattern, "*")
	g := glob{literal: literal, whole: !wild, open: rest == "*"}
	if g.whole || g.open {
		return g, nil
	}
	var err error
	if g.expression, err = regexp.Compile(globExpression(pattern)); err != nil {
		return glob{}, fmt.Errorf("cannot be compiled: %w", err)
	}
	return g, nil
}

func (g glob) matches(repository string) bool {
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

// validateGlob says why pattern could never match, or not what it seems to.
func validateGlob(pattern string) error {
	host, path, _ := strings.Cut(pattern, "/")
	last := pattern[strings.LastIndex(pattern, "/")+1:]
	switch {
	case pattern == "":
		return errors.New("must not be empty")
	case len(pattern) > maxGlobLength:
		return fmt.Errorf("has %d bytes, allowed %d", len(pattern), maxGlobLength)
	case strings.Contains(pattern, "://"):
		return errors.New("leave out the scheme: a glob is matched against host/path, such as registry.example.com/team/**")
	case strings.Contains(pattern, "@"):
		return errors.New("leave out the digest: a glob is matched against host/path")
	case strings.Contains(last, ":"):
		return errors.New("leave out the tag: a glob is matched against host/path")
	case strings.Contains(pattern, "***"):
		return errors.New("use * within a path segment or ** across slashes")
	case strings.HasPrefix(pattern, "/") || strings.HasSuffix(pattern, "/") || strings.Contains(pattern, "//"):
		return errors.New("must not have an empty part between slashes")
	case !strings.Contains(pattern, "/") && !strings.Contains(pattern, "**"):
		return errors.New("must name host and path, such as docker.io/library/nginx or registry.example.com/**")
	case host != "localhost" && !strings.ContainsAny(host, ".:*"):
		return errors.New("must begin with the registry's host, such as docker.io/library/nginx")
	}
	return validateGlobCharacters(host, path)
}

func validateGlobCharacters(host, path string) error {
	for _, r := range host {
		if !isGlobRune(r) && (r < 'A' || r > 'Z') && !strings.ContainsRune(":[]", r) {
			return fmt.Errorf("holds %q, allowed in a host are letters, digits and . _ - : [ ] *", r)
		}
	}
	for _, r := range path {
		if r != '/' && !isGlobRune(r) {
			return fmt.Errorf("holds %q, allowed in a path are lower-case letters, digits and . _ - / *", r)
		}
	}
	return validateGlobHost(host)
}

// validateGlobHost refuses a port or an address that no normalised reference
// spells so: the glob would match nothing, and leave its images unjudged.
func validateGlobHost(host string) error {
	if strings.Contains(host, "*") {
		return nil
	}
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

func isGlobRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("._-*", r)
}

// normalizeGlob does to a pattern what a container runtime does to a
// reference: a lower-case host, no default port, Docker Hub's library.
func normalizeGlob(pattern string) string {
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

func globExpression(pattern string) string {
	var b strings.Builder
	b.WriteString(`\A(?s:`)
	for i := 0; i < len(pattern); {
		rest := pattern[i:]
		atSegment := i == 0 || pattern[i-1] == '/'
		switch {
		case atSegment && strings.HasPrefix(rest, "**/"):
			b.WriteString(`(?:.*/)?`)
			i += len("**/")
		case strings.HasPrefix(rest, "**"):
			b.WriteString(`.*`)
			i += len("**")
		case rest[0] == '*':
			b.WriteString(`[^/]*`)
			i++
		default:
			b.WriteString(regexp.QuoteMeta(rest[:1]))
			i++
		}
	}
	b.WriteString(`)\z`)
	return b.String()
}
