package hss

import (
	"bytes"
	"cmp"
	"encoding/json"
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
)

// maxErrorBytes bounds what is read of an answer that is no list.
const maxErrorBytes = 64 << 10

// maxMessage bounds a message taken from an answer, in characters.
const maxMessage = 300

// errorBody is the error of HSS (error_description) and of the gateway
// (request_id) in one.
type errorBody struct {
	Code        text `json:"error_code"`
	Message     text `json:"error_msg"`
	Description text `json:"error_description"`
	RequestID   text `json:"request_id"`
	// Nested is the error of IAM.
	Nested json.RawMessage `json:"error"`
}

// nestedError is the error of IAM.
type nestedError struct {
	Code    text `json:"code"`
	Message text `json:"message"`
}

// brokenError is a connection that failed before the answer was complete.
type brokenError struct{ err error }

// Error implements error.
func (e *brokenError) Error() string { return "no complete answer: " + e.err.Error() }

// Unwrap returns the transport's error.
func (e *brokenError) Unwrap() error { return e.err }

// readBody reads at most limit bytes; a longer body is an error.
func readBody(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("the answer has %d bytes, at most %d are read", resp.ContentLength, limit)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, &brokenError{fmt.Errorf("reading the answer: %w", err)}
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("the answer has more than the %d bytes that are read", limit)
	}
	return body, nil
}

// noList is the message of a 200 that is JSON, but no list.
const noList = "no list"

// decodeAnswer turns a complete answer into a result. An error object, or a body
// that is not what the endpoint answers, is an error: never an empty list.
func (e call[T]) decodeAnswer(resp *http.Response, body []byte, client *Client, c Credentials) (none T, err error) {
	result, err := e.decode(body)
	if err == nil {
		return result, nil
	}
	if wasCut(body, err) {
		return none, &brokenError{fmt.Errorf("the answer ends in the middle: %w", err)}
	}
	answer := client.newError(resp, body, c)
	answer.cause = err
	if answer.Message == noList {
		answer.Message = cmp.Or(e.expected, noList) + ": " + clean(c.scrub(err.Error()))
	}
	return none, answer
}

// wasCut reports whether JSON stops before its end. Without a length the
// transport cannot tell.
func wasCut(body []byte, err error) bool {
	var syntax *json.SyntaxError
	return errors.As(err, &syntax) && startsJSON(body) && syntax.Offset >= int64(len(body))
}

func startsJSON(body []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(body), []byte("{"))
}

// newError reads what an answer says about a failure.
func (c *Client) newError(resp *http.Response, body []byte, used Credentials) *Error {
	now := c.config.Now()
	e := &Error{
		Service:    c.service,
		StatusCode: resp.StatusCode,
		RequestID:  clean(cmp.Or(resp.Header.Get("X-Request-Id"), resp.Header.Get(headerTraceID))),
		Retryable:  retryableStatus(resp.StatusCode),
	}
	var fault errorBody
	if err := json.Unmarshal(body, &fault); err == nil {
		var nested nestedError
		_ = json.Unmarshal(fault.Nested, &nested) // it may have any shape
		e.Code = clean(used.scrub(string(cmp.Or(fault.Code, nested.Code))))
		e.Message = clean(used.scrub(string(cmp.Or(fault.Message, nested.Message))))
		e.Description = clean(used.scrub(string(fault.Description)))
		e.RequestID = cmp.Or(e.RequestID, clean(string(fault.RequestID)))
	}
	if e.Code == "" && e.Message == "" && e.Description == "" {
		e.Message = clean(used.scrub(describeBody(resp, body)))
	}
	e.RetryAfter = retryAfter(resp.Header, now)
	e.ClockSkew = clockSkew(e, resp.Header, now)
	return e
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
