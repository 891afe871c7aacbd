package hsstest

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Fault is one thing that goes wrong, once unless Times says otherwise. The
// functions of this package make them.
type Fault struct {
	name  string
	times int // 0: forever
	match func(*http.Request) bool
	serve func(h *Handler, w http.ResponseWriter, r *http.Request)
}

// String names the fault.
func (f Fault) String() string { return f.name }

// Times makes the fault happen n times; 0 or less: until [Handler.ClearFaults].
func (f Fault) Times(n int) Fault {
	f.times = max(n, 0)
	return f
}

// For makes the fault happen only to requests that match, also what earlier
// calls of For, ForImage and ForEndpoint ask for. match must not read the body.
func (f Fault) For(match func(*http.Request) bool) Fault {
	if before := f.match; before != nil {
		f.match = func(r *http.Request) bool { return before(r) && match(r) }
		return f
	}
	f.match = match
	return f
}

// ForImage makes the fault happen only to requests that ask for this
// namespace and image name; an empty one stands for any.
func (f Fault) ForImage(namespace, name string) Fault {
	return f.For(func(r *http.Request) bool {
		q := r.URL.Query()
		return (namespace == "" || q.Get("namespace") == namespace) && (name == "" || q.Get("image_name") == name)
	})
}

// faultQueue holds the faults to come. The zero value is empty.
type faultQueue struct {
	mu     sync.Mutex
	faults []Fault
}

// Inject adds faults behind those that are still to come. Each request meets
// the first fault that matches it.
func (h *Handler) Inject(faults ...Fault) {
	h.faults.mu.Lock()
	defer h.faults.mu.Unlock()
	h.faults.faults = append(h.faults.faults, faults...)
}

// ClearFaults forgets the faults that are still to come.
func (h *Handler) ClearFaults() {
	h.faults.mu.Lock()
	defer h.faults.mu.Unlock()
	h.faults.faults = nil
}

// PendingFaults counts the faults in the queue, each once however often it
// is still to happen.
func (h *Handler) PendingFaults() int {
	h.faults.mu.Lock()
	defer h.faults.mu.Unlock()
	return len(h.faults.faults)
}

// take returns the fault that r meets.
func (q *faultQueue) take(r *http.Request) (Fault, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := slices.IndexFunc(q.faults, func(f Fault) bool { return f.match == nil || f.match(r) })
	if at < 0 {
		return Fault{}, false
	}
	fault := q.faults[at]
	switch fault.times {
	case 0:
	case 1:
		q.faults = slices.Delete(q.faults, at, at+1)
	default:
		q.faults[at].times--
	}
	return fault, true
}

// newFault is a fault that happens once.
func newFault(name string, serve func(h *Handler, w http.ResponseWriter, r *http.Request)) Fault {
	return Fault{name: name, times: 1, serve: serve}
}

// StatusFault answers with a status and an error of the API gateway.
func StatusFault(status int) Fault {
	return newFault(fmt.Sprintf("status %d", status), func(_ *Handler, w http.ResponseWriter, _ *http.Request) {
		fromGateway(status, fmt.Sprintf("APIGW.%04d", status), http.StatusText(status)).
			write(w, w.Header().Get("X-Request-Id"))
	})
}

// ThrottleFault answers 429 APIGW.0308 with a Retry-After header: a number of
// seconds, a date as [http.TimeFormat], or none if empty.
func ThrottleFault(retryAfter string) Fault {
	return newFault("throttle", func(_ *Handler, w http.ResponseWriter, _ *http.Request) {
		refused := fromGateway(http.StatusTooManyRequests, codeThrottled, "The throttling threshold has been reached")
		if retryAfter != "" {
			refused.header = map[string]string{"Retry-After": retryAfter}
		}
		refused.write(w, w.Header().Get("X-Request-Id"))
	})
}

// ErrorFault answers with a status and an error of HSS in the body; with 200
// it is an error that looks like success.
func ErrorFault(status int, code, message string) Fault {
	return newFault("error", func(_ *Handler, w http.ResponseWriter, _ *http.Request) {
		refused := fromService(code, message, message)
		refused.status = status
		refused.write(w, "")
	})
}

// BodyFault answers with a status and a body, such as a proxy's page or JSON
// that isn't.
func BodyFault(status int, contentType, body string) Fault {
	return newFault("body", func(_ *Handler, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

// HTMLFault answers with a status and a page, as a load balancer does.
func HTMLFault(status int) Fault {
	page := fmt.Sprintf("<html>\r\n<head><title>%d %s</title></head>\r\n<body>\r\n<center><h1>%[1]d %[2]s</h1></center>\r\n</body>\r\n</html>\r\n",
		status, http.StatusText(status))
	return BodyFault(status, "text/html", page)
}

// EmptyFault answers 200 with an empty body.
func EmptyFault() Fault { return BodyFault(http.StatusOK, "application/json", "") }

// NoDataListFault answers 200 with a count and no data_list.
func NoDataListFault() Fault {
	return BodyFault(http.StatusOK, "application/json", `{"total_num":0}`)
}

// GarbageFault answers 200 with JSON that breaks off and goes wrong.
func GarbageFault() Fault {
	return BodyFault(http.StatusOK, "application/json", `{"total_num":1,"data_list":[{"id":]}`+"\x00\xff")
}

// HangFault answers nothing until the client leaves or the server closes.
func HangFault() Fault {
	return newFault("hang", func(h *Handler, _ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-h.done:
		}
		panic(http.ErrAbortHandler)
	})
}

// SlowFault gives the true answer, n bytes at a time with a pause between.
func SlowFault(n int, pause time.Duration) Fault {
	return newFault("slow", func(h *Handler, w http.ResponseWriter, r *http.Request) {
		body := h.record(w, r)
		for chunk := range slices.Chunk(body, max(n, 1)) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush() // best effort: it only makes the drip visible
			h.pause(r.Context(), pause)
		}
	})
}
