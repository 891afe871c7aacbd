// Package inventoryfile reads inventory files, which list what HSS knows of images. A [Client] answers from one in place
// of an hss.Client; package hsstest serves one over HTTP.
package inventoryfile

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"sigs.k8s.io/yaml"
)

const maxBytes = 64 << 20

// File is the content of an inventory file. [Parse] checks its fields by their tags:
//
//	required  must not be empty
//	oneof     lists the allowed values of a text, which may be left out
//
// No number may be negative, and no score above 10.
type File struct {
	Images     []Image    `json:"images"`
	Registries []Registry `json:"registries"`
}

// Load reads a file; see [Parse].
func Load(path string, start time.Time) (*File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	file, err := Parse(data, start)
	if err != nil {
		return nil, fmt.Errorf("inventory %s: %w", path, err)
	}
	return file, nil
}

// Parse reads YAML or JSON: one object with lists of images and registries. The fields of a row are those of HSS's API,
// and the ones that [Image] and [Registry] have besides.
//
// A row needs an image_name. By default image_type is private_image, registry_type fits it, scan_status is unscan,
// image_id is the digest without "sha256:", and vul_num and malicious_file_num are the numbers of vulnerabilities and of
// malicious_files if any are given. An architecture (association_images) has the names, type and status of its row.
//
// The lists vulnerabilities (with type, status and cves), secrets and malicious_files of a row or an architecture have the
// fields of HSS's rows. Which images have a vulnerability follows from them.
//
// A time is in milliseconds since 1970 or in the manner of RFC 3339, or is an age at start: a sign and the units d, h, m
// and s, such as -60d for sixty days before.
func Parse(data []byte, start time.Time) (*File, error) {
	if len(data) > maxBytes {
		return nil, fmt.Errorf("has more than %d bytes", maxBytes)
	}
	data, err := toJSON(data)
	if err != nil {
		return nil, err
	}
	file := &File{}
	times := json.UnmarshalFunc(func(value []byte, at *time.Time) (err error) {
		*at, err = parseTime(value, start)
		return err
	})
	if err := json.Unmarshal(data, file, json.RejectUnknownMembers(true), json.WithUnmarshalers(times)); err != nil {
		return nil, describe(err)
	}
	problems := check("", reflect.ValueOf(*file), "")
	ids := map[int64]int{}
	for n := range file.Images {
		row := &file.Images[n]
		if first, twice := ids[row.ID]; twice && row.ID != 0 {
			problems = append(problems, fmt.Errorf("images[%d].id is %d, as is that of images[%d]", n, row.ID, first))
		}
		ids[row.ID] = n
		row.complete()
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return file, nil
}

func toJSON(data []byte) ([]byte, error) {
	if !jsontext.Value(data).IsValid() {
		header := regexp.MustCompile(`^([ \t]*([#%].*)?\r?\n)*---[ \t\r\n]`).Find(data) // of the first document
		if regexp.MustCompile(`(?m)^---([ \t\r]|$)`).Match(data[len(header):]) {
			return nil, errors.New("more than one YAML document, allowed is one")
		}
		var err error
		if data, err = yaml.YAMLToJSONStrict(data); err != nil {
			return nil, fmt.Errorf("not YAML and not JSON: %w", err)
		}
	}
	if jsontext.Value(data).Kind() != '{' {
		return nil, errors.New("not an object with fields such as images")
	}
	return data, nil
}

// describe names the field of an error of the decoder, and what may be there.
func describe(err error) error {
	wrong, ok := errors.AsType[*json.SemanticError](err)
	switch {
	case !ok:
		return err
	case errors.Is(wrong.Err, json.ErrUnknownName):
		return fmt.Errorf("unknown field %s", FieldPath(wrong.JSONPointer))
	case wrong.GoType == reflect.TypeFor[*time.Time]():
		return fmt.Errorf("%s %w", FieldPath(wrong.JSONPointer), wrong.Err)
	}
	allowed := map[reflect.Kind]string{
		reflect.String: "a text (in quotes, if YAML reads a number or true or false)", reflect.Bool: "true, false",
		reflect.Slice: "a list", reflect.Struct: "an object with fields", reflect.Float64: "a number",
	}[wrong.GoType.Kind()]
	return fmt.Errorf("%s is a %s, allowed: %s", FieldPath(wrong.JSONPointer), wrong.JSONKind, cmp.Or(allowed, "a whole number"))
}

// FieldPath returns a place in a file as Kubernetes writes it, such as images[1].image_name.
func FieldPath(place jsontext.Pointer) string {
	var b strings.Builder
	for token := range place.Tokens() {
		if _, err := strconv.Atoi(token); err == nil {
			b.WriteString("[" + token + "]")
			continue
		}
		b.WriteString("." + token)
	}
	return strings.TrimPrefix(b.String(), ".")
}

// check returns what is wrong with a value, by the tags of its fields.
func check(path string, v reflect.Value, tag reflect.StructTag) (problems []error) {
	path = strings.TrimPrefix(path, ".")
	switch v.Kind() {
	case reflect.Struct:
		for field, value := range v.Fields() {
			if field.Type != reflect.TypeFor[time.Time]() {
				name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
				problems = append(problems, check(path+"."+name, value, field.Tag)...)
			}
		}
	case reflect.Slice:
		for n := range v.Len() {
			problems = append(problems, check(fmt.Sprintf("%s[%d]", path, n), v.Index(n), "")...)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			problems = check(path, v.Elem(), tag)
		}
	case reflect.String:
		if err := checkText(path, v.String(), tag); err != nil {
			problems = append(problems, err)
		}
	case reflect.Int, reflect.Int64:
		if v.Int() < 0 {
			problems = append(problems, fmt.Errorf("%s is %d, allowed: 0 and more", path, v.Int()))
		}
	case reflect.Float64:
		if v.Float() < 0 || v.Float() > 10 {
			problems = append(problems, fmt.Errorf("%s is %g, allowed: 0 to 10", path, v.Float()))
		}
	}
	return problems
}

// checkText returns what is wrong with a text, by the tags of its field.
func checkText(path, text string, tag reflect.StructTag) error {
	_, required := tag.Lookup("required")
	allowed := strings.Fields(tag.Get("oneof"))
	switch {
	case required && text == "":
		return fmt.Errorf("%s is missing", path)
	case text != "" && len(allowed) > 0 && !slices.Contains(allowed, text):
		return fmt.Errorf("%s is %.80q, allowed: %s", path, text, strings.Join(allowed, ", "))
	}
	return nil
}

// parseTime reads milliseconds, RFC 3339, or an age such as -2h or -60d.
func parseTime(raw []byte, start time.Time) (time.Time, error) {
	value := strings.Trim(string(raw), `"`)
	if value == "" || value == "null" || value == "0" {
		return time.Time{}, nil
	}
	days, isDays := strings.CutSuffix(value, "d")
	n, notDays := strconv.Atoi(days)
	age, notAge := time.ParseDuration(value)
	at, _ := time.Parse(time.RFC3339, value) // zero if it is none
	switch signed := strings.ContainsAny(value[:1], "+-"); {
	case signed && isDays && notDays == nil:
		at = start.UTC().AddDate(0, 0, n)
	case signed && notAge == nil:
		at = start.Add(age)
	case !signed && !isDays && notDays == nil:
		at = time.UnixMilli(int64(n))
	}
	if at.UnixMilli() <= 0 || at.Year() > 9999 {
		return time.Time{}, fmt.Errorf("is %.80q, allowed: milliseconds since 1970, a time such as 2026-01-31T12:00:00Z, or an age such as -2h or -60d", value)
	}
	return at.UTC().Truncate(time.Millisecond), nil
}
