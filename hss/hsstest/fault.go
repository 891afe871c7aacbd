package hsstest

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Fault is one thing that goes wrong, once by default.
type Fault struct {
	times    int      // 0: forever
	endpoint Endpoint // empty: any
	serve    func(h *Handler, w http.ResponseWriter, c *call)
}

// Times makes the fault happen n times, or until [Handler.ClearFaults] if n is 0 or less.
func (f Fault) Times(n int) Fault {
	f.times = max(n, 0)
	return f
}

// ForEndpoint limits the fault to requests of one endpoint.
func (f Fault) ForEndpoint(endpoint Endpoint) Fault {
	f.endpoint = endpoint
	return f
}

// Inject adds faults after those that are still to come. Each request takes the first fault that matches it.
func (h *Handler) Inject(faults ...Fault) {
	h.faulty.Lock()
	defer h.faulty.Unlock()
	h.faults = append(h.faults, faults...)
}

// ClearFaults removes the faults that are still to come.
func (h *Handler) ClearFaults() {
	h.faulty.Lock()
	defer h.faulty.Unlock()
	h.faults = nil
}

func (h *Handler) takeFault(endpoint Endpoint) (Fault, bool) {
	h.faulty.Lock()
	defer h.faulty.Unlock()
	at := slices.IndexFunc(h.faults, func(f Fault) bool { return f.endpoint == "" || f.endpoint == endpoint })
	if at < 0 {
		return Fault{}, false
	}
	fault := h.faults[at]
	switch {
	case fault.times == 1:
		h.faults = slices.Delete(h.faults, at, at+1)
	case fault.times > 1:
		h.faults[at].times--
	}
	return fault, true
}

func once(serve func(h *Handler, w http.ResponseWriter, c *call)) Fault {
	return Fault{times: 1, serve: serve}
}

func errorFault(failed *apiError) Fault {
	return once(func(_ *Handler, w http.ResponseWriter, _ *call) { failed.write(w) })
}

// StatusFault answers with a status and an error of the API gateway.
func StatusFault(status int) Fault {
	return errorFault(gatewayError(status, fmt.Sprintf("APIGW.%04d", status), http.StatusText(status)))
}

// ThrottleFault answers 429 APIGW.0308. retryAfter is optional: seconds, or a date as [http.TimeFormat].
func ThrottleFault(retryAfter string) Fault {
	failed := gatewayError(http.StatusTooManyRequests, codeThrottled, "The throttling threshold has been reached")
	failed.retryAfter = retryAfter
	return errorFault(failed)
}

// ErrorFault answers with a status and an error of HSS. With 200 it looks like a success.
func ErrorFault(status int, code, message string) Fault {
	return errorFault(serviceError(status, code, message, message))
}

// BodyFault answers with a status and a body, such as a proxy's page.
func BodyFault(status int, contentType, body string) Fault {
	return once(func(_ *Handler, w http.ResponseWriter, _ *call) {
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
	return once(func(h *Handler, _ http.ResponseWriter, c *call) {
		select {
		case <-c.Context().Done():
		case <-h.done:
		}
		panic(http.ErrAbortHandler)
	})
}

// SlowFault gives the true response, n bytes at a time with a pause between.
func SlowFault(n int, pause time.Duration) Fault {
	return once(func(h *Handler, w http.ResponseWriter, c *call) {
		for chunk := range slices.Chunk(h.record(w, c), max(n, 1)) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush() // best effort
			h.pause(c.Context(), pause)
		}
	})
}

// CutFault closes the connection halfway through the true response, whose Content-Length is that of the whole.
func CutFault() Fault {
	return once(func(h *Handler, w http.ResponseWriter, c *call) {
		body := h.record(w, c)
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush() // best effort
		panic(http.ErrAbortHandler)
	})
}

// ResetFault resets the connection without a response.
func ResetFault() Fault {
	return once(func(_ *Handler, w http.ResponseWriter, _ *call) {
		connection, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if tcp, ok := connection.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // without it the connection is closed in order
		}
		_ = connection.Close()
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
func (h *Handler) record(w http.ResponseWriter, c *call) []byte {
	answer := &recorder{header: w.Header(), status: http.StatusOK}
	h.answer(answer, c)
	w.Header().Set("Content-Length", strconv.Itoa(answer.Len()))
	w.WriteHeader(answer.status)
	return answer.Bytes()
}
