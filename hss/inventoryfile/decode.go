package inventoryfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// setter reads one field. Its error says what is allowed, unless it is a
// *nestedError, which says all.
type setter[T any] func(into *T, raw json.RawMessage) error

// nestedError is what is wrong inside a field; it names its place itself.
type nestedError struct{ problems []error }

func (e *nestedError) Error() string { return errors.Join(e.problems...).Error() }

// hiddenError is of a value that must not be shown.
type hiddenError struct{ allowed string }

func (e *hiddenError) Error() string { return e.allowed }

// decodeObject reads an object's fields and lists everything that is wrong.
// Fields that are null count as missing.
func decodeObject[T any](where string, raw json.RawMessage, fields map[string]setter[T], into *T) error {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(raw, &given); err != nil || given == nil {
		return fmt.Errorf("%s is %s, allowed: an object with fields", where, show(raw))
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(given)) {
		set, ok := fields[name]
		if !ok {
			problems = append(problems, fmt.Errorf("%s: unknown field %q, allowed: %s",
				where, name, strings.Join(slices.Sorted(maps.Keys(fields)), ", ")))
			continue
		}
		if string(given[name]) != "null" {
			problems = append(problems, explain(where, name, given[name], set(into, given[name])))
		}
	}
	return errors.Join(problems...)
}

// explain says where err is, and of which value.
func explain(where, name string, raw json.RawMessage, err error) error {
	var nested *nestedError
	var hidden *hiddenError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &nested):
		return err
	case errors.As(err, &hidden):
		return fmt.Errorf("%s: field %q, allowed: %w", where, name, err)
	}
	return fmt.Errorf("%s: field %q is %s, allowed: %w", where, name, show(raw), err)
}

// show is a value as an error quotes it.
func show(raw json.RawMessage) string {
	const longest = 80
	text := strings.ToValidUTF8(string(raw), "\uFFFD")
	if utf8.RuneCountInString(text) > longest {
		return string([]rune(text)[:longest]) + "…"
	}
	return text
}

// decodeList reads a list of objects. finish completes and checks each.
func decodeList[T any](name string, raw json.RawMessage, fields map[string]setter[T], finish func(*T) error) ([]T, error) {
	var rows []json.RawMessage
	if err := json.Unmarshal(raw, &rows); err != nil {
		return nil, errors.New("a list")
	}
	list := make([]T, len(rows))
	var problems []error
	for i, row := range rows {
		where := fmt.Sprintf("%s row %d", name, i+1)
		if err := decodeObject(where, row, fields, &list[i]); err != nil {
			problems = append(problems, err)
			continue
		}
		if err := finish(&list[i]); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", where, err))
		}
	}
	if len(problems) > 0 {
		return nil, &nestedError{problems}
	}
	return list, nil
}

// text reads a text of so many characters.
func text[T any](low, high int, get func(*T) *string) setter[T] {
	return func(into *T, raw json.RawMessage) error {
		err := json.Unmarshal(raw, get(into))
		if n := utf8.RuneCountInString(*get(into)); err != nil || n < low || n > high {
			return fmt.Errorf("a text of %d to %d characters (in quotes, if YAML reads a number or true or false)", low, high)
		}
		return nil
	}
}

// secret reads a text that no error shows.
func secret[T any](get func(*T) *string) setter[T] {
	read := text(1, maxSecretLength, get)
	return func(into *T, raw json.RawMessage) error {
		if err := read(into, raw); err != nil {
			return &hiddenError{err.Error()}
		}
		return nil
	}
}

// texts reads a list of texts. What is wrong with one is said of its length
// only, since it may be a token.
func texts[T any](low, high int, get func(*T) *[]string) setter[T] {
	return func(into *T, raw json.RawMessage) error {
		err := json.Unmarshal(raw, get(into))
		bad := slices.ContainsFunc(*get(into), func(s string) bool {
			n := utf8.RuneCountInString(s)
			return n < low || n > high
		})
		if err != nil || bad {
			return &hiddenError{fmt.Sprintf("a list of texts of %d to %d characters each", low, high)}
		}
		return nil
	}
}

// choice reads one of some texts.
func choice[T any](values []string, get func(*T) *string) setter[T] {
	return func(into *T, raw json.RawMessage) error {
		if err := json.Unmarshal(raw, get(into)); err != nil || !slices.Contains(values, *get(into)) {
			return errors.New(strings.Join(values, ", "))
		}
		return nil
	}
}

// flag reads true or false.
func flag[T any](set func(*T, bool)) setter[T] {
	return func(into *T, raw json.RawMessage) error {
		var value bool
		if err := json.Unmarshal(raw, &value); err != nil {
			return errors.New("true, false")
		}
		set(into, value)
		return nil
	}
}

// integer reads a whole number, which may be in quotes.
func integer[T any](low, high int64, set func(*T, int64)) setter[T] {
	return func(into *T, raw json.RawMessage) error {
		n, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64)
		if err != nil || n < low || n > high {
			return fmt.Errorf("a whole number from %d to %d", low, high)
		}
		set(into, n)
		return nil
	}
}

// count reads a number of findings.
func count[T any](get func(*T) **int) setter[T] {
	return integer(0, math.MaxInt32, func(into *T, n int64) { *get(into) = new(int(n)) })
}

// instant reads a time: milliseconds, RFC 3339, or an age.
func instant[T any](start time.Time, get func(*T) *time.Time) setter[T] {
	return func(into *T, raw json.RawMessage) error {
		at, err := parseTime(strings.Trim(string(raw), `"`), start)
		if err != nil {
			return err
		}
		*get(into) = at
		return nil
	}
}

func parseTime(value string, start time.Time) (time.Time, error) {
	if age, err := parseAge(value); err == nil {
		return start.Add(age).Truncate(time.Millisecond), nil
	}
	if ms, err := strconv.ParseUint(value, 10, 63); err == nil {
		if ms == 0 {
			return time.Time{}, nil
		}
		return time.UnixMilli(int64(ms)).UTC(), nil
	}
	at, err := time.Parse(time.RFC3339, value)
	if err != nil || at.UnixMilli() <= 0 {
		return time.Time{}, errors.New("milliseconds since 1970, a time such as 2026-01-31T12:00:00Z, or an age such as -2h or -60d")
	}
	return at.UTC(), nil
}

// parseAge reads a duration with a sign, which may have days.
func parseAge(value string) (time.Duration, error) {
	if value == "" || value[0] != '-' && value[0] != '+' {
		return 0, errors.New("an age begins with - or +")
	}
	age, err := parseUnsignedAge(value[1:])
	if value[0] == '-' {
		return -age, err
	}
	return age, err
}

func parseUnsignedAge(value string) (time.Duration, error) {
	const day, mostDays = 24 * time.Hour, 36500
	if days, ok := strings.CutSuffix(value, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n > mostDays {
			return 0, fmt.Errorf("days are a whole number from 0 to %d", mostDays)
		}
		return time.Duration(n) * day, nil
	}
	d, err := time.ParseDuration(value)
	if err != nil || strings.ContainsAny(value, "-+") {
		return 0, errors.New("an age has one sign, and the units d, h, m, s")
	}
	return d, nil
}
