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
	"regexp"
	"slices"
	"strings"
)

// Glob is a compiled pattern, which must match the whole repository.
type Glob struct{ expression *regexp.Regexp }

// Compile normalises a pattern as references are normalised, and compiles it.
func Compile(pattern string) (Glob, error) {
	if err := validate(pattern); err != nil {
		return Glob{}, err
	}
	expression, err := regexp.Compile(expressionOf(Normalize(pattern)))
	if err != nil {
		return Glob{}, fmt.Errorf("cannot be compiled: %w", err)
	}
	return Glob{expression}, nil
}

// CompilePath compiles a pattern of the paths of files and folders, as in .gitignore: one
// without a slash is of a name in any folder, one with a slash of a path.
func CompilePath(pattern string) (Glob, error) {
	path := strings.Trim(pattern, "/")
	if path == "" {
		return Glob{}, fmt.Errorf("must be a name or path, not %q", pattern)
	}
	if !strings.Contains(strings.TrimSuffix(pattern, "/"), "/") {
		path = "**/" + path
	}
	expression, err := regexp.Compile(expressionOf(path))
	return Glob{expression}, err
}

// Match reports whether the glob matches a repository.
func (g Glob) Match(repository string) bool { return g.expression.MatchString(repository) }

// Set is a list of globs, of which any may match.
type Set []Glob

// Match reports whether any of the globs matches a repository.
func (s Set) Match(repository string) bool {
	return slices.ContainsFunc(s, func(g Glob) bool { return g.Match(repository) })
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
	_, err := NormalizeHost(host)
	return err
}

// Normalize does to a pattern what a container runtime does to a reference: a
// lower-case host, no default port, Docker Hub's library.
func Normalize(pattern string) string {
	host, path, found := strings.Cut(pattern, "/")
	if one, err := NormalizeHost(host); err == nil && !strings.Contains(host, "*") {
		host = one
	} else {
		host = strings.TrimSuffix(strings.ToLower(host), ":443")
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
