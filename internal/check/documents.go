package check

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	goyaml "go.yaml.in/yaml/v3"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// document is the text of one YAML document in a file.
type document struct {
	text []byte
	// line is that of the text's first line, from 1.
	line int
}

// split divides a file at its lines of three dashes, after which only a comment
// may stand.
func split(data []byte) []document {
	var documents []document
	begin, at, line, first := 0, 0, 1, 1
	for text := range bytes.Lines(data) {
		rest, dashes := bytes.CutPrefix(text, []byte("---"))
		if rest = bytes.TrimSpace(rest); dashes && (len(rest) == 0 || rest[0] == '#') {
			documents = append(documents, document{data[begin:at], first})
			begin, first = at+len(text), line+1
		}
		at += len(text)
		line++
	}
	return append(documents, document{data[begin:], first})
}

// start returns the line of the first text that is no comment.
func (d *document) start() int {
	line := d.line
	for text := range bytes.Lines(d.text) {
		if text = bytes.TrimSpace(text); len(text) > 0 && text[0] != '#' {
			return line
		}
		line++
	}
	return d.line
}

// imageLines returns the first line on which the document names each image.
func (d *document) imageLines() map[string]int {
	field := regexp.MustCompile(`\b(?:image|reference)["']?\s*:\s*["']?([^\s"',}\]]+)`)
	lines, line := map[string]int{}, d.line
	for text := range bytes.Lines(d.text) {
		for _, found := range field.FindAllSubmatch(text, -1) {
			if image := string(found[1]); lines[image] == 0 {
				lines[image] = line
			}
		}
		line++
	}
	return lines
}

var errSeveral = errors.New("something follows the first document: put a line of three dashes (---) between documents")

// decode returns the document's value by the rules of kubectl; nil if it is empty.
// Duplicate keys are an error, since readers differ in which of them counts.
func (d *document) decode() (value any, err error) {
	data, err := yaml.YAMLToJSON(d.text)
	if err != nil {
		return nil, d.syntaxError(err)
	}
	// The other reader finds duplicate keys, and knows where the first document ends.
	decoder := goyaml.NewDecoder(bytes.NewReader(d.text))
	switch err := decoder.Decode(&value); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, d.syntaxError(err)
	}
	if err := decoder.Decode(&goyaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, errSeveral
	}
	value = nil
	err = utiljson.Unmarshal(data, &value)
	return value, err
}

// syntaxError names the line of the file instead of the document's, and the
// usual cause.
func (d *document) syntaxError(err error) error {
	text := regexp.MustCompile(`\bline \d+`).ReplaceAllStringFunc(err.Error(), func(found string) string {
		line, _ := strconv.Atoi(strings.TrimPrefix(found, "line "))
		return "line " + strconv.Itoa(d.line-1+line)
	})
	text = regexp.MustCompile(`^(yaml: |json: |unmarshal errors:\s+)+`).ReplaceAllString(text, "")
	text = "read the YAML: " + regexp.MustCompile(`: (\[\]|map\[).*`).ReplaceAllString(text, "") // no Go types
	switch {
	case bytes.Contains(d.text, []byte("{{")):
		return fmt.Errorf("%s: it looks like a Helm template: render it first (helm template … | hssgate check -f -)", text)
	case strings.Contains(text, "cannot start any token") && regexp.MustCompile(`(?m)^ *\t`).Match(d.text):
		return fmt.Errorf("%s: YAML must not be indented by tabs, only by spaces", text)
	default:
		return errors.New(text)
	}
}
