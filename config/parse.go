package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds a file; a thousand registries take a tenth of it.
const maxFileBytes = 4 << 20

// Load reads, defaults and validates the file at path.
func Load(path string) (*Configuration, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
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
	d := &decoder{lines: map[string]int{}}
	d.decode("", root, reflect.ValueOf(c).Elem())
	c.complete()
	problems := slices.Concat(d.problems, d.validate(c))
	if len(problems) > 0 {
		slices.SortStableFunc(problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
		return nil, &Error{Name: name, Problems: problems}
	}
	return c, nil
}

// document returns the root of the one YAML document in data.
func document(data []byte) (*yaml.Node, *Problem) {
	if len(data) > maxFileBytes {
		return nil, &Problem{Message: fmt.Sprintf("the file is larger than %s", Bytes(maxFileBytes))}
	}
	var doc, second yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil, &Problem{Message: fmt.Sprintf("the file is empty: it must hold one document with apiVersion %s and kind %s", APIVersion, Kind)}
	}
	if err != nil {
		return nil, syntaxProblem(err)
	}
	err = dec.Decode(&second)
	switch {
	case err == nil:
		return nil, &Problem{Line: second.Line, Message: "a second document begins here: the file must hold one document only"}
	case !errors.Is(err, io.EOF):
		return nil, syntaxProblem(err)
	}
	return doc.Content[0], nil
}

// syntaxProblem takes the line out of the YAML parser's error, which it only
// has as text.
func syntaxProblem(err error) *Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(text)
	if m == nil {
		return &Problem{Message: "not YAML: " + text}
	}
	line, convErr := strconv.Atoi(m[1])
	if convErr != nil {
		line = 0
	}
	return &Problem{Line: line, Message: "not YAML: " + strings.TrimPrefix(text, m[0])}
}

// complete fills in what follows from the rest of the file.
func (c *Configuration) complete() {
	if len(c.Projects) != 1 {
		return
	}
	for i := range c.Registries {
		if c.Registries[i].Project == "" {
			c.Registries[i].Project = c.Projects[0].Name
		}
	}
}
