// Package replay holds the record of a conversation with HSS that "hssgate doctor --record" writes, and serves it again.
// A record is anonymised before it gets here; see package doctor.
package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Version is the version of the format.
const Version = "hssgate.io/record/v1"

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
	Request string `json:"request"`
	Status  int    `json:"status"`
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
	switch err := json.Unmarshal(data, r); {
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
	answers, since := map[string][]*Exchange{}, time.Since(r.Time)
	for i := range r.Exchanges {
		e := &r.Exchanges[i]
		e.JSON = Move(e.JSON, since)
		answers[e.Request] = append(answers[e.Request], e)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		known := answers[Key(q)]
		if len(known) > 0 {
			answers[Key(q)] = append(known[1:], known[0])
		} else {
			body, _ := json.Marshal(map[string]string{"error_code": "REPLAY.0404", "error_msg": "the record holds no answer to " + Key(q)})
			known = []*Exchange{{Status: http.StatusNotFound, JSON: body}}
		}
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(known[0].Status)
		_, _ = io.WriteString(w, string(known[0].JSON)+known[0].Text) // an error means that the client has left
	})
}

// Move moves the times of a body, which are in milliseconds or seconds since 1985, by a distance.
func Move(body []byte, by time.Duration) []byte {
	const since, millis = 500_000_000, 1000
	return regexp.MustCompile(`_time"\s*:\s*"?\d{9,14}\b`).ReplaceAllFunc(body, func(field []byte) []byte {
		name := bytes.TrimRight(field, "0123456789")
		at, _ := strconv.ParseInt(string(field[len(name):]), 10, 64) // of at most 14 digits
		switch {
		case at >= since*millis:
			at += by.Milliseconds()
		case at >= since && at < since*millis/5:
			at += by.Milliseconds() / millis
		}
		return strconv.AppendInt(slices.Clip(name), at, 10)
	})
}
