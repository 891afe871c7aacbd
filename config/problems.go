package config

import (
	"fmt"
	"slices"
	"strings"
)

// Error is every problem of a configuration.
type Error struct {
	// Name is the file's name; empty for a configuration made in a program.
	Name string
	// Problems are in the order of the file, at least one.
	Problems []Problem
}

// Problem is one thing that is wrong.
type Problem struct {
	// Line is where it stands in the file, from 1; 0 is unknown.
	Line int
	// Field is the path of the field, such as projects[0].region; empty if
	// the problem is the file's.
	Field string
	// Message says what is wrong, the value, and what is allowed.
	Message string
}

// Error lists the problems, one a line, each as file:line: field: message.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		where := e.Name
		if where != "" && p.Line > 0 {
			where = fmt.Sprintf("%s:%d", e.Name, p.Line)
		}
		parts := []string{where, p.Field, p.Message}
		lines[i] = strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), ": ")
	}
	return strings.Join(lines, "\n")
}

// checker decodes and validates a configuration. It collects every problem, but
// one for each field only.
type checker struct {
	lines    map[string]int
	failed   map[string]bool
	problems []Problem
}

func (c *checker) failf(field, format string, args ...any) {
	if !c.failed[field] {
		c.failed[field] = true
		c.problems = append(c.problems, Problem{Line: c.line(field), Field: field, Message: fmt.Sprintf(format, args...)})
	}
}

// mustf reports a problem of a field unless it is as it must be.
func (c *checker) mustf(ok bool, field, format string, args ...any) {
	if !ok {
		c.failf(field, format, args...)
	}
}

// line returns the line of a field or, if it was left out, of what would hold it.
func (c *checker) line(field string) int {
	for field != "" {
		if line, ok := c.lines[field]; ok {
			return line
		}
		field = field[:max(0, strings.LastIndexAny(field, ".["))]
	}
	return c.lines[""]
}

// shorten keeps a message readable whatever the file holds.
func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
