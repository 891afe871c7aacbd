package hss

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// maxErrorBytes bounds what is read of an answer that is no list.
const maxErrorBytes = 64 << 10

// maxMessage bounds a message taken from an answer, in characters.
const maxMessage = 300

// errorBody is the error of HSS (error_description), of the gateway (request_id)
// and of IAM (error) in one.
type errorBody struct {
	code, message, description, requestID string
	nested                                nestedError
}

func (e *errorBody) field(name string) value {
	switch name {
	case fieldErrorCode:
		return (*prose)(&e.code)
	case "error_msg":
		return (*prose)(&e.message)
	case "error_description":
		return (*prose)(&e.description)
	case "request_id":
		return (*prose)(&e.requestID)
	case "error":
		return &e.nested
	}
	return nil
}

// nestedError is the error of IAM.
type nestedError struct{ code, message string }

func (e *nestedError) field(name string) value {
	switch name {
	case "code":
		return (*prose)(&e.code)
	case "message":
		return (*prose)(&e.message)
	}
	return nil
}

func (e *nestedError) read(d *decoder) error {
	_, err := d.object(e) // it may have any shape
	return err
}

// brokenError is a connection that failed before the answer was complete.
type brokenError struct{ err error }

// Error implements error.
func (e *brokenError) Error() string { return "no complete answer: " + e.err.Error() }

// Unwrap returns the transport's error.
func (e *brokenError) Unwrap() error { return e.err }

// answerBody reads an answer of at most limit bytes, and keeps its beginning.
type answerBody struct {
	from  io.Reader
	limit int64
	head  []byte
	read  int64
	// err is why there is no whole answer.
	err error
}

// Read implements [io.Reader]. A longer body is an error.
func (b *answerBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.from.Read(p)
	b.read += int64(n)
	b.head = append(b.head, p[:min(n, maxErrorBytes-len(b.head))]...)
	switch {
	case b.read > b.limit:
		b.err = fmt.Errorf("the answer has more than the %d bytes that are read", b.limit)
		return 0, b.err
	case err != nil && !errors.Is(err, io.EOF):
		b.err = &brokenError{fmt.Errorf("reading the answer: %w", err)}
		return n, b.err
	}
	return n, err
}

// beginning reads on until there is enough to tell what the answer is. A body
// that breaks off tells no less.
func (b *answerBody) beginning() []byte {
	_, _ = io.CopyN(io.Discard, b, int64(maxErrorBytes-len(b.head)))
	return b.head
}

// noList is the message of a 200 that is JSON, but no list.
const noList = "no list"

// decodeAnswer turns an answer into a result. An error object, or a body that is
// not what the endpoint answers, is an error: never an empty list.
func (e call[T]) decodeAnswer(resp *http.Response, body *answerBody, client *Client, c Credentials) (none T, err error) {
	result, err := e.decode(newDecoder(body, c.scrubRow()))
	switch {
	case err == nil:
		return result, nil
	case body.err != nil:
		return none, body.err
	case errors.Is(err, io.ErrUnexpectedEOF) && startsJSON(body.head):
		return none, &brokenError{errors.New("the answer ends in the middle")}
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		err = fmt.Errorf("the answer is not JSON from byte %d on", syntax.ByteOffset)
	}
	answer := client.newError(resp, body.beginning(), c)
	answer.cause = err
	if answer.Message == noList {
		answer.Message = cmp.Or(e.expected, noList) + ": " + clean(err.Error())
	}
	return none, answer
}

func startsJSON(body []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(body), []byte("{"))
}

// newError reads what an answer says about a failure.
func (c *Client) newError(resp *http.Response, body []byte, used Credentials) *Error {
	now, scrub := c.config.Now(), used.scrub()
	e := &Error{
		Service:    c.service,
		StatusCode: resp.StatusCode,
		RequestID:  clean(scrub(cmp.Or(resp.Header.Get("X-Request-Id"), resp.Header.Get(headerTraceID)))),
		Retryable:  retryableStatus(resp.StatusCode),
	}
	var fault errorBody
	if d := newDecoder(bytes.NewReader(body), scrub); isFault(d, &fault) {
		e.Code = clean(cmp.Or(fault.code, fault.nested.code))
		e.Message = clean(cmp.Or(fault.message, fault.nested.message))
		e.Description = clean(fault.description)
		e.RequestID = cmp.Or(e.RequestID, clean(fault.requestID))
	}
	if e.Code == "" && e.Message == "" && e.Description == "" {
		e.Message = clean(scrub(describeBody(resp, body)))
	}
	e.RetryAfter = retryAfter(resp.Header, now)
	e.ClockSkew = clockSkew(e, resp.Header, now)
	return e
}

// isFault reports whether an answer is an error object.
func isFault(d *decoder, fault *errorBody) bool {
	problems, err := d.object(fault)
	return err == nil && len(problems) == 0 && d.end() == nil
}

// retryableStatus reports whether a status may pass by itself.
func retryableStatus(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// describeBody says what an answer without error_code is.
func describeBody(resp *http.Response, body []byte) string {
	trimmed := bytes.TrimSpace(body)
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return describeRedirect(resp.Header.Get("Location"))
	case len(trimmed) == 0:
		return "an empty answer"
	case trimmed[0] == '<':
		return describeHTML(string(trimmed))
	case resp.StatusCode == http.StatusOK:
		return noList
	}
	return string(trimmed)
}

// describeRedirect names only the host: a query may hold secrets.
func describeRedirect(location string) string {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" {
		return "a redirect, which is not followed"
	}
	return "a redirect to " + u.Host + ", which is not followed"
}

// describeHTML shows the title of a page.
func describeHTML(page string) string {
	lower := strings.ToLower(page)
	_, rest, found := strings.Cut(lower, "<title>")
	end := strings.Index(rest, "</title>")
	start := len(page) - len(rest)
	if !found || end < 0 || len(lower) != len(page) {
		return "a page of HTML in place of JSON"
	}
	return "a page of HTML in place of JSON, titled " + strconv.Quote(html.UnescapeString(page[start:start+end]))
}

// clean makes text from elsewhere fit for one line of a log: printable, and
// not longer than maxMessage characters.
func clean(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	runes := []rune(text)
	if len(runes) <= maxMessage {
		return text
	}
	return string(runes[:maxMessage]) + "…"
}

// retryAfter reads Retry-After, in seconds or as a date; 0 if there is none.
// A date is taken against the server's own clock, if the answer shows it.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		const longest = int64(365 * 24 * time.Hour / time.Second)
		return time.Duration(min(max(seconds, 0), longest)) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		now = date
	}
	return max(at.Sub(now), 0)
}

// clockSkew is the difference of the clocks, if the answer blames the date.
func clockSkew(e *Error, header http.Header, now time.Time) time.Duration {
	date, err := http.ParseTime(header.Get("Date"))
	if err != nil || !e.skewed() {
		return 0
	}
	return date.Sub(now).Round(time.Second)
}
