package hss

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// The bounds of the reference page.
const (
	// MaxOffset is the largest Offset of a ListRequest, in rows.
	MaxOffset = 2_000_000
	// MaxLimit is the largest Limit of a ListRequest, in rows.
	MaxLimit = 200
	// MaxImageSize is the largest ImageSize of a ListRequest, in bytes.
	MaxImageSize = 2_147_483_547
)

// InvalidRequestError says that a request breaks a bound that the API documents.
// Such a request is never sent: the error tells nothing of how HSS is.
type InvalidRequestError struct {
	// Request says of what kind it is, such as list or vulnerability.
	Request string
	// Problems says of every field that breaks a bound what is wrong with it,
	// each in one line.
	Problems []string
}

// Error says it in one line.
func (e *InvalidRequestError) Error() string {
	return fmt.Sprintf("invalid %s request: %s", e.Request, strings.Join(e.Problems, "; "))
}

// problems gathers what is wrong with a request.
type problems []string

func (p *problems) addf(format string, args ...any) {
	*p = append(*p, fmt.Sprintf(format, args...))
}

// err is an *InvalidRequestError of the problems; nil if there are none.
func (p problems) err(request string) error {
	if len(p) == 0 {
		return nil
	}
	return &InvalidRequestError{Request: request, Problems: p}
}

// Validate checks the request against the bounds that the API documents and
// names every field that breaks one. Lengths are counted in characters.
func (r ListRequest) Validate() error {
	var p problems
	r.validateLengths(&p)
	r.validateValues(&p)
	p.between(paramOffset, int64(r.Offset), 0, MaxOffset)
	if r.Limit != 0 {
		p.between(paramLimit, int64(r.Limit), 1, MaxLimit)
	}
	if r.ImageSize != nil {
		p.between(paramImageSize, *r.ImageSize, 0, MaxImageSize)
	}
	for _, t := range r.timeRanges() {
		t.validate(&p)
	}
	return p.err("list")
}

func (r ListRequest) validateLengths(p *problems) {
	p.lengths([]textField{
		{paramEnterpriseProjectID, r.EnterpriseProjectID, 256},
		{paramNamespace, r.Namespace, 128},
		{paramImageName, r.ImageName, 128},
		{paramImageVersion, r.ImageVersion, 64},
		{paramRegistryName, r.RegistryName, 128},
		{paramInstanceID, r.InstanceID, 128},
		{paramInstanceName, r.InstanceName, 128},
	})
}

// textField is a field of a request, and how many characters it may have.
type textField struct {
	name, value string
	longest     int
}

// lengths checks that the fields are text of at most so many characters.
func (p *problems) lengths(fields []textField) {
	for _, f := range fields {
		if !utf8.ValidString(f.value) {
			p.addf("%s is no valid UTF-8", f.name)
			continue
		}
		if n := utf8.RuneCountInString(f.value); n > f.longest {
			p.addf("%s has %d characters, at most %d are allowed", f.name, n, f.longest)
		}
	}
}

func (r ListRequest) validateValues(p *problems) {
	oneOf(p, paramImageType, r.ImageType,
		ImageTypePrivate, ImageTypeShared, ImageTypeInstance, ImageTypeHarbor, ImageTypeJFrog)
	oneOf(p, paramSortKey, r.SortKey, SortByLatestScanTime)
	oneOf(p, paramSortDir, r.SortDir, SortAscending, SortDescending)
	// The filter has fewer values than the rows that come back.
	oneOf(p, paramScanStatus, r.ScanStatus,
		ScanStatusUnscan, ScanStatusSuccess, ScanStatusScanning, ScanStatusFailed, ScanStatusWaitingForScan)
	oneOf(p, paramSeverity, r.Severity, SeveritySecurity, SeverityLow, SeverityMedium, SeverityHigh)
}

// between checks a number that may be low to high.
func (p *problems) between(name string, n, low, high int64) {
	if n < low || n > high {
		p.addf("%s is %d, allowed are %d to %d", name, n, low, high)
	}
}

// oneOf checks a value that may be empty or one of allowed.
func oneOf[T ~string](p *problems, name string, value T, allowed ...T) {
	if value == "" {
		return
	}
	names := make([]string, 0, len(allowed))
	for _, a := range allowed {
		if value == a {
			return
		}
		names = append(names, string(a))
	}
	p.addf("%s is %s, allowed are %s", name, excerpt([]byte(value)), strings.Join(names, ", "))
}

// validate checks that both ends can be sent and are in order.
func (t timeRange) validate(p *problems) {
	startFits := t.fits(p, t.startName, t.start)
	endFits := t.fits(p, t.endName, t.end)
	if !startFits || !endFits || t.start.IsZero() || t.end.IsZero() {
		return
	}
	if t.start.UnixMilli() > t.end.UnixMilli() {
		p.addf("%s (%s) is after %s (%s)", t.startName, t.start.UTC().Format(time.RFC3339Nano),
			t.endName, t.end.UTC().Format(time.RFC3339Nano))
	}
}

// fits checks that a time is a number of milliseconds from 0 on.
func (t timeRange) fits(p *problems, name string, at time.Time) bool {
	if at.IsZero() || (at.Unix() >= 0 && at.Unix() < math.MaxInt64/1000) {
		return true
	}
	p.addf("%s is %s, allowed are times from 1970-01-01 on", name, at.UTC().Format(time.RFC3339Nano))
	return false
}
