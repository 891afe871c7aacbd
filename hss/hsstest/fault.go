package hsstest

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// Fault is one thing that goes wrong, once by default.
type Fault struct {
	times int // 0: forever
	match []func(*http.Request) bool
	serve func(h *Handler, w http.ResponseWriter, r *http.Request)
}

// Times makes the fault happen n times, or until [Handler.ClearFaults] if n is 0 or less.
func (f Fault) Times(n int) Fault {
	f.times = max(n, 0)
	return f
}

// For limits the fault to requests that match, in addition to earlier limits. match must not read the body.
func (f Fault) For(match func(*http.Request) bool) Fault {
	f.match = append(slices.Clone(f.match), match)
	return f
}

// ForImage limits the fault to requests for a namespace and an image name. An empty one stands for any.
func (f Fault) ForImage(namespace, name string) Fault {
	return f.For(func(r *http.Request) bool {
		q := r.URL.Query()
		return (namespace == "" || q.Get(fieldNamespace) == namespace) && (name == "" || q.Get(fieldImageName) == name)
	})
}

// ForEndpoint limits the fault to requests of one endpoint. An empty one stands for any.
func (f Fault) ForEndpoint(endpoint Endpoint) Fault {
	return f.For(func(r *http.Request) bool { return endpoint == "" || route(r).endpoint == endpoint })
}

func (f Fault) matches(r *http.Request) bool {
	return !slices.ContainsFunc(f.match, func(match func(*http.Request) bool) bool { return !match(r) })
}

// faultQueue holds the faults to come.
type faultQueue struct {
	mu     sync.Mutex
	faults []Fault
}

// Inject adds faults after those that are still to come. Each request takes the first fault that matches it.
func (h *Handler) Inject(faults ...Fault) {
	h.faults.mu.Lock()
	defer h.faults.mu.Unlock()
	h.faults.faults = append(h.faults.faults, faults...)
}

// ClearFaults removes the faults that are still to come.
func (h *Handler) ClearFaults() {
	h.faults.mu.Lock()
	defer h.faults.mu.Unlock()
	h.faults.faults = nil
}

func (q *faultQueue) take(r *http.Request) (Fault, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := slices.IndexFunc(q.faults, func(f Fault) bool { return f.matches(r) })
	if at < 0 {
		return Fault{}, false
	}
	fault := q.faults[at]
	switch {
	case fault.times == 1:
		q.faults = slices.Delete(q.faults, at, at+1)
	case fault.times > 1:
		q.faults[at].times--
	}
	return fault, true
}

// faultKinds makes the faults of inventory files by their kind.
var faultKinds = map[string]func(*inventoryfile.Fault) Fault{
	"cut":          func(*inventoryfile.Fault) Fault { return CutFault() },
	"empty":        func(*inventoryfile.Fault) Fault { return EmptyFault() },
	"garbage":      func(*inventoryfile.Fault) Fault { return GarbageFault() },
	"hang":         func(*inventoryfile.Fault) Fault { return HangFault() },
	"no_data_list": func(*inventoryfile.Fault) Fault { return NoDataListFault() },
	"reset":        func(*inventoryfile.Fault) Fault { return ResetFault() },
	"throttle":     func(f *inventoryfile.Fault) Fault { return ThrottleFault(f.RetryAfter) },
	"html":         func(f *inventoryfile.Fault) Fault { return HTMLFault(cmp.Or(f.Status, http.StatusBadGateway)) },
	"status": func(f *inventoryfile.Fault) Fault {
		return StatusFault(cmp.Or(f.Status, http.StatusServiceUnavailable))
	},
	"huge": func(f *inventoryfile.Fault) Fault { return HugeFault(cmp.Or(f.Bytes, 1<<30)) },
	"error": func(f *inventoryfile.Fault) Fault {
		return ErrorFault(cmp.Or(f.Status, http.StatusOK), codeNotFound, "Not found.")
	},
	"slow": func(f *inventoryfile.Fault) Fault {
		return SlowFault(int(cmp.Or(f.Bytes, 1)), cmp.Or(f.Pause, 100*time.Millisecond))
	},
}

func faultOf(f *inventoryfile.Fault) Fault {
	fault := faultKinds[f.Kind](f).ForImage(f.Namespace, f.ImageName).ForEndpoint(Endpoint(f.Endpoint))
	if f.Times != nil {
		fault = fault.Times(*f.Times)
	}
	return fault
}

func once(serve func(h *Handler, w http.ResponseWriter, r *http.Request)) Fault {
	return Fault{times: 1, serve: serve}
}

