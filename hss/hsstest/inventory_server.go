package hsstest

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// credentialFields are the fields of a credential.
func credentialFields() map[string]setter[Credential] {
	return map[string]setter[Credential]{
		"access_key":     text(1, 128, func(c *Credential) *string { return &c.AccessKey }),
		"secret_key":     secret(func(c *Credential) *string { return &c.SecretKey }),
		"security_token": secret(func(c *Credential) *string { return &c.SecurityToken }),
		"projects":       texts(1, 64, func(c *Credential) *[]string { return &c.Projects }),
	}
}

func finishCredential(c *Credential) error {
	if c.AccessKey == "" || c.SecretKey == "" {
		return errors.New(`fields "access_key" and "secret_key" are both needed`)
	}
	return nil
}

// faultSpec is a fault as a file gives it.
type faultSpec struct {
	kind       string
	status     int
	times      int
	timesGiven bool
	retryAfter string
	bytes      int64
	pause      string
	namespace  string
	imageName  string
	endpoint   string
	fault      Fault
}

// faultFields are the fields of a fault.
func faultFields() map[string]setter[faultSpec] {
	return map[string]setter[faultSpec]{
		"kind":         choice(FaultKinds(), func(f *faultSpec) *string { return &f.kind }),
		"status":       integer(200, 599, func(f *faultSpec, n int64) { f.status = int(n) }),
		"times":        integer(0, 1<<31-1, func(f *faultSpec, n int64) { f.times, f.timesGiven = int(n), true }),
		"retry_after":  text(0, 64, func(f *faultSpec) *string { return &f.retryAfter }),
		"bytes":        integer(1, 1<<40, func(f *faultSpec, n int64) { f.bytes = n }),
		"pause":        text(1, 32, func(f *faultSpec) *string { return &f.pause }),
		fieldNamespace: text(1, 128, func(f *faultSpec) *string { return &f.namespace }),
		fieldImageName: text(1, 128, func(f *faultSpec) *string { return &f.imageName }),
		"endpoint":     choice(endpointNames(), func(f *faultSpec) *string { return &f.endpoint }),
	}
}

// FaultKinds lists the kinds of faults that an inventory file can name:
//
//	cut, empty, garbage, hang, no_data_list, reset
//	error     status (default 200): an error of HSS in the body
//	html      status (default 502): a load balancer's page
//	huge      bytes (default 1 GiB)
//	slow      bytes (default 1) at a time with a pause (default 100ms)
//	status    status (default 503): an error of the API gateway
//	throttle  retry_after: seconds in quotes, or a date; default: not sent
//
// Every kind takes times (default 1; 0: forever), endpoint, and namespace and
// image_name, which limit it to requests of that [Endpoint] and for that image.
func FaultKinds() []string { return slices.Sorted(maps.Keys(faultMakers())) }

func faultMakers() map[string]func(f *faultSpec, pause time.Duration) Fault {
	plain := func(fault func() Fault) func(*faultSpec, time.Duration) Fault {
		return func(*faultSpec, time.Duration) Fault { return fault() }
	}
	return map[string]func(*faultSpec, time.Duration) Fault{
		"cut": plain(CutFault), "empty": plain(EmptyFault), "garbage": plain(GarbageFault),
		"hang": plain(HangFault), "no_data_list": plain(NoDataListFault), "reset": plain(ResetFault),
		"error": func(f *faultSpec, _ time.Duration) Fault {
			return ErrorFault(orDefault(f.status, http.StatusOK), "HSS.0011", "Not found.")
		},
		"html": func(f *faultSpec, _ time.Duration) Fault {
			return HTMLFault(orDefault(f.status, http.StatusBadGateway))
		},
		"huge": func(f *faultSpec, _ time.Duration) Fault { return HugeFault(orDefault(f.bytes, 1<<30)) },
		"slow": func(f *faultSpec, pause time.Duration) Fault { return SlowFault(int(orDefault(f.bytes, 1)), pause) },
		"status": func(f *faultSpec, _ time.Duration) Fault {
			return StatusFault(orDefault(f.status, http.StatusServiceUnavailable))
		},
		"throttle": func(f *faultSpec, _ time.Duration) Fault { return ThrottleFault(f.retryAfter) },
	}
}

func orDefault[N int | int64](n, fallback N) N {
	if n == 0 {
		return fallback
	}
	return n
}

// finishFault makes the fault of what the file says.
func finishFault(f *faultSpec) error {
	maker, ok := faultMakers()[f.kind]
	if !ok {
		return errors.New(`field "kind" is missing`)
	}
	setDefault(&f.pause, "100ms")
	pause, err := time.ParseDuration(f.pause)
	if err != nil || pause < 0 {
		return fmt.Errorf("field \"pause\" is %q, allowed: a duration such as 100ms", f.pause)
	}
	if err := checkRetryAfter(f.retryAfter); err != nil {
		return err
	}
	f.fault = maker(f, pause)
	if f.timesGiven {
		f.fault = f.fault.Times(f.times)
	}
	if f.namespace != "" || f.imageName != "" {
		f.fault = f.fault.ForImage(f.namespace, f.imageName)
	}
	if f.endpoint != "" {
		f.fault = f.fault.ForEndpoint(Endpoint(f.endpoint))
	}
	return nil
}

// checkRetryAfter keeps what is no header value out of the header.
func checkRetryAfter(value string) error {
	if value == "" {
		return nil
	}
	_, secondsErr := strconv.ParseUint(value, 10, 31)
	_, dateErr := http.ParseTime(value)
	if secondsErr != nil && dateErr != nil {
		return fmt.Errorf("field \"retry_after\" is %q, allowed: seconds, or a date such as %q", value, http.TimeFormat)
	}
	return nil
}
