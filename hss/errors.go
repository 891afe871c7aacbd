package hss

import (
	"cmp"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Error is an answer of HSS, or of the API gateway before it, that is not what was requested. Find it with [errors.As].
type Error struct {
	// Service is IAM if it answered a look-up of the project ID; empty: HSS.
	Service string
	// StatusCode is the HTTP status, which may be 200: an answer without a list is an error too.
	StatusCode int
	// Code is error_code, such as HSS.0001, APIGW.0301, APIG.0308 or APIC.0101. It is empty if the answer has none.
	Code string
	// Message is error_msg with error_description, or the beginning of the body if it has neither. It is short,
	// printable and without secrets.
	Message string
	// RequestID is what Huawei Cloud's support needs.
	RequestID string
	// Retryable reports whether the same request may succeed a little later: 429, 502, 503, 504, and 500, which is
	// retried only once.
	Retryable bool
	// RetryAfter is the answer's Retry-After; 0: none.
	RetryAfter time.Duration
	// ClockSkew is how far the server's clock is ahead of ours, if the request was refused for its date.
	ClockSkew time.Duration
	// cause is why a 200 could not be decoded.
	cause error
}

// Error describes the answer in one line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s answered %d", e.service(), e.StatusCode)
	if e.Code != "" {
		b.WriteString(" " + e.Code)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.RetryAfter != 0 {
		fmt.Fprintf(&b, "; retry after %s", e.RetryAfter)
	}
	if e.ClockSkew < 0 {
		fmt.Fprintf(&b, "; the server's clock is %s behind this machine's", -e.ClockSkew)
	} else if e.ClockSkew > 0 {
		fmt.Fprintf(&b, "; the server's clock is %s ahead of this machine's", e.ClockSkew)
	}
	if e.RequestID != "" {
		b.WriteString(" (request " + e.RequestID + ")")
	}
	return b.String()
}

func (e *Error) service() string { return cmp.Or(e.Service, "HSS") }

// Unwrap returns why a 200 could not be decoded, if that is the error.
func (e *Error) Unwrap() error { return e.cause }

// Unauthenticated reports whether the signature or token was refused.
func (e *Error) Unauthenticated() bool {
	return e.StatusCode == http.StatusUnauthorized || e.isGatewayCode("0301") || e.isSkewed()
}

// Forbidden reports whether the request cannot succeed before somebody changes a permission or a setting: the account
// may not send it, or there is no such API.
func (e *Error) Forbidden() bool {
	return e.StatusCode == http.StatusForbidden || e.Code == "HSS.0010" || e.Code == "HSS.0013" ||
		e.isGatewayCode("0302") || e.isGatewayCode("0101")
}

// isSkewed reports whether the request was refused for its date.
func (e *Error) isSkewed() bool { return e.isGatewayCode("0303") }

// isGatewayCode reports whether the code is that of the API gateway, under any of its names.
func (e *Error) isGatewayCode(number string) bool {
	return e.Code == "APIGW."+number || e.Code == "APIG."+number || e.Code == "APIC."+number
}

// refuses reports whether the answer confirms that nothing was done.
func (e *Error) refuses() bool {
	if e.StatusCode == http.StatusRequestTimeout {
		return false
	}
	return e.StatusCode >= 400 && e.StatusCode < 500 || isAccepted(e.StatusCode) && e.Code != ""
}

// RefusedError reports that HSS, or IAM, refused the credentials, and that the client sends no request with them until
// a time, as more than five refused signatures in a row lock the access key.
type RefusedError struct {
	// AccessKey is the one that was refused; empty: a token.
	AccessKey string
	// ServiceAccount describes the token that IAM refused to exchange for keys, without its secret part; empty: other
	// credentials were refused.
	ServiceAccount string
	// Until is when the client sends requests again.
	Until time.Time
	// Err is the refusal.
	Err *Error
}

// Error describes the refusal and when the pause ends.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s refused %s, so nothing is sent before %s unless they change: %s",
		e.Err.service(), cmp.Or(e.ServiceAccount, "the credentials"), e.Until.UTC().Format(time.RFC3339), e.Err.Error())
}

// Unwrap returns the refusal.
func (e *RefusedError) Unwrap() error { return e.Err }

// newError reads an answer that is a failure: cause is why a 200 could not be decoded. HSS has an error_description, the
// gateway a request_id, IAM an error object.
func (c *Client) newError(response *http.Response, body []byte, scrub func(string) string, cause error) *Error {
	now := time.Now()
	e := &Error{
		Service:    c.service,
		StatusCode: response.StatusCode,
		RequestID:  clean(scrub(cmp.Or(response.Header.Get("X-Request-Id"), response.Header.Get("X-IAM-Trace-Id")))),
		Retryable:  slices.Contains([]int{429, 500, 502, 503, 504}, response.StatusCode),
		RetryAfter: retryAfter(response.Header, now),
		cause:      cause,
	}
	if answer, err := parse(body, scrub); err == nil {
		e.Code, e.Message = clean(answer.prose("error_code")), clean(answer.prose("error_msg"))
		if description := clean(answer.prose("error_description")); description != "" {
			e.Message = strings.TrimPrefix(e.Message+": "+description, ": ")
		}
		e.RequestID = cmp.Or(e.RequestID, clean(answer.prose("request_id")))
		if inner := answer.value("error"); inner.Kind() == '{' {
			iam := newObject(inner, scrub, nil)
			e.Code, e.Message = clean(iam.prose("code")), clean(iam.prose("message"))
		}
		if len(answer.problems) > 0 {
			e.Code, e.Message = "", ""
		}
	}
	if e.Code == "" && e.Message == "" {
		e.Message = clean(scrub(describeBody(response, body, cause)))
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil && e.isSkewed() {
		e.ClockSkew = date.Sub(now).Round(time.Second)
	}
	return e
}

// describeBody describes an answer without an error_code.
func describeBody(response *http.Response, body []byte, cause error) string {
	text := strings.TrimSpace(string(body))
	switch {
	case response.StatusCode >= 300 && response.StatusCode < 400:
		// Only the host: a query may hold secrets.
		if u, err := url.Parse(response.Header.Get("Location")); err == nil && u.Host != "" {
			return "a redirect to " + u.Host + ", which is not followed"
		}
		return "a redirect, which is not followed"
	case text == "":
		return "an empty answer"
	case text[0] == '<':
		return describeHTML(text)
	case cause != nil:
		return cause.Error()
	}
	return text
}

func describeHTML(page string) string {
	const plain = "a page of HTML in place of JSON"
	title := regexp.MustCompile(`(?is)<title>(.*?)</title>`).FindStringSubmatch(page)
	if title == nil {
		return plain
	}
	return plain + ", titled " + strconv.Quote(html.UnescapeString(title[1]))
}

// maxMessage bounds a text taken from an answer, in characters.
const maxMessage = 300

// clean makes a text from outside fit for one line of a log: printable and short.
func clean(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if runes := []rune(text); len(runes) > maxMessage {
		return string(runes[:maxMessage]) + "…"
	}
	return text
}

// retryAfter reads Retry-After, in seconds or as a date; 0 if there is none. A date is compared with the server's own
// clock, if the answer shows it.
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

// hiddenError is an error whose text held a secret.
type hiddenError struct {
	text string
	err  error
}

func (e *hiddenError) Error() string { return e.text }

func (e *hiddenError) Unwrap() error { return e.err }

func hideSecrets(err error, scrub func(string) string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if scrubbed := scrub(text); scrubbed != text {
		return &hiddenError{scrubbed, err}
	}
	return err
}
