package config

import (
	"net/url"
	"strings"
	"time"
)

func (v *validator) tracing(t Tracing) {
	v.duration("tracing.timeout", t.Timeout, Duration(time.Second), Duration(time.Minute))
	if !(t.SamplingRatio >= 0 && t.SamplingRatio <= 1) { // NaN is neither
		v.failf("tracing.samplingRatio", "must be from 0 to 1, not %v", t.SamplingRatio)
	}
	if t.Endpoint != "" {
		v.collector(t)
		return
	}
	for _, field := range []struct{ name, value string }{{"headersFile", t.HeadersFile}, {"caFile", t.CAFile}} {
		if field.value != "" {
			v.failf("tracing."+field.name, "needs endpoint: without it nothing is sent")
		}
	}
}

// collector checks the address of a collector. What may hold a password is not
// repeated.
func (v *validator) collector(t Tracing) {
	const field = "tracing.endpoint"
	u, err := url.Parse(t.Endpoint)
	switch {
	case err != nil || !isWeb(u):
		v.failf(field, "must be an http:// or https:// address such as http://collector.observability:4318")
	case u.User != nil:
		v.failf(field, "must hold no user and no password: headersFile is for those")
	case u.RawQuery != "" || u.Fragment != "":
		v.failf(field, "must end after the path")
	case strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/v1/traces"):
		v.failf(field, "must be without /v1/traces, which is added")
	case t.HeadersFile != "" && u.Scheme == plain && !isLoopback(u.Hostname()):
		v.failf("tracing.headersFile", "needs an https:// endpoint: headers may hold secrets")
	case t.CAFile != "" && u.Scheme == plain:
		v.failf("tracing.caFile", "needs an https:// endpoint")
	}
}
