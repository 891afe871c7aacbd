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

// document is one YAML document of a file.
type document struct {
	text []byte
	// line is that of its first line, from 1.
	line int
}

// split takes a file apart at its lines of three dashes.
func split(data []byte) []document {
	var documents []document
	begin, line, first := 0, 1, 1
	for at := 0; at < len(data); {
		end := at + lineLength(data[at:])
		if isSeparator(data[at:end]) {
			documents = append(documents, document{data[begin:at], first})
			begin, first = end, line+1
		}
		at = end
		line++
	}
	return append(documents, document{data[begin:], first})
}

func lineLength(data []byte) int {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1
	}
	return len(data)
}

// isSeparator tells whether a line ends a document. Behind the dashes only a
// comment may stand.
func isSeparator(line []byte) bool {
	rest, dashes := bytes.CutPrefix(line, []byte("---"))
	rest = bytes.TrimSpace(rest)
	return dashes && (len(rest) == 0 || rest[0] == '#')
}

// json returns the document as JSON, as kubectl reads it; nil if there is nothing
// in it. Keys that stand in it twice are an error: readers differ in which of
// them they take.
func (d *document) json() ([]byte, error) {
	data, err := yaml.YAMLToJSON(d.text)
	if err != nil {
		return nil, d.syntaxError(err)
	}
	if err := d.isOne(); err != nil {
		return nil, err
	}
	if string(data) == "null" {
		return nil, nil
	}
	return data, nil
}

// errSeveral is of text in which something stands behind a whole document, such
// as JSON objects one after the other. What is read above is the first only.
var errSeveral = errors.New("something follows the first document: put a line of three dashes (---) between documents")

// isOne returns an error if the text goes on behind its first document, or if
// that has a key twice.
func (d *document) isOne() error {
	decoder := goyaml.NewDecoder(bytes.NewReader(d.text))
	var content goyaml.Node
	switch err := decoder.Decode(&content); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return d.syntaxError(err)
	}
	if err := duplicateKey(&content); err != nil {
		return d.syntaxError(err)
	}
	if err := decoder.Decode(&goyaml.Node{}); !errors.Is(err, io.EOF) {
		return errSeveral
	}
	return nil
}

// duplicateKey returns an error if a mapping has a key twice. A key that comes
// from a merge (<<) as well is not one of its own.
func duplicateKey(node *goyaml.Node) error {
	known := map[string]bool{}
	for i, child := range node.Content {
		if node.Kind == goyaml.MappingNode && i%2 == 0 && child.ShortTag() != "!!merge" && child.Alias == nil {
			if known[child.Value] {
				return fmt.Errorf("line %d: key %q already set in map", child.Line, child.Value)
			}
			known[child.Value] = true
		}
		if err := duplicateKey(child); err != nil {
			return err
		}
	}
	return nil
}

// syntaxError says where in the file, not in the document, the YAML is wrong,
// and what is most often the reason.
func (d *document) syntaxError(err error) error {
	text := regexp.MustCompile(`\bline (\d+)`).ReplaceAllStringFunc(err.Error(), func(found string) string {
		line, err := strconv.Atoi(strings.TrimPrefix(found, "line "))
		if err != nil {
			return found
		}
		return "line " + strconv.Itoa(d.line-1+line)
	})
	text, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimPrefix(text, "yaml: "), "json: "), ": []interface {}") // no Go types
	text, _, _ = strings.Cut(text, ": map[")
	return fmt.Errorf("read the YAML: %s%s", text, d.advice(text))
}

// advice is what else there is to say about an error of the parser.
func (d *document) advice(text string) string {
	switch {
	case bytes.Contains(d.text, []byte("{{")):
		return ": it looks like a Helm template: render it first (helm template … | hssgate check -f -)"
	case strings.Contains(text, "cannot start any token") && regexp.MustCompile(`(?m)^ *\t`).Match(d.text):
		return ": YAML must not be indented by tabs, only by spaces"
	default:
		return ""
	}
}

// start is the line of the first text that is no comment.
func (d *document) start() int {
	line := d.line
	for text := range strings.Lines(string(d.text)) {
		if trimmed := strings.TrimSpace(text); trimmed != "" && trimmed[0] != '#' {
			return line
		}
		line++
	}
	return d.line
}

// imageLines are the lines that name images, by what stands behind the colon.
func (d *document) imageLines() map[string]int {
	lines := map[string]int{}
	line := d.line - 1
	for text := range strings.Lines(string(d.text)) {
		line++
		value, named := imageOn(text)
		if _, known := lines[value]; named && !known {
			lines[value] = line
		}
	}
	return lines
}

// imageOn returns the image that a line of YAML or JSON names.
func imageOn(text string) (value string, ok bool) {
	for _, key := range []string{"image", "reference"} {
		for _, quoted := range []string{key + ":", `"` + key + `":`} {
			before, after, found := strings.Cut(text, quoted)
			if found && strings.Trim(before, " -{\t") == "" {
				value, _, _ = strings.Cut(strings.TrimSpace(after), " ")
				return strings.Trim(value, `"',}`), true
			}
		}
	}
	return "", false
}
