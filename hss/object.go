package hss

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// The bounds of what is kept of an answer: the bytes of one text, and the
// architectures of one image. The API documents at most 256 characters.
const (
	maxTextBytes     = 1024
	maxArchitectures = 100
)

// excerptBytes bounds what an error shows of an unexpected value.
const excerptBytes = 80

// decoder reads an answer as a stream: what isn't kept takes no memory.
type decoder struct {
	json *jsontext.Decoder
	// scrub removes secrets from a text of the answer.
	scrub func(string) string
}

func newDecoder(r io.Reader, scrub func(string) string) *decoder {
	return &decoder{jsontext.NewDecoder(r, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)), scrub}
}

// object is a type that reads some fields of a JSON object.
type object interface {
	// field returns where the field of exactly that name goes, the same place each
	// time; nil: the field is skipped.
	field(name string) value
}

// value is where a field goes.
type value interface {
	// read reads one JSON value. It returns a *problem if that is not what the
	// field can hold, and another error if there is no whole value.
	read(d *decoder) error
}

// problem says in one line which field can't be read, and why. Without a field
// it is the whole row.
type problem struct{ field, reason string }

// Error implements error.
func (p *problem) Error() string { return cmp.Or(p.field, "the row") + " " + p.reason }

// within returns the problem as one of an element of an array.
func (p *problem) within(n int) *problem {
	field := fmt.Sprintf("[%d]", n)
	if p.field != "" {
		field += "." + p.field
	}
	return &problem{field, p.reason}
}

// object reads an object and returns the problems of its fields. A field that
// o wants and that is there twice is one: which of the two counts is not known.
func (d *decoder) object(o object) (problems []*problem, err error) {
	if d.json.PeekKind() != '{' {
		return d.noObject()
	}
	if _, err := d.json.ReadToken(); err != nil {
		return nil, err
	}
	seen := make([]value, 0, 32)
	for d.json.PeekKind() != '}' {
		token, err := d.json.ReadToken()
		if err != nil {
			return nil, err
		}
		name := token.String()
		var found *problem
		switch into := o.field(name); {
		case into == nil:
			err = d.json.SkipValue()
		case slices.Contains(seen, into):
			found, err = &problem{name, "is there twice"}, d.json.SkipValue()
		default:
			seen = append(seen, into)
			err = into.read(d)
			if p, ok := errors.AsType[*problem](err); ok {
				found, err = &problem{name + p.field, p.reason}, nil
			}
		}
		if err != nil {
			return nil, err
		}
		if found != nil && !slices.ContainsFunc(problems, func(p *problem) bool { return p.field == found.field }) {
			problems = append(problems, found)
		}
	}
	_, err = d.json.ReadToken()
	return problems, err
}

// noObject reads a value in place of an object.
func (d *decoder) noObject() ([]*problem, error) {
	raw, err := d.json.ReadValue()
	if err != nil {
		return nil, err
	}
	return []*problem{{reason: d.excerpt(raw) + ", not an object"}}, nil
}

// array reads an array, each element by a call of read. A null is none.
func (d *decoder) array(read func(n int) error) error {
	switch d.json.PeekKind() {
	case '[':
	case 'n':
		return d.json.SkipValue()
	default:
		raw, err := d.json.ReadValue()
		if err != nil {
			return err
		}
		return &problem{reason: d.excerpt(raw)}
	}
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	for n := 0; d.json.PeekKind() != ']'; n++ {
		if err := read(n); err != nil {
			return err
		}
	}
	_, err := d.json.ReadToken()
	return err
}

// end fails unless the answer is at its end.
func (d *decoder) end() error {
	_, err := d.json.ReadToken()
	switch {
	case err == nil:
		return errors.New("the answer goes on after its end")
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

// excerpt says what a value is that a field can't hold: of text the beginning,
// without secrets, and of anything else no content, which may be escaped.
func (d *decoder) excerpt(raw jsontext.Value) string {
	switch raw.Kind() {
	case '{':
		return "is an object"
	case '[':
		return "is a list"
	case '"':
		text := letters(raw)
		return "is " + excerpt([]byte(d.scrub(text[:min(len(text), maxErrorBytes)])))
	}
	return "is " + string(raw[:min(len(raw), excerptBytes)])
}

// unmarshal reads an object from memory. Every problem is an error.
func unmarshal[T any, O interface {
	*T
	object
}](data []byte, into O) error {
	var read T
	problems, err := newDecoder(bytes.NewReader(data), func(s string) string { return s }).object(O(&read))
	switch {
	case err != nil:
		return fmt.Errorf("decode JSON: %w", err)
	case len(problems) > 0:
		return problems[0]
	}
	*into = read
	return nil
}
