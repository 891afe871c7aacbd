package config

import (
	"fmt"
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
		lines[i] = e.place(p.Line) + p.String()
	}
	return strings.Join(lines, "\n")
}

func (e *Error) place(line int) string {
	switch {
	case e.Name == "":
		return ""
	case line == 0:
		return e.Name + ": "
	default:
		return fmt.Sprintf("%s:%d: ", e.Name, line)
	}
}

// String is the problem without its place.
func (p Problem) String() string {
	if p.Field == "" {
		return p.Message
	}
	return p.Field + ": " + p.Message
}
