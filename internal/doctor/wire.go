package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
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

// wire sends requests, bounds and counts them, and keeps the answers. It sends only GETs, and the POSTs by which IAM exchanges a
// token for keys, which are not kept.
type wire struct {
	base http.RoundTripper
	// stop ends the project's checks.
	stop context.CancelCauseFunc
	// sent is called before each request, of which there may be so many.
	sent func()
	most int

	mu      sync.Mutex
	refused bool
	last    answer
	// keep says that answers are kept for a record. They have so many bytes.
	keep  bool
	kept  []answer
	bytes int
}

// answer is one answer with its request.
type answer struct {
	request *http.Request
	status  int
	header  http.Header
	body    []byte
	// skew is how far the server's clock was ahead of this machine's; known only if the answer has a date.
	skew  time.Duration
	dated bool
}

// RoundTrip is http.RoundTripper's.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	exchange := r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/v3.0/OS-")
	w.mu.Lock()
	refused := w.refused
	w.most--
	spent := w.most < 0
	w.mu.Unlock()
	var err error
	switch {
	case r.Method != http.MethodGet && !exchange:
		err = fmt.Errorf("doctor only reads: it does not send %s %s", r.Method, r.URL.Path)
	case refused:
		err = errRefused
	case spent:
		err = errOutOfCalls
	}
	if err != nil {
		w.stop(err)
		return nil, err
	}
	w.sent()
	sent := time.Now()
	response, err := w.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if exchange {
		return response, nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	_ = response.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	a := answer{request: r, status: response.StatusCode, header: response.Header, body: body}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		a.skew, a.dated = date.Sub(sent.Add(time.Since(sent)/2)), true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = a
	w.refused = w.refused || response.StatusCode == http.StatusUnauthorized
	if w.keep && w.bytes+len(body) <= maxKept {
		w.kept, w.bytes = append(w.kept, a), w.bytes+len(body)
	}
	return response, nil
}

// forget forgets the last answer, since the next request may get none.
func (w *wire) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = answer{}
}

// latest returns the last answer.
func (w *wire) latest() answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// page returns the last answer as a page of a list. It is empty if it is none.
func (w *wire) page() (p page) {
	_ = json.Unmarshal(w.latest().body, &p.row)
	p.rows = p.list("data_list")
	return p
}

// exchanges returns the answers for a record.
func (w *wire) exchanges() (all []replay.Exchange) {
	for _, a := range w.kept {
		e := replay.Exchange{Request: replay.Key(a.request), Status: a.status, Header: map[string]string{}, JSON: a.body}
		for _, name := range []string{"Content-Type", "Retry-After"} {
			if value := a.header.Get(name); value != "" {
				e.Header[name] = value
			}
		}
		all = append(all, e)
	}
	return all
}
