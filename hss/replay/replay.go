// Package replay holds the record of a conversation with HSS that "hssgate doctor --record" writes, and serves it again.
// A record is anonymised before it gets here; see package doctor.
package replay

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Version is the version of the format.
const Version = "hssgate.io/record/v1"

// maxBytes bounds a record.
const maxBytes = 256 << 20

// Record is a conversation, in the order of its requests.
type Record struct {
	Version string `json:"version"`
	// Hssgate is the version of hssgate that wrote it.
	Hssgate string `json:"hssgate"`
	// Time is when it was written. Every time of the record is moved by the same distance.
	Time      time.Time  `json:"time"`
	Exchanges []Exchange `json:"exchanges"`
}

// Exchange is one request with its answer.
type Exchange struct {
	// Request is what Key returns.
	Request string            `json:"request"`
	Status  int               `json:"status"`
	Header  map[string]string `json:"header,omitempty"`
	// JSON is the body, or Text if that is something else.
	JSON json.RawMessage `json:"json,omitempty"`
	Text string          `json:"text,omitempty"`
}

// Key returns the method, the path without the ID of the project, and the sorted query of a request.
func Key(r *http.Request) string {
	path := regexp.MustCompile(`^/v5/[^/]+`).ReplaceAllString(r.URL.EscapedPath(), "/v5/{project_id}")
	return strings.TrimSuffix(r.Method+" "+path+"?"+r.URL.Query().Encode(), "?")
}

// Load reads a record.
func Load(path string) (*Record, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	r := &Record{}
	switch err := json.Unmarshal(data[:min(len(data), maxBytes)], r); {
	case err != nil:
		return nil, fmt.Errorf("record %s: %w", path, err)
	case r.Version != Version:
		return nil, fmt.Errorf("record %s: version is %.80q, allowed: %s, which hssgate doctor --record writes", path, r.Version, Version)
	}
	return r, nil
}

// Handler serves a record. The same request gets its answers in the order in which they were recorded, and then from the
// first again. Credentials and project IDs are not checked.
func (r *Record) Handler() http.Handler {
	var mu sync.Mutex
	answers, served, since := map[string][]*Exchange{}, map[string]int{}, time.Since(r.Time).Milliseconds()
	for i := range r.Exchanges {
		e := &r.Exchanges[i]
		e.JSON = shift(e.JSON, since)
		answers[e.Request] = append(answers[e.Request], e)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		key := Key(q)
		mu.Lock()
		known, n := answers[key], served[key]
		served[key]++
		mu.Unlock()
		if len(known) == 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(map[string]string{"error_code": "REPLAY.0404", "error_msg": "the record holds no answer to " + key})
			return
		}
		e := known[n%len(known)]
		for name, value := range e.Header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(e.Status)
		_, _ = w.Write(append(e.JSON, e.Text...)) // an error means that the client has left
	})
}

// shift moves the times of a body, which are in milliseconds or seconds, as if it had been recorded now.
func shift(body json.RawMessage, by int64) json.RawMessage {
	const firstSeconds, firstMillis = 200_000_000, 50_000_000_000 // of recorded times
	return regexp.MustCompile(`_time"\s*:\s*"?\d{9,14}\b`).ReplaceAllFunc(body, func(field []byte) []byte {
		digits := regexp.MustCompile(`\d+$`).FindIndex(field)[0]
		at, _ := strconv.ParseInt(string(field[digits:]), 10, 64) // of at most 14 digits
		switch {
		case at >= firstMillis:
			at += by
		case at >= firstSeconds:
			at += by / 1000
		}
		return strconv.AppendInt(field[:digits:digits], at, 10)
	})
}