func errorFault(failed func() *apiError) Fault {
	return once(func(_ *Handler, w http.ResponseWriter, _ *http.Request) { failed().write(w) })
}

// StatusFault answers with a status and an error of the API gateway.
func StatusFault(status int) Fault {
	return errorFault(func() *apiError {
		return gatewayError(status, fmt.Sprintf("APIGW.%04d", status), http.StatusText(status))
	})
}

// ThrottleFault answers 429 APIGW.0308. retryAfter is optional: seconds, or a date as [http.TimeFormat].
func ThrottleFault(retryAfter string) Fault {
	return errorFault(func() *apiError {
		failed := throttled(0)
		failed.retryAfter = retryAfter
		return failed
	})
}

// ErrorFault answers with a status and an error of HSS. With 200 it looks like a success.
func ErrorFault(status int, code, message string) Fault {
	return errorFault(func() *apiError { return serviceError(status, code, message, message) })
}

// BodyFault answers with a status and a body, such as a proxy's page.
func BodyFault(status int, contentType, body string) Fault {
	return once(func(_ *Handler, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

// HTMLFault answers with a status and a page, as a load balancer does.
func HTMLFault(status int) Fault {
	title := fmt.Sprintf("%d %s", status, http.StatusText(status))
	return BodyFault(status, "text/html",
		"<html>\r\n<head><title>"+title+"</title></head>\r\n<body>\r\n<center><h1>"+title+"</h1></center>\r\n</body>\r\n</html>\r\n")
}

// EmptyFault answers 200 with an empty body.
func EmptyFault() Fault { return BodyFault(http.StatusOK, "application/json", "") }

// NoDataListFault answers 200 with a count and no data_list.
func NoDataListFault() Fault {
	return BodyFault(http.StatusOK, "application/json", `{"total_num":0}`)
}

// GarbageFault answers 200 with broken JSON.
func GarbageFault() Fault {
	return BodyFault(http.StatusOK, "application/json", `{"total_num":1,"data_list":[{"id":]}`+"\x00\xff")
}

// HangFault answers nothing until the client leaves or the server closes.
func HangFault() Fault {
	return once(func(h *Handler, _ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-h.done:
		}
		panic(http.ErrAbortHandler)
	})
}

// SlowFault gives the true response, n bytes at a time with a pause between.
func SlowFault(n int, pause time.Duration) Fault {
	return once(func(h *Handler, w http.ResponseWriter, r *http.Request) {
		for chunk := range slices.Chunk(h.record(w, r), max(n, 1)) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush() // best effort
			h.pause(r.Context(), pause)
		}
	})
}

// CutFault closes the connection halfway through the true response, whose Content-Length is that of the whole.
func CutFault() Fault {
	return once(func(h *Handler, w http.ResponseWriter, r *http.Request) {
		body := h.record(w, r)
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush() // best effort
		panic(http.ErrAbortHandler)
	})
}

// ResetFault resets the connection without a response.
func ResetFault() Fault {
	return once(func(_ *Handler, w http.ResponseWriter, _ *http.Request) {
		connection, _, err := http.NewResponseController(w).Hijack()
		if err != nil { // HTTP/2 resets the stream
			panic(http.ErrAbortHandler)
		}
		if secure, ok := connection.(*tls.Conn); ok {
			connection = secure.NetConn()
		}
		if tcp, ok := connection.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // without it the connection is closed in order
		}
		_ = connection.Close()
	})
}

// HugeFault answers 200 with a valid, empty list in a body of at least n bytes.
func HugeFault(n int64) Fault {
	return once(func(_ *Handler, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		padding := []byte(strings.Repeat("x", 1<<16))
		_, err := w.Write([]byte(`{"padding":"`))
		for sent := int64(0); sent < n && err == nil; sent += int64(len(padding)) {
			_, err = w.Write(padding)
		}
		if err == nil {
			_, _ = w.Write([]byte(`","total_num":0,"data_list":[]}`))
		}
	})
}

// recorder keeps the body of a response.
type recorder struct {
	bytes.Buffer

	header http.Header
	status int
}

func (r *recorder) Header() http.Header    { return r.header }
func (r *recorder) WriteHeader(status int) { r.status = status }

// record writes the header of the true response to w and returns its body.
func (h *Handler) record(w http.ResponseWriter, r *http.Request) []byte {
	answer := &recorder{header: w.Header(), status: http.StatusOK}
	h.answer(answer, r)
	w.Header().Set("Content-Length", strconv.Itoa(answer.Len()))
	w.WriteHeader(answer.status)
	return answer.Bytes()
}
