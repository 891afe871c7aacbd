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

// decode returns the document as JSON, by the rules of kubectl, and the lines on
// which it names images. JSON is nil if the document is empty. Duplicate keys are
// an error, since readers differ in which of them counts.
func (d *document) decode() (json []byte, imageLines map[string]int, err error) {
	if json, err = yaml.YAMLToJSON(d.text); err != nil {
		return nil, nil, d.syntaxError(err)
	}
	decoder := goyaml.NewDecoder(bytes.NewReader(d.text))
	var root goyaml.Node
	switch err := decoder.Decode(&root); {
	case errors.Is(err, io.EOF):
		return nil, nil, nil
	case err != nil:
		return nil, nil, d.syntaxError(err)
	}
	imageLines = map[string]int{}
	if err := d.walk(&root, imageLines); err != nil {
		return nil, nil, d.syntaxError(err)
	}
	// YAMLToJSON reads the first document only.
	if err := decoder.Decode(&goyaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, nil, errSeveral
	}
	if string(json) == "null" {
		return nil, nil, nil
	}
	return json, imageLines, nil
}

var errSeveral = errors.New("something follows the first document: put a line of three dashes (---) between documents")

// walk refuses duplicate keys and collects the lines that name images. A merged
// key (<<) that is set again is no duplicate.
func (d *document) walk(node *goyaml.Node, imageLines map[string]int) error {
	known := map[string]bool{}
	for i, child := range node.Content {
		if node.Kind == goyaml.MappingNode && i%2 == 0 && child.ShortTag() != "!!merge" && child.Alias == nil {
			if known[child.Value] {
				return fmt.Errorf("line %d: key %q already set in map", child.Line, child.Value)
			}
			known[child.Value] = true
			value := node.Content[i+1]
			if child.Value == "image" || child.Value == "reference" {
				if _, seen := imageLines[value.Value]; !seen {
					imageLines[value.Value] = d.line - 1 + value.Line
				}
			}
		}
		if err := d.walk(child, imageLines); err != nil {
			return err
		}
	}
	return nil
}

// syntaxError names the line of the file instead of the document's, and the
// usual cause.
func (d *document) syntaxError(err error) error {
	text := regexp.MustCompile(`\bline \d+`).ReplaceAllStringFunc(err.Error(), func(found string) string {
		line, _ := strconv.Atoi(strings.TrimPrefix(found, "line "))
		return "line " + strconv.Itoa(d.line-1+line)
	})
	text = regexp.MustCompile(`: (\[\]|map\[).*`).ReplaceAllString(text, "") // no Go types
	text = "read the YAML: " + strings.TrimPrefix(strings.TrimPrefix(text, "yaml: "), "json: ")
	switch {
	case bytes.Contains(d.text, []byte("{{")):
		return errors.New(text + ": it looks like a Helm template: render it first (helm template … | hssgate check -f -)")
	case strings.Contains(text, "cannot start any token") && regexp.MustCompile(`(?m)^ *\t`).Match(d.text):
		return errors.New(text + ": YAML must not be indented by tabs, only by spaces")
	default:
		return errors.New(text)
	}
}
