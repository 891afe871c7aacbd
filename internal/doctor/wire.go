package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hssgate/hssgate/hss/replay"
)

const (
	// maxCalls bounds the requests of one run, and maxTime its time.
	maxCalls = 100
	maxTime  = time.Minute
	// maxBody bounds one answer, and maxKept those of a record.
	maxBody = 16 << 20
	maxKept = 64 << 20
)

var (
	errOutOfCalls = fmt.Errorf("doctor makes at most %d calls for all projects together, and those of this one were made", maxCalls)
	errRefused    = errors.New("the credentials were refused before; more than five refusals lock an access key, so doctor sends nothing more")
)

// wire sends requests, bounds and counts them, and keeps the answers. It sends only GETs, one after the other, and the POSTs by which
// IAM exchanges a token for keys, which are not kept.
type wire struct {
	base http.RoundTripper
	// stop ends the project's checks.
	stop context.CancelCauseFunc
	// sent is called before each GET.
	sent    func()
	most    int
	calls   atomic.Int32
	refused atomic.Bool

	// body is that of the last answer.
	body []byte
	// skew is how far the server's clock was ahead of this machine's; nil: no answer had a date.
	skew *time.Duration
	// kept are the answers for a record, if there is to be one: for them there is so much room.
	kept []replay.Exchange
	room int
}

// RoundTrip is http.RoundTripper's.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	exchange := r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/v3.0/OS-")
	var err error
	switch {
	case r.Method != http.MethodGet && !exchange:
		err = fmt.Errorf("doctor only reads: it does not send %s %s", r.Method, r.URL.Path)
	case w.refused.Load():
		err = errRefused
	case int(w.calls.Load()) >= w.most:
		err = errOutOfCalls
	}
	if err != nil {
		w.stop(err)
		return nil, err
	}
	w.calls.Add(1)
	if exchange {
		return w.base.RoundTrip(r)
	}
	w.sent()
	sent := time.Now()
	response, err := w.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	w.body, err = io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	_ = response.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	response.Body = io.NopCloser(bytes.NewReader(w.body))
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		w.skew = new(date.Sub(sent.Add(time.Since(sent) / 2)))
	}
	w.refused.Store(response.StatusCode == http.StatusUnauthorized)
	if w.room -= len(w.body); w.room >= 0 {
		w.kept = append(w.kept, replay.Exchange{Request: replay.Key(r), Status: response.StatusCode, JSON: w.body})
	}
	return response, nil
}
