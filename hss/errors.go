package hss

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Error is an answer of HSS, or of the API gateway before it, that is not the
// list that was asked for. Find it with [errors.As].
type Error struct {
	// Service is IAM if it answered a look-up of the project ID; empty: HSS.
	Service string
	// StatusCode is the HTTP status, which may be 200: an answer without a
	// list is an error too.
	StatusCode int
	// Code is error_code, such as HSS.0001, APIGW.0301, APIG.0308 or
	// APIC.0101. It is empty if the answer has none.
	Code string
	// Message is error_msg, or says what the answer was instead. It is short
	// and printable, as is Description, which is error_description.
	Message     string
	Description string
	// RequestID is what Huawei Cloud's support asks for.
	RequestID string
	// Retryable says that the same request may succeed a little later: 429,
	// 502, 503, 504, and 500, which is tried again only once.
	Retryable bool
	// RetryAfter is how long the answer asks to wait; 0: it does not say.
	RetryAfter time.Duration
	// ClockSkew is how far the server's clock is ahead of ours, if the request
	// was refused for its date.
	ClockSkew time.Duration
	// cause is why a 200 could not be decoded.
	cause error
}

// Error says what came back, in one line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s answered %d", e.service(), e.StatusCode)
	if e.Code != "" {
		b.WriteString(" " + e.Code)
	}
	for _, text := range []string{e.Message, e.Description} {
		if text != "" {
			b.WriteString(": " + text)
		}
	}
	if e.RetryAfter != 0 {
		fmt.Fprintf(&b, "; it asks to wait %s", e.RetryAfter)
	}
	if e.ClockSkew != 0 {
		b.WriteString("; " + describeSkew(e.ClockSkew))
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
	return e.StatusCode == http.StatusUnauthorized || e.gatewayCode("0301") || e.skewed()
}

// Forbidden reports whether the request can't succeed before somebody changes a
// right or a setting: the account may not send it, or there is no such API.
func (e *Error) Forbidden() bool {
	return e.StatusCode == http.StatusForbidden || e.Code == "HSS.0010" || e.Code == "HSS.0013" ||
		e.gatewayCode("0302") || e.gatewayCode("0101")
}

// skewed reports whether the request was refused for its date.
func (e *Error) skewed() bool { return e.gatewayCode("0303") }

// gatewayCode reports whether the API gateway, under any of its names, sent
// the number.
func (e *Error) gatewayCode(number string) bool {
	prefix, rest, found := strings.Cut(e.Code, ".")
	if !found || rest != number {
		return false
	}
	switch prefix {
	case "APIGW", "APIG", "APIC":
		return true
	}
	return false
}

// describeSkew says whose clock is ahead.
func describeSkew(skew time.Duration) string {
	if skew < 0 {
		return fmt.Sprintf("the server's clock is %s behind this machine's", -skew)
	}
	return fmt.Sprintf("the server's clock is %s ahead of this machine's", skew)
}

// RefusedError says that HSS, or IAM, refused the credentials and that the
// client sends no request with them until a time, as more than five refused
// signatures in a row lock the access key.
type RefusedError struct {
	// AccessKey is the one that was refused; empty: a token.
	AccessKey string
	// Until is when the client asks again.
	Until time.Time
	// Err is the refusal.
	Err *Error
}

// Error says why nothing is sent and until when.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s refused the credentials, so it is not asked again before %s unless they change: %s",
		e.Err.service(), e.Until.UTC().Format(time.RFC3339), e.Err.Error())
}

// Unwrap returns the refusal.
func (e *RefusedError) Unwrap() error { return e.Err }
