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

// document is one YAML document in a file. Lines count from 1.
type document struct {
	text []byte
	// line is that of the text's first line, start that of the first one that is no
	// comment, and images are the first ones that name each image.
	line, start int
	images      map[string]int
}

// split divides a file at its lines of three dashes, after which only a comment
// may stand.
func split(data []byte) []*document {
	field := regexp.MustCompile(`\b(?:image|reference)["']?\s*:\s*["']?([^\s"',}\]]+)`)
	line := 1
	d := &document{line: 1, images: map[string]int{}}
	documents := []*document{d}
	for text := range bytes.Lines(data) {
		rest, dashes := bytes.CutPrefix(text, []byte("---"))
		rest = bytes.TrimSpace(rest)
		comment := len(rest) == 0 || rest[0] == '#'
		if dashes && comment {
			d = &document{line: line + 1, images: map[string]int{}}
			documents = append(documents, d)
		} else {
			d.text = append(d.text, text...)
		}
		if !comment && d.start == 0 {
			d.start = line
		}
		for _, found := range field.FindAllSubmatch(text, -1) {
			if image := string(found[1]); d.images[image] == 0 {
				d.images[image] = line
			}
		}
		line++
	}
	return documents
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
