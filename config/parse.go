// Package config reads the configuration file, which holds the HSS projects to
// read, the registries that belong to each, how long results are kept, and how
// the webhook listens.
//
// The file is YAML, versioned, and read strictly: an unknown field, a key that
// is given twice, a value of the wrong type or a second document is an error
// that names the line, and every problem of a file is reported at once.
// Fields that are left out have defaults.
//
// Secrets are never written into the file. Credentials name files or
// environment variables, which hssgate reads itself.
package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Load reads, defaults and validates the file at path.
func Load(path string) (*Configuration, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse decodes, defaults and validates the text of a file. The name is what
// errors call it. The error is an [*Error] with every problem of the file.
func Parse(name string, data []byte) (*Configuration, error) {
	root, problem := document(data)
	if problem != nil {
		return nil, &Error{Name: name, Problems: []Problem{*problem}}
	}
	c := Default()
	if err := c.check(name, root); err != nil {
		return nil, err
	}
	return c, nil
}

// Validate reports every problem of a configuration made in a program, as an
// [*Error] without lines, and gives registries without a project the only one. Parse
// has done so already.
func (c *Configuration) Validate() error {
	return c.check("", nil)
}

// check reads the fields that a document gives, if there is one, and checks all.
func (c *Configuration) check(name string, document *yaml.Node) error {
	check := &checker{lines: map[string]int{}, failed: map[string]bool{}}
	check.configuration(c, document)
	if len(check.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(check.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return &Error{Name: name, Problems: check.problems}
}

// document returns the root of the one YAML document in data.
func document(data []byte) (*yaml.Node, *Problem) {
	var doc, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	err := decoder.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil, &Problem{Message: fmt.Sprintf("the file is empty: it must hold one document with apiVersion %s and kind %s", APIVersion, Kind)}
	}
	if err == nil {
		err = decoder.Decode(&second)
	}
	switch {
	case err == nil:
		return nil, &Problem{Line: second.Line, Message: "a second document begins here: the file must hold one document only"}
	case !errors.Is(err, io.EOF):
		return nil, &Problem{Message: "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	return doc.Content[0], nil
}
