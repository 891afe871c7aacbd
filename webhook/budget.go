package webhook

import (
	"net/http"
	"strings"
	"time"
)

// Defaults of Options, and the longest timeoutSeconds that the API server takes.
const (
	DefaultTimeout       = 10 * time.Second
	DefaultTimeoutMargin = 500 * time.Millisecond
	maxTimeout           = 30 * time.Second
)

// budget is the time that may be spent on a review: the API server's timeout,
// which it puts into the URL, less the margin for the way there and back. Of a
// very short timeout at least half is used.
func (o *Options) budget(r *http.Request) time.Duration {
	timeout, err := time.ParseDuration(timeoutOf(r))
	if err != nil || timeout <= 0 {
		timeout = o.DefaultTimeout
	}
	timeout = min(timeout, maxTimeout)
	return max(timeout-o.TimeoutMargin, timeout/2)
}

// timeoutOf is the URL's timeout as it is written. The API server writes
// nothing else into the query, and letters and digits only.
func timeoutOf(r *http.Request) string {
	timeout, ok := strings.CutPrefix(r.URL.RawQuery, "timeout=")
	if ok && !strings.ContainsAny(timeout, "&;%+=") {
		return timeout
	}
	return r.URL.Query().Get("timeout")
}
