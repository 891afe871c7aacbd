package hsstest

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// CutFault begins the true answer and closes the connection halfway, with a
// Content-Length of the whole.
func CutFault() Fault {
	return newFault("cut", func(h *Handler, w http.ResponseWriter, r *http.Request) {
		body := h.record(w, r)
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush() // best effort: the connection is cut next
		panic(http.ErrAbortHandler)
	})
}

// ResetFault answers nothing and resets the connection.
func ResetFault() Fault {
	return newFault("reset", func(_ *Handler, w http.ResponseWriter, _ *http.Request) {
		connection, _, err := http.NewResponseController(w).Hijack()
		if err != nil { // HTTP/2 resets the stream
			panic(http.ErrAbortHandler)
		}
		if tcp, ok := underlying(connection).(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // without it the connection is closed in order
			_ = tcp.Close()
		}
		_ = connection.Close() // already closed if it was TCP
	})
}

func underlying(connection net.Conn) net.Conn {
	if secure, ok := connection.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return connection
}

// HugeFault answers 200 with a valid, empty list in a body of at least n bytes.
func HugeFault(n int64) Fault {
	return newFault("huge", func(_ *Handler, w http.ResponseWriter, _ *http.Request) {
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

// recorder keeps an answer's body for a fault to send.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header             { return r.header }
func (r *recorder) WriteHeader(status int)          { r.status = status }
func (r *recorder) Write(chunk []byte) (int, error) { return r.body.Write(chunk) }

// record writes the true answer's header to w and returns its body.
func (h *Handler) record(w http.ResponseWriter, r *http.Request) []byte {
	answer := &recorder{header: w.Header(), status: http.StatusOK}
	h.answer(answer, r)
	w.Header().Set("Content-Length", strconv.Itoa(answer.body.Len()))
	w.WriteHeader(answer.status)
	return answer.body.Bytes()
}
